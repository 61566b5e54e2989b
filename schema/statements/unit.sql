-- A unit, or a group of its steps, that may have to be undone alone. store/unit.c
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

-- name: group_savepoint
-- zero rows; they nest
SAVEPOINT step_group;

-- name: group_release
-- zero rows
RELEASE step_group;

-- name: group_rollback
-- zero rows; the savepoint itself stays
ROLLBACK TO step_group;
