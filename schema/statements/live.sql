-- Processes. store/live.c
--
-- SPDX-License-Identifier: MIT

-- name: process_create
-- in: front os_pid address last_seq config_hash now; out: process_id; one row
INSERT INTO t_process (front, os_pid, address, last_seq, config_hash, started_ms)
VALUES (:front, :os_pid, :address, :last_seq, :config_hash, :now) RETURNING process_id;

-- name: process_update
-- in: process_id last_seq is_draining; zero rows
UPDATE t_process SET last_seq = :last_seq, is_draining = :is_draining WHERE process_id = :process_id;

-- name: process_configure
-- in: process_id config_hash; zero rows
UPDATE t_process SET config_hash = :config_hash WHERE process_id = :process_id;

-- name: process_delete
-- in: process_id; zero rows. Not while it holds a lease: whoever sweeps clears that away first
DELETE FROM t_process WHERE process_id = :process_id
    AND NOT EXISTS (SELECT 1 FROM t_lease WHERE owner_id = :process_id);

-- name: process_seqs
-- scan: a list of some ten processes
-- out: process_id last_seq; all rows
SELECT process_id, last_seq FROM t_process;

-- name: process_sidecars
-- scan: a list of some ten processes
-- out: process_id; those that take upgrades
SELECT process_id FROM t_process WHERE front = 'ws' AND is_draining = 0;
