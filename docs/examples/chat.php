<?php
// The chat of chat.c as a web hook: one PHP file behind any web server. docs/hook.md explains what it is sent and what it
// answers; the events of the page are described at the top of chat.c.
//
//     hook_url = https://example.org/chat.php        in siolite.conf
//     hook_secret_file = /etc/siolite/hook.secret    the same file is read here: CHAT_SECRET_FILE
//     hook_concurrency = 1                           see below
//     make run APP=docs/examples/chat.php
//
// What it must remember is in an SQLite file of its own (CHAT_DATABASE). An event may be sent more than once, always under the
// same id: what was answered is kept for a while, and answered again. With hook_concurrency = 1 the answers take effect in the
// order in which they were given, so that of two lists of people the last one is true.
//
// SPDX-License-Identifier: MIT

declare(strict_types=1);

const NAME_MAX = 40;       // bytes
const ROOM_MAX = 19;       // shorter than an id, so that it can't be mistaken for one
const ID_BYTES = 20;
const TEXT_MAX = 2000;
const PICTURE_MAX = 600000;
const ROOMS_MAX = 10;      // in which one may be at a time
const LINES_MAX = 20;      // that a newcomer to a room gets
const AGE_MAX_S = 300;     // of a signature

// ---- who calls?

/** The body, if it was signed with our key a moment ago. */
function signed_body(): string
{
    $body = file_get_contents('php://input');
    $time = $_SERVER['HTTP_X_SIOLITE_TIMESTAMP'] ?? '';
    $key = strtok(file_get_contents(getenv('CHAT_SECRET_FILE')), "\r\n");
    $expected = 'v1=' . hash_hmac('sha256', "$time.$body", $key);
    if (abs(time() - (int)$time) > AGE_MAX_S || !hash_equals($expected, $_SERVER['HTTP_X_SIOLITE_SIGNATURE'] ?? '')) {
        http_response_code(401);
        exit;
    }
    return $body;
}

// ---- what is remembered

function open_database(): PDO
{
    $db = new PDO('sqlite:' . getenv('CHAT_DATABASE'), null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
    $db->exec('PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL;
        CREATE TABLE IF NOT EXISTS answered (event_id TEXT PRIMARY KEY, effects TEXT NOT NULL, at_s INTEGER NOT NULL);
        CREATE TABLE IF NOT EXISTS person (socket TEXT PRIMARY KEY, name TEXT);
        CREATE TABLE IF NOT EXISTS member (room TEXT, socket TEXT, PRIMARY KEY (room, socket));
        CREATE TABLE IF NOT EXISTS line (line_id INTEGER PRIMARY KEY, room TEXT, socket TEXT, name TEXT, at_ms INTEGER,
            text TEXT);');
    return $db;
}

function run(PDO $db, string $sql, mixed ...$values): PDOStatement
{
    $statement = $db->prepare($sql);
    $statement->execute($values);
    return $statement;
}

// ---- effects: what siolite does when it has our answer

function emit(string $event, array $args, ?string $room = null, array $more = []): array
{
    return ['emit' => ['event' => $event, 'args' => $args] + ($room === null ? [] : ['room' => $room]) + $more];
}

function ack(mixed ...$args): array
{
    return ['ack' => ['args' => $args]];
}

/** Everybody is told who is where. */
function rooms(PDO $db): array
{
    $rows = run($db, 'SELECT room, count(*) FROM member GROUP BY room ORDER BY room LIMIT 100')->fetchAll(PDO::FETCH_NUM);
    return emit('rooms', [$rows]);
}

// ---- what the page sends is checked before anything is done with it

function is_line(mixed $s, int $max): bool
{
    return is_string($s) && $s !== '' && strlen($s) <= $max && !preg_match('/[\x00-\x1f\x7f]/', $s);
}

function is_room(mixed $s): bool
{
    return is_line($s, ROOM_MAX) && strspn($s, 'abcdefghijklmnopqrstuvwxyz0123456789-') === strlen($s);
}

/** A text, or a picture: {"$binary": base64}. */
function is_what(mixed $what): bool
{
    if (is_string($what))
        return $what !== '' && strlen($what) <= TEXT_MAX && !str_contains($what, "\0");
    $picture = is_array($what) && is_string($what['$binary'] ?? null) ? base64_decode($what['$binary']) : '';
    return $picture !== '' && strlen($picture) <= PICTURE_MAX;
}

// ---- the events of the page; each gives a list of effects

function on_name(PDO $db, array $event): array
{
    [$name] = $event['args'] + [null];
    if (!is_line($name, NAME_MAX))
        return [ack('A name has 1 to 40 bytes.')];
    if ($event['user'] !== null)
        return [ack('You have a name already.')];
    run($db, 'UPDATE person SET name = ? WHERE socket = ?', $name, $event['socket']);
    return [['socket_user' => ['user' => $name]], ack(null)]; // for what comes next, and for: SELECT user FROM socket
}

function on_enter(PDO $db, array $event): array
{
    [$room] = $event['args'] + [null];
    ['socket' => $id, 'user' => $name, 'rooms' => $mine] = $event;
    if ($name === null)
        return [ack('Say your name first.')];
    if (!is_room($room))
        return [ack('A room has up to 19 letters a-z, digits and dashes.')];
    if (!in_array($room, $mine, true) && count($mine) >= ROOMS_MAX)
        return [ack('That are too many rooms; leave one first.')];
    $effects = [];
    if (!in_array($room, $mine, true)) { // else it only wants to see the lists again
        run($db, 'INSERT OR IGNORE INTO member VALUES (?, ?)', $room, $id);
        $effects = [
            ['room_join' => ['room' => $room]],
            emit('joined', [$room, $id, $name], $room, ['except_room' => $id]),
            rooms($db),
        ];
    }
    $people = run($db, 'SELECT socket, name FROM member JOIN person USING (socket) WHERE room = ? ORDER BY socket', $room);
    $lines = run($db, 'SELECT socket, name, at_ms, text FROM line WHERE room = ? ORDER BY line_id', $room);
    $effects[] = ack(null, $people->fetchAll(PDO::FETCH_NUM), $lines->fetchAll(PDO::FETCH_NUM));
    return $effects;
}

function on_leave(PDO $db, array $event): array
{
    [$room] = $event['args'] + [null];
    if (!in_array($room, $event['rooms'], true))
        return [ack(null)];
    run($db, 'DELETE FROM member WHERE room = ? AND socket = ?', $room, $event['socket']);
    return [
        ['room_leave' => ['room' => $room]],
        emit('left', [$room, $event['socket']], $room),
        rooms($db),
        ack(null),
    ];
}

function on_say(PDO $db, array $event): array
{
    [$to, $what] = $event['args'] + [null, null];
    ['socket' => $id, 'user' => $name] = $event;
    $at_ms = (int)(microtime(true) * 1000);
    if ($name === null || !is_line($to, ID_BYTES) || count($event['args']) !== 2)
        return [ack('Say your name first, then: to whom, and what.')];
    if (!is_what($what))
        return [ack('A text has up to 2,000 bytes, a picture up to 600,000.')];
    if (strlen($to) === ID_BYTES && run($db, 'SELECT 1 FROM person WHERE socket = ?', $to)->fetch())
        return [emit('told', [$id, $name, $at_ms, $what], $to), ack(null)];
    if (!in_array($to, $event['rooms'], true))
        return [ack('Nobody is there any more.')];
    if (is_string($what)) {
        run($db, 'INSERT INTO line (room, socket, name, at_ms, text) VALUES (?, ?, ?, ?, ?)', $to, $id, $name, $at_ms, $what);
        run($db, 'DELETE FROM line WHERE room = ?1 AND line_id <= (SELECT line_id FROM line WHERE room = ?1
            ORDER BY line_id DESC LIMIT 1 OFFSET ' . LINES_MAX . ')', $to);
    }
    return [emit('said', [$to, $id, $name, $at_ms, $what], $to), ack(null)];
}

/** Volatile: who can't be written to at this moment misses nothing. */
function on_typing(PDO $db, array $event): array
{
    [$to] = $event['args'] + [null];
    ['socket' => $id, 'user' => $name] = $event;
    $more = ['except_room' => $id, 'is_volatile' => true];
    if ($name === null || !is_line($to, ID_BYTES))
        return [];
    if (strlen($to) === ID_BYTES)
        return [emit('typing', [null, $id, $name], $to, $more)];
    return in_array($to, $event['rooms'], true) ? [emit('typing', [$to, $id, $name], $to, $more)] : [];
}

// ---- connections

/** A connection that was lost and recovered has its name and its rooms again; the others saw it leave. */
function on_connect(PDO $db, array $event): array
{
    ['socket' => $id, 'user' => $name] = $event;
    run($db, 'INSERT OR REPLACE INTO person VALUES (?, ?)', $id, $name);
    $effects = [];
    foreach ($event['rooms'] as $room) {
        run($db, 'INSERT OR IGNORE INTO member VALUES (?, ?)', $room, $id);
        $effects[] = emit('joined', [$room, $id, $name], $room, ['except_room' => $id]);
    }
    return $effects ? [...$effects, rooms($db)] : [];
}

function on_disconnect(PDO $db, array $event): array
{
    run($db, 'DELETE FROM person WHERE socket = ?', $event['socket']);
    run($db, 'DELETE FROM member WHERE socket = ?', $event['socket']);
    $effects = array_map(fn ($room) => emit('left', [$room, $event['socket']], $room), $event['rooms']);
    return $effects ? [...$effects, rooms($db)] : [];
}

// ---- one call

function handle(PDO $db, array $event): array
{
    return match ([$event['kind'], $event['event'] ?? null]) {
        ['connect', null] => on_connect($db, $event),
        ['disconnect', null] => on_disconnect($db, $event),
        ['event', 'name'] => on_name($db, $event),
        ['event', 'enter'] => on_enter($db, $event),
        ['event', 'leave'] => on_leave($db, $event),
        ['event', 'say'] => on_say($db, $event),
        ['event', 'typing'] => on_typing($db, $event),
        default => [],
    };
}

/** Once for each event_id: who asks again gets the same answer. */
function answer(PDO $db, array $event): string
{
    $db->exec('BEGIN IMMEDIATE');
    $effects = run($db, 'SELECT effects FROM answered WHERE event_id = ?', $event['event_id'])->fetchColumn();
    if ($effects === false) {
        $effects = json_encode(handle($db, $event), JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
        run($db, 'INSERT INTO answered VALUES (?, ?, ?)', $event['event_id'], $effects, time());
        run($db, 'DELETE FROM answered WHERE at_s < ?', time() - 3600);
    }
    $db->exec('COMMIT');
    return $effects;
}

$event = json_decode(signed_body(), true, 512, JSON_THROW_ON_ERROR);
header('Content-Type: application/json');
echo answer(open_database(), $event);
