-- siolite: what applications could not do.
--
-- SPDX-License-Identifier: MIT

-- SELECT: the newest 1000 failures of application SQL. The effects of that handler or trigger were dropped, all else of
-- the same message counts.
DROP VIEW IF EXISTS app_error;
CREATE VIEW app_error AS
    SELECT datetime(made_s, 'unixepoch') AS time, -- UTC
           what,                                -- connection, event, disconnect, answer; or the name of a C handler
           nsp,                                 -- the namespace
           sio_id AS socket,                    -- whose it was; a socket that was refused is nowhere else
           event,                               -- name of the event, or NULL
           error,                               -- why
           error_id                             -- in which order
    FROM t_app_error;
