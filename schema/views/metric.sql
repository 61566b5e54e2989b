-- siolite: what is counted, for graphs and alarms: `siolite metrics` and <path>/metrics print it in the Prometheus text
-- format (docs/metrics.md). All processes together.
--
-- SPDX-License-Identifier: MIT

-- Counters begin at 0 with the database; what a process counted reaches it about once a second.
DROP VIEW IF EXISTS metric;
CREATE VIEW metric AS
    WITH about (name, kind, help) AS (VALUES
        ('socket_io_connected', 'gauge', 'Sockets that are open: one a client and namespace.'),
        ('socket_io_connect_total', 'counter', 'Sockets that joined a namespace.'),
        ('socket_io_disconnect_total', 'counter', 'Sockets that ended, by reason.'),
        ('socket_io_events_received_total', 'counter', 'Events that clients sent.'),
        ('socket_io_events_sent_total', 'counter', 'Events that handlers emitted, one each whatever the number of receivers.'),
        ('siolite_acks_received_total', 'counter', 'Acks that clients sent.'),
        ('siolite_received_bytes_total', 'counter', 'Bytes of the messages that clients sent.'),
        ('siolite_packets_sent_total', 'counter', 'Packets delivered, one each for each receiver.'),
        ('siolite_sent_bytes_total', 'counter', 'Bytes of the answers and messages to clients, before compression.'),
        ('siolite_sessions', 'gauge', 'Connections that are open, by transport.'),
        ('siolite_handshakes_total', 'counter', 'Connections that were begun.'),
        ('siolite_upgrades_total', 'counter', 'Connections that went from polling to WebSocket.'),
        ('siolite_recoveries_total', 'counter', 'Lost sockets that clients asked to have back and could.'),
        ('siolite_health_checks_total', 'counter', 'Answers to <path>/health that began with a write.'),
        ('siolite_http_answers_total', 'counter', 'Answers to HTTP requests, refused upgrades too, by class of status.'),
        ('siolite_handler_failures_total', 'counter', 'Handlers of the application that failed.'),
        ('siolite_handler_slow_total', 'counter', 'Handlers of the application that took over 50 ms.'),
        ('siolite_rooms', 'gauge', 'Rooms that somebody is in.'),
        ('siolite_processes', 'gauge', 'Programs that run, by front.'),
        ('siolite_log_seq', 'gauge', 'The newest row of the log.'),
        ('siolite_behind_rows', 'gauge', 'Rows of the log that the slowest program had not delivered a second ago.'),
        ('siolite_jobs', 'gauge', 'What is to be done later and is not due yet.'),
        ('siolite_jobs_due', 'gauge', 'What was due a second ago and is not done yet.'),
        ('siolite_asks', 'gauge', 'Questions to clients that wait for answers.'),
        ('siolite_hook_waiting', 'gauge', 'Events that wait for the web hook.'),
        ('siolite_hook_parked', 'gauge', 'Events that were given up, at most 1000.'),
        ('siolite_hook_dropped_total', 'counter', 'Events for which the queue of the web hook had no room.')),
    now (name, labels, value) AS (
        SELECT 'socket_io_connected', '', count(*) FROM t_socket WHERE state = 0
        UNION ALL SELECT 'socket_io_connect_total', '', coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 't_socket'
        UNION ALL SELECT 'siolite_handshakes_total', '', coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 't_session'
        UNION ALL SELECT 'siolite_sessions', 'transport="polling"', count(*) FROM t_lease WHERE state = 0 AND transport = 0
        UNION ALL SELECT 'siolite_sessions', 'transport="websocket"', count(*) FROM t_lease WHERE state = 0 AND transport = 1
        UNION ALL SELECT 'siolite_rooms', '', count(*) FROM t_room WHERE idle_seq IS NULL
        UNION ALL SELECT 'siolite_processes', 'front="' || f.column1 || '"',
                (SELECT count(*) FROM t_process p WHERE p.front = f.column1 AND NOT p.is_dead)
            FROM (VALUES ('fcgi'), ('ws'), ('hook')) f
        UNION ALL SELECT 'siolite_log_seq', '', coalesce(max(seq), 0) FROM t_packet
        UNION ALL SELECT 'siolite_behind_rows', '', coalesce(max((SELECT max(seq) FROM t_packet) - last_seq), 0)
            FROM t_process WHERE NOT is_dead AND front IN ('fcgi', 'ws')
        UNION ALL SELECT 'siolite_jobs', '', count(*) FROM t_job WHERE due_ms > (SELECT now_ms FROM t_now)
        UNION ALL SELECT 'siolite_jobs_due', '', count(*) FROM t_job WHERE due_ms <= (SELECT now_ms - 1000 FROM t_now)
        UNION ALL SELECT 'siolite_asks', '', count(*) FROM t_ask
        UNION ALL SELECT 'siolite_hook_waiting', '', n_waiting FROM hook_total
        UNION ALL SELECT 'siolite_hook_parked', '', n_parked FROM hook_total
        UNION ALL SELECT 'siolite_hook_dropped_total', '', n_dropped FROM hook_total
        UNION ALL SELECT name, labels, value FROM t_count
        UNION ALL SELECT name, '', 0 FROM about a WHERE kind = 'counter' -- nothing happened yet
            AND name NOT IN ('socket_io_connect_total', 'siolite_handshakes_total', 'siolite_hook_dropped_total')
            AND NOT EXISTS (SELECT 1 FROM t_count c WHERE c.name = a.name))
    SELECT a.name,                              -- as Prometheus knows it
           a.kind,                              -- counter (only grows) or gauge
           a.help,                              -- what it says
           n.labels,                            -- 'transport="polling"', or nothing
           n.value                              -- now
    FROM now n JOIN about a USING (name);
