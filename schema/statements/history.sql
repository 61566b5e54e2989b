-- History of rooms. store/history.c
--
-- SPDX-License-Identifier: MIT

-- name: history_limits
-- scan: t_history_total has one row
-- in: n_bytes_max; zero rows
UPDATE t_history_total SET n_bytes_max = :n_bytes_max WHERE n_bytes_max <> :n_bytes_max;

-- name: history_note
-- in: seq; no columns
INSERT INTO t_history_note (seq) VALUES (:seq);

-- name: history_has
-- in: room_id; out: 1; zero rows: it keeps nothing, or has nothing yet
SELECT 1 FROM t_room r WHERE r.room_id = :room_id AND r.history_n IS NOT NULL
    AND EXISTS (SELECT 1 FROM t_history h WHERE h.room_id = r.room_id);

-- name: history_joined
-- in: session_id room_id since_seq; out: 1; zero rows: no socket of the session has joined by that row
SELECT 1 FROM t_socket s CROSS JOIN t_member m
    ON m.socket_id = s.socket_id AND m.room_id = :room_id AND m.since_seq = :since_seq
WHERE s.session_id = :session_id;

-- name: history_read
-- in: room_id above_seq below_seq now_ms; out: seq kind body attachments; the newest first
SELECT h.seq, h.kind, h.body, h.attachments FROM t_history h
WHERE h.room_id = :room_id AND h.seq > :above_seq AND h.seq < :below_seq
    AND (h.expires_ms IS NULL OR h.expires_ms > :now_ms)
ORDER BY h.seq DESC;

-- name: history_forget
-- in: now_ms n; no columns
DELETE FROM t_history WHERE history_id IN (
    SELECT history_id FROM t_history WHERE expires_ms <= :now_ms ORDER BY expires_ms LIMIT :n);

-- name: history_clear
-- scan: the rules of the application and those in the parameter, once at a start
-- in: rules (JSON array of [nsp, is_pattern, pattern]); no columns. Those that an earlier application has said; those of dynamic
-- namespaces go with these.
DELETE FROM t_history_rule WHERE is_app = 1 AND rule_id IN (
    SELECT h.rule_id FROM t_history_rule h CROSS JOIN t_nsp n USING (nsp_id)
    WHERE h.is_app = 1 AND n.is_static = 1 AND NOT EXISTS (
        SELECT 1 FROM json_each(:rules) k
        WHERE k.value ->> 0 = n.name AND k.value ->> 1 = h.is_pattern AND k.value ->> 2 = h.pattern));

-- name: history_find
-- in: nsp pattern is_pattern n keep_ms; out: 1; zero rows: it is not so yet
SELECT 1 FROM t_history_rule WHERE nsp_id = (SELECT nsp_id FROM t_nsp WHERE name = :nsp) AND is_pattern = :is_pattern
    AND pattern = :pattern AND n = :n AND keep_ms IS :keep_ms;

-- name: history_declare
-- in: nsp room pattern n seconds; no columns
INSERT INTO room_history (nsp, room, pattern, n, seconds, is_app) VALUES (:nsp, :room, :pattern, :n, :seconds, 1);

-- name: shift_history
-- scan: once after a boot
-- in: delta; zero rows
UPDATE t_history SET made_ms = made_ms + :delta, expires_ms = expires_ms + :delta;
