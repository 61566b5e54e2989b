-- siolite: users, who may have several sockets, or none (docs/users.md).
--
--   SELECT … FROM presence                                                     who is there
--   INSERT INTO presence_room (room) VALUES ('staff')                          … and who is told of it
--   INSERT INTO outbox (user, event, args) VALUES ('ann', 'invoice', '[17]')   waits until she has got it
--   INSERT INTO socket_expiry (socket, expires_s) VALUES ('JjxVQdFdZUnPKXuAAAAB', 3600)
--
-- What emit.sql says of an INSERT is true here too.
--
-- SPDX-License-Identifier: MIT

-- ---- presence

-- SELECT: users, by namespace: those with open sockets, and for a while those who had some. The server INSERTs one whose
-- first socket has come, or whose last one has gone: a trigger of an application in SQL says what happens then.
DROP VIEW IF EXISTS presence;
CREATE VIEW presence AS
    SELECT p.user,                              -- as the application has set it
           n.name AS nsp,                       -- the namespace
           p.n_sockets > 0 AS is_online,        -- 1: at least one socket is open
           p.n_sockets,                         -- open ones: tabs, devices
           CASE WHEN t.wall_offset_ms <> 0
                THEN datetime((p.since_ms + t.wall_offset_ms) / 1000, 'unixepoch') END AS since, -- UTC; online, or offline, since
           CASE WHEN t.wall_offset_ms <> 0
                THEN datetime(((CASE WHEN p.n_sockets > 0 THEN w.now_ms ELSE p.since_ms END) + t.wall_offset_ms) / 1000,
                              'unixepoch') END AS seen -- UTC; when a socket of the user was open last
    FROM t_presence p JOIN t_nsp n USING (nsp_id) CROSS JOIN t_meta t CROSS JOIN t_now w;

CREATE TRIGGER t_presence_none INSTEAD OF INSERT ON presence WHEN 0 BEGIN SELECT 1; END;

-- A job tells who wants to know it: the application, and the rooms of presence_room. By then the user may have come back. (No
-- JSON function here: t_control, which needs none, comes by with any end of a socket.)
DROP TRIGGER IF EXISTS t_socket_presence;
CREATE TRIGGER t_socket_presence AFTER UPDATE OF user, state ON t_socket
WHEN ((old.user IS NOT NULL AND old.state = 0) OR (new.user IS NOT NULL AND new.state = 0))
     AND (old.user IS NOT new.user OR old.state <> new.state)
BEGIN
    UPDATE t_presence SET n_sockets = n_sockets - 1,
            since_ms = CASE n_sockets WHEN 1 THEN (SELECT now_ms FROM t_now) ELSE since_ms END
        WHERE user = old.user AND nsp_id = old.nsp_id AND old.state = 0;
    INSERT INTO t_presence (user, nsp_id, since_ms)
        SELECT new.user, new.nsp_id, now_ms FROM t_now
        WHERE new.user IS NOT NULL AND new.state = 0
          AND NOT EXISTS (SELECT 1 FROM t_presence p WHERE p.user = new.user AND p.nsp_id = new.nsp_id);
    UPDATE t_presence SET n_sockets = n_sockets + 1,
            since_ms = CASE n_sockets WHEN 0 THEN (SELECT now_ms FROM t_now) ELSE since_ms END
        WHERE user = new.user AND nsp_id = new.nsp_id AND new.state = 0;
    INSERT INTO t_job (due_ms, name, args)
        SELECT CASE WHEN p.n_sockets > 0 OR l.linger_ms = 0 THEN 0 ELSE p.since_ms + l.linger_ms END, '#presence',
               CAST(p.presence_id AS TEXT)
        FROM t_presence p CROSS JOIN t_user_limit l
        WHERE p.user IN (old.user, new.user) AND p.nsp_id = new.nsp_id AND p.is_told <> (p.n_sockets > 0);
    INSERT INTO t_control (kind)
        SELECT 23 FROM t_presence p CROSS JOIN t_user_limit l
        WHERE p.user IN (old.user, new.user) AND p.nsp_id = new.nsp_id AND p.is_told <> (p.n_sockets > 0)
          AND (p.n_sockets > 0 OR l.linger_ms = 0)
        LIMIT 1;
END;

-- INSERT: the sockets of a room get the event `presence` (user, is_online) when the first socket of a user has come, and
-- when the last one has gone. DELETE: no longer. SELECT: which rooms.
DROP VIEW IF EXISTS presence_room;
CREATE VIEW presence_room AS
    SELECT n.name AS nsp,                       -- the namespace, of the users too; INSERT: NULL is '/'
           r.room                               -- the room
    FROM t_presence_room r JOIN t_nsp n USING (nsp_id);

CREATE TRIGGER presence_room_insert INSTEAD OF INSERT ON presence_room
BEGIN
    SELECT CASE
        WHEN NOT EXISTS (SELECT 1 FROM t_nsp WHERE name = coalesce(new.nsp, '/'))
            THEN RAISE(ABORT, 'presence_room.nsp: no such namespace; allowed: one that the application has, or NULL for /')
        WHEN typeof(new.room) <> 'text'
            THEN RAISE(ABORT, 'presence_room.room: must be text')
        END;
    INSERT OR IGNORE INTO t_presence_room (nsp_id, room)
        SELECT nsp_id, new.room FROM t_nsp WHERE name = coalesce(new.nsp, '/');
END;

CREATE TRIGGER presence_room_delete INSTEAD OF DELETE ON presence_room
BEGIN
    DELETE FROM t_presence_room
        WHERE nsp_id = (SELECT nsp_id FROM t_nsp WHERE name = old.nsp) AND room = old.room;
END;

-- ---- outbox

-- INSERT: an event for all sockets of a user, which waits until one of them has acknowledged it: it is sent at once to those
-- that are open, and again to each one that comes later. DELETE: it is taken back, as far as it was not sent. SELECT: what
-- waits, and for a while what was acknowledged or has expired.
DROP VIEW IF EXISTS outbox;
CREATE VIEW outbox AS
    SELECT o.outbox_id AS id,                   -- the order; INSERT: leave it out
           o.user,                              -- for whom
           o.nsp,                               -- the namespace; INSERT: NULL is '/'
           json_extract(o.body, '$[0]') AS event, -- its name
           json_remove(o.body, '$[0]') AS args, -- JSON array; INSERT: NULL is '[]'
           o.attachments,                       -- binary data, each behind its length (4 bytes, big endian); its places in args
                                                -- are marked by {"_placeholder":true,"num":0}; INSERT: NULL is none
           NULL AS attachment,                  -- INSERT: or one as it is, behind the arguments if args has no place for it
           CASE WHEN o.expires_ms IS NOT NULL THEN (o.expires_ms - w.now_ms) / 1000.0 END AS expires_s, -- not sent any more
                                                -- after so many seconds; INSERT: NULL is never, unless expires_at is given
           CASE WHEN o.expires_ms IS NOT NULL AND t.wall_offset_ms <> 0
                THEN (o.expires_ms + t.wall_offset_ms) / 1000 END AS expires_at, -- the same as Unix time; INSERT: either of them
           -- the rest is shown only:
           CASE WHEN o.acked_ms IS NOT NULL THEN 'acked'
                WHEN o.expires_ms <= w.now_ms THEN 'expired'
                WHEN o.sent_ms IS NOT NULL THEN 'sent' -- not acknowledged yet
                ELSE 'waiting' END AS state,    -- for the user to come
           CASE WHEN t.wall_offset_ms <> 0
                THEN datetime((o.made_ms + t.wall_offset_ms) / 1000, 'unixepoch') END AS made_at, -- UTC
           CASE WHEN t.wall_offset_ms <> 0
                THEN datetime((o.sent_ms + t.wall_offset_ms) / 1000, 'unixepoch') END AS sent_at, -- UTC; the last time
           CASE WHEN o.acked_ms IS NOT NULL
                THEN coalesce(datetime((o.acked_ms + nullif(t.wall_offset_ms, 0)) / 1000, 'unixepoch'), '') END AS acked_at, -- UTC
           o.answer                             -- what the first client said that has acknowledged it, a JSON array
    FROM t_outbox o CROSS JOIN t_meta t CROSS JOIN t_now w;

CREATE TRIGGER outbox_insert INSTEAD OF INSERT ON outbox
BEGIN
    SELECT CASE
        WHEN new.id IS NOT NULL
            THEN RAISE(ABORT, 'outbox.id: is given by the outbox, leave it out')
        WHEN typeof(new.user) <> 'text' OR new.user = ''
            THEN RAISE(ABORT, 'outbox.user: must be text, as the application sets users')
        WHEN NOT EXISTS (SELECT 1 FROM t_nsp WHERE name = coalesce(new.nsp, '/'))
            THEN RAISE(ABORT, 'outbox.nsp: no such namespace; allowed: one that the application has, or NULL for /')
        WHEN typeof(new.event) <> 'text'
            THEN RAISE(ABORT, 'outbox.event: must be text')
        WHEN new.event IN ('connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener')
            THEN RAISE(ABORT, 'outbox.event: must not be one of the reserved names connect, connect_error, disconnect, disconnecting, newListener, removeListener')
        WHEN typeof(new.args) NOT IN ('text', 'null')
            THEN RAISE(ABORT, 'outbox.args: must be a JSON array or NULL')
        WHEN new.args IS NOT NULL AND (instr(new.args, char(0)) > 0 OR NOT json_valid(new.args))
            THEN RAISE(ABORT, 'outbox.args: must be a JSON array')
        WHEN json_type(new.args) <> 'array'
            THEN RAISE(ABORT, 'outbox.args: must be a JSON array')
        WHEN typeof(new.attachment) NOT IN ('blob', 'null') OR (new.attachment IS NOT NULL AND new.attachments IS NOT NULL)
            THEN RAISE(ABORT, 'outbox.attachment: must be one BLOB, without attachments, or NULL')
        WHEN new.attachments IS NOT NULL AND (typeof(new.attachments) <> 'blob' OR NOT (
                WITH RECURSIVE w (at, h) AS ( -- at: where the next length stands; h: that length, once it is read
                    VALUES (1, NULL)
                    UNION ALL SELECT
                        CASE WHEN w.h IS NULL THEN w.at
                             ELSE w.at + 4 +
                             (instr('123456789ABCDEF', substr(w.h, 1, 1)) << 28) + (instr('123456789ABCDEF', substr(w.h, 2, 1)) << 24) +
                             (instr('123456789ABCDEF', substr(w.h, 3, 1)) << 20) + (instr('123456789ABCDEF', substr(w.h, 4, 1)) << 16) +
                             (instr('123456789ABCDEF', substr(w.h, 5, 1)) << 12) + (instr('123456789ABCDEF', substr(w.h, 6, 1)) << 8) +
                             (instr('123456789ABCDEF', substr(w.h, 7, 1)) << 4) + (instr('123456789ABCDEF', substr(w.h, 8, 1)) << 0) END,
                        CASE WHEN w.h IS NULL THEN hex(substr(new.attachments, w.at, 4)) END
                    FROM w WHERE w.at + 3 <= length(new.attachments))
                SELECT max(w.at) = length(new.attachments) + 1 FROM w))
            THEN RAISE(ABORT, 'outbox.attachments: must be a BLOB, each attachment behind its length (4 bytes, big endian); or attachment: one BLOB as it is')
        WHEN typeof(new.expires_s) NOT IN ('integer', 'real', 'null') OR new.expires_s < 0 OR new.expires_s > 315360000
            THEN RAISE(ABORT, 'outbox.expires_s: must be a number of seconds from 0 to 315360000, or NULL')
        WHEN typeof(new.expires_at) NOT IN ('integer', 'real', 'null') OR new.expires_at < 0 OR new.expires_at > 253402300799
            THEN RAISE(ABORT, 'outbox.expires_at: must be a Unix time in seconds, or NULL')
        WHEN new.expires_s IS NOT NULL AND new.expires_at IS NOT NULL
            THEN RAISE(ABORT, 'outbox.expires_at: expires_s is given too; allowed: one of them')
        WHEN coalesce(new.state, new.made_at, new.sent_at, new.acked_at, new.answer) IS NOT NULL
            THEN RAISE(ABORT, 'outbox.state: state, made_at, sent_at, acked_at and answer cannot be set')
        WHEN EXISTS (SELECT 1 FROM t_outbox o WHERE o.user = new.user AND o.acked_ms IS NULL
                     LIMIT 1 OFFSET (SELECT n_outbox_max - 1 FROM t_user_limit))
            THEN RAISE(ABORT, 'outbox.user: has max_outbox messages that wait')
        END;
    INSERT INTO t_outbox (user, nsp, body, attachments, made_ms, expires_ms)
        SELECT new.user, coalesce(new.nsp, '/'),
               '[' || json_quote(new.event) ||
               CASE WHEN a.n_args > 0 THEN ',' || substr(trim(new.args, char(9, 10, 13, 32)), 2,
                                                         length(trim(new.args, char(9, 10, 13, 32))) - 2) ELSE '' END ||
               CASE WHEN new.attachment IS NOT NULL AND NOT EXISTS (
                        SELECT 1 FROM json_tree(new.args) j
                        WHERE j.type = 'object' AND json_extract(j.value, '$._placeholder') IS 1)
                    THEN ',{"_placeholder":true,"num":0}' ELSE '' END || ']',
               CASE WHEN new.attachment IS NOT NULL
                    THEN CAST(substr(b.bytes, (length(new.attachment) >> 24 & 255) + 1, 1) ||
                              substr(b.bytes, (length(new.attachment) >> 16 & 255) + 1, 1) ||
                              substr(b.bytes, (length(new.attachment) >> 8 & 255) + 1, 1) ||
                              substr(b.bytes, (length(new.attachment) & 255) + 1, 1) || new.attachment AS BLOB)
                    WHEN length(new.attachments) > 0 THEN new.attachments END,
               w.now_ms,
               CASE WHEN new.expires_s IS NOT NULL THEN w.now_ms + CAST(new.expires_s * 1000 AS INTEGER)
                    WHEN new.expires_at IS NOT NULL
                    THEN CAST(new.expires_at * 1000 AS INTEGER) - (SELECT wall_offset_ms FROM t_meta) END
        FROM t_now w CROSS JOIN t_byte b CROSS JOIN (SELECT coalesce(json_array_length(new.args), 0) AS n_args) a;
    -- one row, whatever the number of tabs
    INSERT INTO t_packet (kind, nsp_id, to_kind, to_id, to_list, is_ask, made_ms, body, attachments)
        SELECT CASE WHEN o.attachments IS NULL THEN 2 ELSE 5 END, min(s.nsp_id), CASE count(*) WHEN 1 THEN 2 ELSE 4 END,
               CASE count(*) WHEN 1 THEN min(s.socket_id) END,
               CASE WHEN count(*) > 1 THEN group_concat('s' || s.socket_id) END, 1, min(o.made_ms), min(o.body), min(o.attachments)
        FROM t_outbox o JOIN t_nsp n ON n.name = o.nsp
        JOIN t_socket s ON s.user = o.user AND s.nsp_id = n.nsp_id AND s.state = 0
        WHERE o.outbox_id = (SELECT max(outbox_id) FROM t_outbox)
          AND (o.expires_ms IS NULL OR o.expires_ms > o.made_ms)
        HAVING count(*) > 0;
    INSERT INTO t_outbox_sent (seq, socket_id, outbox_id)
        SELECT (SELECT max(seq) FROM t_packet), s.socket_id, o.outbox_id
        FROM t_outbox o JOIN t_nsp n ON n.name = o.nsp
        JOIN t_socket s ON s.user = o.user AND s.nsp_id = n.nsp_id AND s.state = 0
        WHERE o.outbox_id = (SELECT max(outbox_id) FROM t_outbox)
          AND (o.expires_ms IS NULL OR o.expires_ms > o.made_ms);
    UPDATE t_outbox SET sent_ms = made_ms
        WHERE outbox_id = (SELECT max(outbox_id) FROM t_outbox)
          AND EXISTS (SELECT 1 FROM t_outbox_sent q WHERE q.outbox_id = t_outbox.outbox_id);
END;

CREATE TRIGGER outbox_delete INSTEAD OF DELETE ON outbox
BEGIN
    DELETE FROM t_outbox_sent WHERE outbox_id = old.id;
    DELETE FROM t_outbox WHERE outbox_id = old.id;
END;

-- INSERT: what waits for a user in the outbox is taken back; a client that has got it already does not get it again. Where there
-- is none, nothing happens. SELECT: what can be taken back.
DROP VIEW IF EXISTS outbox_cancel;
CREATE VIEW outbox_cancel AS
    SELECT id,                                  -- the entry; INSERT: NULL is those of the user
           user,                                -- whose
           nsp,                                 -- in which namespace; INSERT: NULL is '/'; an id needs none
           event                                -- those of this name; INSERT: NULL is all
    FROM outbox WHERE acked_at IS NULL;

CREATE TRIGGER outbox_cancel_insert INSTEAD OF INSERT ON outbox_cancel
BEGIN
    SELECT CASE
        WHEN typeof(new.id) NOT IN ('integer', 'null')
            THEN RAISE(ABORT, 'outbox_cancel.id: must be a whole number, as the view outbox has it')
        WHEN typeof(new.user) NOT IN ('text', 'null')
            THEN RAISE(ABORT, 'outbox_cancel.user: must be text')
        WHEN new.id IS NULL AND new.user IS NULL
            THEN RAISE(ABORT, 'outbox_cancel.user: is not given, and neither is id; allowed: one of them')
        WHEN new.id IS NOT NULL AND new.user IS NOT NULL
            THEN RAISE(ABORT, 'outbox_cancel.user: id is given too; allowed: one of them')
        WHEN typeof(new.nsp) NOT IN ('text', 'null')
            THEN RAISE(ABORT, 'outbox_cancel.nsp: must be text or NULL')
        WHEN typeof(new.event) NOT IN ('text', 'null') OR (new.event IS NOT NULL AND new.id IS NOT NULL)
            THEN RAISE(ABORT, 'outbox_cancel.event: must be text, and goes with user only')
        END;
    DELETE FROM outbox WHERE id = new.id AND acked_at IS NULL;
    DELETE FROM outbox
        WHERE user = new.user AND nsp = coalesce(new.nsp, '/') AND event = coalesce(new.event, event) AND acked_at IS NULL;
END;

-- INSERT (private): one entry goes to one socket.
DROP VIEW IF EXISTS t_outbox_send;
CREATE VIEW t_outbox_send AS SELECT outbox_id, socket_id FROM t_outbox_sent;

CREATE TRIGGER t_outbox_send_insert INSTEAD OF INSERT ON t_outbox_send
BEGIN
    INSERT INTO t_packet (kind, nsp_id, to_kind, to_id, is_ask, made_ms, body, attachments)
        SELECT CASE WHEN o.attachments IS NULL THEN 2 ELSE 5 END, s.nsp_id, 2, s.socket_id, 1, w.now_ms, o.body, o.attachments
        FROM t_outbox o JOIN t_socket s ON s.socket_id = new.socket_id CROSS JOIN t_now w
        WHERE o.outbox_id = new.outbox_id;
    INSERT INTO t_outbox_sent (seq, socket_id, outbox_id) VALUES (last_insert_rowid(), new.socket_id, new.outbox_id);
    UPDATE t_outbox SET sent_ms = (SELECT now_ms FROM t_now) WHERE outbox_id = new.outbox_id;
END;

-- A socket has got its user, or was recovered (its CONNECT row is there by then): what waits for the user goes to it, in
-- order. Of earlier questions those are kept that may still be answered: the last one to each socket.
DROP TRIGGER IF EXISTS t_socket_outbox;
CREATE TRIGGER t_socket_outbox AFTER UPDATE OF user, until_seq ON t_socket
WHEN new.user IS NOT NULL AND new.state = 0 AND new.until_seq IS NULL
     AND (old.user IS NOT new.user OR old.until_seq IS NOT NULL)
BEGIN
    DELETE FROM t_outbox_sent WHERE (seq, socket_id) IN (
        SELECT q.seq, q.socket_id
        FROM t_nsp n CROSS JOIN t_outbox o ON o.user = new.user AND o.nsp = n.name AND o.acked_ms IS NULL
        CROSS JOIN t_outbox_sent q ON q.outbox_id = o.outbox_id
        WHERE n.nsp_id = new.nsp_id
          AND (NOT EXISTS (SELECT 1 FROM t_socket s WHERE s.socket_id = q.socket_id AND s.state < 2)
               OR q.seq < (SELECT max(m.seq) FROM t_outbox_sent m
                           WHERE m.outbox_id = q.outbox_id AND m.socket_id = q.socket_id)));
    INSERT INTO t_outbox_send (outbox_id, socket_id)
        SELECT o.outbox_id, new.socket_id
        FROM t_nsp n CROSS JOIN t_outbox o ON o.user = new.user AND o.nsp = n.name AND o.acked_ms IS NULL
        CROSS JOIN t_now w
        WHERE n.nsp_id = new.nsp_id AND (o.expires_ms IS NULL OR o.expires_ms > w.now_ms)
        ORDER BY o.outbox_id;
END;

DROP TRIGGER IF EXISTS t_outbox_acked;
CREATE TRIGGER t_outbox_acked AFTER UPDATE OF acked_ms ON t_outbox WHEN new.acked_ms IS NOT NULL
BEGIN
    DELETE FROM t_outbox_sent WHERE outbox_id = new.outbox_id;
END;

-- ---- expiry

-- INSERT: a socket, or its whole connection, ends at a time; a later INSERT takes the place of an earlier one, and without a
-- time it ends no more. Before, its client gets the event `expiring` (ms). Nothing happens where it has gone. SELECT: when.
DROP VIEW IF EXISTS socket_expiry;
CREATE VIEW socket_expiry AS
    SELECT s.sio_id AS socket,                  -- which
           max(0, x.expires_ms - w.now_ms) / 1000.0 AS expires_s, -- in so many seconds; INSERT: this, or expires_at
           CASE WHEN t.wall_offset_ms <> 0
                THEN (x.expires_ms + t.wall_offset_ms) / 1000 END AS expires_at, -- Unix time in seconds, as `exp` of a token
           x.is_close                           -- 1: its whole connection ends, 0: only this socket; INSERT: NULL is 1
    FROM t_expiry x JOIN t_socket s USING (socket_id) CROSS JOIN t_meta t CROSS JOIN t_now w
    WHERE s.state < 2;

CREATE TRIGGER socket_expiry_insert INSTEAD OF INSERT ON socket_expiry
BEGIN
    SELECT CASE
        WHEN typeof(new.socket) <> 'text' OR NOT EXISTS (SELECT 1 FROM t_socket WHERE sio_id = new.socket)
            THEN RAISE(ABORT, 'socket_expiry.socket: must be the id of a socket')
        WHEN typeof(new.expires_s) NOT IN ('integer', 'real', 'null') OR new.expires_s < 0 OR new.expires_s > 315360000
            THEN RAISE(ABORT, 'socket_expiry.expires_s: must be a number of seconds from 0 to 315360000, or NULL')
        WHEN typeof(new.expires_at) NOT IN ('integer', 'real', 'null') OR new.expires_at < 0 OR new.expires_at > 253402300799
            THEN RAISE(ABORT, 'socket_expiry.expires_at: must be a Unix time in seconds, or NULL')
        WHEN new.expires_s IS NOT NULL AND new.expires_at IS NOT NULL
            THEN RAISE(ABORT, 'socket_expiry.expires_at: expires_s is given too; allowed: one of them')
        WHEN new.is_close NOT IN (0, 1)
            THEN RAISE(ABORT, 'socket_expiry.is_close: must be 0 or 1')
        END;
    DELETE FROM t_job WHERE name = '#expiry' AND socket_id = (SELECT socket_id FROM t_socket WHERE sio_id = new.socket);
    DELETE FROM t_expiry WHERE socket_id = (SELECT socket_id FROM t_socket WHERE sio_id = new.socket);
    INSERT INTO t_expiry (socket_id, expires_ms, is_close)
        SELECT s.socket_id,
               CASE WHEN new.expires_s IS NOT NULL THEN w.now_ms + CAST(new.expires_s * 1000 AS INTEGER)
                    ELSE CAST(new.expires_at * 1000 AS INTEGER) - (SELECT wall_offset_ms FROM t_meta) END,
               coalesce(new.is_close, 1)
        FROM t_socket s CROSS JOIN t_now w
        WHERE s.sio_id = new.socket AND s.state < 2 AND coalesce(new.expires_s, new.expires_at) IS NOT NULL;
    INSERT INTO t_job (due_ms, name, socket_id)
        SELECT max(0, x.expires_ms - l.expiry_lead_ms), '#expiry', x.socket_id
        FROM t_expiry x CROSS JOIN t_user_limit l
        WHERE x.socket_id = (SELECT socket_id FROM t_socket WHERE sio_id = new.socket);
    -- later ones are seen in time by those who look ahead
    INSERT INTO t_control (kind)
        SELECT 23 FROM t_expiry x CROSS JOIN t_user_limit l CROSS JOIN t_now w
        WHERE x.socket_id = (SELECT socket_id FROM t_socket WHERE sio_id = new.socket)
          AND x.expires_ms - l.expiry_lead_ms < w.now_ms + 2000;
END;

DROP TRIGGER IF EXISTS t_socket_expiry;
CREATE TRIGGER t_socket_expiry AFTER UPDATE OF state ON t_socket WHEN new.state = 2 AND old.state < 2
BEGIN
    DELETE FROM t_job WHERE name = '#expiry' AND socket_id = new.socket_id;
    DELETE FROM t_expiry WHERE socket_id = new.socket_id;
END;
