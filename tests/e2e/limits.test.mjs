// SPDX-License-Identifier: MIT
//
// What one client may take: each limit of the configuration, at its value and one beyond,
// over polling and WebSocket.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { needsOwn, startServer } from './lib/server.mjs';
import { assertAlive, reasonOf } from './lib/claims.mjs';
import { call, connect, next } from './lib/official.mjs';
import { Peer, Polling, Socket, request } from './lib/wire.mjs';
import { pause, slowness, until, within } from './lib/wait.mjs';

const modes = ['polling', 'websocket', 'upgrade'];
const handshake = { query: { EIO: '4', transport: 'polling' } };
const quoted = (text) => `'${text.replaceAll("'", "''")}'`;

describe('limits', { skip: needsOwn }, () => {
  let server;
  before(async () => {
    server = await startServer({
      set: {
        max_nsp: 3,
        max_rooms: 3,
        max_pending_acks: 2,
        max_event_name: 20,
        max_json_depth: 5,
        max_queue: '64k',
        recovery: 'off',
      },
    });
  });
  after(() => server?.stop());

  for (const mode of modes) {
    it(`max_nsp, ${mode}`, async () => {
      const peer = await Peer.connect(
        mode === 'polling' ? 'polling' : 'websocket',
        server.entries,
      );
      await peer.join('/dyn-1');
      await peer.join('/custom');
      await peer.send('0/dyn-2,');
      await peer.expect('4/dyn-2,{"message":"Invalid namespace"}');
      await peer.send('1/dyn-1,');
      await peer.join('/dyn-2');
      await peer.close();
    });

    // SIO-ROOMS-MAX
    it(`max_rooms, ${mode}`, async () => {
      const socket = await connect(server.url, mode);
      const acked = [];
      const join = (rooms) => socket.emit('join', rooms, () => acked.push(rooms));
      for (const room of ['a', 'b', 'c']) await call(socket, 'join', room);
      join('d');
      await call(socket, 'join', 'a');
      assert.deepEqual(await call(socket, 'rooms'), ['a', 'b', 'c']);
      await call(socket, 'leave', 'c');
      join(['d', 'e']); // all of it, or nothing
      assert.deepEqual(await call(socket, 'rooms'), ['a', 'b']);
      await call(socket, 'join', 'd');
      assert.deepEqual(await call(socket, 'rooms'), ['a', 'b', 'd']);
      assert.deepEqual(acked, []);
      // By the socket's name, where the handler's call can't know it.
      await call(socket, 'sockets', { in: socket.id, op: 'join', room: 'e' });
      assert.deepEqual(await call(socket, 'rooms'), ['a', 'b', 'd']);
      socket.close();
    });

    it(`a handler that fails leaves nothing to the next ones of its payload, ${mode}`, async () => {
      const peer = await Peer.connect(mode === 'polling' ? 'polling' : 'websocket', server.entries);
      await peer.send('2["join",["a","b"]]', '2["join",["c","d"]]', '21["rooms"]');
      await peer.expect('31[["a","b"]]');
      await peer.close();
    });

    // SIO-ASK-MAX
    it(`max_pending_acks, ${mode}`, async () => {
      const socket = await connect(server.url, mode);
      const asked = [];
      socket.on('ack-request', (...args) => {
        asked.push(args[0]);
        socket.answer = args.pop();
      });
      for (const n of [1, 2, 3]) socket.emit('ack-me', n);
      await call(socket, 'message-with-ack', 'all of them were handled');
      assert.deepEqual(asked, [1, 2]);
      socket.answer('late, but in time');
      await socket.events.find('ack-result', ([name]) => name === 'ack-result');
      socket.emit('ack-me', 4);
      await until('another question', () => asked.at(-1) === 4);
      // By the socket's name: as if nobody were there.
      assert.deepEqual(
        await call(socket, 'ack-room', { to: socket.id, timeout: 4000 }, 'ack-request', 5),
        { timedOut: false, responses: [] },
      );
      assert.deepEqual(asked, [1, 2, 4]);
      socket.close();
    });
  }

  for (const transport of ['polling', 'websocket']) {
    for (const [what, good, bad] of [
      ['max_event_name', `2["${'x'.repeat(20)}"]`, `2["${'x'.repeat(21)}"]`],
      ['max_json_depth', '2["e",[[[[1]]]]]', '2["e",[[[[[1]]]]]]'],
      ['max_json_depth of CONNECT', '2["e"]', '0/dyn-1,{"a":[[[[[]]]]]}'],
    ])
      it(`${what}, ${transport}`, async () => {
        const peer = await Peer.connect(transport, server.entries);
        await peer.send(good);
        await peer.send('21["message-with-ack",7]');
        await peer.expect('31[7]');
        await peer.sendBad(bad);
        await peer.expectClosed();
        assert.equal(await reasonOf(server, peer.sioId), 'forced close');
      });
  }

  it('max_rooms, SQL: room_join raises', async () => {
    const socket = await connect(server.url, 'polling');
    const join = (room) =>
      server.sql(
        `INSERT INTO room_join (socket, room) VALUES (${quoted(socket.id)}, '${room}')`,
      );
    for (const room of ['a', 'b', 'c', 'a']) await join(room);
    await assert.rejects(join('d'), /room_join\.socket: is in max_rooms rooms/);
    assert.deepEqual(await call(socket, 'rooms'), ['a', 'b', 'c']);
    await server.sql(
      `INSERT INTO room_leave (socket, room) VALUES (${quoted(socket.id)}, 'b')`,
    );
    await join('d');
    assert.deepEqual(await call(socket, 'rooms'), ['a', 'c', 'd']);
    socket.close();
  });

  it('max_queue: a WebSocket client that does not read is closed', async () => {
    const slow = await Socket.connect(server.sidecars[0]);
    const other = await connect(server.sidecars[0], 'websocket');
    slow.ws._socket.pause();
    const text = 'x'.repeat(100_000);
    await until(
      'the slow one to be ended',
      async () => {
        await call(other, 'cast', { via: 'io', to: slow.sioId }, 'news', text);
        return (await call(other, 'reason-of', slow.sioId)) === 'transport error';
      },
      20_000,
    );
    assert.equal(await call(other, 'message-with-ack', 'fine'), 'fine');
    slow.terminate();
    other.close();
  });
});

describe('empty_session', { skip: needsOwn }, () => {
  const ms = 400;
  let server;
  before(async () => {
    server = await startServer({ set: { empty_session: `${ms}ms` } });
  });
  after(() => server?.stop());

  for (const transport of ['polling', 'websocket']) {
    // SIO-EMPTY
    it(`${transport}: a session that left its last namespace is closed`, async () => {
      const peer = await Peer.connect(transport, server.entries, { nsp: '/dyn-1' });
      await peer.join('/custom');
      await peer.send('1/dyn-1,');
      await pause(ms + 500);
      await peer.send('2/custom,1["message-with-ack",1]');
      await peer.expect('3/custom,1[1]');
      const from = performance.now();
      await peer.send('1/custom,');
      await peer.expectClosed();
      const took = performance.now() - from;
      assert.ok(took > ms - 20 && took < (ms + 1000) * slowness, `after ${took} ms`);
      assert.equal(
        await server.value(
          `SELECT count(*) FROM session WHERE state = 'open' AND session_id = (
           SELECT session_id FROM disconnect WHERE socket = ${quoted(peer.sioId)})`,
        ),
        0,
      );
    });

    it(`${transport}: one that joins again in time lives on`, async () => {
      const peer = await Peer.connect(transport, server.entries);
      await peer.send('1');
      await pause(ms / 2);
      await peer.join();
      await pause(ms + 600);
      await peer.send('21["message-with-ack",1]');
      await peer.expect('31[1]');
      await peer.close();
    });
  }

  it('an upgrade takes the deadline along', async () => {
    const socket = await connect(server.url, 'upgrade');
    const closed = new Promise((resolve) => socket.io.engine.once('close', resolve));
    socket.onAny(() => {});
    // As socket.disconnect() would close the connection: the packet alone.
    socket.io.engine.write('1');
    await within(5000, 'the end of the connection', closed);
  });

  it('a kick by SQL counts too; the session is not closed by it', async () => {
    const session = await Polling.connect(server.entries);
    await server.sql(`INSERT INTO kick (socket) VALUES (${quoted(session.sioId)})`);
    assert.deepEqual(await session.receive(), ['41']);
    await session.join();
    await assertAlive(session);
    await session.post('1');
  });
});

describe('handshakes_per_s', { skip: needsOwn }, () => {
  const tooMany = '{"code":6,"message":"Too many requests"}';
  let server;
  before(async () => {
    server = await startServer({
      set: { handshakes_per_s: 3, trusted_proxy: '127.0.0.1' },
      fcgi: 1,
      ws: 1,
    });
  });
  after(() => server?.stop());

  const from = (address) => ({ 'X-Forwarded-For': address });

  // EIO-TOO-MANY
  it('polling: 429 with Retry-After, for that address, for a while', async () => {
    const open = (address) => request(server.url, { ...handshake, headers: from(address) });
    const statuses = [];
    const start = performance.now();
    for (let i = 0; i < 6; i++) statuses.push((await open('192.0.2.1')).status);
    if (performance.now() - start < 300)
      assert.deepEqual(statuses, [200, 200, 200, 429, 429, 429]);
    const refused = await until('a refusal', async () => {
      const answer = await open('192.0.2.1');
      return answer.status === 429 && answer;
    });
    assert.equal(refused.body, tooMany);
    assert.match(refused.headers['content-type'], /^application\/json/);
    assert.equal(refused.headers['retry-after'], '1');
    assert.equal((await open('192.0.2.2')).status, 200, 'another address');
    assert.equal((await open('2001:db8::1')).status, 200);
    await until('a place', async () => (await open('192.0.2.1')).status === 200);
  });

  it('an IPv6 network counts as one address', async () => {
    const statuses = [];
    for (let i = 1; i <= 12; i++)
      statuses.push(
        (await request(server.url, { ...handshake, headers: from(`2001:db8:1::${i}`) }))
          .status,
      );
    assert.ok(statuses.includes(429), String(statuses));
    const other = { ...handshake, headers: from('2001:db8:2::1') };
    assert.equal((await request(server.url, other)).status, 200);
  });

  it('WebSocket likewise; upgrades and running sessions are no handshakes', async () => {
    const headers = from('192.0.2.9');
    const session = await Polling.connect(server.url, { headers });
    const answers = [];
    for (let i = 0; i < 8; i++) {
      const socket = new Socket(server.sidecars[0], { headers });
      answers.push(await socket.answered);
      socket.terminate();
    }
    const refused = answers.find(({ status }) => status === 429);
    assert.ok(refused, JSON.stringify(answers.map(({ status }) => status)));
    assert.equal(refused.body, tooMany);
    assert.equal(refused.headers['retry-after'], '1');
    for (let i = 0; i < 10; i++) await assertAlive(session);
    const socket = new Socket(server.sidecars[0], {
      headers,
      query: { sid: session.sid },
    });
    assert.equal((await socket.answered).status, 101);
    socket.terminate();
    await session.post('1');
  });
});

describe('without limits', { skip: needsOwn }, () => {
  it('the defaults let ordinary use through', async () => {
    const server = await startServer({ set: { handshakes_per_s: 0 }, fcgi: 1, ws: 1 });
    const name = 'n'.repeat(256);
    const peer = await Peer.connect('websocket', server.url);
    await peer.send(`2["${name}",${'['.repeat(60)}${']'.repeat(60)}]`);
    await peer.send('21["message-with-ack",1]');
    await peer.expect('31[1]');
    const statuses = await Promise.all(
      Array.from({ length: 50 }, async () => (await request(server.url, handshake)).status),
    );
    assert.deepEqual(new Set(statuses), new Set([200]));
    await peer.close();
    await server.stop();
  });
});
