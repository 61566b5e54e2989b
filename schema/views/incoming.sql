-- siolite: what comes in, for applications in SQL (docs/sql.md).
--
-- The server INSERTs each connection, event and disconnect into these views (disconnect stands in who.sql), and into answer
-- what comes back for a question; the application's own INSTEAD OF INSERT triggers say what happens then:
--
--   CREATE TRIGGER greet INSTEAD OF INSERT ON event WHEN new.event = 'hello'
--   BEGIN
--       INSERT INTO emit (room, event, args) VALUES (new.socket, 'welcome', json_array('Hello, ' || new.user));
--   END;
--
-- What the triggers do stands in the transaction of the thing itself. Where one fails, that event alone has no effects, and
-- the view app_error says why. Whoever INSERTs by hand tries the triggers out, nothing else comes of it. SELECT gives
-- nothing.
--
-- SPDX-License-Identifier: MIT

-- A client has joined a namespace: its socket is there, its connection is answered before anything that the trigger emits. A
-- trigger that fails, or INSERTs into refuse, lets it not in: the socket was never there.
DROP VIEW IF EXISTS connection;
CREATE VIEW connection AS
    SELECT NULL AS socket,                      -- socket.id
           NULL AS nsp,                         -- the namespace
           NULL AS user,                        -- NULL; a recovered one's: as it was
           NULL AS data,                        -- socket.data, JSON, likewise: 'null' at first
           NULL AS auth,                        -- what the client gave to be let in, JSON object
           NULL AS query,                       -- parameters of the URL, JSON object of texts
           NULL AS headers,                     -- of the handshake, JSON object of texts; names in small letters
           NULL AS remote,                      -- address of the client
           NULL AS transport,                   -- polling or websocket
           NULL AS protocol,                    -- of Engine.IO: 4, or 3 for clients 1.x and 2.x
           NULL AS is_recovered                 -- 1: it was lost and comes back, with its rooms and all that it missed
    WHERE 0;

-- A client has emitted something.
DROP VIEW IF EXISTS event;
CREATE VIEW event AS
    SELECT NULL AS event_id,                    -- for INSERT INTO ack, now or later, whether one is wanted or not
           NULL AS socket,                      -- who; a room too, that only this one is in
           NULL AS nsp,                         -- the namespace
           NULL AS user,                        -- whom the application says it is, or NULL
           NULL AS data,                        -- socket.data, JSON
           NULL AS event,                       -- its name
           NULL AS args,                        -- JSON array
           NULL AS attachments,                 -- binary data, as in emit; their places in args are marked. NULL: none
           NULL AS wants_ack                    -- 1: an answer is waited for
    WHERE 0;

-- The connection that is being made is refused. Only in a trigger on connection; the client gets a connect_error.
DROP VIEW IF EXISTS refuse;
CREATE VIEW refuse AS
    SELECT NULL AS socket,                      -- new.socket
           NULL AS message,                     -- error.message at the client
           NULL AS data                         -- error.data, JSON; NULL: none
    WHERE 0;

CREATE TRIGGER t_refuse_insert INSTEAD OF INSERT ON refuse
BEGIN
    SELECT CASE
        WHEN typeof(new.socket) <> 'text' OR NOT EXISTS (
            SELECT 1 FROM t_connecting c JOIN t_socket s USING (socket_id) WHERE s.sio_id = new.socket)
            THEN RAISE(ABORT, 'refuse.socket: must be the socket of the trigger on connection that it stands in')
        WHEN typeof(new.message) <> 'text'
            THEN RAISE(ABORT, 'refuse.message: must be text')
        WHEN typeof(new.data) NOT IN ('text', 'null')
            THEN RAISE(ABORT, 'refuse.data: must be JSON or NULL')
        WHEN new.data IS NOT NULL AND (instr(new.data, char(0)) > 0 OR NOT json_valid(new.data))
            THEN RAISE(ABORT, 'refuse.data: must be JSON or NULL')
        END;
    UPDATE t_connecting SET is_refused = 1, message = new.message, data = new.data;
END;

-- So that an INSERT is possible where the application has no trigger.
CREATE TRIGGER t_connection_none INSTEAD OF INSERT ON connection WHEN 0 BEGIN SELECT 1; END;
CREATE TRIGGER t_event_none INSTEAD OF INSERT ON event WHEN 0 BEGIN SELECT 1; END;
