// SPDX-License-Identifier: MIT
//
// The database as an interface: INSERTs of sqlite3 and PHP reach clients at once, the views
// tell the truth, and an outsider's transactions are respected.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { needsOwn, startServer } from './lib/server.mjs';
import { call, connect, received as receivedUntil } from './lib/official.mjs';
import { PhpScript, quoted, SqliteShell } from './lib/outsider.mjs';
import { slowness, until, within } from './lib/wait.mjs';
import { Peer, Polling, upgrade } from './lib/wire.mjs';

const modes = ['polling', 'websocket', 'upgrade'];
const emoji = '\u00e4\u20ac\u{1f600}';

let server;
before(async () => {
  if (!needsOwn) server = await startServer();
});
after(() => server?.stop());

const kinds = (nsp = '/') =>
  Promise.all(
    modes.map((mode, i) =>
      connect(server.entries[i % server.entries.length], mode, { nsp }),
    ),
  );
const closeAll = (sockets) => sockets.forEach((socket) => socket.close());

const received = (sockets, nsp = '/') =>
  receivedUntil(sockets, (name) =>
    server.sql(`INSERT INTO emit (nsp, event) VALUES (${quoted(nsp)}, '${name}')`),
  );

describe('INSERT INTO emit', { skip: needsOwn }, () => {
  it('reaches a room, and with NULL everybody, over every transport', async () => {
    const sockets = await kinds();
    await call(sockets[0], 'join', 'lobby');
    await call(sockets[1], 'join', 'lobby');
    await server.sql(
      `INSERT INTO emit(nsp, room, event, args) VALUES ('/', 'lobby', 'headline', '["hello"]')`,
    );
    await server.sql(
      `INSERT INTO emit(nsp, room, event, args) VALUES ('/', NULL, 'all', '[1,{"a":null}]')`,
    );
    await server.sql(`INSERT INTO emit(event) VALUES ('bare')`);
    await server.sql(
      `INSERT INTO emit(room, event, args) VALUES (${quoted(sockets[2].id)}, 'you', '[]')`,
    );
    await server.sql(`INSERT INTO emit(room, event) VALUES ('nobody', 'lost')`);
    await server.sql(`INSERT INTO emit(except_room, event) VALUES ('lobby', 'outside')`);
    await server.sql(
      `INSERT INTO emit(room, except_room, event) VALUES ('lobby', ${quoted(sockets[0].id)}, 'other')`,
    );
    const rest = [['all', 1, { a: null }], ['bare']];
    assert.deepEqual(await received(sockets), [
      [['headline', 'hello'], ...rest],
      [['headline', 'hello'], ...rest, ['other']],
      [...rest, ['you'], ['outside']],
    ]);
    closeAll(sockets);
  });

  it('stays in its namespace', async () => {
    const here = await kinds('/custom');
    const there = await kinds('/dyn-77');
    await server.sql(`INSERT INTO emit(nsp, event, args) VALUES ('/custom', 'a', '[1]')`);
    await server.sql(`INSERT INTO emit(nsp, event, args) VALUES ('/dyn-77', 'b', '[2]')`);
    assert.deepEqual(
      await received(here, '/custom'),
      here.map(() => [['a', 1]]),
    );
    assert.deepEqual(
      await received(there, '/dyn-77'),
      there.map(() => [['b', 2]]),
    );
    closeAll([...here, ...there]);
  });

  it('sends any JSON', async () => {
    const sockets = await kinds();
    const args = [
      null,
      true,
      1.5,
      -1e-9,
      '',
      emoji,
      'quote " and \\ and \n',
      [],
      {},
      { deep: [{ er: [1] }] },
      'x'.repeat(100_000),
    ];
    await server.sql(
      `INSERT INTO emit(event, args) VALUES (${quoted(emoji)}, ${quoted(JSON.stringify(args))})`,
    );
    assert.deepEqual(
      await received(sockets),
      sockets.map(() => [[emoji, ...args]]),
    );
    closeAll(sockets);
  });

  it('keeps the order of a transaction, and shows nothing of one that is rolled back', async () => {
    const sockets = await kinds();
    const emits = (name) =>
      Array.from(
        { length: 50 },
        (_, i) => `INSERT INTO emit(event, args) VALUES ('${name}', '[${i}]');`,
      ).join('');
    await server.sql(
      `CREATE TABLE IF NOT EXISTS mine (x); BEGIN IMMEDIATE; INSERT INTO mine VALUES (1); ${emits('no')} ROLLBACK`,
    );
    await server.sql(
      `BEGIN IMMEDIATE; INSERT INTO mine VALUES (2); ${emits('yes')} COMMIT`,
    );
    assert.deepEqual(
      await received(sockets),
      sockets.map(() => Array.from({ length: 50 }, (_, i) => ['yes', i])),
    );
    assert.deepEqual(await server.sql('SELECT x FROM mine'), [{ x: 2 }]);
    closeAll(sockets);
  });

  it('reaches clients from a trigger on a table of somebody else', async () => {
    const sockets = await kinds();
    await server.sql(`CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT);
      CREATE TRIGGER orders_changed AFTER UPDATE ON orders BEGIN
        INSERT INTO emit(event, args) VALUES ('order', json_array(new.id, new.state));
      END;
      INSERT INTO orders VALUES (7, 'new'); UPDATE orders SET state = 'paid' WHERE id = 7`);
    assert.deepEqual(
      await received(sockets),
      sockets.map(() => [['order', 7, 'paid']]),
    );
    closeAll(sockets);
  });

  it('names the column that is wrong', async () => {
    for (const [columns, column] of [
      [`(nsp, event) VALUES ('/none', 'a')`, 'nsp'],
      [`(event) VALUES (NULL)`, 'event'],
      [`(args) VALUES ('[]')`, 'event'],
      [`(event) VALUES ('disconnect')`, 'event'],
      [`(event, args) VALUES ('a', '{"a":1}')`, 'args'],
      [`(event, args) VALUES ('a', 'hello')`, 'args'],
      [`(event, args) VALUES ('a', '[1')`, 'args'],
      [`(event, args) VALUES ('a', 1)`, 'args'],
      [`(event, room) VALUES ('a', 1)`, 'room'],
      [`(event, is_volatile) VALUES ('a', 2)`, 'is_volatile'],
    ]) {
      const error = await server.sql(`INSERT INTO emit ${columns}`).then(
        () => assert.fail(`accepted: ${columns}`),
        (e) => e,
      );
      assert.match(error.message, new RegExp(`emit\\.${column}\\b`));
    }
  });

  it('works in three lines of PHP', async () => {
    const sockets = await kinds();
    await promisify(execFile)('php', [
      '-r',
      `
      $db = new PDO('sqlite:${server.db}');
      $emit = $db->prepare('INSERT INTO emit(nsp, room, event, args) VALUES (?, ?, ?, ?)');
      $emit->execute(['/', null, 'from php', json_encode(['h\u00e4', 1])]);`,
    ]);
    assert.deepEqual(
      await received(sockets),
      sockets.map(() => [['from php', 'h\u00e4', 1]]),
    );
    closeAll(sockets);
  });

  // From the end of the INSERT in the program that did it to the handler of the client.
  for (const [name, Program] of [
    ['sqlite3', SqliteShell],
    ['PHP', PhpScript],
  ]) {
    it(`arrives within 50 ms of the commit of ${name}`, async (t) => {
      const sockets = await Promise.all(
        ['polling', 'websocket', 'polling', 'websocket'].map((mode, i) =>
          connect(server.entries[i % server.entries.length], mode),
        ),
      );
      const arrived = new Map();
      sockets.forEach((socket, k) =>
        socket.on('timed', (i) => arrived.set(`${k} ${i}`, Date.now())),
      );
      const program = new Program(server.db);
      const times = { polling: [], websocket: [] };
      for (let i = 0; i < 60; i++) {
        const end = await program.run(
          `INSERT INTO emit(event, args) VALUES ('timed', '[${i}]')`,
        );
        await until('the event to be there', () =>
          sockets.every((_, k) => arrived.has(`${k} ${i}`)),
        );
        sockets.forEach((socket, k) => {
          times[socket.io.engine.transport.name].push(arrived.get(`${k} ${i}`) - end);
        });
      }
      for (const [transport, list] of Object.entries(times)) {
        list.sort((a, b) => a - b);
        const [median, p95] = [0.5, 0.95].map((q) => list[Math.floor(q * list.length)]);
        t.diagnostic(
          `${name} to ${transport}: median ${median} ms, 95 % ${p95} ms, longest ${list.at(-1)} ms`,
        );
        assert.ok(
          median < 50 * slowness,
          `median ${median} ms over ${transport}: ${list}`,
        );
      }
      await program.close();
      closeAll(sockets);
    });
  }
});

describe('the views', { skip: needsOwn }, () => {
  it('show the processes', async () => {
    const rows = await server.sql(
      'SELECT front, os_pid, is_draining, is_dead, n_behind FROM process ORDER BY os_pid',
    );
    const expected = [
      ...server.fcgi.map((p) => ['fcgi', p.pid]),
      ...server.ws.map((p) => ['ws', p.pid]),
    ];
    assert.deepEqual(
      rows.map((row) => [row.front, row.os_pid]),
      expected.sort((a, b) => a[1] - b[1]),
    );
    assert.ok(rows.every((row) => row.is_draining === 0 && row.is_dead === 0));
  });

  it('show sessions, sockets, rooms and members as they are', async () => {
    const nsp = '/dyn-4711';
    const sockets = await kinds(nsp);
    const [a, b, c] = sockets;
    await call(a, 'join', ['x', 'y']);
    await call(b, 'join', 'x');
    await call(c, 'set-data', { name: emoji });
    const list = async (sql) => (await server.sql(sql)).map((row) => Object.values(row));

    assert.deepEqual(
      (
        await list(`SELECT socket, nsp, data FROM socket WHERE nsp = '${nsp}' ORDER BY 1`)
      ).map(([id, name, data]) => [id, name, data === null ? null : JSON.parse(data)]),
      sockets
        .map((s) => [s.id, nsp, s === c ? { name: emoji } : null])
        .sort((p, q) => (p[0] < q[0] ? -1 : 1)),
    );
    assert.deepEqual(
      await list(`SELECT room, socket FROM member WHERE nsp = '${nsp}' ORDER BY 1, 2`),
      [
        ['x', a.id],
        ['x', b.id],
        ['y', a.id],
      ].sort(),
    );
    assert.deepEqual(
      await list(`SELECT room, n_members FROM room WHERE nsp = '${nsp}' ORDER BY 1`),
      [
        ['x', 2],
        ['y', 1],
      ],
    );
    const sessions =
      await list(`SELECT socket, transport, state, remote, protocol, process_id FROM socket
      JOIN session USING (session_id) WHERE nsp = '${nsp}'`);
    const of = Object.fromEntries(sessions.map(([id, ...rest]) => [id, rest]));
    const front = async (id) =>
      server.value(`SELECT front FROM process WHERE process_id = ${id}`);
    assert.deepEqual(of[a.id].slice(0, 4), ['polling', 'open', '127.0.0.1', 4]);
    assert.deepEqual(of[b.id].slice(0, 4), ['websocket', 'open', '127.0.0.1', 4]);
    assert.deepEqual(of[c.id].slice(0, 4), ['websocket', 'open', '127.0.0.1', 4]);
    assert.equal(await front(of[b.id][4]), 'ws');
    assert.equal(await front(of[c.id][4]), 'ws');
    assert.equal(
      (await server.value('SELECT eio_sid FROM session')).includes(a.io.engine.id),
      false,
    );

    await call(a, 'leave', 'x');
    b.disconnect();
    await until(
      'the member to be gone',
      async () =>
        (await list(`SELECT room, n_members FROM room WHERE nsp = '${nsp}'`)).length ===
        1,
    );
    assert.deepEqual(await list(`SELECT room, socket FROM member WHERE nsp = '${nsp}'`), [
      ['y', a.id],
    ]);
    assert.deepEqual(await list(`SELECT count(*) FROM socket WHERE nsp = '${nsp}'`), [
      [2],
    ]);
    const ids = sockets.map((socket) => socket.id);
    closeAll(sockets);
    await until(
      'no socket to be left',
      async () =>
        (await server.value(`SELECT count(*) FROM socket WHERE nsp = '${nsp}'`)) === 0,
    );
    assert.equal(ids.length, 3);
    assert.deepEqual(
      await list(`SELECT DISTINCT reason FROM disconnect WHERE nsp = '${nsp}'`),
      [['client namespace disconnect']],
    );
  });

  it('show a session of polling, and who holds its poll', async () => {
    const session = await Polling.connect(server.entries);
    const row = async () =>
      (
        await server.sql(`SELECT transport, state, process_id FROM session
      WHERE session_id = (SELECT session_id FROM socket WHERE socket = ${quoted(session.sioId)})`)
      )[0];
    assert.deepEqual(await row(), {
      transport: 'polling',
      state: 'open',
      process_id: null,
    });
    const poll = session.poll();
    const held = await until(
      'the poll to be parked',
      async () => (await row()).process_id,
    );
    assert.equal(
      await server.value(`SELECT front FROM process WHERE process_id = ${held}`),
      'fcgi',
    );
    await server.sql(
      `INSERT INTO emit(room, event) VALUES (${quoted(session.sioId)}, 'go')`,
    );
    assert.equal((await poll).body, '42["go"]');
    assert.equal((await row()).process_id, null);
    const socket = await upgrade(session);
    await socket.call('who');
    assert.equal((await row()).transport, 'websocket');
    await socket.close();
    await until(
      'the session to be closed',
      async () => (await row()) === undefined || (await row()).state === 'closed',
    );
  });
});

describe('INSERT INTO room_join, room_leave, kick', { skip: needsOwn }, () => {
  it('joins and leaves', async () => {
    const sockets = await kinds('/custom');
    for (const socket of sockets) {
      await server.sql(
        `INSERT INTO room_join(nsp, socket, room) VALUES ('/custom', ${quoted(socket.id)}, 'by sql')`,
      );
      assert.deepEqual(await call(socket, 'rooms'), ['by sql']);
    }
    await call(sockets[0], 'cast', { via: 'io', to: ['by sql'] }, 'in');
    assert.equal(
      await server.value(`SELECT n_members FROM room WHERE room = 'by sql'`),
      3,
    );
    await server.sql(
      `INSERT INTO room_leave(socket, room) VALUES (${quoted(sockets[1].id)}, 'by sql')`,
    );
    assert.deepEqual(await call(sockets[1], 'rooms'), []);
    await call(sockets[1], 'cast', { via: 'io', to: ['by sql'] }, 'in again');
    assert.deepEqual(await received(sockets, '/custom'), [
      [['in'], ['in again']],
      [['in']],
      [['in'], ['in again']],
    ]);
    closeAll(sockets);
  });

  it('refuses who is not there', async () => {
    for (const [sql, column] of [
      [`room_join(socket, room) VALUES ('nobody', 'a')`, 'room_join.socket'],
      [`room_join(nsp, socket, room) VALUES ('/none', 'nobody', 'a')`, 'room_join.nsp'],
    ]) {
      const error = await server.sql(`INSERT INTO ${sql}`).then(
        () => assert.fail(`accepted: ${sql}`),
        (e) => e,
      );
      assert.ok(error.message.includes(column), error.message);
    }
    await server.sql(`INSERT INTO kick(socket) VALUES ('nobody')`);
  });

  it('disconnects a socket from its namespace, or its whole connection', async () => {
    for (const mode of modes) {
      const socket = await connect(server.url, mode);
      const other = socket.io.socket('/custom');
      await within(
        5000,
        '/custom',
        new Promise((resolve) => other.on('connect', resolve)),
      );
      const { id } = socket;
      await server.sql(`INSERT INTO kick(socket) VALUES (${quoted(id)})`);
      assert.equal(
        await within(5000, 'the disconnection', socket.ended),
        'io server disconnect',
      );
      assert.equal(await call(other, 'reason-of', id), 'server namespace disconnect');
      const gone = new Promise((resolve) => other.on('disconnect', resolve));
      await server.sql(
        `INSERT INTO kick(socket, is_close) VALUES (${quoted(other.id)}, 1)`,
      );
      assert.equal(
        await within(5000, 'the end of the connection', gone),
        'io server disconnect',
      );
      await until(
        'the engine to be closed',
        () => socket.io.engine.readyState === 'closed',
      );
      socket.close();
    }
  });
});

describe('an outsider that holds the write lock', { skip: needsOwn }, () => {
  it('delays what needs a commit, and nothing is lost', async () => {
    const peers = await Promise.all(
      ['polling', 'websocket'].map((t) => Peer.connect(t, server.entries)),
    );
    const shell = new SqliteShell(server.db);
    await shell.run('BEGIN IMMEDIATE');
    const acks = peers.map((peer) =>
      peer.call('join', 'while locked').then(() => Date.now()),
    );
    await new Promise((resolve) => setTimeout(resolve, 1200));
    const end = await shell.run(`INSERT INTO emit(event) VALUES ('unlocked'); COMMIT`);
    for (const ack of acks) {
      const at = await ack;
      assert.ok(
        at >= end - 5,
        `acknowledged ${end - at} ms before it could be committed`,
      );
      assert.ok(
        at < end + 2000 * slowness,
        `acknowledged ${at - end} ms after the lock was free`,
      );
    }
    for (const peer of peers) {
      assert.deepEqual(await peer.call('rooms'), [['while locked']]);
      await peer.close();
    }
    await shell.close();
  });

  it('does not stop the heartbeat of WebSockets', async () => {
    const other = await startServer({ preset: 'short', fcgi: 1, ws: 1 });
    try {
      const peer = await Peer.connect('websocket', other.sidecars[0]);
      const shell = new SqliteShell(other.db);
      await shell.run('BEGIN IMMEDIATE');
      const how = await Promise.race([
        peer.closed,
        new Promise((resolve) => setTimeout(resolve, 4500)),
      ]);
      assert.equal(how, undefined);
      await shell.run('COMMIT');
      assert.deepEqual(await peer.call('message-with-ack', 1), [1]);
      await peer.close();
      await shell.close();
    } finally {
      await other.stop();
    }
  });
});
