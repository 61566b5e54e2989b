// SPDX-License-Identifier: MIT
//
// Users (docs/users.md): presence, the outbox, expiry; over every transport, by the official
// client, with two processes of each kind, and over the death of all of them.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { build } from './lib/npm.mjs';
import { call, client, freshNsp, plain, upgraded } from './lib/official.mjs';
import { quoted } from './lib/outsider.mjs';
import { columnsOf, sqlBlocks } from './lib/page.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { until, within } from './lib/wait.mjs';
import { Polling } from './lib/wire.mjs';

let server;
before(async () => {
  if (!needsOwn)
    server = await startServer({
      app: path.join(build, 'apps/users.so'),
      set: { expiry_lead: '1500ms', recovery: '4s' },
    });
});
after(() => server?.stop());

const modes = ['polling', 'websocket', 'upgrade'];
let lastUser = 0;
const freshUser = () => `user ${++lastUser} ä`;

// A connected client, as that user. `ack`: whether it acknowledges what asks for it.
async function connect(i, mode, nsp, auth = {}, { ack = true, ...options } = {}) {
  const socket = client(server.entries[i], mode, { nsp, auth, ...options });
  socket.got = [];
  socket.onAny((name, ...args) => {
    const done = typeof args.at(-1) === 'function' ? args.pop() : undefined;
    if (!done) args.pop(); // the offset, for the recovery
    socket.got.push(plain([name, ...args]));
    if (ack && done) done('got', name);
  });
  await within(5000, `${mode} client to connect`, socket.ready);
  if (mode === 'upgrade') await upgraded(socket);
  return socket;
}

const tabs = (nsp, user) =>
  Promise.all(modes.map((mode, i) => connect(i % 2, mode, nsp, { user })));
const closeAll = (sockets) => sockets.forEach((socket) => socket.close());
// Everything that was sent before has been handled by the client.
const settled = (socket) => call(socket, 'tell', 'nobody', 'nothing');
const names = (socket) => socket.got.map(([name]) => name);

const put = (user, nsp, event, more = '', values = '') =>
  server.sql(
    `INSERT INTO outbox (user, nsp, event${more}) VALUES (${quoted(user)}, '${nsp}', '${event}'${values})`,
  );
const states = async (user) =>
  (
    await server.sql(
      `SELECT event, state FROM outbox WHERE user = ${quoted(user)} ORDER BY id`,
    )
  ).map((row) => [row.event, row.state]);
const untilStates = (user, expected) =>
  until(`the outbox of ${user} to say ${JSON.stringify(expected)}`, async () => {
    const list = await states(user);
    assert.deepEqual(list, expected);
    return true;
  });

async function killAll() {
  const programs = [...server.fcgi, ...server.ws];
  await Promise.all(programs.map((p) => p.kill()));
  await Promise.all(programs.map((p) => p.start()));
  await server.ready();
}

describe('a user', { skip: needsOwn, concurrency: 4 }, () => {
  // SIO-USER
  it('gets an event in all tabs, from C and from SQL', async () => {
    const nsp = freshNsp();
    const user = freshUser();
    const sockets = await tabs(nsp, user);
    const other = await connect(0, 'websocket', nsp, { user: freshUser() });
    await call(other, 'tell', user, 'hello', 1);
    for (const socket of sockets)
      await until('the event', () => socket.got.some(([name]) => name === 'hello'));
    await settled(other);
    assert.deepEqual(other.got, []);
    closeAll([...sockets, other]);
  });

  // SIO-PRESENCE
  it('is present from its first socket to its last', async () => {
    const nsp = freshNsp();
    const user = freshUser();
    const watcher = await connect(1, 'polling', nsp);
    await call(watcher, 'join', 'watch');
    await server.sql(`INSERT INTO presence_room (nsp, room) VALUES ('${nsp}', 'watch')`);
    const seen = (isOnline) =>
      until(`the watcher to hear ${isOnline}`, () =>
        watcher.got.some((e) => e[1] === user && e[2] === isOnline),
      );
    const rows = async () =>
      server.sql(
        `SELECT is_online, n_sockets FROM presence WHERE nsp = '${nsp}' AND user = ${quoted(user)}`,
      );

    const first = await connect(0, 'websocket', nsp, { user });
    await seen(true);
    const second = await connect(1, 'polling', nsp);
    await call(second, 'user', user);
    assert.deepEqual(await rows(), [{ is_online: 1, n_sockets: 2 }]);
    first.close();
    await until('one socket', async () => (await rows())[0].n_sockets === 1);
    await call(second, 'user', null);
    assert.deepEqual(await rows(), [{ is_online: 0, n_sockets: 0 }]);
    await seen(false);
    assert.deepEqual(watcher.got, [
      ['presence', user, true],
      ['presence', user, false],
    ]);
    await until('the application to have seen both', async () => {
      const log = await server.sql(
        `SELECT is_online FROM seen WHERE nsp = '${nsp}' AND user = ${quoted(user)} ORDER BY id`,
      );
      return log.length === 2 && log[0].is_online === 1 && log[1].is_online === 0;
    });
    closeAll([second, watcher]);
  });
});

describe('the outbox', { skip: needsOwn, concurrency: 4 }, () => {
  for (const mode of modes) {
    // SIO-OUTBOX
    it(`waits for a user who comes over ${mode}, and keeps the order`, async () => {
      const nsp = freshNsp();
      const user = freshUser();
      const opener = await connect(0, 'websocket', nsp);
      await put(user, nsp, 'one', ', args', `, '["ä", {"n": 1}]'`);
      await call(opener, 'put', user, -1, 'two', Buffer.from([1, 2]), 'x');
      await put(user, nsp, 'late', ', expires_s', ', 0');
      await put(user, nsp, 'three', ', expires_s', ', 3600');
      assert.deepEqual(await states(user), [
        ['one', 'waiting'],
        ['two', 'waiting'],
        ['late', 'expired'],
        ['three', 'waiting'],
      ]);
      const socket = await connect(1, mode, nsp, { user });
      await untilStates(user, [
        ['one', 'acked'],
        ['two', 'acked'],
        ['late', 'expired'],
        ['three', 'acked'],
      ]);
      await put(user, nsp, 'live');
      await untilStates(user, [
        ['one', 'acked'],
        ['two', 'acked'],
        ['late', 'expired'],
        ['three', 'acked'],
        ['live', 'acked'],
      ]);
      assert.deepEqual(
        socket.got,
        plain([['one', 'ä', { n: 1 }], ['two', Buffer.from([1, 2]), 'x'], ['three'], ['live']]),
      );
      assert.deepEqual(
        await server.sql(`SELECT answer FROM outbox WHERE user = ${quoted(user)} AND event = 'one'`),
        [{ answer: '["got","one"]' }],
      );
      closeAll([opener, socket]);
    });
  }

  // SIO-OUTBOX-ACK
  it('goes to all tabs, is acknowledged by the first, and sent again to who comes', async () => {
    const nsp = freshNsp();
    const user = freshUser();
    const silent = await Promise.all(
      modes.map((mode, i) => connect(i % 2, mode, nsp, { user }, { ack: false })),
    );
    await put(user, nsp, 'one');
    await put(user, nsp, 'two');
    for (const socket of silent)
      await until('both events', () => socket.got.length === 2);
    await untilStates(user, [
      ['one', 'sent'],
      ['two', 'sent'],
    ]);
    const late = await connect(0, 'polling', nsp, { user });
    await untilStates(user, [
      ['one', 'acked'],
      ['two', 'acked'],
    ]);
    assert.deepEqual(late.got, [['one'], ['two']]);
    const later = await connect(1, 'websocket', nsp, { user });
    await settled(later);
    assert.deepEqual(later.got, []);
    for (const socket of silent) assert.deepEqual(socket.got, [['one'], ['two']]);
    closeAll([...silent, late, later]);
  });

  // SIO-OUTBOX-ACK
  it('takes no ack of somebody else', async () => {
    const nsp = freshNsp();
    const user = freshUser();
    const asked = await connect(0, 'websocket', nsp, { user }, { ack: false });
    const other = await connect(1, 'websocket', nsp, { user: freshUser() });
    await put(user, nsp, 'secret');
    await until('the event', () => asked.got.length === 1);
    const [{ seq }] = await server.sql(
      `SELECT max(seq) AS seq FROM emit WHERE nsp = '${nsp}' AND event = 'secret'`,
    );
    other.packet({ type: 3, id: seq, data: ['mine'] });
    await settled(other);
    assert.deepEqual(await states(user), [['secret', 'sent']]);
    asked.packet({ type: 3, id: seq, data: ['mine'] });
    await untilStates(user, [['secret', 'acked']]);
    closeAll([asked, other]);
  });

  it('is bounded, can be taken back, and says what is wrong', async () => {
    const nsp = freshNsp();
    const user = freshUser();
    const socket = await connect(0, 'polling', nsp);
    const fails = async (sql, text) =>
      assert.match((await server.sql(sql).then(() => ({ message: 'accepted' }), (e) => e)).message, text);
    await server.sql(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
       INSERT INTO outbox (user, nsp, event) SELECT ${quoted(user)}, '${nsp}', 'e' || i FROM n`,
    );
    await fails(
      `INSERT INTO outbox (user, nsp, event) VALUES (${quoted(user)}, '${nsp}', 'more')`,
      /outbox\.user: has max_outbox/,
    );
    await server.sql(`DELETE FROM outbox WHERE user = ${quoted(user)} AND event <> 'e7'`);
    assert.deepEqual(await states(user), [['e7', 'waiting']]);
    await fails(`INSERT INTO outbox (event) VALUES ('x')`, /outbox\.user/);
    await fails(
      `INSERT INTO outbox (user, event, args) VALUES ('u', 'x', '{}')`,
      /outbox\.args/,
    );
    await fails(
      `INSERT INTO outbox (user, event, expires_s) VALUES ('u', 'x', 'soon')`,
      /outbox\.expires_s/,
    );
    socket.close();
  });
});

describe('an expiry', { skip: needsOwn, concurrency: 4 }, () => {
  for (const mode of modes) {
    // SIO-EXPIRY, SIO-EXPIRY-TOLD
    it(`is told, can be renewed, and ends a client over ${mode}`, async () => {
      const nsp = freshNsp();
      const socket = await connect(0, mode, nsp, { expires: 1800, close: true });
      await until('the announcement', () => names(socket).includes('expiring'));
      const left = socket.got.find(([name]) => name === 'expiring')[1];
      assert.ok(left > 0 && left <= 1500, `${left} ms are left`);
      await call(socket, 'expire', 60_000, true);
      const [{ expires_s: s }] = await server.sql(
        `SELECT expires_s FROM socket_expiry WHERE socket = ${quoted(socket.id)}`,
      );
      assert.ok(s > 50 && s <= 60, `${s} s are left`);
      const start = Date.now();
      await server.sql(
        `INSERT INTO socket_expiry (socket, expires_s, is_close) VALUES (${quoted(socket.id)}, 1.8, 0)`,
      );
      assert.equal(
        await within(5000, 'the end', socket.ended),
        'io server disconnect',
      );
      const took = Date.now() - start;
      assert.ok(took >= 1750, `it took ${took} ms`);
      assert.equal(names(socket).filter((name) => name === 'expiring').length, 2);
      socket.close();
    });
  }

  // SIO-EXPIRY
  it('can be taken away, and may be a time of day', async () => {
    const nsp = freshNsp();
    const socket = await connect(0, 'websocket', nsp, { expires: 5000, close: false });
    await call(socket, 'expire', -1, false);
    await server.sql(
      `INSERT INTO socket_expiry (socket, expires_at) VALUES (${quoted(socket.id)}, ${Math.floor(Date.now() / 1000) + 100})`,
    );
    const [row] = await server.sql(
      `SELECT expires_s, is_close FROM socket_expiry WHERE socket = ${quoted(socket.id)}`,
    );
    assert.ok(row.expires_s > 95 && row.expires_s < 102 && row.is_close === 1);
    await server.sql(`INSERT INTO socket_expiry (socket) VALUES (${quoted(socket.id)})`);
    assert.deepEqual(
      await server.sql(`SELECT 1 FROM socket_expiry WHERE socket = ${quoted(socket.id)}`),
      [],
    );
    socket.close();
  });
});

// The connection breaks, by the book; and the client comes back.
async function leave(socket) {
  const isOver = new Promise((resolve) => socket.once('disconnect', resolve));
  socket.io.engine.close();
  await within(2000, 'the end of the connection', isOver);
}
async function comeBack(socket, i) {
  socket.io.uri = server.entries[i];
  const isBack = new Promise((resolve) => socket.once('connect', resolve));
  socket.connect();
  await within(6000, 'the client to come back', isBack);
}

describe('a recovered socket', { skip: needsOwn, concurrency: 4 }, () => {
  for (const mode of ['polling', 'websocket']) {
    // SIO-OUTBOX
    it(`gets over ${mode} what waits in the outbox, behind what it missed`, async () => {
      const nsp = freshNsp();
      const user = freshUser();
      const socket = await connect(0, mode, nsp, { user });
      const other = await connect(1, 'websocket', nsp);
      await call(other, 'tell', user, 'first');
      await until('an offset', () => socket.got.length === 1);
      const { id } = socket;
      await leave(socket);
      await until('the loss', async () => (await server.sql(`SELECT 1 FROM disconnect WHERE socket = ${quoted(id)}`)).length === 1);
      await put(user, nsp, 'waits');
      await call(other, 'tell', user, 'missed');
      assert.deepEqual(await states(user), [['waits', 'waiting']]);
      await comeBack(socket, 1);
      assert.deepEqual([socket.recovered, socket.id], [true, id]);
      await untilStates(user, [['waits', 'acked']]);
      assert.deepEqual(names(socket), ['first', 'missed', 'waits']);
      closeAll([socket, other]);
    });

    // SIO-EXPIRY
    it(`is not recovered over ${mode} once it has expired`, async () => {
      const nsp = freshNsp();
      const socket = await connect(0, mode, nsp, { user: freshUser(), expires: 1500, close: true });
      const { id } = socket;
      await leave(socket);
      await until('its deadline to have passed', async () =>
        (await server.sql(`SELECT is_recoverable FROM disconnect WHERE socket = ${quoted(id)}`))[0]
          ?.is_recoverable === 0,
      );
      await comeBack(socket, 1);
      assert.equal(socket.recovered, false);
      assert.notEqual(socket.id, id);
      closeAll([socket]);
    });
  }
});

describe('an application in SQL', { skip: needsOwn }, () => {
  // SIO-PRESENCE
  it('is told who comes and goes, by a trigger on presence', async () => {
    const file = path.join(build, 'presence.sql');
    fs.writeFileSync(
      file,
      `CREATE TABLE seen (user, nsp, is_online, n_sockets);
       CREATE TRIGGER come INSTEAD OF INSERT ON connection BEGIN
         INSERT INTO socket_user (socket, user) VALUES (new.socket, new.auth ->> '$.user');
       END;
       CREATE TRIGGER note INSTEAD OF INSERT ON presence BEGIN
         INSERT INTO seen VALUES (new.user, new.nsp, new.is_online, new.n_sockets);
         INSERT INTO outbox (user, event) SELECT new.user, 'welcome' WHERE new.is_online;
       END;`,
    );
    const own = await startServer({ app: file, fcgi: 1, ws: 1 });
    const socket = client(own.url, 'websocket', { auth: { user: 'ann' } });
    const [name, ack] = await socket.events.next('the welcome');
    assert.equal(name, 'welcome');
    ack();
    await until('the ack', async () =>
      (await own.value('SELECT count(*) FROM outbox WHERE acked_at IS NOT NULL')) === 1);
    socket.close();
    await until('the end to be told', async () =>
      (await own.value('SELECT count(*) FROM seen')) === 2);
    assert.deepEqual(await own.sql('SELECT * FROM seen'), [
      { user: 'ann', nsp: '/', is_online: 1, n_sockets: 1 },
      { user: 'ann', nsp: '/', is_online: 0, n_sockets: 0 },
    ]);
    await own.stop();
  });
});

describe('docs/users.md', { skip: needsOwn }, () => {
  it('has statements that work, and shows their columns', async () => {
    const socket = await connect(0, 'websocket', '/', { user: 'ann' });
    const blocks = sqlBlocks('users.md');
    assert.ok(blocks.length >= 11, `${blocks.length} statements`);
    await call(socket, 'put', 'ann', -1, 'invoice', 17);
    await call(socket, 'say', 'lobby', 'said', 'hi');
    for (const { sql, output } of blocks) {
      const rows = await server.sql(
        `BEGIN; ${sql.replace(/'[A-Za-z0-9_-]{20}'/g, quoted(socket.id))}; COMMIT`,
      );
      if (output) assert.deepEqual(Object.keys(rows[0]), columnsOf(output), sql);
    }
    socket.close();
  });
});

describe('after kill -9 of all processes', { skip: needsOwn }, () => {
  it('the outbox and the deadlines are as they were', async () => {
    const nsp = freshNsp();
    const user = freshUser();
    const silent = await connect(0, 'websocket', nsp, { user }, { ack: false });
    // A client that says nothing any more.
    const polling = await Polling.open(server.entries[1]);
    await polling.send(`40${nsp},${JSON.stringify({ expires: 2000, close: true })}`);
    const [reply] = await polling.receive((p) => p.some((s) => s.startsWith('40')));
    const { sid: id } = JSON.parse(reply.slice(nsp.length + 3));
    await put(user, nsp, 'one');
    await until('the event', () => silent.got.length === 1);
    await killAll();
    await until('the user to be gone', async () => {
      const [row] = await server.sql(
        `SELECT is_online FROM presence WHERE user = ${quoted(user)} AND nsp = '${nsp}'`,
      );
      return row.is_online === 0;
    });
    assert.deepEqual(await states(user), [['one', 'sent']]);
    const back = await connect(0, 'polling', nsp, { user });
    await untilStates(user, [['one', 'acked']]);
    assert.deepEqual(back.got, [['one']]);
    await until('the end of the other one', async () => {
      const [row] = await server.sql(
        `SELECT reason FROM disconnect WHERE socket = ${quoted(id)}`,
      );
      assert.equal(row?.reason, 'server namespace disconnect');
      return true;
    });
    await until('the application to have seen it', async () => {
      const log = await server.sql(
        `SELECT is_online FROM seen WHERE nsp = '${nsp}' AND user = ${quoted(user)} ORDER BY id`,
      );
      return log.map((row) => row.is_online).join() === '1,0,1';
    });
    closeAll([silent, back]);
  });
});
