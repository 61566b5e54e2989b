-- siolite: what the verbs emit, ask and ack have in common.
--
-- SPDX-License-Identifier: MIT

-- All bytes in their order: the only way to make one of a number in SQL.
DROP VIEW IF EXISTS t_byte;
CREATE VIEW t_byte AS SELECT
    x'000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff' AS bytes;

-- INSERT: the event of `emit` and `ask`, or the ack of `ack`, for whom the names mean; says in the name of the verb what is
-- wrong with the columns that these have in common. Nobody there: no row.
DROP VIEW IF EXISTS t_aim;
CREATE VIEW t_aim AS
    SELECT NULL AS verb,                        -- whose columns these are
           NULL AS kind,                        -- of the row, if there are no attachments
           NULL AS nsp, NULL AS room, NULL AS rooms, NULL AS except_room, NULL AS except_rooms, NULL AS user,
           NULL AS socket,                      -- this one only
           NULL AS ack_id,
           NULL AS event, NULL AS args,
           NULL AS is_volatile, NULL AS is_plain, NULL AS is_ask,
           NULL AS attachments, NULL AS attachment,
           NULL AS n_attachments;               -- NULL: not counted yet; -1: they are not of the form that they should have

CREATE TRIGGER t_aim_insert INSTEAD OF INSERT ON t_aim WHEN new.n_attachments IS NOT NULL
BEGIN
    SELECT CASE
        WHEN NOT EXISTS (SELECT 1 FROM t_nsp WHERE name = coalesce(new.nsp, '/')) THEN CASE new.verb
            WHEN 'emit' THEN RAISE(ABORT, 'emit.nsp: no such namespace; allowed: one that the application has, or NULL for /')
            WHEN 'ask' THEN RAISE(ABORT, 'ask.nsp: no such namespace; allowed: one that the application has, or NULL for /') END
        WHEN typeof(new.room) NOT IN ('text', 'null') THEN CASE new.verb
            WHEN 'emit' THEN RAISE(ABORT, 'emit.room: must be text (a room or a socket id) or NULL (everybody)')
            WHEN 'ask' THEN RAISE(ABORT, 'ask.room: must be text (a room or a socket id) or NULL (everybody)') END
        WHEN typeof(new.except_room) NOT IN ('text', 'null') THEN CASE new.verb
            WHEN 'emit' THEN RAISE(ABORT, 'emit.except_room: must be text (a room or a socket id) or NULL')
            WHEN 'ask' THEN RAISE(ABORT, 'ask.except_room: must be text (a room or a socket id) or NULL') END
        WHEN new.rooms IS NOT NULL AND CASE WHEN typeof(new.rooms) <> 'text' THEN 1
                 WHEN instr(new.rooms, char(0)) > 0 OR NOT json_valid(new.rooms) THEN 1
                 WHEN json_type(new.rooms) <> 'array' THEN 1
                 ELSE EXISTS (SELECT 1 FROM json_each(new.rooms) j WHERE j.type <> 'text') END THEN CASE new.verb
            WHEN 'emit' THEN RAISE(ABORT, 'emit.rooms: must be a JSON array of texts (rooms or socket ids), or NULL')
            WHEN 'ask' THEN RAISE(ABORT, 'ask.rooms: must be a JSON array of texts (rooms or socket ids), or NULL') END
        WHEN new.except_rooms IS NOT NULL AND CASE WHEN typeof(new.except_rooms) <> 'text' THEN 1
                 WHEN instr(new.except_rooms, char(0)) > 0 OR NOT json_valid(new.except_rooms) THEN 1
                 WHEN json_type(new.except_rooms) <> 'array' THEN 1
                 ELSE EXISTS (SELECT 1 FROM json_each(new.except_rooms) j WHERE j.type <> 'text') END THEN CASE new.verb
            WHEN 'emit' THEN RAISE(ABORT, 'emit.except_rooms: must be a JSON array of texts (rooms or socket ids), or NULL')
            WHEN 'ask' THEN RAISE(ABORT, 'ask.except_rooms: must be a JSON array of texts (rooms or socket ids), or NULL') END
        WHEN typeof(new.user) NOT IN ('text', 'null') THEN CASE new.verb
            WHEN 'emit' THEN RAISE(ABORT, 'emit.user: must be text or NULL')
            WHEN 'ask' THEN RAISE(ABORT, 'ask.user: must be text or NULL') END
        WHEN new.args IS NOT NULL AND (typeof(new.args) <> 'text' OR instr(new.args, char(0)) > 0 OR NOT json_valid(new.args)) THEN CASE new.verb
            WHEN 'emit' THEN RAISE(ABORT, 'emit.args: must be a JSON array')
            WHEN 'ask' THEN RAISE(ABORT, 'ask.args: must be a JSON array')
            WHEN 'ack' THEN RAISE(ABORT, 'ack.args: must be a JSON array') END
        WHEN json_type(new.args) <> 'array' THEN CASE new.verb
            WHEN 'emit' THEN RAISE(ABORT, 'emit.args: must be a JSON array')
            WHEN 'ask' THEN RAISE(ABORT, 'ask.args: must be a JSON array')
            WHEN 'ack' THEN RAISE(ABORT, 'ack.args: must be a JSON array') END
        WHEN new.n_attachments < 0 THEN CASE new.verb
            WHEN 'emit' THEN RAISE(ABORT, 'emit.attachments: must be a BLOB, each attachment behind its length (4 bytes, big endian); or attachment: one BLOB as it is')
            WHEN 'ask' THEN RAISE(ABORT, 'ask.attachments: must be a BLOB, each attachment behind its length (4 bytes, big endian); or attachment: one BLOB as it is')
            WHEN 'ack' THEN RAISE(ABORT, 'ack.attachments: must be a BLOB, each attachment behind its length (4 bytes, big endian); or attachment: one BLOB as it is') END
        WHEN new.n_attachments > (SELECT n_attachments_max FROM t_meta) THEN CASE new.verb
            WHEN 'emit' THEN RAISE(ABORT, 'emit.attachments: are more than max_attachments')
            WHEN 'ask' THEN RAISE(ABORT, 'ask.attachments: are more than max_attachments')
            WHEN 'ack' THEN RAISE(ABORT, 'ack.attachments: are more than max_attachments') END
        WHEN new.n_attachments > 0 AND (
                SELECT count(*) > 0 AND (sum(k.num IS NULL) > 0 OR count(DISTINCT k.num) <> new.n_attachments)
                FROM (SELECT CASE WHEN json_type(j.value, '$.num') = 'integer'
                                   AND json_extract(j.value, '$.num') BETWEEN 0 AND new.n_attachments - 1
                                  THEN json_extract(j.value, '$.num') END AS num
                      FROM json_tree(new.args) j
                      WHERE j.type = 'object' AND json_extract(j.value, '$._placeholder') IS 1) k) THEN CASE new.verb
            WHEN 'emit' THEN RAISE(ABORT, 'emit.args: must have a {"_placeholder":true,"num":0} for each attachment, or none at all')
            WHEN 'ask' THEN RAISE(ABORT, 'ask.args: must have a {"_placeholder":true,"num":0} for each attachment, or none at all')
            WHEN 'ack' THEN RAISE(ABORT, 'ack.args: must have a {"_placeholder":true,"num":0} for each attachment, or none at all') END
        END;
    INSERT INTO t_packet (kind, nsp_id, to_kind, to_id, to_list, not_list, ack_id, is_volatile, is_plain, is_ask, made_ms,
                          body, attachments)
        SELECT CASE WHEN new.n_attachments > 0 THEN new.kind + 3 ELSE new.kind END,
               t.nsp_id,
               t.to_kind,
               CASE t.to_kind WHEN 0 THEN t.nsp_id WHEN 4 THEN NULL ELSE CAST(substr(t.keys, 2) AS INTEGER) END,
               CASE t.to_kind WHEN 4 THEN t.keys END,
               t.not_keys,
               new.ack_id, coalesce(new.is_volatile, 0), coalesce(new.is_plain, 0),
               coalesce(new.is_ask, 0), (SELECT now_ms FROM t_now),
               '[' || CASE WHEN new.event IS NULL THEN '' ELSE json_quote(new.event) END
                   || CASE WHEN new.event IS NOT NULL AND t.has_args THEN ',' ELSE '' END
                   || CASE WHEN t.has_args THEN substr(trim(new.args, char(9, 10, 13, 32)), 2,
                                                       length(trim(new.args, char(9, 10, 13, 32))) - 2) ELSE '' END
                   -- attachments without a place in the arguments follow them
                   || CASE WHEN new.n_attachments > 0 AND NOT t.has_places
                           THEN CASE WHEN new.event IS NOT NULL OR t.has_args THEN ',' ELSE '' END ||
                                (WITH RECURSIVE w(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM w WHERE n + 1 < new.n_attachments)
                                 SELECT group_concat('{"_placeholder":true,"num":' || w.n || '}') FROM w)
                           ELSE '' END
                   || ']',
               new.attachments
        FROM (SELECT a.*,
                     CASE WHEN new.socket IS NULL AND new.room IS NULL AND new.rooms IS NULL AND new.user IS NULL THEN 0
                          WHEN instr(a.keys, ',') THEN 4
                          WHEN a.keys LIKE 'r%' THEN 1
                          ELSE 2 END AS to_kind,
                     coalesce(json_array_length(new.args), 0) > 0 AS has_args,
                     CASE WHEN new.n_attachments > 0
                          THEN EXISTS (SELECT 1 FROM json_tree(new.args) j WHERE j.type = 'object'
                                       AND json_extract(j.value, '$._placeholder') IS 1) END AS has_places
              FROM (SELECT n.nsp_id,
                           CASE WHEN new.rooms IS NOT NULL OR new.user IS NOT NULL OR new.socket IS NOT NULL
                                THEN (SELECT group_concat(k.key) FROM (
                                    SELECT 'r' || r.room_id AS key FROM json_each(json_insert(coalesce(new.rooms, '[]'), '$[#]', new.room)) j
                                    CROSS JOIN t_room r ON r.nsp_id = n.nsp_id AND r.name = j.value
                                    WHERE r.idle_seq IS NULL OR r.history_n IS NOT NULL OR EXISTS (SELECT 1 FROM t_socket WHERE state = 1)
                                    UNION SELECT 's' || s.socket_id FROM json_each(json_insert(coalesce(new.rooms, '[]'), '$[#]', new.room)) j
                                    CROSS JOIN t_socket s ON s.sio_id = j.value AND s.nsp_id = n.nsp_id AND s.state < 2
                                    UNION SELECT 's' || s.socket_id FROM t_socket s
                                    WHERE s.user = new.user AND s.nsp_id = n.nsp_id AND s.state < 2
                                    UNION SELECT 's' || s.socket_id FROM t_socket s
                                    WHERE s.sio_id = new.socket AND s.nsp_id = n.nsp_id AND s.state < 2) k)
                                WHEN new.room IS NOT NULL -- the same for what most have, four times as fast
                                THEN nullif(ltrim(
                                    coalesce('r' || (SELECT r.room_id FROM t_room r
                                                     WHERE r.nsp_id = n.nsp_id AND r.name = new.room AND (
                                                         r.idle_seq IS NULL OR r.history_n IS NOT NULL OR EXISTS (SELECT 1 FROM t_socket WHERE state = 1))), '') ||
                                    coalesce(',s' || (SELECT s.socket_id FROM t_socket s
                                                      WHERE s.sio_id = new.room AND s.nsp_id = n.nsp_id AND s.state < 2), ''),
                                    ','), '') END AS keys,
                           CASE WHEN new.except_room IS NOT NULL OR new.except_rooms IS NOT NULL
                                THEN (SELECT group_concat(k.key) FROM (
                                    SELECT 'r' || r.room_id AS key
                                    FROM json_each(json_insert(coalesce(new.except_rooms, '[]'), '$[#]', new.except_room)) j
                                    CROSS JOIN t_room r ON r.nsp_id = n.nsp_id AND r.name = j.value
                                    UNION SELECT 's' || s.socket_id
                                    FROM json_each(json_insert(coalesce(new.except_rooms, '[]'), '$[#]', new.except_room)) j
                                    CROSS JOIN t_socket s ON s.sio_id = j.value AND s.nsp_id = n.nsp_id) k) END AS not_keys
                    FROM t_nsp n WHERE n.name = coalesce(new.nsp, '/') LIMIT 1) a
             ) t
        WHERE (t.to_kind = 0 OR t.keys IS NOT NULL) AND NOT (
            -- max_pending_acks
            new.is_ask IS 1 AND t.to_kind = 2 AND EXISTS (
                SELECT 1 FROM t_answer o WHERE o.socket_id = CAST(substr(t.keys, 2) AS INTEGER) AND o.n_before IS NULL
                LIMIT 1 OFFSET (SELECT coalesce((SELECT value FROM t_bound WHERE name = 'max_pending_acks'), n_pending_max) - 1 FROM t_meta)));
    -- rooms that keep their events
    INSERT INTO t_history_note (seq)
        SELECT (SELECT max(seq) FROM t_packet) WHERE new.kind = 2 AND EXISTS (SELECT 1 FROM t_history_rule);
END;

-- attachments are counted first; one that is given as it is gets its length
CREATE TRIGGER t_aim_binary INSTEAD OF INSERT ON t_aim WHEN new.n_attachments IS NULL
BEGIN
    INSERT INTO t_aim (verb, kind, nsp, room, rooms, except_room, except_rooms, user, socket, ack_id, event, args,
                       is_volatile, is_plain, is_ask, attachments, n_attachments)
        SELECT new.verb, new.kind, new.nsp, new.room, new.rooms, new.except_room, new.except_rooms, new.user, new.socket,
               new.ack_id, new.event, new.args, new.is_volatile, new.is_plain, new.is_ask,
               CASE WHEN new.attachment IS NULL THEN new.attachments
                    ELSE (SELECT CAST(substr(b.bytes, (length(new.attachment) >> 24 & 255) + 1, 1) ||
                                      substr(b.bytes, (length(new.attachment) >> 16 & 255) + 1, 1) ||
                                      substr(b.bytes, (length(new.attachment) >> 8 & 255) + 1, 1) ||
                                      substr(b.bytes, (length(new.attachment) & 255) + 1, 1) ||
                                      new.attachment AS BLOB) FROM t_byte b) END,
               CASE WHEN new.attachment IS NOT NULL THEN iif(typeof(new.attachment) = 'blob' AND new.attachments IS NULL, 1, -1)
                    WHEN new.attachments IS NULL THEN 0
                    WHEN typeof(new.attachments) <> 'blob' THEN -1
                    ELSE (WITH RECURSIVE w(at, n, h) AS (
                              -- at: where the next length stands; h: that length, once it is read
                              VALUES (1, 0, NULL)
                              UNION ALL SELECT
                                  CASE WHEN w.h IS NULL THEN w.at
                                       ELSE w.at + 4 +
                                       (instr('123456789ABCDEF', substr(w.h, 1, 1)) << 28) + (instr('123456789ABCDEF', substr(w.h, 2, 1)) << 24) +
                                       (instr('123456789ABCDEF', substr(w.h, 3, 1)) << 20) + (instr('123456789ABCDEF', substr(w.h, 4, 1)) << 16) +
                                       (instr('123456789ABCDEF', substr(w.h, 5, 1)) << 12) + (instr('123456789ABCDEF', substr(w.h, 6, 1)) << 8) +
                                       (instr('123456789ABCDEF', substr(w.h, 7, 1)) << 4) + (instr('123456789ABCDEF', substr(w.h, 8, 1)) << 0) END,
                                  w.n + (w.h IS NOT NULL),
                                  CASE WHEN w.h IS NULL THEN hex(substr(new.attachments, w.at, 4)) END
                              FROM w WHERE w.at + 3 <= length(new.attachments))
                          SELECT CASE max(w.at) WHEN length(new.attachments) + 1 THEN max(w.n) ELSE -1 END FROM w) END;
END;
