-- siolite: what applications need that are not C: asks that outlive their asker, the queue of the web hook, and more.
--
-- SPDX-License-Identifier: MIT

-- ------------------------------------------------------------------------------------- asks that have a name

ALTER TABLE t_meta ADD COLUMN n_pending_max INTEGER NOT NULL DEFAULT 1000; -- max_pending_acks of the newest process
ALTER TABLE t_meta ADD COLUMN n_attachments_max INTEGER NOT NULL DEFAULT 10; -- max_attachments, likewise: clients end at more

-- An ask that was INSERTed has a name, by which whoever wants collects its answers. Its job, 'ask.end', ends it; the row
-- stays for a day after that, for those who come late.
ALTER TABLE t_ask ADD COLUMN name TEXT;         -- chosen by who asked; NULL: a C handler's, which goes with its job
ALTER TABLE t_ask ADD COLUMN made_ms INTEGER;   -- when it was asked
ALTER TABLE t_ask ADD COLUMN due_ms INTEGER;    -- an answer that comes later is ignored; NULL: see t_job
ALTER TABLE t_ask ADD COLUMN forget_ms INTEGER; -- the row may go from then on
-- view ask: by its name
CREATE UNIQUE INDEX i_ask_name ON t_ask (name) WHERE name IS NOT NULL;
-- asks_expire: the oldest
CREATE INDEX i_ask_forget ON t_ask (forget_ms) WHERE forget_ms IS NOT NULL;

ALTER TABLE t_answer ADD COLUMN sio_id TEXT;    -- the socket's public id, which may be forgotten elsewhere; with a name only.
                                                -- n_before is -1 there where the time was over before an answer came

-- ---- counters (docs/metrics.md)

CREATE TABLE t_count (                          -- what happened so far, all processes together
    name           TEXT    NOT NULL,            -- of the metric
    labels         TEXT    NOT NULL DEFAULT '', -- 'status="200"', or nothing
    value          INTEGER NOT NULL DEFAULT 0,  -- grows; each process adds what it counted, about once a second
    PRIMARY KEY (name, labels)                  -- serves count_add
) STRICT, WITHOUT ROWID;

-- ---- answers that are kept with the key of what was asked

ALTER TABLE t_dedup ADD COLUMN print TEXT NOT NULL DEFAULT '';  -- of what was asked under the key
ALTER TABLE t_dedup ADD COLUMN answer TEXT NOT NULL DEFAULT ''; -- who asks again gets it

-- ------------------------------------------------------------------------------------------- the web hook

-- What the web hook is still to be told. Each socket has an order of its own, by hook_id; the first row of each that waits
-- is its head, and only a head is due. The end of a head makes the next one due, in the same commit.
CREATE TABLE t_hook (
    hook_id        INTEGER PRIMARY KEY AUTOINCREMENT, -- the order
    event_id       TEXT    NOT NULL UNIQUE,     -- stays the same through all tries: the receiver knows a repetition by it
    kind           INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 4), -- 0 connect 1 event 2 disconnect 3 ack 4 presence
    sio_id         TEXT    NOT NULL,            -- whose it is; a connection that waits has its id already; an ack: 'ask:' and its
                                                -- seq; of a user: 'presence:' and its presence_id
    socket_id      INTEGER,                     -- the same; NULL: a connection that waits, or waited in vain
    session_id     INTEGER,                     -- a connection that waits; else NULL
    job_id         INTEGER,                     -- a connection that waits: the job that refuses it when nothing was answered
    nsp            TEXT    NOT NULL,            -- its namespace
    body           TEXT    NOT NULL,            -- JSON: a connection's wrapper, an event's arguments with its name, {"reason":…},
                                                -- {"user":…}
    attachments    BLOB    NOT NULL,            -- as in t_packet
    ack_id         INTEGER,                     -- an event: the client's id of the ack that it waits for; an ack: the question
    n_bytes        INTEGER NOT NULL,            -- of body and attachments
    made_ms        INTEGER NOT NULL,            -- when it happened
    due_ms         INTEGER,                     -- of a head: the next try. NULL: waits for the one before it, or is parked
    n_tries        INTEGER NOT NULL DEFAULT 0,  -- so far
    is_told        INTEGER NOT NULL DEFAULT 0 CHECK (is_told IN (0, 1)), -- a try failed that may have reached the receiver
    is_parked      INTEGER NOT NULL DEFAULT 0 CHECK (is_parked IN (0, 1)), -- given up; kept to be looked at
    error          TEXT,                        -- of the last try
    owner_id       INTEGER,                     -- process that posts it; no foreign key: may be dead
    lease_ms       INTEGER CHECK ((lease_ms IS NULL) = (owner_id IS NULL)), -- and until when nobody else may take it while that lives
    gen            INTEGER NOT NULL DEFAULT 0   -- grows with every claim; only the last claimer's result commits
) STRICT;
-- hook_put, hook_next: one head a socket
CREATE UNIQUE INDEX i_hook_head ON t_hook (sio_id) WHERE due_ms IS NOT NULL;
-- read_hooks_due, read_hook_next
CREATE INDEX i_hook_due ON t_hook (due_ms) WHERE due_ms IS NOT NULL;
-- read_hook_next: what is being posted
CREATE INDEX i_hook_lease ON t_hook (lease_ms) WHERE lease_ms IS NOT NULL;
-- hook_next, hook_socket_full: what waits of a socket
CREATE INDEX i_hook_waiting ON t_hook (sio_id, hook_id) WHERE is_parked = 0;
-- hook_session_nsp, hook_session_full: connections that wait
CREATE INDEX i_hook_session ON t_hook (session_id, nsp) WHERE session_id IS NOT NULL;
-- forget_sockets: is it still to be told of?
CREATE INDEX i_hook_socket ON t_hook (socket_id) WHERE is_parked = 0;
-- hook_trim: the oldest that were given up
CREATE INDEX i_hook_parked ON t_hook (hook_id) WHERE is_parked = 1;

CREATE TABLE t_hook_count (                     -- how much waits in t_hook; kept by its triggers
    count_id       INTEGER PRIMARY KEY CHECK (count_id = 1), -- a single row
    n_rows         INTEGER NOT NULL DEFAULT 0,  -- that wait
    n_bytes        INTEGER NOT NULL DEFAULT 0,  -- of these
    n_dropped      INTEGER NOT NULL DEFAULT 0,  -- events for which there was no room, ever
    n_logged       INTEGER NOT NULL DEFAULT 0,  -- how many it were when this was last logged
    logged_ms      INTEGER NOT NULL DEFAULT 0   -- when that was
) STRICT;
INSERT INTO t_hook_count (count_id) VALUES (1);

CREATE TRIGGER t_hook_added AFTER INSERT ON t_hook WHEN new.is_parked = 0
BEGIN
    UPDATE t_hook_count SET n_rows = n_rows + 1, n_bytes = n_bytes + new.n_bytes;
END;
CREATE TRIGGER t_hook_removed AFTER DELETE ON t_hook WHEN old.is_parked = 0
BEGIN
    UPDATE t_hook_count SET n_rows = n_rows - 1, n_bytes = n_bytes - old.n_bytes;
END;
CREATE TRIGGER t_hook_moved AFTER UPDATE OF is_parked ON t_hook WHEN new.is_parked <> old.is_parked
BEGIN
    UPDATE t_hook_count SET n_rows = n_rows + old.is_parked - new.is_parked,
        n_bytes = n_bytes + (old.is_parked - new.is_parked) * new.n_bytes;
END;

-- ----------------------------------------------------------------------------------- applications in SQL (docs/sql.md)

CREATE TABLE t_app_error (                      -- what handlers could not do; the newest 1000
    error_id       INTEGER PRIMARY KEY AUTOINCREMENT, -- in which order
    made_s         INTEGER NOT NULL,            -- when, Unix time
    what           TEXT    NOT NULL,            -- event, connection …, or the handler's name
    nsp            TEXT,                        -- where
    sio_id         TEXT,                        -- whose it was; it may never have existed
    event          TEXT,                        -- name of the event
    error          TEXT    NOT NULL             -- one line
) STRICT;

CREATE TABLE t_app_file (                       -- the application in SQL that is applied
    file_id        INTEGER PRIMARY KEY CHECK (file_id = 1), -- a single row
    hash           TEXT    NOT NULL,            -- of its text; '': our views are new, to be applied again
    broken_version INTEGER                      -- PRAGMA schema_version with which triggers did not compile: tried again
                                                -- with another one; NULL: all do
) STRICT;

CREATE TABLE t_connecting (                     -- during a trigger on connection: whose it is; else empty
    socket_id      INTEGER PRIMARY KEY,         -- its socket; no foreign key: costs each end of a socket
    is_refused     INTEGER NOT NULL DEFAULT 0 CHECK (is_refused IN (0, 1)), -- by INSERT INTO refuse
    message        TEXT,                        -- what the client is told
    data           TEXT                         -- likewise, JSON or NULL
) STRICT;

-- ------------------------------------------------------------------------------------- rules of the administrator

CREATE TABLE t_ban (                            -- who is not let in
    ban_id         INTEGER PRIMARY KEY AUTOINCREMENT, -- in which order
    remote         TEXT,                        -- addresses, as a GLOB pattern; NULL: a user
    user           TEXT,                        -- whom the application says it is; NULL: an address
    until_s        INTEGER,                     -- Unix time; NULL: for ever
    note           TEXT,                        -- why, by whom
    made_s         INTEGER NOT NULL,            -- when, Unix time
    CHECK ((remote IS NULL) <> (user IS NULL))
) STRICT;
-- trigger t_socket_banned
CREATE INDEX i_ban_user ON t_ban (user) WHERE user IS NOT NULL;

CREATE TABLE t_bound (                          -- limits that differ from the configuration
    name           TEXT    PRIMARY KEY,         -- of the option
    value          INTEGER NOT NULL,            -- instead of what the configuration says
    note           TEXT                         -- why, by whom
) STRICT, WITHOUT ROWID;

CREATE TABLE t_audit (                          -- what administrators did; the newest 10000
    audit_id       INTEGER PRIMARY KEY AUTOINCREMENT, -- in which order
    made_s         INTEGER NOT NULL,            -- when, Unix time
    verb           TEXT    NOT NULL,            -- the view that was written to
    what           TEXT    NOT NULL,            -- whom or what it concerned
    note           TEXT                         -- as it was given
) STRICT;
CREATE TRIGGER t_audit_bounded AFTER INSERT ON t_audit
BEGIN
    DELETE FROM t_audit WHERE audit_id <= new.audit_id - 10000;
END;
-- ------------------------------------------------------------------------------------------- users (docs/users.md)

CREATE TABLE t_user_limit (                     -- options of the newest process, for the views
    limit_id       INTEGER PRIMARY KEY CHECK (limit_id = 1), -- a single row
    expiry_lead_ms INTEGER NOT NULL DEFAULT 60000, -- expiry_lead
    linger_ms      INTEGER NOT NULL DEFAULT 0,  -- presence_linger
    n_outbox_max   INTEGER NOT NULL DEFAULT 1000 -- max_outbox
) STRICT;
INSERT INTO t_user_limit (limit_id) VALUES (1);

CREATE TABLE t_expiry (                         -- sockets that end at a time
    socket_id      INTEGER PRIMARY KEY REFERENCES t_socket ON DELETE CASCADE, -- which
    expires_ms     INTEGER NOT NULL,            -- when
    is_close       INTEGER NOT NULL DEFAULT 1 CHECK (is_close IN (0, 1)) -- 1: its whole connection ends
) STRICT;
-- t_socket_expiry, socket_expiry_insert: the job of a socket (an application names none with #)
CREATE INDEX i_job_expiry ON t_job (socket_id) WHERE name = '#expiry';

CREATE TABLE t_presence (                       -- users that have, or had, sockets; kept by the trigger t_socket_presence
    presence_id    INTEGER PRIMARY KEY AUTOINCREMENT, -- named by jobs
    user           TEXT    NOT NULL,            -- who
    nsp_id         INTEGER NOT NULL REFERENCES t_nsp ON DELETE CASCADE, -- where
    n_sockets      INTEGER NOT NULL DEFAULT 0,  -- open ones
    is_told        INTEGER NOT NULL DEFAULT 0 CHECK (is_told IN (0, 1)), -- what was told last: 1 has come, 0 has gone
    since_ms       INTEGER NOT NULL,            -- when the first one came, or the last one went
    UNIQUE (user, nsp_id)                       -- this index serves t_socket_presence
) STRICT;
-- presence_forget: who went long ago; the reference of a namespace that is forgotten
CREATE INDEX i_presence_gone ON t_presence (since_ms) WHERE n_sockets = 0;
CREATE INDEX i_presence_nsp ON t_presence (nsp_id);

CREATE TABLE t_presence_room (                  -- who is told by an event when users come and go
    nsp_id         INTEGER NOT NULL REFERENCES t_nsp ON DELETE CASCADE, -- in this namespace
    room           TEXT    NOT NULL,            -- a room of it
    PRIMARY KEY (nsp_id, room)                  -- serves presence_emit
) STRICT, WITHOUT ROWID;

CREATE TABLE t_outbox (                         -- events for users, until they are acknowledged
    outbox_id      INTEGER PRIMARY KEY AUTOINCREMENT, -- the order
    user           TEXT    NOT NULL,            -- for whom
    nsp            TEXT    NOT NULL,            -- where; by name: a dynamic one may be forgotten meanwhile
    body           TEXT    NOT NULL,            -- as in t_packet
    attachments    BLOB,                        -- as in t_packet; NULL: none
    made_ms        INTEGER NOT NULL,            -- when it was put in
    expires_ms     INTEGER,                     -- not sent after this; NULL: it waits for ever
    sent_ms        INTEGER,                     -- when it was sent last; NULL: not yet
    acked_ms       INTEGER,                     -- when the first client has acknowledged it; NULL: none yet
    answer         TEXT                         -- what that client said, a JSON array
) STRICT;
-- t_socket_outbox, outbox_insert: what waits for a user
CREATE INDEX i_outbox_waiting ON t_outbox (user, nsp, outbox_id) WHERE acked_ms IS NULL;
-- outbox_forget
CREATE INDEX i_outbox_acked ON t_outbox (acked_ms) WHERE acked_ms IS NOT NULL;
CREATE INDEX i_outbox_expires ON t_outbox (expires_ms) WHERE expires_ms IS NOT NULL AND acked_ms IS NULL;

CREATE TABLE t_outbox_sent (                    -- the questions by which they were sent
    seq            INTEGER NOT NULL,            -- the row of the log, which may be pruned before the answer comes
    socket_id      INTEGER NOT NULL,            -- to whom: an answer of another socket means nothing
    outbox_id      INTEGER NOT NULL REFERENCES t_outbox ON DELETE CASCADE, -- what
    PRIMARY KEY (seq, socket_id)                -- serves outbox_ack
) STRICT, WITHOUT ROWID;
-- those of an entry
CREATE INDEX i_outbox_sent ON t_outbox_sent (outbox_id);

-- ------------------------------------------------------------------------------------------- history of rooms (docs/users.md)

CREATE TABLE t_history_rule (                   -- rooms that keep their last events
    rule_id        INTEGER PRIMARY KEY,         -- the older one counts where two patterns match
    nsp_id         INTEGER NOT NULL REFERENCES t_nsp ON DELETE CASCADE, -- in this namespace
    pattern        TEXT    NOT NULL,            -- the room's name, or a pattern of GLOB
    is_pattern     INTEGER NOT NULL CHECK (is_pattern IN (0, 1)), -- a name counts before patterns
    n              INTEGER NOT NULL,            -- so many
    keep_ms        INTEGER,                     -- and for so long; NULL: for ever
    is_app         INTEGER NOT NULL DEFAULT 0 CHECK (is_app IN (0, 1)), -- by the application in C, which says it at each start
    UNIQUE (nsp_id, is_pattern, pattern)        -- this index serves t_room_history
) STRICT;

ALTER TABLE t_room ADD COLUMN history_n INTEGER; -- its rule, NULL: it keeps nothing. Kept by triggers of views/history.sql
ALTER TABLE t_room ADD COLUMN history_ms INTEGER; -- likewise

CREATE TABLE t_history (                        -- what they keep: the log may be pruned
    history_id     INTEGER PRIMARY KEY,         -- the oldest goes first where there is too much
    room_id        INTEGER NOT NULL REFERENCES t_room ON DELETE CASCADE, -- which room
    seq            INTEGER NOT NULL,            -- the event's place in the log
    kind           INTEGER NOT NULL CHECK (kind IN (2, 5)), -- as in t_packet
    made_ms        INTEGER NOT NULL,            -- likewise
    expires_ms     INTEGER,                     -- kept until then; NULL: for ever
    body           TEXT    NOT NULL,            -- likewise
    attachments    BLOB,                        -- likewise
    UNIQUE (room_id, seq)                       -- this index serves history_read, t_history_added
) STRICT;
-- history_forget
CREATE INDEX i_history_expires ON t_history (expires_ms) WHERE expires_ms IS NOT NULL;

CREATE TABLE t_history_total (                  -- how much that is; kept by its triggers
    total_id       INTEGER PRIMARY KEY CHECK (total_id = 1), -- a single row
    n_bytes        INTEGER NOT NULL DEFAULT 0,  -- of bodies and attachments
    n_bytes_max    INTEGER NOT NULL DEFAULT 67108864 -- history_bytes of the newest process
) STRICT;
INSERT INTO t_history_total (total_id) VALUES (1);

-- ------------------------------------------------------------------------------------------- retries (docs/users.md)

CREATE TABLE t_retry (                          -- events with a retryKey that were handled
    retry_id       INTEGER PRIMARY KEY AUTOINCREMENT, -- the order: the oldest are forgotten first
    client         TEXT    NOT NULL,            -- SECRET; whose: namespace and clientId, or its socket
    event          TEXT    NOT NULL,            -- the event's name, as JSON
    key            TEXT    NOT NULL,            -- its retryKey, as JSON
    event_id       TEXT    NOT NULL,            -- of the first try: the name by which an ack calls it
    socket_id      INTEGER NOT NULL,            -- who waits for the ack: the last try's socket,
    ack_id         INTEGER NOT NULL,            -- and its id of the ack
    is_answered    INTEGER NOT NULL DEFAULT 0 CHECK (is_answered IN (0, 1)), -- 1: the ack was given
    body           TEXT,                        -- the ack, as in t_packet
    attachments    BLOB,                        -- likewise
    mark_seq       INTEGER,                     -- newest row of the log before an ack by SQL; no meaning afterwards
    made_ms        INTEGER NOT NULL,            -- when
    UNIQUE (client, event, key)                 -- this index serves retry_add, retry_trim
) STRICT;
-- ack_insert, retry_answer
CREATE INDEX i_retry_open ON t_retry (event_id) WHERE is_answered = 0;
-- retry_forget
CREATE INDEX i_retry_made ON t_retry (made_ms);
