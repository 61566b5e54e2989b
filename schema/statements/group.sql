-- Groups that were left out. store/group.c
--
-- SPDX-License-Identifier: MIT

-- name: app_error_add
-- in: what nsp sio_id event error; no columns; one row
INSERT INTO t_app_error (made_s, what, nsp, sio_id, event, error)
VALUES (CAST(strftime('%s', 'now') AS INTEGER), :what, :nsp, :sio_id, :event, :error);

-- name: app_error_trim
-- in: n; zero rows. Right after app_error_add: the newest n stay
DELETE FROM t_app_error WHERE error_id <= last_insert_rowid() - :n;
