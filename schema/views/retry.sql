-- siolite: events that clients may send again (docs/users.md).
--
-- SPDX-License-Identifier: MIT

-- Those with a retryKey that were handled, as long as they are remembered.
DROP VIEW IF EXISTS retry;
CREATE VIEW retry AS
    SELECT coalesce(s.sio_id, '(forgotten)') AS socket, -- who has sent it last
           n.name AS nsp,                       -- the namespace
           r.event ->> '$' AS event,            -- its name
           r.is_answered,                       -- 1: the ack was given; it is given again for each further try
           CASE WHEN t.wall_offset_ms <> 0
                THEN datetime((r.made_ms + t.wall_offset_ms) / 1000, 'unixepoch') END AS time, -- UTC; of the first try
           r.retry_id AS seq                    -- in which order they came
    FROM t_retry r LEFT JOIN t_socket s USING (socket_id) LEFT JOIN t_nsp n USING (nsp_id) CROSS JOIN t_meta t;
