-- A unit that may have to be undone alone. store/unit.c
--
-- SPDX-License-Identifier: MIT

-- name: unit_savepoint
-- zero rows
SAVEPOINT unit;

-- name: unit_release
-- zero rows
RELEASE unit;

-- name: unit_rollback
-- zero rows; the savepoint itself stays
ROLLBACK TO unit;
