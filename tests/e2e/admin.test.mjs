// SPDX-License-Identifier: MIT
//
// docs/admin.md: every statement in it is run against a live server with clients; the columns are those that the page
// shows, and the values are plausible. The log events that it lists are those of the sources.
//
// With SIOLITE_ADMIN_PRINT=FILE the outputs are written there, for the page.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { root } from './lib/npm.mjs';
import { columnsOf, sqlBlocks } from './lib/page.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { call, connect, next } from './lib/official.mjs';
import { until, within } from './lib/wait.mjs';
import { Polling } from './lib/wire.mjs';

const page = fs.readFileSync(path.join(root, 'docs/admin.md'), 'utf8');

const blocks = sqlBlocks('admin.md');
const find = (part) => {
  const block = blocks.find(({ sql }) => sql.includes(part));
  assert.ok(block, `docs/admin.md has no statement with ${part}`);
  return block;
};

let server;
const people = {};
before(async () => {
  if (needsOwn) return;
  server = await startServer({ set: { ping_interval: '25s', ping_timeout: '20s' } });
  people.ada = await connect(server.url, 'polling');
  people.bob = await connect(server.sidecars[0], 'websocket');
  people.cyd = await connect(server.url, 'upgrade');
  people.dan = await connect(server.sidecars[1], 'websocket', { nsp: '/custom' });
  for (const name of ['ada', 'bob', 'cyd']) await call(people[name], 'join', 'lobby');
  await call(people.bob, 'join', 'vip');
  await call(people.bob, 'set-data', { name: 'bob' });
  for (let i = 0; i < 10; i++) people.bob.emit('cast', { via: 'socket', to: ['lobby'] }, 'said', `text ${i}`);
  for (let i = 0; i < 10; i++) await next(people.ada, 'said');
  people.bob.on('vote', (question, ack) => ack('yes'));
  await server.sql(find('INTO ask ').sql);
  await server.sql(`INSERT INTO ack (event_id) VALUES ('${people.bob.id}:99')`);
  await server.sql(find('INTO server_emit ').sql);
  await until('an answer', async () => (await server.value('SELECT n_answered FROM ask')) === 1);
  // One that has gone, and one that does not come back for what it is owed.
  const gone = await connect(server.sidecars[0], 'websocket');
  for (const socket of [people.bob, gone]) await server.sql(`INSERT INTO socket_user (socket, user) VALUES ('${socket.id}', 'bob')`);
  gone.close();
  people.eve = await Polling.connect(server.url);
  assert.deepEqual(await people.eve.call('join', 'lobby'), []);
  await call(people.bob, 'cast', { via: 'socket', to: ['lobby'], except: ['vip'] }, 'said', 'x'.repeat(1000));
  await call(people.bob, 'cast', { via: 'io', to: ['lobby', 'vip'] }, 'said', 'y'.repeat(500));
  await server.sql("INSERT INTO ban (remote, until, note) VALUES ('192.0.2.*', datetime('now', '+1 hour'), 'floods')");
  await server.sql("INSERT INTO bound (name, value, note) VALUES ('handshakes_per_s', 100, 'a flood is on')");
  await until('all processes to say that they have seen everything', async () =>
    (await server.value('SELECT max(n_behind) FROM process')) === 0);
  await server.sql(`INSERT INTO t_app_error (made_s, what, nsp, sio_id, event, error)
    VALUES (strftime('%s', 'now') + 0, 'event', '/', '${people.bob.id}', 'keep', 'UNIQUE constraint failed')`);
  await server.sql(`INSERT INTO t_hook (event_id, kind, sio_id, nsp, body, attachments, n_bytes, made_ms, n_tries, is_parked, error)
    SELECT 'lZzZo3Cwli5BsQxj7F93', 1, '${people.bob.id}', '/', '["said","hi"]', x'', 13, now_ms, 1, 1, 'HTTP 404' FROM t_now`);
  await until('the end to be seen', async () => (await server.value('SELECT count(*) FROM disconnect')) === 1);
});
after(async () => {
  for (const person of Object.values(people)) person.close?.();
  await people.eve?.post('1');
  await server?.stop();
});

// The ids that the page shows are those of another day.
const live = (sql, id) => sql.replace(/'[A-Za-z0-9_-]{20}'/g, `'${id}'`);
const rows = (part) => server.sql(find(part).sql);

describe('docs/admin.md', { skip: needsOwn }, () => {
  it('has a statement for each view that has no page of its own, and its output', () => {
    assert.ok(blocks.length >= 15, `${blocks.length} statements`);
    for (const { sql, output } of blocks) {
      if (/^SELECT/i.test(sql)) assert.ok(output, `the output of: ${sql}`);
    }
    const folder = path.join(root, 'schema/views');
    const text = fs.readdirSync(folder).map((file) => fs.readFileSync(path.join(folder, file), 'utf8')).join('');
    const views = [...text.matchAll(/^CREATE VIEW (\w+)/gm)]
      .map((m) => m[1]).filter((name) => !name.startsWith('t_'));
    // What is for applications stands on the pages for them.
    const pages = fs.readdirSync(path.join(root, 'docs')).filter((name) => name.endsWith('.md'))
      .map((name) => fs.readFileSync(path.join(root, 'docs', name), 'utf8')).join('');
    for (const view of views) assert.match(pages, new RegExp(`\\b(FROM|JOIN|INTO|ON) ${view}\\b`), `a statement with ${view}`);
    const all = fs.readdirSync(path.join(root, 'docs')).filter((file) => file.endsWith('.md')).flatMap(sqlBlocks);
    for (const view of views) assert.ok(all.some(({ sql }) => new RegExp(`\\b(FROM|JOIN|INTO) ${view}\\b`).test(sql)), `a statement with ${view}`);
  });

  for (const { sql, output } of blocks.filter((block) => /^SELECT/i.test(block.sql))) {
    it(`gives the columns that are shown: ${sql.replace(/\s+/g, ' ').slice(0, 70)}`, async () => {
      const text = live(sql, people.bob.id);
      const list = await server.sql(text);
      if (process.env.SIOLITE_ADMIN_PRINT) {
        fs.appendFileSync(process.env.SIOLITE_ADMIN_PRINT, `@@ ${sql}\n${await server.sqlite(['-header', '-column', server.db, text])}`);
      }
      assert.ok(list.length > 0, 'there are rows');
      assert.deepEqual(Object.keys(list[0]), columnsOf(output));
    });
  }

  it('has every column of the views', async () => {
    for (const view of ['process', 'session', 'socket', 'disconnect', 'room', 'member', 'nsp', 'log', 'traffic', 'backlog', 'emit', 'ask', 'answer', 'ack']) {
      for (const { name } of await server.sql(`SELECT name FROM pragma_table_info('${view}')`)) {
        assert.ok(new RegExp(`\\b${name}\\b`).test(page), `${view}.${name}`);
      }
    }
  });

  it('processes: four are alive and up to date', async () => {
    const list = await rows('FROM process');
    assert.deepEqual(list.map((p) => p.front).sort(), ['fcgi', 'fcgi', 'ws', 'ws']);
    const pids = server.programs.filter((p) => p !== server.lighttpd).map((p) => p.pid).sort();
    assert.deepEqual(list.map((p) => p.os_pid).sort(), pids);
    for (const p of list) assert.deepEqual([p.is_draining, p.is_dead, p.n_behind < 100], [0, 0, true]);
  });

  it('connections: transports, and who holds them', async () => {
    const list = await server.sql("SELECT * FROM session WHERE state = 'open'");
    assert.deepEqual(list.map((s) => s.transport).sort(), ['polling', 'polling', 'websocket', 'websocket', 'websocket']);
    for (const s of list) assert.match(s.eio_sid, /^.{6}\u2026$/, 'the id is a secret');
  });

  it('traffic: all rows of the log, and their bytes', async () => {
    const list = await server.sql('SELECT * FROM traffic');
    const sum = (name) => list.reduce((total, row) => total + row[name], 0);
    assert.equal(sum('n_rows'), await server.value('SELECT count(*) FROM t_packet'));
    assert.ok(sum('n_events') >= 12 && sum('n_acks') >= 5 && sum('n_connects') >= 6 && sum('n_disconnects') >= 1);
    assert.ok(sum('n_bytes') > 1500 && sum('n_bytes') < 100_000, `${sum('n_bytes')} bytes`);
    const minutes = list.map((row) => row.minute);
    for (const minute of minutes) assert.match(minute, /^\d{4}-\d\d-\d\d \d\d:\d\d$/);
    assert.ok(Math.abs(Date.now() - Date.parse(`${minutes.at(-1).replace(' ', 'T')}:00Z`)) < 180_000, minutes.at(-1));
  });

  it('backlog: what waits for a client that does not poll, to the byte', async () => {
    const session = await server.value(`SELECT session_id FROM socket WHERE socket = '${people.eve.sioId}'`);
    const [eve] = await server.sql(`SELECT * FROM backlog WHERE session_id = ${session}`);
    const bytes = JSON.stringify(['said', 'x'.repeat(1000)]).length + JSON.stringify(['said', 'y'.repeat(500)]).length;
    assert.deepEqual([eve.transport, eve.is_there, eve.n_queued, eve.queued_bytes], ['polling', 0, 2, bytes]);
    assert.ok(eve.queued_s >= 0 && eve.queued_s < 120);
    const [first] = await rows('FROM backlog');
    assert.equal(first.session_id, session, 'the slowest comes first');
    // Not what is for others, nor what it has got.
    await server.sql("INSERT INTO emit (room, event) VALUES ('nowhere', 'x'); INSERT INTO emit (room, event) VALUES ('vip', 'x')");
    await server.sql(`INSERT INTO emit (except_room, event) VALUES ('lobby', 'x'); INSERT INTO emit (nsp, event) VALUES ('/custom', 'x')`);
    assert.equal(await server.value(`SELECT n_queued FROM backlog WHERE session_id = ${session}`), 2);
    await server.sql(`INSERT INTO emit (room, event) VALUES ('${people.eve.sioId}', 'x'); INSERT INTO emit (event) VALUES ('x')`);
    assert.equal(await server.value(`SELECT n_queued FROM backlog WHERE session_id = ${session}`), 4);
    const got = await people.eve.receive((packets) => packets.length >= 4);
    assert.equal(got.length, 4, 'that was what it was owed');
    assert.equal(await server.value(`SELECT n_queued FROM backlog WHERE session_id = ${session}`), 0);
    for (const row of await server.sql("SELECT * FROM backlog WHERE transport = 'websocket'")) {
      assert.deepEqual([row.is_there, row.n_queued, row.queued_bytes, row.queued_s], [1, null, null, null]);
    }
  });

  it('rooms: the largest first', async () => {
    const [first, second] = await rows('FROM room');
    assert.deepEqual([first.room, first.n_members, second.room, second.n_members], ['lobby', 4, 'vip', 1]);
  });

  it('disconnects: the last first, with reasons', async () => {
    const [last] = await rows('FROM disconnect ORDER BY');
    assert.equal(last.reason, 'client namespace disconnect');
    assert.match(last.time, /^\d{4}-/);
  });

  it('INSERT INTO the verbs, as written there', async () => {
    const inserts = blocks.filter(({ sql }) => /^INSERT/i.test(sql));
    for (const view of ['emit', 'room_join', 'room_leave', 'kick']) assert.ok(inserts.some(({ sql }) => sql.includes(`INTO ${view} `)), view);
    for (const { sql } of inserts.filter((block) => !/INTO (ask|kick|room_leave)/.test(block.sql))) await server.sql(live(sql, people.cyd.id));
    assert.ok((await server.value(`SELECT count(*) FROM member WHERE socket = '${people.cyd.id}' AND room = 'vip'`)) === 1);
    await server.sql("INSERT INTO emit (room, event) VALUES ('vip', 'for vip')");
    await people.cyd.events.find('for vip', ([event]) => event === 'for vip');
    for (const { sql } of inserts.filter((block) => /INTO room_leave/.test(block.sql))) await server.sql(live(sql, people.cyd.id));
    assert.ok((await server.value(`SELECT count(*) FROM member WHERE socket = '${people.cyd.id}' AND room = 'vip'`)) === 0);
    assert.deepEqual(await call(people.cyd, 'rooms'), ['all', 'lobby']);
    const { id } = people.cyd;
    const [kick, close] = inserts.filter((block) => /INTO kick/.test(block.sql));
    await server.sql(live(kick.sql, people.cyd.id));
    assert.equal(await within(5000, 'the kick', people.cyd.ended), 'io server disconnect');
    await server.sql(live(close.sql, people.dan.id));
    assert.match(await within(5000, 'the end of the connection', people.dan.ended), /^(io server disconnect|transport close)$/);
    assert.equal(await server.value(`SELECT reason FROM disconnect WHERE socket = '${id}'`), 'server namespace disconnect');
  });

  it('the other statements, as written there', async () => {
    const others = blocks.filter(({ sql }) => !/^(SELECT|INSERT)/i.test(sql));
    assert.ok(others.some(({ sql }) => /^BEGIN/.test(sql)) && others.some(({ sql }) => /^CREATE TRIGGER/.test(sql)));
    // In a transaction that is taken back: the trigger would stay.
    for (const { sql } of others) {
      const text = live(sql, people.bob.id);
      await server.sql(/^BEGIN/.test(text) ? text : `BEGIN; ${text}; ROLLBACK`);
    }
    await server.sql(find('INTO ask_cancel ').sql);
    assert.equal(await server.value("SELECT count(*) FROM ask WHERE name = 'vote 1'"), 0);
    const inline = [...page.replace(/^```[^]*?^```$/gm, '').matchAll(/`((?:SELECT|INSERT|DELETE|UPDATE) [^`]+)`/g)]
      .map(([, sql]) => sql.replace(/\s+/g, ' ')).filter((sql) => / (WHERE|VALUES) /.test(sql)); // whole ones
    assert.ok(inline.length >= 4, `${inline.length} statements in the text`);
    for (const sql of inline) await server.sql(sql);
    assert.equal(await server.value("SELECT count(*) FROM ban WHERE user = 'mallory'"), 0);
    assert.equal(await server.value('SELECT count(*) FROM bound'), 0);
  });

  it('a wrong INSERT is answered as the page shows', async () => {
    const shown = [...page.matchAll(/^sqlite> (INSERT .*);\nRuntime error: (.*) \(19\)$/gm)];
    assert.equal(shown.length, 3);
    for (const [, sql, text] of shown) {
      await assert.rejects(server.sql(live(sql, people.bob.id)), ({ stderr }) => stderr.includes(text), sql);
    }
  });

  it('a wrong INSERT names the column, and what is allowed', async () => {
    const id = people.bob.id;
    for (const [statement, column, allowed] of [
      [`emit (nsp, event) VALUES ('/none', 'a')`, 'emit.nsp', 'no such namespace'],
      [`emit (event) VALUES (NULL)`, 'emit.event', 'must be text'],
      [`emit (event) VALUES ('connect')`, 'emit.event', 'reserved names connect, connect_error'],
      [`emit (event, args) VALUES ('a', '{}')`, 'emit.args', 'must be a JSON array'],
      [`emit (event, room) VALUES ('a', 7)`, 'emit.room', 'must be text (a room or a socket id) or NULL'],
      [`emit (event, except_room) VALUES ('a', 7)`, 'emit.except_room', 'must be text'],
      [`emit (event, is_volatile) VALUES ('a', 'yes')`, 'emit.is_volatile', 'must be 0 or 1'],
      [`emit (event, seq) VALUES ('a', 1)`, 'emit.seq', 'leave it out'],
      [`emit (event, skip_socket) VALUES ('a', '${id}')`, 'emit.skip_socket', 'use except_room'],
      [`room_join (nsp, socket, room) VALUES ('/none', '${id}', 'r')`, 'room_join.nsp', 'no such namespace'],
      [`room_join (socket, room) VALUES ('nobody', 'r')`, 'room_join.socket', 'must be the id of an open socket'],
      [`room_join (nsp, socket, room) VALUES ('/custom', '${id}', 'r')`, 'room_join.socket', 'of this namespace'],
      [`room_join (socket, room) VALUES ('${id}', NULL)`, 'room_join.room', 'must be text'],
      [`room_leave (nsp, socket, room) VALUES ('/none', '${id}', 'r')`, 'room_leave.nsp', 'no such namespace'],
      [`room_leave (socket, room) VALUES (1, 'r')`, 'room_leave.socket', 'must be the id of a socket'],
      [`room_leave (socket, room) VALUES ('${id}', 1)`, 'room_leave.room', 'must be text'],
      [`kick (nsp, socket) VALUES ('/none', '${id}')`, 'kick.nsp', 'no such namespace'],
      [`kick (socket) VALUES (NULL)`, 'kick', 'exactly one of socket, in_room, user and is_all'],
      [`kick (socket, is_close) VALUES ('${id}', 2)`, 'kick.is_close', 'must be 0 or 1'],
      [`kick (socket, is_all) VALUES ('${id}', 'no')`, 'kick.is_all', 'must be 0 or 1'],
      [`kick (is_all) VALUES (2)`, 'kick.is_all', 'must be 0 or 1'],
      [`kick (socket) VALUES (7)`, 'kick.socket', 'must be the id of a socket'],
      [`kick (socket, note) VALUES ('${id}', 7)`, 'kick.note', 'must be text or NULL'],
      ...['room_join', 'room_leave'].flatMap((view) => [
        [`${view} (in_room, room) VALUES (7, 'r')`, `${view}.in_room`, 'must be text (a room or a socket id)'],
        [`${view} (user, room) VALUES (7, 'r')`, `${view}.user`, 'must be text'],
        [`${view} (socket, is_all, room) VALUES ('${id}', 'no', 'r')`, `${view}.is_all`, 'must be 0 or 1']]),
      [`emit (event, is_ask) VALUES ('a', 1)`, 'emit.is_ask', 'INSERT INTO ask'],
      [`emit (event, is_binary) VALUES ('a', 1)`, 'emit.is_binary', 'use attachments'],
      [`emit (event, args, attachment) VALUES ('a', '[{"_placeholder":true,"num":1}]', x'00')`, 'emit.args', 'for each attachment'],
      [`ask (nsp, name, event) VALUES ('/none', 'w', 'a')`, 'ask.nsp', 'no such namespace'],
      [`ask (name, event) VALUES ('w', 7)`, 'ask.event', 'must be text'],
      [`ask (name, event) VALUES ('w', 'connect')`, 'ask.event', 'reserved names connect, connect_error'],
      [`ask (name, event, room) VALUES ('w', 'a', 7)`, 'ask.room', 'must be text (a room or a socket id) or NULL'],
      [`ask (name, event, except_room) VALUES ('w', 'a', 7)`, 'ask.except_room', 'must be text'],
      [`ask (name, event, except_rooms) VALUES ('w', 'a', '{}')`, 'ask.except_rooms', 'must be a JSON array of texts'],
      [`ask (name, event, user) VALUES ('w', 'a', 7)`, 'ask.user', 'must be text or NULL'],
      [`ask (name, event, is_plain) VALUES ('w', 'a', 2)`, 'ask.is_plain', 'must be 0 or 1'],
      [`ask (name, event, is_volatile) VALUES ('w', 'a', 2)`, 'ask.is_volatile', 'must be 0 or 1'],
      [`ask (name, event, state) VALUES ('w', 'a', 'done')`, 'ask', 'are shown only'],
      ...[['ask', `name, event`, `'w', 'a'`], ['ack', 'event_id', `'${id}:98'`]].flatMap(([view, names, values]) => [
        [`${view} (${names}, args, attachments) VALUES (${values}, '[]', 'x')`, `${view}.attachments`, 'must be a BLOB, each attachment behind its length'],
        [`${view} (${names}, args, attachments) VALUES (${values}, '[]', zeroblob(4 * 100000))`, `${view}.attachments`, 'are more than max_attachments'],
        [`${view} (${names}, args, attachment) VALUES (${values}, '[{"_placeholder":true,"num":1}]', x'00')`, `${view}.args`, 'for each attachment']]),
      [`ack (event_id, seq) VALUES ('${id}:98', 1)`, 'ack.seq', 'leave it out'],
      [`server_emit (nsp, event) VALUES ('/none', 'a')`, 'server_emit.nsp', 'no such namespace'],
      [`server_emit (event) VALUES (7)`, 'server_emit.event', 'must be text'],
      [`server_emit (event) VALUES ('disconnect')`, 'server_emit.event', 'reserved names connect, connect_error'],
      [`server_emit (event, seq) VALUES ('a', 1)`, 'server_emit.seq', 'leave it out'],
      [`ban (remote) VALUES (7)`, 'ban.remote', 'must be an address, or a pattern'],
      [`ban (remote, until) VALUES ('192.0.2.1', 'soon')`, 'ban.until', 'must be a time such as'],
      [`ban (user) VALUES ('')`, 'ban.user', 'at least one character'],
      [`ban (user, note) VALUES ('mallory', 7)`, 'ban.note', 'must be text or NULL'],
      [`bound (name, value) VALUES ('max_nsp', -1)`, 'bound.value', 'must be an integer that is not negative'],
      [`bound (name, value, note) VALUES ('max_nsp', 9, 7)`, 'bound.note', 'must be text or NULL'],
      [`outbox (id, user, event) VALUES (7, 'bob', 'a')`, 'outbox.id', 'leave it out'],
      [`outbox (user, event) VALUES ('bob', 'connect')`, 'outbox.event', 'reserved names connect, connect_error'],
      [`outbox (user, event, expires_at) VALUES ('bob', 'a', 'soon')`, 'outbox.expires_at', 'must be a Unix time in seconds'],
      [`room_history (room, n, is_app) VALUES ('r', 5, 2)`, 'room_history.is_app', 'must be 0 or 1'],
    ]) {
      const error = await server.sql(`INSERT INTO ${statement}`).then(() => assert.fail(`accepted: ${statement}`), (e) => e);
      assert.ok(error.stderr.includes(`${column}: `), `${statement}: ${error.stderr}`);
      assert.ok(error.stderr.includes(allowed), `${statement}: ${error.stderr}`);
    }
    assert.equal(people.bob.connected, true);
  });
});

describe('the log events of docs/admin.md', () => {
  // log_info("module", "event", …) of the sources; the level of log_at is found out at run time.
  const sources = ['core', 'fcgi', 'store', 'ws'].flatMap((folder) => fs.readdirSync(path.join(root, folder), { recursive: true })
    .filter((name) => name.endsWith('.c')).map((name) => path.join(folder, String(name))));
  const used = new Map();
  for (const file of sources) {
    const text = fs.readFileSync(path.join(root, file), 'utf8');
    for (const [, level, module, event] of text.matchAll(/\blog_(error|warn|info|debug)\(\s*"([a-z]+)",\s*"([a-z._]+)"/g)) {
      used.set(`${level} ${module} ${event}`, file);
    }
    for (const [, module, event] of text.matchAll(/\blog_at\([^;]*?,\s*"([a-z]+)",\s*"([a-z._]+)"/g)) used.set(`* ${module} ${event}`, file);
    const calls = [...text.matchAll(/\blog_(?:error|warn|info|debug|at)\(/g)].length;
    const literal = [...text.matchAll(/\blog_(?:(?:error|warn|info|debug)\(\s*|at\([^;]*?,\s*)"[a-z]+",\s*"[a-z._]+"/g)].length;
    if (!file.startsWith('core/base/log')) it(`${file} names its events in place`, () => assert.equal(literal, calls));
  }
  const listed = new Set([...page.matchAll(/^\| `([a-z]+) ([a-z._]+)` \| ([a-z, ]+) \|/gm)].flatMap(([, module, event, levels]) =>
    levels.split(', ').map((level) => `${level} ${module} ${event}`)));

  it('are those that the sources have', () => {
    const levels = (module, event) => ['error', 'warn', 'info', 'debug'].filter((level) => listed.has(`${level} ${module} ${event}`));
    const missing = [...used].filter(([line]) => {
      const [level, module, event] = line.split(' ');
      return level === '*' ? levels(module, event).length === 0 : !listed.has(line);
    }).map(([line, file]) => `${file}: ${line}`);
    assert.deepEqual(missing, [], 'not in docs/admin.md');
    const stale = [...listed].filter((line) => !used.has(line) && !used.has(`* ${line.split(' ').slice(1).join(' ')}`));
    assert.deepEqual(stale, [], 'in docs/admin.md, but not in the sources');
  });
});
