-- Application SQL. store/app_sql.c
--
-- SPDX-License-Identifier: MIT

-- name: app_version_find
-- in: version; out: 1; zero rows: not applied yet
SELECT 1 FROM t_app_version WHERE version = :version;

-- name: app_version_add
-- in: version now_ms; no columns; one row
INSERT INTO t_app_version (version, applied_ms) VALUES (:version, :now_ms);
