-- The log: appending and reading rows. store/log.c
--
-- SPDX-License-Identifier: MIT

-- name: log_append
-- in: all but seq; zero rows. The seq is what the write connection's update hook saw.
INSERT INTO t_packet (kind, nsp_id, to_kind, to_id, to_list, not_list, skip_id, arg_id, socket_id, ack_id,
    is_ask, is_volatile, is_local, is_plain, origin_id, made_ms, body, attachments)
VALUES (:kind, :nsp_id, :to_kind, :to_id, :to_list, :not_list, :skip_id, :arg_id, :socket_id, :ack_id,
    :is_ask, :is_volatile, :is_local, :is_plain, :origin_id, :made_ms, :body, :attachments);

-- name: log_append_control
-- in: as log_append's, those that a control row has; zero rows. The view's trigger does the membership work.
INSERT INTO t_control (kind, nsp_id, to_kind, to_id, to_list, not_list, skip_id, arg_id, socket_id,
    origin_id, made_ms, body)
VALUES (:kind, :nsp_id, :to_kind, :to_id, :to_list, :not_list, :skip_id, :arg_id, :socket_id,
    :origin_id, :made_ms, :body);

-- name: log_read
-- in: from_seq to_seq n; out: the columns that decode() wants; at most n rows
SELECT seq, kind, nsp_id, to_kind, to_id, to_list, not_list, skip_id, arg_id, socket_id, ack_id,
    is_ask, is_volatile, is_local, is_plain, origin_id, made_ms, body, attachments
FROM t_packet WHERE seq > :from_seq AND seq <= :to_seq ORDER BY seq LIMIT :n;

-- name: log_max
-- out: seq of the newest row, 0 if there is none; one row
SELECT coalesce((SELECT max(seq) FROM t_packet), 0);

-- name: log_horizon
-- scan: t_meta has one row
-- out: horizon_seq; one row
SELECT horizon_seq FROM t_meta;
