-- siolite: the web hook.
--
--   SELECT … FROM hook, hook_total         what it is still to be told, and what was given up
--   INSERT INTO hook_retry (event_id) …    one that was given up is tried again
--
-- SPDX-License-Identifier: MIT

-- What the web hook is still to be told, in order for each socket, and the newest 1000 of what was given up.
DROP VIEW IF EXISTS hook;
CREATE VIEW hook AS
    SELECT h.event_id,                          -- the same in each try
           CASE h.kind WHEN 0 THEN 'connect' WHEN 1 THEN 'event' WHEN 2 THEN 'disconnect' WHEN 3 THEN 'ack'
                       ELSE 'presence' END AS kind,
           nullif(h.nsp, '') AS nsp,            -- the namespace; NULL: an ack
           CASE WHEN h.kind < 3 THEN h.sio_id END AS socket, -- whose it is; NULL: an ack, a user's presence
           CASE h.kind WHEN 1 THEN CASE WHEN json_valid(h.body) THEN json_extract(h.body, '$[0]') END -- its name; an ack: that of the question; presence: the user
                WHEN 3 THEN (SELECT a.name FROM t_ask a WHERE a.seq = h.ack_id)
                WHEN 4 THEN h.body ->> '$.user' END AS event,
           CASE WHEN h.is_parked THEN 'parked'  -- given up
                WHEN h.owner_id IS NOT NULL THEN 'posting' -- under way; or its process died a moment ago, or hangs
                WHEN h.due_ms IS NULL THEN 'behind' -- waits for the one before it of its socket
                ELSE 'waiting' END AS state,    -- is due at next_s
           h.n_tries,                           -- so far
           h.error,                             -- of the last try
           (w.now_ms - h.made_ms) / 1000 AS age_s, -- since it happened
           max(0, h.due_ms - w.now_ms) / 1000 AS next_s, -- until the next try
           h.n_bytes,                           -- of its contents
           h.owner_id AS process_id             -- who posts it
    FROM t_hook h CROSS JOIN t_now w;

-- One row: how much that is.
DROP VIEW IF EXISTS hook_total;
CREATE VIEW hook_total AS
    SELECT c.n_rows AS n_waiting,               -- parked ones not counted
           c.n_bytes,                           -- of these
           (SELECT count(*) FROM t_hook WHERE is_parked = 1) AS n_parked, -- given up and kept
           c.n_dropped                          -- for which there was no room, ever
    FROM t_hook_count c;

-- INSERT: an event that was given up is tried again, before the others of its socket that wait. SELECT: those that can be.
DROP VIEW IF EXISTS hook_retry;
CREATE VIEW hook_retry AS
    SELECT event_id FROM t_hook WHERE is_parked = 1 AND kind <> 0;

CREATE TRIGGER hook_retry_insert INSTEAD OF INSERT ON hook_retry
BEGIN
    SELECT CASE
        WHEN NOT EXISTS (SELECT 1 FROM t_hook WHERE event_id = new.event_id AND is_parked = 1 AND kind <> 0)
            THEN RAISE(ABORT, 'hook_retry.event_id: must be one of hook whose state is parked and whose kind is not connect')
        END;
    UPDATE t_hook SET is_parked = 0, made_ms = (SELECT now_ms FROM t_now) WHERE event_id = new.event_id;
    UPDATE t_hook SET due_ms = (SELECT now_ms FROM t_now)
        WHERE hook_id = (SELECT min(b.hook_id) FROM t_hook b
                         WHERE b.is_parked = 0 AND b.sio_id = (SELECT a.sio_id FROM t_hook a WHERE a.event_id = new.event_id))
          AND NOT EXISTS (SELECT 1 FROM t_hook c WHERE c.due_ms IS NOT NULL AND c.sio_id = t_hook.sio_id);
END;
