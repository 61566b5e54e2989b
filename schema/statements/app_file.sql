-- The application in SQL. store/app_file.c
--
-- SPDX-License-Identifier: MIT

-- name: app_file_read
-- out: hash; zero rows: none was applied
SELECT hash FROM t_app_file WHERE file_id = 1;

-- name: app_file_put
-- in: hash; one row
INSERT OR REPLACE INTO t_app_file (file_id, hash) VALUES (1, :hash);

-- name: app_file_forget
-- zero rows; it is applied again at the next start
UPDATE t_app_file SET hash = '' WHERE file_id = 1;

-- name: app_triggers
-- scan: once at a start, and where a trigger is broken
-- out: name view sql, of the application's triggers on incoming views
SELECT name, lower(tbl_name), sql FROM sqlite_schema
WHERE type = 'trigger' AND lower(tbl_name) IN ('connection', 'event', 'disconnect', 'answer') AND substr(name, 1, 2) <> 't_';
