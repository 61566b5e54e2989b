-- The application in SQL. store/app_file.c
--
-- SPDX-License-Identifier: MIT

-- name: app_file_read
-- out: hash is_up_to_date; zero rows: none was applied
SELECT hash, broken_version IS NULL OR broken_version = (SELECT schema_version FROM pragma_schema_version)
FROM t_app_file WHERE file_id = 1;

-- name: app_file_put
-- in: hash; one row
INSERT OR REPLACE INTO t_app_file (file_id, hash, broken_version) VALUES (1, :hash, NULL);

-- name: app_file_forget
-- zero rows; it is applied again at the next start
UPDATE t_app_file SET hash = '' WHERE file_id = 1;

-- name: app_file_broken
-- zero rows; it is applied again at the first start after a change of the schema
UPDATE t_app_file SET broken_version = (SELECT schema_version FROM pragma_schema_version) WHERE file_id = 1;

-- name: app_triggers
-- scan: once at a start, and where a trigger is broken
-- out: name view sql, of the application's triggers on incoming views
SELECT name, lower(tbl_name), sql FROM sqlite_schema
WHERE type = 'trigger' AND lower(tbl_name) IN ('connection', 'event', 'disconnect', 'answer', 'presence') AND substr(name, 1, 2) <> 't_';
