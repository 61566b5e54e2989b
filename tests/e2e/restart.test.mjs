// SPDX-License-Identifier: MIT
//
// SIGTERM: a FastCGI process hands its polling sessions over without a trace, a sidecar
// sends its clients away so that they come back at once, and a session outlives all programs.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { build } from './lib/npm.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { call, client, connect, next } from './lib/official.mjs';
import { slowness, pause, until, within } from './lib/wait.mjs';
import { openPacket, Peer, Polling, probe, request, Socket } from './lib/wire.mjs';

let server;
before(async () => {
  if (!needsOwn) server = await startServer();
});
after(() => server?.stop());
// Whatever a failed test has left behind.
beforeEach(async () => {
  if (needsOwn) return;
  for (const program of [...server.fcgi, ...server.ws])
    if (!program.isRunning) await program.start();
  await server.ready();
});

const upgrades = async (url = server.url) =>
  openPacket((await request(url, { query: { EIO: '4', transport: 'polling' } })).body)
    .upgrades;

// What a client that stays got of each sender must be a run of numbers from 0 on.
function assertRun(list, n, whose) {
  assert.deepEqual(
    list,
    Array.from({ length: n }, (_, i) => i),
    whose,
  );
}

describe('SIGTERM of a FastCGI process', { skip: needsOwn }, () => {
  // EIO-DRAIN
  it('ends it with status 0, and a parked poll with a noop; the session goes on elsewhere', async () => {
    const session = await Polling.connect(server.entries[0]);
    const poll = session.poll();
    await poll.sent;
    await until('the poll to be parked', () =>
      server.value(`SELECT count(*) FROM session
      WHERE process_id IN (SELECT process_id FROM process WHERE os_pid = ${server.fcgi[0].pid})`),
    );
    const start = Date.now();
    const ended = server.fcgi[0].kill('SIGTERM');
    const answer = await poll;
    assert.deepEqual([answer.status, answer.body], [200, '6']);
    assert.equal(await ended, 0);
    assert.ok(Date.now() - start < 2000 * slowness, `it took ${Date.now() - start} ms`);
    session.urls = [server.entries[1]];
    assert.equal((await session.call('who'))[0].id, session.sioId);
    await server.fcgi[0].start();
    await server.ready();
    session.urls = [server.entries[0]];
    assert.equal((await session.call('who'))[0].id, session.sioId);
  });

  it('is not noticed by polling clients, whatever they do at the moment', async () => {
    const nsp = '/dyn-1';
    const sockets = await Promise.all(
      Array.from({ length: 6 }, () => connect(server.url, 'polling', { nsp })),
    );
    const sender = await connect(server.sidecars[1], 'websocket', { nsp });
    const ids = sockets.map((socket) => [socket.id, socket.io.engine.id]);
    const seen = sockets.map(() => ({}));
    const ends = [];
    sockets.forEach((socket, k) => {
      socket.on('tick', (name, i) => (seen[k][name] ??= []).push(i));
      socket.on('disconnect', (reason, details) =>
        ends.push([k, reason, details?.description ?? details?.message]),
      );
    });
    let isOver = false;
    const counts = {};
    const traffic = [sender, ...sockets].map(async (socket, k) => {
      let i = 0;
      for (; !isOver && ends.length === 0; i++) {
        await call(socket, 'cast', { via: 'io' }, 'tick', k, i);
        await pause(5);
      }
      counts[k] = i;
    });
    const settled = Promise.allSettled(traffic);
    for (const program of [...server.fcgi, server.fcgi[0]]) {
      assert.equal(await program.kill('SIGTERM'), 0);
      await program.start();
      await pause(2200); // lighttpd may not look so long at a process that was away
    }
    isOver = true;
    const results = await settled;
    assert.deepEqual(ends, [], 'disconnected');
    assert.deepEqual(
      results.filter((r) => r.status === 'rejected').map((r) => r.reason.message),
      [],
    );
    await call(sender, 'cast', { via: 'io' }, 'end');
    await Promise.all(
      sockets.map((socket) =>
        socket.events.find('the end', ([name]) => name === 'end', 10_000),
      ),
    );
    for (const k of sockets.keys()) {
      for (const [name, n] of Object.entries(counts))
        assertRun(seen[k][name], n, `what client ${k} saw of ${name}`);
    }
    assert.deepEqual(
      sockets.map((socket) => [socket.id, socket.io.engine.id]),
      ids,
    );
    [sender, ...sockets].forEach((socket) => socket.close());
  });

  it('leaves a session as it is when all of them end and start again', async () => {
    const session = await Polling.connect(server.entries);
    await session.call('join', ['x', 'y']);
    await session.call('set-data', { a: 1 });
    await session.send('451-["echo",{"_placeholder":true,"num":0}]'); // half of an event
    await Promise.all(
      server.programs.filter((p) => p !== server.lighttpd).map((p) => p.kill('SIGTERM')),
    );
    await server.sql(
      `INSERT INTO emit(room, event) VALUES ('x', 'while nobody was there')`,
    );
    for (const program of [...server.fcgi, ...server.ws]) await program.start();
    await server.ready();
    assert.deepEqual(await session.receive(), ['42["while nobody was there"]']);
    await session.send(Buffer.from([7]));
    assert.deepEqual(await session.receive((p) => p.length >= 2), [
      '451-["echo",{"_placeholder":true,"num":0}]',
      'bBw==',
    ]);
    assert.deepEqual(await session.call('rooms'), [['x', 'y']]);
    const [who] = await session.call('who');
    assert.deepEqual([who.id, who.data], [session.sioId, { a: 1 }]);
  });
});

describe('SIGTERM of a sidecar', { skip: needsOwn }, () => {
  // EIO-DRAIN
  it('ends it with status 0, and its WebSockets with code 1012', async () => {
    const sockets = await Promise.all(
      [0, 0, 0, 1].map((i) => Socket.connect(server.sidecars[i])),
    );
    const start = Date.now();
    const ended = server.ws[0].kill('SIGTERM');
    const codes = await within(
      4000,
      'the WebSockets to be closed',
      Promise.all(sockets.slice(0, 3).map((s) => s.closed)),
    );
    assert.deepEqual(codes, [1012, 1012, 1012]);
    assert.equal(await ended, 0);
    assert.ok(Date.now() - start < 4000 * slowness, `it took ${Date.now() - start} ms`);
    assert.deepEqual(await sockets[3].call('message-with-ack', 1), [1]);
    for (const socket of sockets.slice(0, 3)) {
      assert.equal(
        await until(
          'a reason',
          async () => (await sockets[3].call('reason-of', socket.sioId))[0],
        ),
        'server shutting down',
      );
    }
    assert.deepEqual(await upgrades(), ['websocket'], 'the other sidecar lives');
    await sockets[3].close();
    await server.ws[0].start();
  });

  it('lets the official clients come back at once', async () => {
    const sockets = await Promise.all(
      ['websocket', 'upgrade', 'websocket', 'upgrade'].map((mode) =>
        connect(server.url, mode, {
          reconnection: true,
          reconnectionDelay: 50,
          reconnectionDelayMax: 200,
        }),
      ),
    );
    const polling = await connect(server.url, 'polling');
    for (const program of server.ws) {
      const ids = sockets.map((socket) => socket.id);
      const wasHere = await Promise.all(
        sockets.map((socket) =>
          server.value(`SELECT os_pid FROM socket
        JOIN session USING (session_id) JOIN process USING (process_id) WHERE socket = '${socket.id}'`),
        ),
      );
      const { pid } = program;
      await program.kill('SIGTERM');
      await until(
        'all clients to be connected',
        () =>
          sockets.every(
            (socket, k) =>
              socket.connected && (wasHere[k] !== pid || socket.id !== ids[k]),
          ),
        6000,
      );
      for (const socket of sockets)
        assert.equal(await call(socket, 'message-with-ack', 1), 1);
      assert.ok(polling.connected);
      await program.start();
    }
    [...sockets, polling].forEach((socket) => socket.close());
  });

  it('leaves a session alone that is about to upgrade', async () => {
    const session = await Polling.connect(server.entries[0]);
    const socket = await probe(session);
    const ended = server.ws[0].kill('SIGTERM');
    await within(4000, 'the WebSocket to be closed', socket.closed);
    await ended;
    assert.deepEqual(await session.call('message-with-ack', 1), [1]);
    await server.ws[0].start();
    const again = await until('an upgrade at the other sidecar', () =>
      probe(session, server.sidecars[1]),
    );
    again.send('5');
    assert.deepEqual(await again.call('message-with-ack', 2), [2]);
    await again.close();
  });

  // EIO-UPGRADES
  it('takes the upgrade out of the handshake when it was the last one', async () => {
    await Promise.all(server.ws.map((program) => program.kill('SIGTERM')));
    await until(
      'no upgrade to be offered',
      async () => (await upgrades()).length === 0,
      3000,
    );
    const socket = client(server.url, 'upgrade');
    await within(5000, 'the connection', socket.ready);
    await next(socket, 'auth');
    assert.equal((await call(socket, 'who')).transport, 'polling');
    for (const program of server.ws) await program.start();
    await until(
      'an upgrade to be offered',
      async () => (await upgrades()).length === 1,
      3000,
    );
    assert.equal(await call(socket, 'message-with-ack', 1), 1);
    socket.close();
  });

  it('serves WebSocket clients without any FastCGI process', async () => {
    await Promise.all(server.fcgi.map((program) => program.kill('SIGTERM')));
    const peer = await Peer.connect('websocket', server.url);
    assert.deepEqual(await peer.call('message-with-ack', 1), [1]);
    await server.sql(`INSERT INTO emit(event) VALUES ('hello')`);
    await peer.expect('2["hello"]');
    for (const program of server.fcgi) await program.start();
    await server.ready();
    assert.deepEqual(await upgrades(), ['websocket']);
    await peer.close();
  });
});

describe('a mass death', { skip: needsOwn }, () => {
  let crowd;
  before(async () => {
    crowd = await startServer({ fcgi: 1, ws: 1 });
  });
  after(() => crowd?.stop());

  // EIO-KILLED
  it('of a sidecar with 700 clients is cleared away at once', async () => {
    const n = 700;
    for (let i = 0; i < n; i += 50) {
      await Promise.all(
        Array.from({ length: 50 }, () => Peer.connect('websocket', crowd.sidecars[0])),
      );
    }
    assert.equal(await crowd.value('SELECT count(*) FROM socket'), n);
    await crowd.ws[0].kill();
    // A look for the dead once a second, and then slice after slice.
    await until(
      'all their ends',
      async () =>
        (await crowd.value(
          `SELECT count(*) FROM disconnect WHERE reason = 'transport close'`,
        )) === n,
      2000,
    );
    assert.equal(await crowd.value('SELECT count(*) FROM t_process'), 1);
    await crowd.ws[0].start();
    await crowd.ready();
  });

  // SIO-DISCONNECT
  it('has the effects of its handlers once, also when one who runs them dies too', async () => {
    const chat = await startServer({ ws: 3, app: path.join(build, 'apps/chat.so') });
    try {
      const enter = async (url, name) => {
        const peer = await Peer.open('websocket', url);
        await peer.send('0');
        peer.sioId = JSON.parse((await peer.next('the CONNECT reply')).slice(1)).sid;
        assert.deepEqual(await peer.call('name', name), [null]);
        assert.equal((await peer.call('enter', 'hall'))[0], null);
        return peer.sioId;
      };
      const watcher = await Peer.open('websocket', chat.sidecars[2]);
      await watcher.send('0');
      await watcher.next('the CONNECT reply');
      await watcher.call('name', 'watcher');
      await watcher.call('enter', 'hall');
      const many = [];
      for (let i = 0; i < 60; i++) many.push(await enter(chat.sidecars[i % 2], `p${i}`));
      const left = [];
      const seeOne = async () => {
        const said = await watcher.inbox.find('who has left', (p) => /^2\["left"/.test(p));
        left.push(JSON.parse(said.slice(1))[2]);
      };
      await chat.ws[0].kill();
      await seeOne();
      // Some of the jobs of the first one may be theirs.
      await Promise.all([chat.ws[1].kill(), chat.fcgi[0].kill()]);
      while (left.length < many.length) await seeOne();
      assert.deepEqual(left.sort(), many.sort());
      await until('no job to be left', async () => (await chat.value('SELECT count(*) FROM t_job')) === 0);
      await watcher.call('enter', 'hall'); // whatever came before its answer is here
      assert.ok(!watcher.inbox.take().some((p) => /^2\["left"/.test(p)), 'nobody leaves twice');
      assert.equal(await chat.value(`SELECT n_members FROM room WHERE room = 'hall'`), 1);
      await watcher.close();
      await Promise.all([chat.ws[0], chat.ws[1], chat.fcgi[0]].map((program) => program.start()));
    } finally {
      await chat.stop();
    }
  });

  it('of 900 sockets by one INSERT is done at once', async () => {
    const n = 900;
    const peer = await Peer.open('websocket', crowd.sidecars[0]);
    const names = Array.from({ length: n }, (_, i) => `/dyn-${i}`);
    await peer.send(...names.map((nsp) => `0${nsp},`));
    await until(
      'all namespaces to be joined',
      async () => (await crowd.value('SELECT count(*) FROM socket')) === n,
    );
    await crowd.sql('INSERT INTO kick (socket) SELECT socket FROM socket');
    await until(
      'all their ends',
      async () =>
        (await crowd.value(
          `SELECT count(*) FROM disconnect WHERE reason = 'server namespace disconnect'`,
        )) === n,
      2000,
    );
    for (let i = 0; i < n; i++)
      await peer.inbox.find('a DISCONNECT', (p) => /^1\/dyn-[0-9]+,$/.test(p));
    await until(
      'their handlers to have run',
      async () => (await crowd.value('SELECT count(*) FROM t_job')) === 0,
      2000,
    );
    await peer.close();
  });
});
