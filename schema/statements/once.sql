-- Units that happen once. store/once.c
--
-- SPDX-License-Identifier: MIT

-- name: guard_once
-- in: key now_ms print answer; no columns; zero rows changed: the key was used
INSERT OR IGNORE INTO t_dedup (key, made_ms, print, answer) VALUES (:key, :now_ms, :print, :answer);

-- name: read_once
-- in: key; out: print answer; at most one row
SELECT print, answer FROM t_dedup WHERE key = :key;
