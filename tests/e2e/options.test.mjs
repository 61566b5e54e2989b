// SPDX-License-Identifier: MIT
//
// Options of the handshake: the application's say (app_on_request), a message that comes
// with it (initial_packet), and the path without its slash (add_trailing_slash); dynamic
// namespaces that are forgotten (cleanup_nsp). And events between processes
// (app_server_emit).

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { needsOwn, startServer } from './lib/server.mjs';
import { build } from './lib/npm.mjs';
import { call, client, connect, group, next, plain, received, upgraded } from './lib/official.mjs';
import { Polling, SEPARATOR, Socket, request } from './lib/wire.mjs';
import { pause, until, within } from './lib/wait.mjs';

const query = { EIO: '4', transport: 'polling' };
const app = path.join(build, 'apps/options.so');

// EIO-UPGRADES
describe('allow_upgrades', { skip: needsOwn }, () => {
  it('off: polling stays polling, WebSocket alone is served', async () => {
    const server = await startServer({ set: { allow_upgrades: 'off' }, fcgi: 1, ws: 1 });
    try {
      const answer = await request(server.url, { query });
      assert.deepEqual(JSON.parse(answer.body.slice(1)).upgrades, []);
      const polling = await connect(server.url, 'polling', { transports: ['polling', 'websocket'] });
      const websocket = await connect(server.url, 'websocket');
      assert.equal((await call(polling, 'who')).transport, 'polling');
      assert.equal((await call(websocket, 'who')).transport, 'websocket');
      for (const socket of [polling, websocket]) socket.close();
    } finally {
      await server.stop();
    }
  });
});

// EIO-REQUEST
describe('app_on_request', { skip: needsOwn }, () => {
  let server;
  before(async () => {
    server = await startServer({ app, set: { trusted_proxy: '127.0.0.1' } });
  });
  after(() => server?.stop({ allowErrors: true }));

  const http = (extra = {}, headers = {}) =>
    request(server.url, { query: { ...query, ...extra }, headers });
  const ws = async (extra = {}, headers = {}) => {
    const socket = new Socket(server.url, { query: extra, headers });
    const answer = await within(5000, 'an answer', socket.answered);
    socket.terminate();
    return answer;
  };
  const assertRefused = (answer, message) => {
    assert.deepEqual(
      [answer.status, answer.body],
      [403, JSON.stringify({ code: 4, message })],
    );
    assert.match(answer.headers['content-type'], /^application\/json/);
  };

  it('HTTP: 403 with the text, or the usual one', async () => {
    assert.equal((await http()).status, 200);
    assertRefused(await http({ deny: 'not "today" \u00e4' }), 'not "today" \u00e4');
    assertRefused(await http({}, { 'X-Deny': '1' }), 'Forbidden');
    assertRefused(await http({}, { 'X-Forwarded-For': '192.0.2.66' }), 'polling');
  });

  it('WebSocket: 400 with the bare text', async () => {
    assert.equal((await ws()).status, 101);
    for (const [answer, text] of [
      [await ws({ deny: 'not today' }), 'not today'],
      [await ws({}, { 'X-Deny': '1' }), 'Forbidden'],
      [await ws({}, { 'X-Forwarded-For': '192.0.2.66' }), 'websocket'],
    ]) {
      assert.deepEqual([answer.status, answer.body], [400, text]);
      assert.match(answer.headers['content-type'], /^text\/html/);
    }
  });

  it('is asked for handshakes only', async () => {
    const session = await Polling.connect(server.url);
    session.headers = { 'X-Deny': '1' };
    await session.send('1');
    const upgrading = await Polling.connect(server.url);
    const answer = await ws({ sid: upgrading.sid }, { 'X-Deny': '1' });
    assert.equal(answer.status, 101);
    await upgrading.post('1');
  });

  it('a handler that fails lets nobody in', async () => {
    assertRefused(await http({}, { 'X-Broken': '1' }), 'Internal error');
    assert.ok(
      server.errors().every((line) => /handler=request .*not in app_on_request/.test(line)),
      String(server.errors()),
    );
  });

  it('the official client is told', async () => {
    const socket = client(server.url, 'polling', { query: { deny: 'no' } });
    const error = await socket.ready.then(assert.fail, (reason) => reason);
    assert.equal(error.message, 'xhr poll error');
    assert.equal(error.description, 403);
    socket.close();
  });
});

// EIO-INITIAL
describe('initial_packet', { skip: needsOwn }, () => {
  const text = '2["welcome","h\u00e4"]';
  let server;
  before(async () => {
    server = await startServer({ set: { initial_packet: text }, fcgi: 1, ws: 1 });
  });
  after(() => server?.stop());

  it('comes with the answer to the handshake', async () => {
    const { body } = await request(server.url, { query });
    const [open, message, ...rest] = body.split(SEPARATOR);
    assert.equal(open[0], '0');
    assert.deepEqual([message, rest], [`4${text}`, []]);
    const old = await request(server.url, { query: { ...query, EIO: '3' } });
    assert.match(old.body, /^\d+:0\{.*\}\d+:42\["welcome","h\u00e4"\]$/);
  });

  it('is the first message of a WebSocket', async () => {
    const socket = await Socket.open(server.url);
    assert.equal(await socket.next('the initial packet'), `4${text}`);
    await socket.close();
  });

  it('is an event for the official client, once, also if it upgrades', async () => {
    for (const mode of ['polling', 'websocket', 'upgrade']) {
      const socket = client(server.url, mode);
      await within(5000, 'the client to connect', socket.ready);
      assert.deepEqual(await next(socket, 'welcome'), ['h\u00e4']);
      await next(socket, 'auth');
      if (mode === 'upgrade') await upgraded(socket);
      assert.equal(await call(socket, 'message-with-ack', mode), mode);
      assert.equal(socket.events.size, 0);
      socket.close();
    }
  });
});

describe('add_trailing_slash', { skip: needsOwn }, () => {
  const bare = { path: '/socket.io' };

  it('on: the path without it is not ours', async () => {
    const server = await startServer({ fcgi: 1, ws: 1 });
    assert.equal((await request(server.url, { query, ...bare })).status, 404);
    const socket = new Socket(server.url, bare);
    assert.equal((await socket.answered).status, 404);
    await server.stop();
  });

  it('off: it is, and so is the one with it', async () => {
    const server = await startServer({ set: { add_trailing_slash: 'off' } });
    for (const mode of ['polling', 'websocket', 'upgrade'])
      for (const addTrailingSlash of [false, true]) {
        const socket = await connect(server.url, mode, {
          path: '/socket.io',
          addTrailingSlash,
        });
        assert.equal(await socket.emitWithAck('message-with-ack', mode), mode);
        socket.close();
      }
    assert.equal((await request(server.url, { query, path: '/socket.iox' })).status, 404);
    await server.stop();
  });
});

describe('cleanup_nsp', { skip: needsOwn }, () => {
  const kinds = ['polling', 'websocket', 'upgrade'];
  const flood = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
    INSERT INTO emit (event) SELECT 'noise' FROM n`;

  // The namespace has come and gone, and the log and the memory of disconnects with it.
  async function leave(server, nsp) {
    const sockets = await group(server, kinds);
    const ids = await Promise.all(sockets.map((socket) => call(socket, 'rooms')));
    assert.equal(ids.length, kinds.length);
    assert.equal(await isThere(server, sockets.nsp), 1);
    sockets.close();
    await until('all of them to be gone', async () =>
      (await server.value(`SELECT count(*) FROM socket WHERE nsp = '${sockets.nsp}'`)) === 0);
    await pause(300); // their handlers
    await server.sql('DELETE FROM t_socket WHERE state = 2');
    for (let i = 0; i < 3; i++) {
      await server.sql(flood);
      await pause(700);
    }
    return sockets.nsp;
  }
  const isThere = (server, nsp) =>
    server.value(`SELECT count(*) FROM t_nsp WHERE name = '${nsp}'`);

  it('on: a dynamic namespace is forgotten, and may come again', async () => {
    const server = await startServer({ set: { cleanup_nsp: 'on' } });
    const nsp = await leave(server);
    await until('it to be forgotten', async () => {
      await server.sql(flood);
      await pause(200);
      return (await isThere(server, nsp)) === 0;
    }, 15_000);
    for (const name of ['/', '/custom', '/token']) assert.equal(await isThere(server, name), 1);
    await assert.rejects(
      server.sql(`INSERT INTO emit (nsp, event) VALUES ('${nsp}', 'x')`), /emit\.nsp/);
    const sockets = await Promise.all(kinds.map((mode, i) =>
      connect(server.entries[i % 2], mode, { nsp })));
    await call(sockets[0], 'cast', { via: 'io' }, 'hello', 1);
    for (const list of await received(sockets)) assert.deepEqual(list, [['hello', 1]]);
    sockets.forEach((socket) => socket.close());
    await server.stop();
  });

  it('off: it never is', async () => {
    const server = await startServer();
    const nsp = await leave(server);
    await pause(1500);
    assert.equal(await isThere(server, nsp), 1);
    await server.stop();
  });
});

// SIO-SERVER-EMIT
describe('app_server_emit', { skip: needsOwn }, () => {
  let server;
  before(async () => {
    server = await startServer({ app }); // four processes
  });
  after(() => server?.stop());

  for (const nsp of ['/', '/dyn-1'])
    it(`is heard once by each of the other processes, and only in ${nsp}`, async () => {
      const other = await connect(server.url, 'polling', {
        nsp: nsp === '/' ? '/dyn-2' : '/',
      });
      for (const mode of ['polling', 'websocket', 'upgrade']) {
        const socket = await connect(server.url, mode, { nsp });
        const bytes = Buffer.from([1, 2, 255]);
        await call(socket, 'tell', 'news', 1, { a: ['h\u00e4'] }, bytes);
        for (let i = 0; i < 3; i++)
          assert.deepEqual(plain(await next(socket, 'told')),
            ['news', 1, { a: ['h\u00e4'] }, plain(bytes)]);
        await call(socket, 'tell', 'quiet');
        for (let i = 0; i < 3; i++)
          assert.deepEqual(await next(socket, 'told'), ['quiet, no socket', true]);
        await pause(100);
        assert.equal(socket.events.size, 0, 'none of its own');
        socket.close();
      }
      assert.equal(other.events.size, 0);
      other.close();
    });

  it('keeps its order', async () => {
    const socket = await connect(server.url, 'websocket', { nsp: '/dyn-3' });
    for (let i = 0; i < 50; i++) socket.emit('tell', 'n', i);
    const seen = [];
    while (seen.length < 150) seen.push((await next(socket, 'told'))[1]);
    const nth = new Map();
    for (const i of seen) nth.set(i, (nth.get(i) ?? 0) + 1);
    assert.deepEqual([...nth.keys()], Array.from({ length: 50 }, (_, i) => i));
    assert.ok([...nth.values()].every((n) => n === 3));
    socket.close();
  });
});
