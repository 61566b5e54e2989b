-- Transactions (store/thread.c), and what an opener looks at (store/open.c).
--
-- SPDX-License-Identifier: MIT

-- name: batch_begin
-- zero rows
BEGIN IMMEDIATE;

-- name: batch_commit
-- zero rows
COMMIT;

-- name: batch_rollback
-- zero rows
ROLLBACK;

-- name: batch_savepoint
-- zero rows; only in a transaction that is redone: so one offender more costs no third run
SAVEPOINT one_unit;

-- name: batch_undo
-- zero rows
ROLLBACK TO one_unit;

-- name: batch_release
-- zero rows
RELEASE one_unit;

-- name: meta_read
-- scan: t_meta has one row
-- out: epoch boot_id wall_offset_ms; one row
SELECT epoch, boot_id, wall_offset_ms FROM t_meta;

-- name: meta_boot
-- scan: t_meta has one row
-- in: boot_id wall_offset_ms; zero rows
UPDATE t_meta SET boot_id = :boot_id, wall_offset_ms = :wall_offset_ms;

-- name: meta_limits
-- scan: t_meta has one row
-- in: n_rooms_max n_pending_max n_attachments_max; zero rows
UPDATE t_meta SET n_rooms_max = :n_rooms_max, n_pending_max = :n_pending_max, n_attachments_max = :n_attachments_max
WHERE n_rooms_max <> :n_rooms_max OR n_pending_max <> :n_pending_max OR n_attachments_max <> :n_attachments_max;

-- name: epoch_raise
-- scan: t_meta has one row
-- zero rows
UPDATE t_meta SET epoch = epoch + 1;

-- name: epoch_first_row
-- in: now; zero rows. 2^32 further than the newest row: more than a power loss can take back
INSERT INTO t_packet (seq, kind, made_ms)
SELECT coalesce((SELECT max(seq) FROM t_packet), 0) + 4294967296, 23, :now;

-- name: shift_lease
-- scan: once after a boot
-- in: delta; zero rows. Times of the last boot, said in this one's
UPDATE t_lease SET upgrade_due_ms = upgrade_due_ms + iif(upgrade_due_ms > 0, :delta, 0),
    connect_due_ms = connect_due_ms + :delta, ping_ms = ping_ms + iif(ping_ms > 0, :delta, 0),
    due_ms = due_ms + :delta, forget_ms = forget_ms + :delta;

-- name: shift_session
-- scan: once after a boot
-- in: delta; zero rows
UPDATE t_session SET started_ms = started_ms + :delta;

-- name: shift_socket
-- scan: once after a boot
-- in: delta; zero rows
UPDATE t_socket SET gone_ms = gone_ms + :delta WHERE gone_ms IS NOT NULL;

-- name: shift_job
-- scan: once after a boot
-- in: delta; zero rows. 0 is at once, the largest integer is never
UPDATE t_job SET due_ms = due_ms + :delta WHERE due_ms <> 0 AND due_ms <> 9223372036854775807;

-- name: shift_ask
-- scan: once after a boot
-- in: delta; zero rows
UPDATE t_ask SET made_ms = made_ms + :delta, due_ms = due_ms + :delta, forget_ms = forget_ms + :delta
WHERE name IS NOT NULL;

-- name: shift_dedup
-- scan: once after a boot
-- in: delta; zero rows
UPDATE t_dedup SET made_ms = made_ms + :delta;

-- name: shift_hook
-- scan: once after a boot
-- in: delta; zero rows
UPDATE t_hook SET made_ms = made_ms + :delta, due_ms = due_ms + :delta, lease_ms = lease_ms + :delta;

-- name: shift_meta
-- scan: t_meta has one row
-- in: delta; zero rows
UPDATE t_meta SET swept_ms = swept_ms + :delta;
