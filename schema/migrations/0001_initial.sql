-- siolite: the first schema.
--
-- Durable: t_meta t_app_version t_nsp t_room t_session t_lease t_partial t_socket t_member t_packet t_ask t_answer t_job
-- t_dedup. Derived (may be emptied while nothing runs, rebuilds itself): t_process.
--
-- One rule carries the rest: a control row does its work in the statement that appends it (view t_control in views/private.sql).
-- Whoever appends a `join` has also opened the membership, with since_seq = seq of that row. Nothing else may write
-- t_member or end a socket.
--
-- Times are CLOCK_BOOTTIME ms of the boot in t_meta, unless a column says otherwise.
--
-- SPDX-License-Identifier: MIT

CREATE TABLE t_meta (
    meta_id        INTEGER PRIMARY KEY CHECK (meta_id = 1), -- a single row
    epoch          INTEGER NOT NULL DEFAULT 1,  -- first half of a client's offset; raised when seq may have gone back
    boot_id        TEXT    NOT NULL DEFAULT '', -- of the machine that wrote last; all times are of this boot
    wall_offset_ms INTEGER NOT NULL DEFAULT 0,  -- Unix time minus CLOCK_BOOTTIME, as the last opener saw it; 0: unknown
    horizon_seq    INTEGER NOT NULL DEFAULT 0,  -- rows up to here are pruned; who needs one of them must end
    swept_ms       INTEGER NOT NULL DEFAULT 0,  -- the last round of the sweeper
    n_rooms_max    INTEGER NOT NULL DEFAULT 10000 -- max_rooms of the newest process, for the view room_join
) STRICT;
INSERT INTO t_meta (meta_id) VALUES (1);

CREATE TABLE t_app_version (                    -- migrations of the application that were applied
    version        INTEGER PRIMARY KEY,         -- as the application counts them
    applied_ms     INTEGER NOT NULL             -- when
) STRICT;

CREATE TABLE t_process (
    process_id     INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused: leases of the dead keep naming it. Also the byte of
                                                -- <database>-live whose kernel lock says that it lives
    front          TEXT    NOT NULL CHECK (front IN ('fcgi', 'ws', 'cgi', 'ctl', 'hook')), -- which program
    os_pid         INTEGER NOT NULL DEFAULT 0,  -- of the operating system; information only
    address        TEXT    NOT NULL DEFAULT '', -- where it listens
    last_seq       INTEGER NOT NULL DEFAULT 0,  -- its tail had delivered up to here when it last wrote (about 1 s ago)
    is_draining    INTEGER NOT NULL DEFAULT 0 CHECK (is_draining IN (0, 1)), -- SIGTERM seen: gets no new upgrades
    is_dead        INTEGER NOT NULL DEFAULT 0 CHECK (is_dead IN (0, 1)), -- seen dead: its jobs are anybody's; what it held
                                                -- is being cleared away, then the row goes
    config_hash    TEXT    NOT NULL DEFAULT '', -- of the configuration file it read
    started_ms     INTEGER NOT NULL DEFAULT 0   -- when
) STRICT;

CREATE TABLE t_nsp (
    nsp_id         INTEGER PRIMARY KEY AUTOINCREMENT, -- named in rows of the log
    name           TEXT    NOT NULL UNIQUE,     -- begins with '/'; the UNIQUE index serves nsp_find
    is_static      INTEGER NOT NULL DEFAULT 0 CHECK (is_static IN (0, 1)), -- the application names it: never forgotten
    idle_seq       INTEGER                      -- with cleanup_nsp: empty since that row; NULL: in use. Forgotten below the
                                                -- horizon, when no socket that is remembered was in it
) STRICT;
-- nsp_forget, nsp_postpone: the empty ones
CREATE INDEX i_nsp_idle ON t_nsp (idle_seq) WHERE idle_seq IS NOT NULL;
INSERT INTO t_nsp (name, is_static) VALUES ('/', 1);

CREATE TABLE t_room (
    room_id        INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused: old rows of the log name it
    nsp_id         INTEGER NOT NULL REFERENCES t_nsp, -- rooms belong to a namespace
    name           TEXT    NOT NULL,            -- as the application says it
    idle_seq       INTEGER,                     -- NULL: somebody is in. Else: empty since that row; forgotten below the horizon
    UNIQUE (nsp_id, name)                       -- this index serves every target by name
) STRICT;
-- room_forget: empty rooms, the oldest first
CREATE INDEX i_room_idle ON t_room (idle_seq) WHERE idle_seq IS NOT NULL;

CREATE TABLE t_session (
    session_id     INTEGER PRIMARY KEY AUTOINCREMENT, -- target of rows that belong to the connection
    eio_sid        TEXT    NOT NULL UNIQUE,     -- SECRET; the UNIQUE index serves session_find, once a request
    protocol       INTEGER NOT NULL DEFAULT 4 CHECK (protocol IN (3, 4)), -- Engine.IO revision
    parser         INTEGER NOT NULL DEFAULT 0 CHECK (parser IN (0, 1)), -- its Socket.IO packets: 0 text, 1 MessagePack
    utf8           INTEGER NOT NULL DEFAULT 0 CHECK (utf8 IN (0, 1, 2)), -- revision 3 over polling, how its text is encoded:
                                                -- 0 not known yet, 1 once, 2 twice (clients 1.x)
    remote         TEXT    NOT NULL DEFAULT '', -- address of the client
    handshake      TEXT    NOT NULL DEFAULT '{}', -- headers, query, time, secure: JSON for handlers
    started_ms     INTEGER NOT NULL DEFAULT 0   -- when
) STRICT;

CREATE TABLE t_lease (                          -- the hot half of a session: narrow, one page holds many
    session_id     INTEGER PRIMARY KEY REFERENCES t_session ON DELETE CASCADE, -- one to one
    state          INTEGER NOT NULL DEFAULT 0 CHECK (state IN (0, 1)), -- 0 open, 1 closed
    transport      INTEGER NOT NULL DEFAULT 0 CHECK (transport IN (0, 1)), -- 0 polling, 1 websocket
    owner_id       INTEGER,                     -- process that holds the poll or the WebSocket; no foreign key: may be dead
    gen            INTEGER NOT NULL DEFAULT 0,  -- grows with every claim and answer; an answer commits only with the gen it claimed
    poll_ms        INTEGER NOT NULL DEFAULT 0,  -- when the poll came that holds it, or held it last: of two, the later is refused
    post_gen       INTEGER NOT NULL DEFAULT 0,  -- grows with every POST that had effects
    cursor_seq     INTEGER NOT NULL DEFAULT 0,  -- everything up to here was sent or was not due
    keep_seq       INTEGER,                     -- rows above this may still be needed; NULL: the owner's last_seq speaks for it
    replay_seq     INTEGER NOT NULL DEFAULT 0,  -- CONNECT row whose replay is not delivered yet: until then keep_seq stays
    upgrade_id     INTEGER,                     -- sidecar that answered a probe
    upgrade_due_ms INTEGER NOT NULL DEFAULT 0,  -- after this anybody may clear upgrade_id
    connect_due_ms INTEGER,                     -- first CONNECT is due; NULL: it came
    ping_ms        INTEGER NOT NULL DEFAULT 0,  -- next ping is due
    is_pinged      INTEGER NOT NULL DEFAULT 0 CHECK (is_pinged IN (0, 1)), -- the ping was sent, its pong is owed
    due_ms         INTEGER,                     -- death of a polling session (connect or heartbeat); NULL: a WebSocket
    is_partial     INTEGER NOT NULL DEFAULT 0 CHECK (is_partial IN (0, 1)), -- t_partial has a row
    reason         TEXT,                        -- why it was closed, wire spelling
    is_told        INTEGER NOT NULL DEFAULT 0 CHECK (is_told IN (0, 1)), -- closed: a GET of the client was told so
    forget_ms      INTEGER                      -- closed: its row may go from then on; NULL: with its last socket
) STRICT;
-- prune_bound: the smallest keep_seq
CREATE INDEX i_lease_keep ON t_lease (keep_seq) WHERE keep_seq IS NOT NULL;
-- bury_list: what a dead process held; only owned rows, so that a waiting session costs nothing
CREATE INDEX i_lease_owner ON t_lease (owner_id) WHERE owner_id IS NOT NULL;
-- read_due_sessions: the silent ones
CREATE INDEX i_lease_due ON t_lease (due_ms) WHERE due_ms IS NOT NULL AND state = 0;
-- forget_sessions: the closed ones
CREATE INDEX i_lease_forget ON t_lease (forget_ms) WHERE forget_ms IS NOT NULL;

CREATE TABLE t_partial (                        -- a binary packet of which attachments are still owed
    session_id     INTEGER PRIMARY KEY REFERENCES t_session ON DELETE CASCADE, -- whose
    body           TEXT    NOT NULL,            -- the packet's text as it came
    attachments    BLOB    NOT NULL             -- those that came; as in t_packet
) STRICT;

CREATE TABLE t_socket (
    socket_id      INTEGER PRIMARY KEY AUTOINCREMENT, -- stays through recoveries
    sio_id         TEXT    NOT NULL UNIQUE,     -- public id; the UNIQUE index serves targets by name
    nsp_id         INTEGER NOT NULL REFERENCES t_nsp, -- one client in one namespace
    session_id     INTEGER NOT NULL REFERENCES t_session, -- changes when it is recovered
    state          INTEGER NOT NULL DEFAULT 0 CHECK (state IN (0, 1, 2)), -- 0 open, 1 lost (recoverable), 2 gone
    first_seq      INTEGER NOT NULL DEFAULT 0,  -- its first CONNECT reply: replay begins here if there is no offset
    since_seq      INTEGER NOT NULL DEFAULT 0,  -- CONNECT reply of this session: live rows are due from here on
    until_seq      INTEGER,                     -- the disconnect row, while state is not 0
    recovery_pid   TEXT    UNIQUE,              -- SECRET; the UNIQUE index serves recovery
    user           TEXT,                        -- whom the application says it is
    data           TEXT    NOT NULL DEFAULT 'null', -- socket.data, JSON
    auth           TEXT    NOT NULL DEFAULT '{}', -- payload of its CONNECT, JSON
    reason         TEXT,                        -- of the disconnect, wire spelling
    gone_ms        INTEGER                      -- when; recovery ends a window later
) STRICT;
-- read_sockets, session_sockets; the reference of a session that is forgotten
CREATE INDEX i_socket_session ON t_socket (session_id);
-- target_each, t_due: the whole of a namespace; nsp_forget: does anybody name it?
CREATE INDEX i_socket_nsp ON t_socket (nsp_id, state);
-- target_user: all sockets of a user
CREATE INDEX i_socket_user ON t_socket (user, nsp_id) WHERE user IS NOT NULL AND state < 2;
-- socket_expire: lost sockets whose window is over; room_find: is anybody lost?
CREATE INDEX i_socket_lost ON t_socket (gone_ms) WHERE state = 1;
-- forget_sockets, view disconnect: those that are gone, the newest and the oldest
CREATE INDEX i_socket_gone ON t_socket (until_seq) WHERE state = 2;

CREATE TABLE t_member (                         -- the interval of the log in which a socket is in a room
    socket_id      INTEGER NOT NULL REFERENCES t_socket ON DELETE CASCADE, -- who
    room_id        INTEGER NOT NULL,            -- where; no foreign key: an ended interval may outlive its room's name
    since_seq      INTEGER NOT NULL,            -- the join row
    until_seq      INTEGER,                     -- the leave or disconnect row; NULL: still in
    PRIMARY KEY (socket_id, room_id, since_seq) -- serves read_members, read_rooms and the end of a socket
) STRICT, WITHOUT ROWID;
-- target_each, t_due, view room: members
CREATE INDEX i_member_room ON t_member (room_id, socket_id) WHERE until_seq IS NULL;
-- member_prune: intervals that ended below the horizon
CREATE INDEX i_member_until ON t_member (until_seq) WHERE until_seq IS NOT NULL;

CREATE TABLE t_packet (                         -- the log, append-only; no index but its key (each would cost 5 to 8 times)
    seq            INTEGER PRIMARY KEY,         -- the one order; second half of a client's offset. Without AUTOINCREMENT, which
                                                -- costs a third of an append: the newest row is never deleted, so none is reused
    kind           INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 6 OR kind BETWEEN 16 AND 25),
                   -- Socket.IO: 0 connect 1 disconnect 2 event 3 ack 4 connect_error 5 binary event 6 binary ack
                   -- control: 16 join 17 leave 18 lost 19 gone 20 close 21 noop 23 wake 24 server event 25 history of a room; Engine.IO: 22 pong
    nsp_id         INTEGER,                     -- NULL: concerns the connection. No foreign key: costs each row
    to_kind        INTEGER NOT NULL DEFAULT 0 CHECK (to_kind BETWEEN 0 AND 4),
                   -- 0 all of nsp, 1 a room, 2 a socket, 3 a session, 4 the union in to_list
    to_id          INTEGER,                     -- nsp, room, socket or session, by to_kind
    to_list        TEXT,                        -- 'r7,r9,s12': rooms and sockets, each socket once
    not_list       TEXT,                        -- the same form: exceptions
    skip_id        INTEGER,                     -- one socket that is left out: all but me
    arg_id         INTEGER,                     -- join, leave, history: the room; connect: the offset after which to replay, NULL:
                                                -- none; close: a poll caused it that came then, later ones are refused
    socket_id      INTEGER,                     -- connect: the socket; the row itself goes to the session, which loads it
    ack_id         INTEGER,                     -- ack: the client's id. An asking row's own id is its seq. history: the join row
    is_ask         INTEGER NOT NULL DEFAULT 0 CHECK (is_ask IN (0, 1)), -- the client is asked to answer
    is_volatile    INTEGER NOT NULL DEFAULT 0 CHECK (is_volatile IN (0, 1)), -- tail only, never catch-up or replay
    is_local       INTEGER NOT NULL DEFAULT 0 CHECK (is_local IN (0, 1)), -- only what the origin process holds
    is_plain       INTEGER NOT NULL DEFAULT 0 CHECK (is_plain IN (0, 1)), -- not to be compressed
    origin_id      INTEGER,                     -- process that appended it; NULL: an outsider
    made_ms        INTEGER NOT NULL DEFAULT 0,  -- when; the recovery window is measured by it
    body           TEXT,                        -- JSON part of the packet; end of a socket or session: the reason
    attachments    BLOB                         -- length-prefixed (4 bytes, big endian), in order
) STRICT;

CREATE TABLE t_job (                            -- what is to be done later, exactly once in its effects
    job_id         INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused
    due_ms         INTEGER NOT NULL DEFAULT 0,  -- 0: at once; the largest integer: never, an ask waits for its answers
    name           TEXT    NOT NULL,            -- continuation, or 'disconnect'
    socket_id      INTEGER,                     -- whom it concerns
    args           TEXT    NOT NULL DEFAULT 'null', -- JSON
    ask_seq        INTEGER,                     -- the question whose answers it waits for; goes with the job
    owner_id       INTEGER,                     -- who keeps its timer; no foreign key: may be dead
    gen            INTEGER NOT NULL DEFAULT 0   -- grows with every claim; only the last claimer's result commits
) STRICT;
-- jobs_claim: the next ones
CREATE INDEX i_job_due ON t_job (due_ms);

-- recovery_job
CREATE INDEX i_job_disconnect ON t_job (socket_id) WHERE name = 'disconnect';

CREATE TABLE t_ask (                            -- an event of ours that wants answers
    seq            INTEGER PRIMARY KEY,         -- of the asking row, which may be pruned before the answer comes
    job_id         INTEGER NOT NULL,            -- runs when the last answer came, or at the deadline
    n_expected     INTEGER NOT NULL,            -- sockets that were due the row
    n_answers      INTEGER NOT NULL DEFAULT 0   -- so far
) STRICT;

CREATE TABLE t_answer (
    ask_seq        INTEGER NOT NULL REFERENCES t_ask ON DELETE CASCADE, -- the question
    socket_id      INTEGER NOT NULL,            -- who, a process (app_server_ask) below zero; a row is written when the question
                                                -- is asked: strangers find none
    n_before       INTEGER,                     -- answers that came before this one; NULL: not answered yet
    body           TEXT,                        -- JSON part of the answer
    attachments    BLOB,                        -- as in t_packet
    PRIMARY KEY (ask_seq, socket_id)            -- serves answer_put
) STRICT, WITHOUT ROWID;
-- ask_full, read_owes_answers: what one socket owes
CREATE INDEX i_answer_owed ON t_answer (socket_id) WHERE n_before IS NULL;

CREATE TABLE t_dedup (                          -- units that must not be applied twice (retrying clients, web hook)
    key            TEXT    PRIMARY KEY,         -- chosen by the caller
    made_ms        INTEGER NOT NULL             -- forgotten after an hour
) STRICT, WITHOUT ROWID;
-- forget_dedup: the oldest
CREATE INDEX i_dedup_made ON t_dedup (made_ms);
