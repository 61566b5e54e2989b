-- Sessions and their leases (design, section 4). store/session.c
-- Each UPDATE says in its WHERE from which state it goes; zero changed rows: somebody was first.
--
-- SPDX-License-Identifier: MIT

-- name: guard_post
-- in: session_id post_gen; no columns; zero rows changed: an overlapping POST, closed or upgraded
UPDATE t_lease SET post_gen = post_gen + 1
WHERE session_id = :session_id AND state = 0 AND transport = 0 AND post_gen = :post_gen;

-- name: guard_ws
-- in: session_id process_id gen; out: 1; zero rows: no longer ours
SELECT 1 FROM t_lease
WHERE session_id = :session_id AND state = 0 AND owner_id = :process_id AND gen = :gen;

-- name: guard_due
-- in: session_id now_ms; out: 1; zero rows: it lives, a pong was committed meanwhile
SELECT 1 FROM t_lease WHERE session_id = :session_id AND state = 0 AND due_ms <= :now_ms;

-- name: guard_session
-- in: session_id; out: 1; zero rows: it is closed
SELECT 1 FROM t_lease WHERE session_id = :session_id AND state = 0;

-- name: session_create
-- in: eio_sid protocol remote handshake now_ms; no columns, the id is last_insert_rowid(); one row
INSERT INTO t_session (eio_sid, protocol, remote, handshake, started_ms)
VALUES (:eio_sid, :protocol, :remote, :handshake, :now_ms);

-- name: lease_create
-- in: session_id transport owner_id gen cursor_seq keep_seq connect_due_ms ping_ms due_ms; no columns; one row
INSERT INTO t_lease (session_id, transport, owner_id, gen, cursor_seq, keep_seq, connect_due_ms, ping_ms, due_ms)
VALUES (:session_id, :transport, :owner_id, :gen, :cursor_seq, :keep_seq, :connect_due_ms, :ping_ms, :due_ms);

-- name: poll_claim
-- in: session_id process_id gen (as read) dead_id poll_ms; no columns (RETURNING makes a temporary b-tree: four times the cost;
-- lease_read follows); zero rows changed: look again. keep_seq stays: rows above the cursor may be needed until the answer is
-- committed.
UPDATE t_lease SET owner_id = :process_id, gen = gen + 1, poll_ms = :poll_ms
WHERE session_id = :session_id AND state = 0 AND transport = 0 AND gen = :gen AND (owner_id IS NULL OR owner_id = :dead_id);

-- name: lease_read
-- in: session_id; out: gen cursor_seq upgrade_id; one row
SELECT gen, cursor_seq, upgrade_id FROM t_lease WHERE session_id = :session_id;

-- name: poll_answer
-- in: session_id process_id gen cursor_seq is_ping; no columns; zero rows changed: revoked, answer a noop without data. A closed
-- session may still be answered, but keeps no row.
UPDATE t_lease SET owner_id = NULL, gen = gen + 1, cursor_seq = :cursor_seq, is_pinged = max(is_pinged, :is_ping),
    keep_seq = CASE WHEN state = 1 THEN NULL WHEN :cursor_seq >= replay_seq THEN :cursor_seq ELSE keep_seq END
WHERE session_id = :session_id AND owner_id = :process_id AND gen = :gen;

-- name: poll_once
-- in: session_id gen (as read) dead_id cursor_seq is_ping; no columns; zero rows changed: look again. Claim and answer in
-- one, where data is due at once.
UPDATE t_lease SET owner_id = NULL, gen = gen + 1, cursor_seq = :cursor_seq, is_pinged = max(is_pinged, :is_ping),
    keep_seq = CASE WHEN :cursor_seq >= replay_seq THEN :cursor_seq ELSE keep_seq END
WHERE session_id = :session_id AND state = 0 AND transport = 0 AND gen = :gen
    AND (owner_id IS NULL OR owner_id = :dead_id);

-- name: poll_ride
-- in: session_id process_id gen (as read or claimed) cursor_seq; no columns; zero rows changed: the poll was revoked, the answer
-- does not ride. Of a poll that this process holds, claimed or not.
UPDATE t_lease SET owner_id = NULL, gen = gen + 1, cursor_seq = :cursor_seq,
    keep_seq = CASE WHEN :cursor_seq >= replay_seq THEN :cursor_seq ELSE keep_seq END
WHERE session_id = :session_id AND state = 0 AND transport = 0 AND gen = :gen
    AND (owner_id IS NULL OR owner_id = :process_id);

-- name: upgrade_claim
-- in: session_id process_id dead_id due_ms now_ms; out: gen cursor_seq; zero rows: refuse the probe
UPDATE t_lease SET upgrade_id = :process_id, upgrade_due_ms = :due_ms
WHERE session_id = :session_id AND state = 0 AND transport = 0
    AND (upgrade_id IS NULL OR upgrade_id = :dead_id OR upgrade_due_ms < :now_ms)
RETURNING gen, cursor_seq;

-- name: upgrade_commit
-- in: session_id process_id; out: gen cursor_seq; zero rows: too late, close the WebSocket. A GET that is being answered is
-- revoked, a POST under way as well. keep_seq stays until caught up; a WebSocket's death is its sidecar's business.
UPDATE t_lease SET transport = 1, owner_id = :process_id, gen = gen + 1, post_gen = post_gen + 1, upgrade_id = NULL,
    due_ms = NULL
WHERE session_id = :session_id AND state = 0 AND transport = 0 AND upgrade_id = :process_id
RETURNING gen, cursor_seq;

-- name: upgrade_reset
-- in: session_id seen_id (dead or late, as read); no columns; zero rows changed: it is another one's by now
UPDATE t_lease SET upgrade_id = NULL WHERE session_id = :session_id AND transport = 0 AND upgrade_id = :seen_id;

-- name: session_close
-- in: session_id reason forget_ms; no columns; zero rows changed: it was closed. A parked poll keeps its owner: what was due
-- before may still be answered; a WebSocket has none any more.
UPDATE t_lease SET state = 1, reason = :reason, keep_seq = NULL, post_gen = post_gen + 1, upgrade_id = NULL, due_ms = NULL,
    is_partial = 0, forget_ms = :forget_ms, owner_id = CASE transport WHEN 0 THEN owner_id END
WHERE session_id = :session_id AND state = 0;

-- name: session_sockets
-- in: session_id; out: socket_id; the open ones
SELECT socket_id FROM t_socket WHERE session_id = :session_id AND state = 0 ORDER BY socket_id;

-- name: session_told
-- in: session_id cursor_seq is_told; no columns; zero rows changed: open, or told before. What was due goes first.
UPDATE t_lease SET cursor_seq = :cursor_seq, is_told = :is_told
WHERE session_id = :session_id AND state = 1 AND is_told = 0;

-- name: caught_up
-- in: session_id process_id gen last_seq; no columns. The sidecar has queued everything up to its tail: from now on its
-- process row speaks for it, unless a replay is still ahead.
UPDATE t_lease SET keep_seq = NULL
WHERE session_id = :session_id AND owner_id = :process_id AND gen = :gen AND replay_seq <= :last_seq;

-- name: heartbeat
-- in: session_id ping_ms is_pinged due_ms; no columns
UPDATE t_lease SET ping_ms = :ping_ms, is_pinged = :is_pinged, due_ms = :due_ms
WHERE session_id = :session_id AND state = 0;

-- name: session_parser
-- in: session_id parser; no columns
UPDATE t_session SET parser = :parser WHERE session_id = :session_id;

-- name: session_utf8
-- in: session_id utf8; no columns
UPDATE t_session SET utf8 = :utf8 WHERE session_id = :session_id;

-- name: partial_mark
-- in: session_id is_partial; no columns
UPDATE t_lease SET is_partial = :is_partial WHERE session_id = :session_id;

-- name: partial_put
-- in: session_id body attachments; no columns
INSERT OR REPLACE INTO t_partial (session_id, body, attachments) VALUES (:session_id, :body, :attachments);

-- name: partial_drop
-- in: session_id; no columns
DELETE FROM t_partial WHERE session_id = :session_id;
