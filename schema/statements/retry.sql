-- Retries of clients. store/retry.c
--
-- SPDX-License-Identifier: MIT

-- name: retry_known
-- in: client event key; out: 1; zero rows: it is new
SELECT 1 FROM t_retry WHERE client = :client AND event = :event AND key = :key;

-- name: retry_add
-- in: client event key event_id socket_id ack_id now_ms; no columns; zero rows changed: it is known
INSERT OR IGNORE INTO t_retry (client, event, key, event_id, socket_id, ack_id, made_ms)
VALUES (:client, :event, :key, :event_id, :socket_id, :ack_id, :now_ms);

-- name: retry_trim
-- in: client n; no columns. The client's oldest one, if it has more than n.
DELETE FROM t_retry WHERE retry_id = (SELECT min(retry_id) FROM t_retry WHERE client = :client)
    AND (SELECT count(*) FROM t_retry WHERE client = :client) > :n;

-- name: retry_again
-- in: client event key socket_id ack_id; out: is_answered body attachments; one row. From now on this one waits.
UPDATE t_retry SET socket_id = :socket_id, ack_id = :ack_id WHERE client = :client AND event = :event AND key = :key
RETURNING is_answered, body, attachments;

-- name: retry_answer
-- in: event_id body attachments; out: socket_id ack_id; zero rows: forgotten, or answered
UPDATE t_retry SET is_answered = 1, body = :body, attachments = :attachments WHERE event_id = :event_id AND is_answered = 0
RETURNING socket_id, ack_id;

-- name: retry_forget
-- scan: of what the two searches found, at most n each
-- in: limit_ms n_max n; no columns. Those that are too old, or too many in all.
DELETE FROM t_retry WHERE retry_id IN (
    SELECT retry_id FROM (SELECT retry_id FROM t_retry WHERE made_ms <= :limit_ms ORDER BY made_ms LIMIT :n)
    UNION SELECT retry_id FROM (
        SELECT retry_id FROM t_retry WHERE retry_id <= (SELECT max(retry_id) FROM t_retry) - :n_max LIMIT :n));

-- name: shift_retry
-- scan: once after a boot
-- in: delta; zero rows
UPDATE t_retry SET made_ms = made_ms + :delta;
