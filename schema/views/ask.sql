-- siolite: events that want an answer, and answers; what is said in emit.sql is true here too.
--
--   INSERT INTO ask (name, room, event, args) VALUES ('vote 1', 'lobby', 'vote', '["yes or no?"]');
--   SELECT n_expected, n_answered, state FROM ask WHERE name = 'vote 1';
--   SELECT socket, args FROM answer WHERE name = 'vote 1';
--
-- A question is a row: whoever knows its name collects the answers, while they come and for a day after its end.
--
-- SPDX-License-Identifier: MIT

-- SELECT: the questions. INSERT: emits one, to those who are connected at this moment. DELETE: forgets one before its time.
DROP VIEW IF EXISTS ask;
CREATE VIEW ask AS
    SELECT a.name,                              -- chosen by who asks; no two questions have the same
           (SELECT e.nsp FROM emit e WHERE e.seq = a.seq) AS nsp, -- as in emit; NULL when the event has left the log
           (SELECT e.room FROM emit e WHERE e.seq = a.seq) AS room, -- as in emit
           (SELECT e.rooms FROM emit e WHERE e.seq = a.seq) AS rooms, -- as in emit
           (SELECT e.except_room FROM emit e WHERE e.seq = a.seq) AS except_room, -- as in emit
           (SELECT e.except_rooms FROM emit e WHERE e.seq = a.seq) AS except_rooms, -- as in emit
           NULL AS user,                        -- as in emit
           (SELECT e.event FROM emit e WHERE e.seq = a.seq) AS event, -- as in emit
           (SELECT e.args FROM emit e WHERE e.seq = a.seq) AS args, -- as in emit
           (SELECT e.is_volatile FROM emit e WHERE e.seq = a.seq) AS is_volatile, -- as in emit
           (SELECT e.is_plain FROM emit e WHERE e.seq = a.seq) AS is_plain, -- as in emit
           (SELECT e.attachments FROM emit e WHERE e.seq = a.seq) AS attachments, -- as in emit
           NULL AS attachment,                  -- as in emit
           a.due_ms - a.made_ms AS timeout_ms,  -- an answer that comes later is ignored; INSERT: NULL is 10000
           a.n_expected,                        -- shown only: sockets that were asked
           a.n_answers AS n_answered,           -- shown only: sockets that have answered
           CASE WHEN a.n_answers = a.n_expected THEN 'done'
                WHEN a.due_ms <= (SELECT now_ms FROM t_now) THEN 'timeout'
                ELSE 'open' END AS state,       -- shown only: open; done, all have answered, or nobody was there; timeout
           CASE WHEN t.wall_offset_ms <> 0
                THEN datetime((a.made_ms + t.wall_offset_ms) / 1000, 'unixepoch') END AS asked, -- shown only: when
           CASE WHEN t.wall_offset_ms <> 0
                THEN datetime((a.forget_ms + t.wall_offset_ms) / 1000, 'unixepoch') END AS forgotten, -- shown only: it goes soon after
           a.seq                                -- shown only: place in the log
    FROM t_ask a CROSS JOIN t_meta t
    WHERE a.name IS NOT NULL;

CREATE TRIGGER ask_insert INSTEAD OF INSERT ON ask
BEGIN
    SELECT CASE
        WHEN typeof(new.name) <> 'text' OR length(new.name) NOT BETWEEN 1 AND 200
            THEN RAISE(ABORT, 'ask.name: must be text of 1 to 200 characters')
        WHEN EXISTS (SELECT 1 FROM t_ask WHERE name = new.name)
            THEN RAISE(ABORT, 'ask.name: there is a question of that name; choose another one, or DELETE it FROM ask')
        WHEN typeof(new.event) <> 'text'
            THEN RAISE(ABORT, 'ask.event: must be text')
        WHEN new.event IN ('connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener')
            THEN RAISE(ABORT, 'ask.event: must not be one of the reserved names connect, connect_error, disconnect, disconnecting, newListener, removeListener')
        WHEN new.is_volatile NOT IN (0, 1)
            THEN RAISE(ABORT, 'ask.is_volatile: must be 0 or 1')
        WHEN new.is_plain NOT IN (0, 1)
            THEN RAISE(ABORT, 'ask.is_plain: must be 0 or 1')
        WHEN typeof(coalesce(new.timeout_ms, 10000)) <> 'integer' OR new.timeout_ms NOT BETWEEN 1 AND 86400000
            THEN RAISE(ABORT, 'ask.timeout_ms: must be a whole number from 1 to 86400000')
        WHEN coalesce(new.n_expected, new.n_answered, new.state, new.asked, new.forgotten, new.seq) IS NOT NULL
            THEN RAISE(ABORT, 'ask: n_expected, n_answered, state, asked, forgotten and seq are shown only, leave them out')
        END;
    -- seq says for now where the log ended before
    INSERT INTO t_ask (seq, job_id, n_expected, name) SELECT -1 - coalesce(max(seq), 0), 0, 0, new.name FROM t_packet;
    INSERT INTO t_aim (verb, kind, nsp, room, rooms, except_room, except_rooms, user, event, args, is_volatile, is_plain,
                       attachments, attachment, n_attachments, is_ask)
        VALUES ('ask', 2, new.nsp, new.room, new.rooms, new.except_room, new.except_rooms, new.user, new.event, new.args,
                new.is_volatile, new.is_plain, new.attachments, new.attachment,
                iif(new.attachments IS NULL AND new.attachment IS NULL, 0, NULL), 1);
    -- nobody is there: a process takes notice, so that the question ends
    INSERT INTO t_packet (kind, made_ms) SELECT 23, n.now_ms FROM t_now n
        WHERE (SELECT coalesce(max(seq), 0) FROM t_packet) = (SELECT -1 - seq FROM t_ask WHERE name = new.name);
    UPDATE t_ask SET seq = p.seq, made_ms = p.made_ms, due_ms = p.made_ms + coalesce(new.timeout_ms, 10000),
            forget_ms = p.made_ms + coalesce(new.timeout_ms, 10000) + 86400000,
            n_expected = iif(p.is_ask, (SELECT count(*) FROM t_due), 0)
        FROM t_packet p WHERE t_ask.name = new.name AND p.seq = (SELECT max(seq) FROM t_packet);
    INSERT INTO t_answer (ask_seq, socket_id, sio_id)
        SELECT a.seq, s.socket_id, s.sio_id FROM t_ask a CROSS JOIN t_due d JOIN t_socket s USING (socket_id)
        WHERE a.name = new.name AND a.n_expected > 0;
    INSERT INTO t_job (name, due_ms, args)
        SELECT 'ask.end', iif(a.n_expected = 0, 0, a.due_ms), '{"seq":' || a.seq || '}' FROM t_ask a WHERE a.name = new.name;
    UPDATE t_ask SET job_id = last_insert_rowid() WHERE name = new.name;
END;

CREATE TRIGGER ask_delete INSTEAD OF DELETE ON ask
BEGIN
    DELETE FROM t_job WHERE job_id = (SELECT job_id FROM t_ask WHERE name = old.name);
    DELETE FROM t_answer WHERE ask_seq = (SELECT seq FROM t_ask WHERE name = old.name);
    DELETE FROM t_ask WHERE name = old.name;
END;

-- INSERT: a question is forgotten before its time, as by a DELETE; who waits for its answers hears that there is no such question
-- any more. Where there is none, nothing happens. SELECT: those that can be.
DROP VIEW IF EXISTS ask_cancel;
CREATE VIEW ask_cancel AS
    SELECT name                                 -- of the question
    FROM t_ask WHERE name IS NOT NULL;

CREATE TRIGGER ask_cancel_insert INSTEAD OF INSERT ON ask_cancel
BEGIN
    SELECT CASE WHEN typeof(new.name) <> 'text' THEN RAISE(ABORT, 'ask_cancel.name: must be text') END;
    DELETE FROM ask WHERE name = new.name;
END;

-- The answers to questions that have a name: a row for each socket that was asked. INSERT: what the server does for each
-- answer that comes, and with socket NULL at the end; see incoming.sql.
DROP VIEW IF EXISTS answer;
CREATE VIEW answer AS
    SELECT a.name,                              -- of the question
           w.sio_id AS socket,                  -- who was asked; INSERT: NULL at the end of the question
           w.n_before >= 0 IS TRUE AS is_answered, -- 1: this one has answered; INSERT at the end: all have
           w.n_before + 1 AS n,                 -- 1 is the first answer that came; NULL: none came yet; 0: none came in time;
                                                -- INSERT at the end: how many came
           CASE WHEN w.n_before >= 0 THEN '[' || coalesce(w.body, '') || ']' END AS args, -- JSON array
           CASE WHEN w.n_before >= 0 AND length(w.attachments) > 0
                THEN w.attachments END AS attachments -- binary data, as in emit
    FROM t_ask a CROSS JOIN t_answer w ON w.ask_seq = a.seq
    WHERE a.name IS NOT NULL;

CREATE TRIGGER t_answer_none INSTEAD OF INSERT ON answer WHEN 0 BEGIN SELECT 1; END;

-- INSERT: answers an event of a client that wants an ack, whenever and from wherever; nothing happens where the client is
-- gone, or wants none. A second answer to the same event is ignored by the client. SELECT: the acks that are still in the log.
DROP VIEW IF EXISTS ack;
CREATE VIEW ack AS
    SELECT coalesce((SELECT s.sio_id FROM t_socket s WHERE s.socket_id = p.to_id), '(forgotten)') || ':' || p.ack_id
               AS event_id,                     -- as the event came with it: socket id, colon, number of the ack;
                                                -- no number: none is wanted
           p.body AS args,                      -- JSON array; INSERT: NULL is '[]'
           p.attachments,                       -- binary data, as in emit
           NULL AS attachment,                  -- INSERT only: one BLOB as it is
           p.seq                                -- shown only: place in the log
    FROM t_packet p
    WHERE p.kind IN (3, 6);

-- The number stands behind the last colon: a namespace, part of a socket's id with clients 2.x, may have some.
CREATE TRIGGER ack_insert INSTEAD OF INSERT ON ack
BEGIN
    SELECT CASE
        WHEN typeof(new.event_id) <> 'text' OR rtrim(new.event_id, '0123456789') NOT GLOB '?*:'
                OR length(new.event_id) - length(rtrim(new.event_id, '0123456789')) > 18
            THEN RAISE(ABORT, 'ack.event_id: must be what an event came with: a socket id, a colon, and a number')
        WHEN new.seq IS NOT NULL
            THEN RAISE(ABORT, 'ack.seq: is given by the log, leave it out')
        END;
    UPDATE t_retry SET mark_seq = coalesce((SELECT max(seq) FROM t_packet), 0)
        WHERE event_id = new.event_id AND is_answered = 0;
    INSERT INTO t_aim (verb, kind, nsp, socket, ack_id, args, attachments, attachment, n_attachments)
        SELECT 'ack', 3,
               (SELECT n.name FROM t_socket s JOIN t_nsp n USING (nsp_id) WHERE s.sio_id = w.socket),
               w.socket, w.ack_id,
               new.args, new.attachments, new.attachment, iif(new.attachments IS NULL AND new.attachment IS NULL, 0, NULL)
        FROM (SELECT coalesce(s.sio_id, e.socket) AS socket, coalesce(r.ack_id, CAST(e.number AS INTEGER)) AS ack_id
              FROM (SELECT substr(new.event_id, 1, length(rtrim(new.event_id, '0123456789')) - 1) AS socket,
                           substr(new.event_id, length(rtrim(new.event_id, '0123456789')) + 1) AS number) e
              -- one that was sent again is answered where it was sent last
              LEFT JOIN t_retry r ON r.event_id = new.event_id AND r.is_answered = 0
              LEFT JOIN t_socket s ON s.socket_id = r.socket_id
              WHERE e.number <> '') w;
    UPDATE t_retry SET is_answered = 1,
            body = CASE WHEN (SELECT max(seq) FROM t_packet) > mark_seq
                        THEN (SELECT p.body FROM t_packet p WHERE p.seq = (SELECT max(seq) FROM t_packet))
                        ELSE '[' || t.items || CASE WHEN new.attachment IS NOT NULL AND NOT t.has_places
                                 THEN CASE t.items WHEN '' THEN '' ELSE ',' END || '{"_placeholder":true,"num":0}' ELSE '' END || ']' END,
            attachments = CASE WHEN (SELECT max(seq) FROM t_packet) > mark_seq
                        THEN (SELECT p.attachments FROM t_packet p WHERE p.seq = (SELECT max(seq) FROM t_packet))
                        WHEN new.attachment IS NOT NULL
                        THEN CAST(substr(t.bytes, (length(new.attachment) >> 24 & 255) + 1, 1) ||
                                  substr(t.bytes, (length(new.attachment) >> 16 & 255) + 1, 1) ||
                                  substr(t.bytes, (length(new.attachment) >> 8 & 255) + 1, 1) ||
                                  substr(t.bytes, (length(new.attachment) & 255) + 1, 1) || new.attachment AS BLOB)
                        ELSE new.attachments END
        FROM (SELECT substr(trim(coalesce(new.args, '[]'), char(9, 10, 13, 32)), 2,
                            length(trim(coalesce(new.args, '[]'), char(9, 10, 13, 32))) - 2) AS items,
                     EXISTS (SELECT 1 FROM json_tree(new.args) j
                             WHERE j.type = 'object' AND json_extract(j.value, '$._placeholder') IS 1) AS has_places,
                     (SELECT bytes FROM t_byte) AS bytes) t
        WHERE event_id = new.event_id AND is_answered = 0;
END;
