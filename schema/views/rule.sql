-- siolite: rules of the administrator, which take effect at once in all programs, and what administrators did.
--
--   INSERT INTO ban (remote, note) VALUES ('192.0.2.7', 'floods');
--   INSERT INTO ban (user, until) VALUES ('mallory', datetime('now', '+1 day'));
--   DELETE FROM ban WHERE user = 'mallory';
--   INSERT INTO bound (name, value) VALUES ('handshakes_per_s', 5);
--
-- SPDX-License-Identifier: MIT

-- Who is not let in. INSERT: the connections of that address or user are closed at once, new ones refused. DELETE: lets
-- them in again.
DROP VIEW IF EXISTS ban;
CREATE VIEW ban AS
    SELECT ban_id,                              -- in which order
           remote,                              -- an address, or several by * and ? as in GLOB: '192.0.2.*'
           user,                                -- or a user
           datetime(until_s, 'unixepoch') AS until, -- UTC; NULL: for ever. INSERT: what datetime() understands
           note,                                -- why, by whom: any text
           datetime(made_s, 'unixepoch') AS made -- UTC; given by itself
    FROM t_ban
    WHERE until_s IS NULL OR until_s > CAST(strftime('%s', 'now') AS INTEGER);

CREATE TRIGGER ban_insert INSTEAD OF INSERT ON ban
BEGIN
    SELECT CASE
        WHEN (new.remote IS NOT NULL) + (new.user IS NOT NULL) <> 1
            THEN RAISE(ABORT, 'ban: exactly one of remote and user says who')
        WHEN new.remote IS NOT NULL AND (typeof(new.remote) <> 'text' OR new.remote = '')
            THEN RAISE(ABORT, 'ban.remote: must be an address, or a pattern with * and ?')
        WHEN new.user IS NOT NULL AND (typeof(new.user) <> 'text' OR new.user = '')
            THEN RAISE(ABORT, 'ban.user: must be text with at least one character')
        WHEN new.until IS NOT NULL AND strftime('%s', new.until) IS NULL
            THEN RAISE(ABORT, 'ban.until: must be a time such as 2030-01-31 12:00:00 (UTC), or NULL')
        WHEN typeof(new.note) NOT IN ('text', 'null')
            THEN RAISE(ABORT, 'ban.note: must be text or NULL')
        WHEN (SELECT count(*) FROM t_ban) >= 10000
            THEN RAISE(ABORT, 'ban: there are 10000 already, delete some; a pattern stands for many addresses')
        END;
    DELETE FROM t_ban WHERE until_s <= CAST(strftime('%s', 'now') AS INTEGER);
    INSERT INTO t_ban (remote, user, until_s, note, made_s)
        VALUES (new.remote, new.user, CAST(strftime('%s', new.until) AS INTEGER), new.note,
                CAST(strftime('%s', 'now') AS INTEGER));
    INSERT INTO t_audit (made_s, verb, what, note)
        VALUES (CAST(strftime('%s', 'now') AS INTEGER), 'ban',
                coalesce('remote ' || new.remote, 'user ' || new.user) || coalesce(' until ' || datetime(new.until), ''), new.note);
    INSERT INTO t_control (kind, nsp_id, to_kind, to_id, arg_id) -- closes each connection, by one of its sockets
        SELECT 23, s.nsp_id, 2, min(s.socket_id), 1
        FROM t_socket s JOIN t_session e USING (session_id)
        WHERE s.state = 0 AND (s.user = new.user OR e.remote GLOB new.remote) GROUP BY s.session_id;
    INSERT INTO t_control (kind) VALUES (23);   -- all look at the rules again
END;

CREATE TRIGGER ban_delete INSTEAD OF DELETE ON ban
BEGIN
    DELETE FROM t_ban WHERE ban_id = old.ban_id;
    INSERT INTO t_audit (made_s, verb, what)
        VALUES (CAST(strftime('%s', 'now') AS INTEGER), 'ban deleted', coalesce('remote ' || old.remote, 'user ' || old.user));
    INSERT INTO t_control (kind) VALUES (23);
END;

-- A socket that turns out to be somebody who is banned.
DROP TRIGGER IF EXISTS t_socket_banned;
CREATE TRIGGER t_socket_banned AFTER UPDATE OF user ON t_socket
WHEN new.user IS NOT NULL AND new.state = 0 AND EXISTS (
    SELECT 1 FROM t_ban b WHERE b.user = new.user AND (b.until_s IS NULL OR b.until_s > CAST(strftime('%s', 'now') AS INTEGER)))
BEGIN
    INSERT INTO t_control (kind, nsp_id, to_kind, to_id, arg_id) VALUES (23, new.nsp_id, 2, new.socket_id, 1);
END;

-- Limits that differ from the configuration, in all programs. INSERT: sets one, or sets it anew; out of the option's bounds,
-- the nearest counts. DELETE: what the configuration says counts again.
DROP VIEW IF EXISTS bound;
CREATE VIEW bound AS
    SELECT name,                                -- of the option: see bound.name's error for those that can be set
           value,                               -- a number; times in milliseconds
           note                                 -- why, by whom: any text
    FROM t_bound;

CREATE TRIGGER bound_insert INSTEAD OF INSERT ON bound
BEGIN
    SELECT CASE
        WHEN new.name IS NULL OR new.name NOT IN ('max_nsp', 'max_rooms', 'max_pending_acks', 'max_event_name',
                'max_json_depth', 'empty_session', 'handshakes_per_s')
            THEN RAISE(ABORT, 'bound.name: must be max_nsp, max_rooms, max_pending_acks, max_event_name, max_json_depth, empty_session or handshakes_per_s')
        WHEN typeof(new.value) <> 'integer' OR new.value < 0
            THEN RAISE(ABORT, 'bound.value: must be an integer that is not negative')
        WHEN typeof(new.note) NOT IN ('text', 'null')
            THEN RAISE(ABORT, 'bound.note: must be text or NULL')
        END;
    INSERT OR REPLACE INTO t_bound (name, value, note) VALUES (new.name, new.value, new.note);
    INSERT INTO t_audit (made_s, verb, what, note)
        VALUES (CAST(strftime('%s', 'now') AS INTEGER), 'bound', new.name || ' ' || new.value, new.note);
    INSERT INTO t_control (kind) VALUES (23);
END;

CREATE TRIGGER bound_delete INSTEAD OF DELETE ON bound
BEGIN
    DELETE FROM t_bound WHERE name = old.name;
    INSERT INTO t_audit (made_s, verb, what)
        VALUES (CAST(strftime('%s', 'now') AS INTEGER), 'bound deleted', old.name);
    INSERT INTO t_control (kind) VALUES (23);
END;

-- What was done through ban, bound and kick, by whomever: the newest 10000.
DROP VIEW IF EXISTS audit;
CREATE VIEW audit AS
    SELECT audit_id,                            -- in which order
           datetime(made_s, 'unixepoch') AS time, -- UTC
           verb,                                -- the view
           what,                                -- whom or what it concerned
           note                                 -- as it was given
    FROM t_audit;
