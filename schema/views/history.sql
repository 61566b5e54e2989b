-- siolite: rooms that keep their last events, for those who come later (docs/users.md).
--
--   INSERT INTO room_history (room, n) VALUES ('lobby', 50)                    the last 50 events
--   INSERT INTO room_history (pattern, n, seconds) VALUES ('chat-*', 50, 3600) … but none older than an hour
--   INSERT INTO room_join (socket, room, is_history) VALUES ('JjxVQdFdZUnPKXuAAAAB', 'lobby', 1)
--   SELECT … FROM history
--
-- What emit.sql says of an INSERT is true here too.
--
-- SPDX-License-Identifier: MIT

-- INSERT: a room keeps its last events from now on, or all rooms whose names match a pattern; a second INSERT takes the place
-- of the first one. DELETE: it keeps them no more. SELECT: which.
DROP VIEW IF EXISTS room_history;
CREATE VIEW room_history AS
    SELECT n.name AS nsp,                       -- the namespace; INSERT: NULL is '/'
           CASE h.is_pattern WHEN 0 THEN h.pattern END AS room, -- INSERT: one room, also while nobody is in it,
           CASE h.is_pattern WHEN 1 THEN h.pattern END AS pattern, -- or a pattern of GLOB: each room from its first member on
           h.n,                                 -- so many events; INSERT: NULL is 10000, which is the most
           h.keep_ms / 1000 AS seconds,         -- and so long; INSERT: NULL is for ever
           h.is_app                             -- 1: the application in C has said so; INSERT: leave it out
    FROM t_history_rule h JOIN t_nsp n USING (nsp_id);

CREATE TRIGGER room_history_insert INSTEAD OF INSERT ON room_history
BEGIN
    SELECT CASE
        WHEN NOT EXISTS (SELECT 1 FROM t_nsp WHERE name = coalesce(new.nsp, '/'))
            THEN RAISE(ABORT, 'room_history.nsp: no such namespace; allowed: one that the application has, or NULL for /')
        WHEN (new.room IS NOT NULL) + (new.pattern IS NOT NULL) <> 1
            THEN RAISE(ABORT, 'room_history.room: exactly one of room and pattern says which')
        WHEN typeof(coalesce(new.room, new.pattern)) <> 'text'
            THEN RAISE(ABORT, 'room_history.room: room and pattern must be text')
        WHEN new.n IS NOT NULL AND (typeof(new.n) <> 'integer' OR new.n NOT BETWEEN 1 AND 10000)
            THEN RAISE(ABORT, 'room_history.n: must be a number from 1 to 10000, or NULL')
        WHEN new.seconds IS NOT NULL AND (typeof(new.seconds) <> 'integer' OR new.seconds NOT BETWEEN 1 AND 315360000)
            THEN RAISE(ABORT, 'room_history.seconds: must be a number from 1 to 315360000, or NULL')
        WHEN new.n IS NULL AND new.seconds IS NULL
            THEN RAISE(ABORT, 'room_history.n: n, seconds or both say how much')
        WHEN coalesce(new.is_app, 0) NOT IN (0, 1)
            THEN RAISE(ABORT, 'room_history.is_app: must be 0 or 1')
        END;
    INSERT OR IGNORE INTO t_room (nsp_id, name, idle_seq)
        SELECT n.nsp_id, new.room, coalesce((SELECT max(seq) FROM t_packet), 0) FROM t_nsp n
        WHERE n.name = coalesce(new.nsp, '/') AND new.room IS NOT NULL;
    INSERT INTO t_history_rule (nsp_id, pattern, is_pattern, n, keep_ms, is_app)
        SELECT nsp_id, coalesce(new.room, new.pattern), new.pattern IS NOT NULL, coalesce(new.n, 10000), new.seconds * 1000,
               coalesce(new.is_app, 0)
        FROM t_nsp WHERE name = coalesce(new.nsp, '/')
        ON CONFLICT (nsp_id, is_pattern, pattern) DO UPDATE SET n = excluded.n, keep_ms = excluded.keep_ms,
            is_app = excluded.is_app;
END;

CREATE TRIGGER room_history_delete INSTEAD OF DELETE ON room_history
BEGIN
    DELETE FROM t_history_rule WHERE nsp_id = (SELECT nsp_id FROM t_nsp WHERE name = old.nsp)
        AND is_pattern = (old.pattern IS NOT NULL) AND pattern = coalesce(old.room, old.pattern);
END;

-- The rule of a room stands with it, so that an emit finds it without a look here.
DROP VIEW IF EXISTS t_room_rule;
CREATE VIEW t_room_rule AS
    SELECT r.room_id, r.nsp_id, r.name, h.rule_id, h.is_pattern, h.pattern, h.n, h.keep_ms
    FROM t_room r CROSS JOIN t_history_rule h ON h.nsp_id = r.nsp_id
        AND CASE h.is_pattern WHEN 0 THEN h.pattern = r.name ELSE r.name GLOB h.pattern END;

DROP TRIGGER IF EXISTS t_room_history;
CREATE TRIGGER t_room_history AFTER INSERT ON t_room
WHEN EXISTS (SELECT 1 FROM t_history_rule WHERE nsp_id = new.nsp_id)
BEGIN
    UPDATE t_room SET (history_n, history_ms) = (
            SELECT w.n, w.keep_ms FROM t_room_rule w WHERE w.room_id = new.room_id ORDER BY w.is_pattern, w.rule_id LIMIT 1)
        WHERE room_id = new.room_id;
END;

DROP TRIGGER IF EXISTS t_history_rule_added;
CREATE TRIGGER t_history_rule_added AFTER INSERT ON t_history_rule
BEGIN
    UPDATE t_room SET (history_n, history_ms) = (
            SELECT w.n, w.keep_ms FROM t_room_rule w WHERE w.room_id = t_room.room_id ORDER BY w.is_pattern, w.rule_id LIMIT 1)
        WHERE nsp_id = new.nsp_id
          AND CASE new.is_pattern WHEN 0 THEN name = new.pattern ELSE name GLOB new.pattern END;
END;

DROP TRIGGER IF EXISTS t_history_rule_changed;
CREATE TRIGGER t_history_rule_changed AFTER UPDATE OF n, keep_ms ON t_history_rule
BEGIN
    UPDATE t_room SET (history_n, history_ms) = (
            SELECT w.n, w.keep_ms FROM t_room_rule w WHERE w.room_id = t_room.room_id ORDER BY w.is_pattern, w.rule_id LIMIT 1)
        WHERE nsp_id = new.nsp_id
          AND CASE new.is_pattern WHEN 0 THEN name = new.pattern ELSE name GLOB new.pattern END;
END;

DROP TRIGGER IF EXISTS t_history_rule_removed;
CREATE TRIGGER t_history_rule_removed AFTER DELETE ON t_history_rule
BEGIN
    UPDATE t_room SET (history_n, history_ms) = (
            SELECT w.n, w.keep_ms FROM t_room_rule w WHERE w.room_id = t_room.room_id ORDER BY w.is_pattern, w.rule_id LIMIT 1)
        WHERE nsp_id = old.nsp_id
          AND CASE old.is_pattern WHEN 0 THEN name = old.pattern ELSE name GLOB old.pattern END;
END;

DROP TRIGGER IF EXISTS t_room_rule_changed;
CREATE TRIGGER t_room_rule_changed AFTER UPDATE OF history_n, history_ms ON t_room
WHEN old.history_n IS NOT NULL AND (new.history_n IS NOT old.history_n OR new.history_ms IS NOT old.history_ms)
BEGIN
    UPDATE t_history SET expires_ms = made_ms + new.history_ms WHERE room_id = new.room_id AND new.history_n IS NOT NULL;
    DELETE FROM t_history WHERE room_id = new.room_id AND new.history_n IS NULL;
END;

-- What the rooms keep.
DROP VIEW IF EXISTS history;
CREATE VIEW history AS
    SELECT n.name AS nsp,                       -- the namespace
           r.name AS room,                      -- the room
           json_extract(h.body, '$[0]') AS event, -- its name
           json_remove(h.body, '$[0]') AS args, -- JSON array
           h.kind = 5 AS is_binary,             -- 1: the places of binary data are marked in args
           CASE WHEN t.wall_offset_ms <> 0
                THEN datetime((h.made_ms + t.wall_offset_ms) / 1000, 'unixepoch') END AS time, -- UTC; when it was emitted
           CASE WHEN h.expires_ms IS NOT NULL THEN (h.expires_ms - w.now_ms) / 1000.0 END AS expires_s, -- until it goes
           h.seq                                -- its place in the log
    FROM t_history h JOIN t_room r USING (room_id) JOIN t_nsp n USING (nsp_id) CROSS JOIN t_meta t CROSS JOIN t_now w;

-- INSERT (private): the event `seq` of the log is kept by those of its rooms that keep some.
DROP VIEW IF EXISTS t_history_note;
CREATE VIEW t_history_note AS SELECT seq FROM t_history;

CREATE TRIGGER t_history_note_insert INSTEAD OF INSERT ON t_history_note
BEGIN
    INSERT OR IGNORE INTO t_history (room_id, seq, kind, made_ms, expires_ms, body, attachments)
        SELECT r.room_id, p.seq, p.kind, p.made_ms, p.made_ms + r.history_ms, p.body, p.attachments
        FROM t_packet p CROSS JOIN t_room r ON r.room_id = p.to_id AND r.history_n IS NOT NULL
        WHERE p.seq = new.seq AND p.to_kind = 1 AND p.kind IN (2, 5) AND NOT p.is_volatile AND NOT p.is_local AND NOT p.is_ask;
    INSERT OR IGNORE INTO t_history (room_id, seq, kind, made_ms, expires_ms, body, attachments)
        SELECT r.room_id, p.seq, p.kind, p.made_ms, p.made_ms + r.history_ms, p.body, p.attachments
        FROM t_packet p CROSS JOIN json_each('["' || replace(p.to_list, ',', '","') || '"]') k
        CROSS JOIN t_room r ON r.room_id = CAST(substr(k.value, 2) AS INTEGER) AND r.history_n IS NOT NULL
        WHERE p.seq = new.seq AND p.to_kind = 4 AND k.value LIKE 'r%' AND p.kind IN (2, 5)
          AND NOT p.is_volatile AND NOT p.is_local AND NOT p.is_ask;
END;

DROP TRIGGER IF EXISTS t_history_added;
CREATE TRIGGER t_history_added AFTER INSERT ON t_history
BEGIN
    UPDATE t_history_total SET n_bytes = n_bytes + length(CAST(new.body AS BLOB)) + coalesce(length(new.attachments), 0);
    DELETE FROM t_history WHERE room_id = new.room_id AND seq <= (
        SELECT h.seq FROM t_history h WHERE h.room_id = new.room_id ORDER BY h.seq DESC
        LIMIT 1 OFFSET (SELECT history_n FROM t_room WHERE room_id = new.room_id));
    DELETE FROM t_history WHERE history_id IN (SELECT h.history_id FROM t_history h ORDER BY h.history_id LIMIT 10)
        AND history_id < new.history_id AND (SELECT n_bytes > n_bytes_max FROM t_history_total);
END;

DROP TRIGGER IF EXISTS t_history_removed;
CREATE TRIGGER t_history_removed AFTER DELETE ON t_history
BEGIN
    UPDATE t_history_total SET n_bytes = n_bytes - length(CAST(old.body AS BLOB)) - coalesce(length(old.attachments), 0);
END;
