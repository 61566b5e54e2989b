-- The chat of chat.c as an application in SQL: the same events, the same page, no compiler. docs/sql.md explains how such a
-- file works; the events are described at the top of chat.c.
--
--     app = chat.sql            in siolite.conf
--     make run APP=docs/examples/chat.sql
--
-- The server INSERTs what comes in into the views connection, event and disconnect; what the triggers here INSERT into other
-- views is done: emit, ack, room_join, room_leave, socket_user.
--
-- SPDX-License-Identifier: MIT

-- version 1
CREATE TABLE chat_line (
    line_id INTEGER PRIMARY KEY,
    room    TEXT    NOT NULL,
    socket  TEXT    NOT NULL,                   -- who said it
    name    TEXT    NOT NULL,
    at_ms   INTEGER NOT NULL,                   -- Unix time
    text    TEXT    NOT NULL
) STRICT;
CREATE INDEX chat_line_room ON chat_line (room, line_id);

-- always

-- ---------------------------------------------------------------------------------------------- what several triggers need
--
-- SQL has no functions of one's own, but a view with an INSTEAD OF trigger is nearly one: its columns are the parameters.

-- Everybody is told who is where.
DROP VIEW IF EXISTS chat_rooms;
CREATE VIEW chat_rooms AS SELECT NULL AS why;
CREATE TRIGGER chat_rooms_tell INSTEAD OF INSERT ON chat_rooms
BEGIN
    INSERT INTO emit (event, args) SELECT 'rooms', json_array(json(
        (SELECT json_group_array(json_array(room, n_members))
         FROM (SELECT room, n_members FROM room WHERE nsp = '/' ORDER BY room LIMIT 100))));
END;

-- An event is answered with what went wrong, or with null.
DROP VIEW IF EXISTS chat_answer;
CREATE VIEW chat_answer AS SELECT NULL AS event_id, NULL AS problem;
CREATE TRIGGER chat_answer_ack INSTEAD OF INSERT ON chat_answer
BEGIN
    INSERT INTO ack (event_id, args) VALUES (new.event_id, json_array(new.problem));
END;

-- ---------------------------------------------------------------------------------------------------------------- name(name)

CREATE TRIGGER chat_name INSTEAD OF INSERT ON event WHEN new.nsp = '/' AND new.event = 'name'
BEGIN
    INSERT INTO chat_name_as (event_id, socket, name, problem)
        SELECT new.event_id, new.socket, a.name,
               CASE WHEN typeof(a.name) <> 'text' OR length(CAST(a.name AS BLOB)) NOT BETWEEN 1 AND 40
                         OR instr(a.name, char(0)) OR a.name GLOB '*[' || char(1) || '-' || char(31, 127) || ']*'
                    THEN 'A name has 1 to 40 bytes.'
                    WHEN new.user IS NOT NULL THEN 'You have a name already.' END
        FROM (SELECT new.args ->> '$[0]' AS name) a;
END;

DROP VIEW IF EXISTS chat_name_as;
CREATE VIEW chat_name_as AS SELECT NULL AS event_id, NULL AS socket, NULL AS name, NULL AS problem;
CREATE TRIGGER chat_name_as_do INSTEAD OF INSERT ON chat_name_as
BEGIN
    INSERT INTO socket_user (socket, user) SELECT new.socket, new.name WHERE new.problem IS NULL;
    INSERT INTO chat_answer (event_id, problem) VALUES (new.event_id, new.problem);
END;

-- --------------------------------------------------------------------------------------------------------------- enter(room)

CREATE TRIGGER chat_enter INSTEAD OF INSERT ON event WHEN new.nsp = '/' AND new.event = 'enter'
BEGIN
    INSERT INTO chat_enter_as (event_id, socket, user, room, is_in, problem)
        SELECT new.event_id, new.socket, new.user, a.room,
               EXISTS (SELECT 1 FROM member WHERE socket = new.socket AND room = a.room),
               CASE WHEN new.user IS NULL THEN 'Say your name first.'
                    WHEN typeof(a.room) <> 'text' OR length(a.room) NOT BETWEEN 1 AND 19 OR a.room GLOB '*[^a-z0-9-]*'
                    THEN 'A room has up to 19 letters a-z, digits and dashes.'
                    WHEN (SELECT count(*) FROM member WHERE socket = new.socket AND room <> a.room) >= 10
                    THEN 'That are too many rooms; leave one first.' END
        FROM (SELECT new.args ->> '$[0]' AS room) a;
END;

DROP VIEW IF EXISTS chat_enter_as;
CREATE VIEW chat_enter_as AS
    SELECT NULL AS event_id, NULL AS socket, NULL AS user, NULL AS room, NULL AS is_in, NULL AS problem;
CREATE TRIGGER chat_enter_refuse INSTEAD OF INSERT ON chat_enter_as WHEN new.problem IS NOT NULL
BEGIN
    INSERT INTO chat_answer (event_id, problem) VALUES (new.event_id, new.problem);
END;
-- What was inserted is there at once for what follows: the newcomer is among the people.
CREATE TRIGGER chat_enter_do INSTEAD OF INSERT ON chat_enter_as WHEN new.problem IS NULL
BEGIN
    INSERT INTO room_join (socket, room) VALUES (new.socket, new.room);
    INSERT INTO emit (room, except_room, event, args)
        SELECT new.room, new.socket, 'joined', json_array(new.room, new.socket, new.user) WHERE NOT new.is_in;
    INSERT INTO chat_rooms (why) SELECT 'joined' WHERE NOT new.is_in;
    INSERT INTO ack (event_id, args) SELECT new.event_id, json_array(NULL,
        json((SELECT json_group_array(json_array(s.socket, s.user))
              FROM member m JOIN socket s USING (socket) WHERE m.nsp = '/' AND m.room = new.room)),
        json((SELECT json_group_array(json_array(socket, name, at_ms, text))
              FROM (SELECT socket, name, at_ms, text FROM chat_line WHERE room = new.room ORDER BY line_id))));
END;

-- --------------------------------------------------------------------------------------------------------------- leave(room)

CREATE TRIGGER chat_leave INSTEAD OF INSERT ON event WHEN new.nsp = '/' AND new.event = 'leave'
BEGIN
    INSERT INTO chat_leave_as (socket, room)
        SELECT socket, room FROM member WHERE socket = new.socket AND room = new.args ->> '$[0]';
    INSERT INTO chat_answer (event_id) VALUES (new.event_id);
END;

DROP VIEW IF EXISTS chat_leave_as;
CREATE VIEW chat_leave_as AS SELECT NULL AS socket, NULL AS room;
CREATE TRIGGER chat_leave_do INSTEAD OF INSERT ON chat_leave_as
BEGIN
    INSERT INTO room_leave (socket, room) VALUES (new.socket, new.room);
    INSERT INTO emit (room, event, args) VALUES (new.room, 'left', json_array(new.room, new.socket));
    INSERT INTO chat_rooms (why) VALUES ('left');
END;

-- ------------------------------------------------------------------------------------------------------ say(room or id, what)

CREATE TRIGGER chat_say INSTEAD OF INSERT ON event WHEN new.nsp = '/' AND new.event = 'say'
BEGIN
    INSERT INTO chat_say_as (event_id, socket, user, whither, what, text, attachments, is_room, problem)
        SELECT new.event_id, new.socket, new.user, a.whither, new.args -> '$[1]',
               CASE WHEN new.attachments IS NULL THEN new.args ->> '$[1]' END, new.attachments,
               a.is_room,
               CASE WHEN new.user IS NULL OR typeof(a.whither) <> 'text' OR json_array_length(new.args) <> 2
                    THEN 'Say your name first, then: to whom, and what.'
                    -- what is binary stands in attachments, behind its length, and in args is a mark where it was
                    WHEN NOT CASE WHEN json_type(new.args, '$[1]') = 'text'
                                  THEN length(CAST(new.args ->> '$[1]' AS BLOB)) BETWEEN 1 AND 2000
                                       AND NOT instr(new.args ->> '$[1]', char(0))
                                  ELSE new.args ->> '$[1]._placeholder' IS 1
                                       AND coalesce(length(new.attachments), 0) - 4 BETWEEN 1 AND 600000 END
                    THEN 'A text has up to 2,000 bytes, a picture up to 600,000.'
                    WHEN NOT a.is_room AND NOT EXISTS (SELECT 1 FROM socket WHERE socket = a.whither AND nsp = '/')
                    THEN 'Nobody is there any more.' END
        FROM (SELECT new.args ->> '$[0]' AS whither,
                     EXISTS (SELECT 1 FROM member WHERE socket = new.socket AND room = new.args ->> '$[0]') AS is_room) a;
END;

DROP VIEW IF EXISTS chat_say_as;
CREATE VIEW chat_say_as AS
    SELECT NULL AS event_id, NULL AS socket, NULL AS user, NULL AS whither, NULL AS what, NULL AS text, NULL AS attachments,
           NULL AS is_room, NULL AS problem, NULL AS at_ms;
CREATE TRIGGER chat_say_refuse INSTEAD OF INSERT ON chat_say_as WHEN new.problem IS NOT NULL
BEGIN
    INSERT INTO chat_answer (event_id, problem) VALUES (new.event_id, new.problem);
END;
-- `now` is the same in all of one event.
CREATE TRIGGER chat_say_room INSTEAD OF INSERT ON chat_say_as WHEN new.problem IS NULL AND new.is_room
BEGIN
    INSERT INTO emit (room, event, args, attachments) VALUES (new.whither, 'said', json_array(
        new.whither, new.socket, new.user, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), json(new.what)),
        new.attachments);
    INSERT INTO chat_line (room, socket, name, at_ms, text)
        SELECT new.whither, new.socket, new.user, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), new.text
        WHERE new.text IS NOT NULL;
    DELETE FROM chat_line WHERE room = new.whither AND line_id <= ( -- the newest 20 of a room stay
        SELECT line_id FROM chat_line WHERE room = new.whither ORDER BY line_id DESC LIMIT 1 OFFSET 20);
    INSERT INTO chat_answer (event_id) VALUES (new.event_id);
END;
CREATE TRIGGER chat_say_one INSTEAD OF INSERT ON chat_say_as WHEN new.problem IS NULL AND NOT new.is_room
BEGIN
    INSERT INTO emit (room, event, args, attachments) VALUES (new.whither, 'told', json_array(
        new.socket, new.user, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), json(new.what)),
        new.attachments);
    INSERT INTO chat_answer (event_id) VALUES (new.event_id);
END;

-- --------------------------------------------------------------------------------------------------------- typing(room or id)

-- Volatile: who can't be written to at this moment misses nothing.
CREATE TRIGGER chat_typing INSTEAD OF INSERT ON event WHEN new.nsp = '/' AND new.event = 'typing' AND new.user IS NOT NULL
BEGIN
    INSERT INTO emit (room, except_room, event, args, is_volatile)
        SELECT a.whither, new.socket, 'typing', json_array(iif(a.is_room, a.whither, NULL), new.socket, new.user), 1
        FROM (SELECT new.args ->> '$[0]' AS whither,
                     EXISTS (SELECT 1 FROM member WHERE socket = new.socket AND room = new.args ->> '$[0]') AS is_room) a
        WHERE a.is_room OR EXISTS (SELECT 1 FROM socket WHERE socket = a.whither AND nsp = '/');
END;

-- ------------------------------------------------------------------------------------------------------------ coming and going

CREATE TRIGGER chat_gone INSTEAD OF INSERT ON disconnect WHEN new.nsp = '/' AND new.rooms <> '[]'
BEGIN
    INSERT INTO emit (room, event, args)
        SELECT r.value, 'left', json_array(r.value, new.socket, new.user) FROM json_each(new.rooms) r;
    INSERT INTO chat_rooms (why) VALUES ('left');
END;

-- A connection that was lost and recovered has its name and its rooms again; the others saw it leave.
CREATE TRIGGER chat_back INSTEAD OF INSERT ON connection WHEN new.nsp = '/' AND new.is_recovered
BEGIN
    INSERT INTO emit (room, except_room, event, args)
        SELECT room, new.socket, 'joined', json_array(room, new.socket, new.user) FROM member WHERE socket = new.socket;
    INSERT INTO chat_rooms (why) VALUES ('back');
END;
