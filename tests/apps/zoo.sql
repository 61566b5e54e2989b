-- An application in SQL for tests: every view that it may have triggers on, every verb, and faults of every kind.
--
-- SPDX-License-Identifier: MIT

-- version 1
CREATE TABLE seen (seen_id INTEGER PRIMARY KEY, what TEXT NOT NULL);

-- always

-- auth {"user": …, "room": …}; {"refuse": message, "data": …} is refused, {"fail": …} fails.
CREATE TRIGGER zoo_connection INSTEAD OF INSERT ON connection
BEGIN
    INSERT INTO refuse (socket, message, data)
        SELECT new.socket, new.auth ->> 'refuse', new.auth -> 'data' WHERE new.auth ->> 'refuse' IS NOT NULL;
    SELECT RAISE(ABORT, 'not today') WHERE new.auth -> 'fail' IS NOT NULL;
    INSERT INTO socket_user (socket, user) SELECT new.socket, new.auth ->> 'user' WHERE new.auth ->> 'user' IS NOT NULL;
    INSERT INTO socket_data (socket, data) VALUES (new.socket, json_object('transport', new.transport, 'q', new.query ->> 'q'));
    INSERT INTO room_join (socket, room) SELECT new.socket, new.auth ->> 'room' WHERE new.auth ->> 'room' IS NOT NULL;
    INSERT INTO emit (nsp, room, event, args) VALUES (new.nsp, new.socket, 'auth', json_array(json(new.auth)));
END;

-- who(ack): what is known of the sender
CREATE TRIGGER zoo_who INSTEAD OF INSERT ON event WHEN new.event = 'who'
BEGIN
    INSERT INTO ack (event_id, args) SELECT new.event_id, json_array(new.socket, new.nsp, new.user, json(new.data), new.wants_ack,
        json((SELECT json_group_array(room) FROM (SELECT room FROM member WHERE socket = new.socket ORDER BY room))));
END;

-- echo(…args, ack): the same to the sender, and as its ack; binary too
CREATE TRIGGER zoo_echo INSTEAD OF INSERT ON event WHEN new.event = 'echo'
BEGIN
    INSERT INTO emit (nsp, room, event, args, attachments) VALUES (new.nsp, new.socket, 'echo', new.args, new.attachments);
    INSERT INTO ack (event_id, args, attachments) VALUES (new.event_id, new.args, new.attachments);
END;

-- join(room, ack), leave(room, ack)
CREATE TRIGGER zoo_join INSTEAD OF INSERT ON event WHEN new.event = 'join'
BEGIN
    INSERT INTO room_join (socket, room) VALUES (new.socket, new.args ->> 0);
    INSERT INTO ack (event_id) VALUES (new.event_id);
END;
CREATE TRIGGER zoo_leave INSTEAD OF INSERT ON event WHEN new.event = 'leave'
BEGIN
    INSERT INTO room_leave (socket, room) VALUES (new.socket, new.args ->> 0);
    INSERT INTO ack (event_id) VALUES (new.event_id);
END;

-- say(room, what): to the others in it
CREATE TRIGGER zoo_say INSTEAD OF INSERT ON event WHEN new.event = 'say'
BEGIN
    INSERT INTO emit (nsp, room, except_room, event, args)
        VALUES (new.nsp, new.args ->> 0, new.socket, 'said', json_array(new.user, json(new.args -> 1)));
END;

-- vote(name): everybody is asked; each answer, and the end, are told to all
CREATE TRIGGER zoo_vote INSTEAD OF INSERT ON event WHEN new.event = 'vote'
BEGIN
    INSERT INTO ask (name, nsp, event, timeout_ms) VALUES (new.args ->> 0, new.nsp, 'vote?', 2000);
END;
CREATE TRIGGER zoo_answer INSTEAD OF INSERT ON answer
BEGIN
    INSERT INTO emit (event, args)
        VALUES (iif(new.socket IS NULL, 'result', 'voted'), json_array(new.name, new.socket, new.n, new.is_answered, json(new.args)));
END;

-- kick(): the sender is disconnected
CREATE TRIGGER zoo_kick INSTEAD OF INSERT ON event WHEN new.event = 'kick'
BEGIN
    INSERT INTO kick (socket) VALUES (new.socket);
END;

CREATE TRIGGER zoo_disconnect INSTEAD OF INSERT ON disconnect
BEGIN
    INSERT INTO seen (what) VALUES (json_array(new.socket, new.nsp, new.user, new.reason, json(new.rooms)));
END;

-- note(text, ack): kept
CREATE TRIGGER zoo_note INSTEAD OF INSERT ON event WHEN new.event = 'note'
BEGIN
    INSERT INTO seen (what) VALUES (new.args ->> 0);
    INSERT INTO ack (event_id, args) VALUES (new.event_id, json_array('kept'));
END;

-- The faults: each keeps something before.
CREATE TRIGGER zoo_abort INSTEAD OF INSERT ON event WHEN new.event = 'abort'
BEGIN
    INSERT INTO seen (what) VALUES ('abort');
    SELECT RAISE(ABORT, 'as it was asked to');
END;
CREATE TRIGGER zoo_fail INSTEAD OF INSERT ON event WHEN new.event = 'fail'
BEGIN
    INSERT INTO seen (what) VALUES ('fail');
    SELECT RAISE(FAIL, 'as it was asked to');
END;
CREATE TRIGGER zoo_rollback INSTEAD OF INSERT ON event WHEN new.event = 'rollback'
BEGIN
    INSERT INTO seen (what) VALUES ('rollback');
    SELECT RAISE(ROLLBACK, 'as it was asked to');
END;
CREATE TRIGGER zoo_missing INSTEAD OF INSERT ON event WHEN new.event = 'missing'
BEGIN
    INSERT INTO seen (what) VALUES ('missing');
    INSERT INTO nowhere (what) VALUES (1);
END;
CREATE TRIGGER zoo_runaway INSTEAD OF INSERT ON event WHEN new.event = 'runaway'
BEGIN
    INSERT INTO seen (what) SELECT (WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n);
END;
-- Nothing wrong with one of them.
CREATE TRIGGER zoo_slow INSTEAD OF INSERT ON event WHEN new.event = 'slow'
BEGIN
    INSERT INTO seen (what)
        SELECT 'slow ' || (WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) SELECT max(i) FROM n);
END;
-- Endless recursion: of an expression, and of triggers, which SQLite does not let fire themselves.
CREATE TRIGGER zoo_endless INSTEAD OF INSERT ON event WHEN new.event = 'endless'
BEGIN
    INSERT INTO seen (what) SELECT i FROM (WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n);
END;
CREATE TRIGGER zoo_again INSTEAD OF INSERT ON event WHEN new.event = 'again'
BEGIN
    INSERT INTO seen (what) VALUES ('again');
    INSERT INTO event (event_id, socket, nsp, event, args) VALUES (new.event_id, new.socket, new.nsp, 'again', '[]');
END;
CREATE TRIGGER zoo_verb INSTEAD OF INSERT ON event WHEN new.event = 'verb'
BEGIN
    INSERT INTO seen (what) VALUES ('verb');
    INSERT INTO emit (nsp, event) VALUES ('/none', 'x');
END;
