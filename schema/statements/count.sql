-- Counters of all processes together. store/count.c
--
-- SPDX-License-Identifier: MIT

-- name: count_add
-- in: name labels n; no columns
INSERT INTO t_count (name, labels, value) VALUES (:name, :labels, :n)
    ON CONFLICT (name, labels) DO UPDATE SET value = value + excluded.value;

-- name: count_text
-- in: nothing; out: line; a row a value of the view `metric`, in the Prometheus text format, with what precedes the first
-- of a name. Reads the leases and sockets: some milliseconds at 100,000 of them.
-- scan: counts what is there
SELECT CASE WHEN lag(name) OVER (ORDER BY name, labels) IS NOT name
            THEN '# HELP ' || name || ' ' || help || char(10) || '# TYPE ' || name || ' ' || kind || char(10)
            ELSE '' END ||
       name || CASE labels WHEN '' THEN '' ELSE '{' || labels || '}' END || ' ' || value || char(10)
FROM metric ORDER BY name, labels;
