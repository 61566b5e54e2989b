-- Rules of the administrator. store/rule.c
--
-- SPDX-License-Identifier: MIT

-- name: rule_bounds
-- scan: at most a row an option
-- in: nothing; out: name value
SELECT name, value FROM t_bound;

-- name: rule_has_bans
-- scan: stops at the first row that is an address's
-- in: nothing; out: is there any ban of an address
SELECT EXISTS (SELECT 1 FROM t_ban WHERE remote IS NOT NULL);

-- name: rule_banned
-- scan: patterns have no order; asked at handshakes, where there are bans
-- in: remote now_s; a row: it is banned
SELECT 1 FROM t_ban WHERE remote IS NOT NULL AND :remote GLOB remote AND (until_s IS NULL OR until_s > :now_s) LIMIT 1;
