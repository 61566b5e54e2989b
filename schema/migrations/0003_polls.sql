-- siolite: which of two overlapping polls came first.
--
-- SPDX-License-Identifier: MIT

ALTER TABLE t_lease ADD COLUMN poll_ms INTEGER NOT NULL DEFAULT 0; -- when the poll came that holds the lease, or held it last
