-- Pruning. store/prune.c
--
-- SPDX-License-Identifier: MIT

-- name: prune_range
-- out: oldest row (NULL: no rows), smallest keep_seq (NULL: nobody keeps); one row
SELECT (SELECT min(seq) FROM t_packet), (SELECT min(keep_seq) FROM t_lease WHERE keep_seq IS NOT NULL);

-- name: prune_bytes
-- scan: pragma functions have one row
-- out: bytes of the database in use; one row
SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size;

-- name: prune_age
-- in: seq; out: made_ms of the newest row up to there (0: an outsider's that knows no time); zero rows: none
SELECT made_ms FROM t_packet WHERE seq <= :seq ORDER BY seq DESC LIMIT 1;

-- name: prune_last
-- in: cut; out: the newest row up to there, NULL: none; one row
SELECT max(seq) FROM t_packet WHERE seq <= :cut;

-- name: prune_rows
-- in: cut; zero rows. The newest row stays in any case: the next seq follows from it.
DELETE FROM t_packet WHERE seq <= :cut AND seq < (SELECT max(seq) FROM t_packet);

-- name: prune_horizon
-- scan: t_meta has one row
-- in: cut; zero rows
UPDATE t_meta SET horizon_seq = :cut WHERE horizon_seq < :cut;

-- name: prune_members
-- scan: m is the n intervals of the subquery
-- in: cut n; zero rows. Intervals that ended below the horizon, but not those of a socket that may be recovered.
DELETE FROM t_member WHERE (socket_id, room_id, since_seq) IN (
    SELECT m.socket_id, m.room_id, m.since_seq FROM (
        SELECT socket_id, room_id, since_seq FROM t_member WHERE until_seq <= :cut ORDER BY until_seq LIMIT :n) m
    WHERE NOT EXISTS (SELECT 1 FROM t_socket s WHERE s.socket_id = m.socket_id AND s.state = 1));
