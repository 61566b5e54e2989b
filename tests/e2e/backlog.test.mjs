// SPDX-License-Identifier: MIT
//
// Much at once: readers that are slow or pause, crowds, thousands of rooms and namespaces.
// Nothing may be lost, and nobody else may be held up.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { needsOwn, startServer } from './lib/server.mjs';
import { call, connect, freshNsp, next, received } from './lib/official.mjs';
import { deadline, pause, slowness, within } from './lib/wait.mjs';
import { packetsOf, Peer, Polling, Socket } from './lib/wire.mjs';

let server;
before(async () => {
  server = await startServer();
});
after(() => server?.stop());

// "tick" events of a packet list as their counters.
const counters = (packets) =>
  packets.filter((p) => p.startsWith('42["tick",')).map((p) => JSON.parse(p.slice(2))[1]);
const upTo = (n) => Array.from({ length: n }, (_, i) => i);

// Emits n ticks with a body of that size to the socket.
async function fill(sender, sioId, n, size) {
  const body = 'x'.repeat(size);
  for (let i = 0; i < n; i += 20) {
    await Promise.all(
      upTo(Math.min(20, n - i)).map((k) =>
        call(sender, 'cast', { via: 'io', to: [sioId] }, 'tick', i + k, body),
      ),
    );
  }
}

describe('a slow reader', { concurrency: 4 }, () => {
  // EIO-POLL
  it('over polling gets everything that waited, in several answers', async () => {
    const session = await Polling.connect(server.entries);
    const sender = await connect(server.url, 'websocket');
    const n = 100;
    await fill(sender, session.sioId, n, 80_000);
    const got = [];
    const check = deadline(20_000, `${n} ticks`, () => got);
    while (got.length < n) {
      check();
      const answer = await session.poll();
      assert.equal(
        answer.status,
        200,
        `${answer.status} ${answer.body} after ${got.length}`,
      );
      got.push(...counters(packetsOf(answer.body)));
      if (answer.body.startsWith('2')) await session.send('3');
    }
    assert.deepEqual(got, upTo(n));
    sender.close();
  });

  it('over WebSocket gets everything that waited, and holds up nobody', async () => {
    const slow = await Socket.connect(server.url);
    const sender = await connect(server.url, 'websocket');
    slow.ws._socket.pause();
    const n = 200;
    await fill(sender, slow.sioId, n, 100_000);
    const start = Date.now();
    assert.equal(await call(sender, 'message-with-ack', 1), 1);
    assert.ok(
      Date.now() - start < 1000 * slowness,
      `an ack took ${Date.now() - start} ms`,
    );
    slow.ws._socket.resume();
    const got = [];
    while (got.length < n) {
      const message = await slow.find(
        'a tick',
        (m) => m.startsWith('42["tick",'),
        20_000,
      );
      got.push(...counters([message]));
    }
    assert.deepEqual(got, upTo(n));
    assert.deepEqual(await slow.call('message-with-ack', 2), [2]);
    sender.close();
    await slow.close();
  });

  it('that pauses finds all rows that went by for others, and its own among them', async () => {
    const session = await Polling.connect(server.entries);
    const sender = await connect(server.url, 'websocket', { nsp: '/custom' });
    const n = 40;
    for (let i = 0; i < n; i++) {
      await call(sender, 'cast', { via: 'io', repeat: 100 }, 'noise');
      await session.send(`42["cast",{"via":"io","to":["${session.sioId}"]},"tick",${i}]`);
    }
    const got = await session.receive((packets) => counters(packets).length >= n);
    assert.deepEqual(counters(got), upTo(n));
    sender.close();
  });
});

describe('a slow sender', () => {
  it('of a POST does not hold up other sessions', async () => {
    const session = await Polling.connect(server.url);
    let finish;
    const slow = session.post((req) => {
      req.write('42["echo",');
      finish = () => req.end('"at last"]');
    });
    await slow.sent;
    const others = await Promise.all(
      upTo(20).map(() => Peer.connect('polling', server.url)),
    );
    await Promise.all(
      others.map(async (peer, i) => {
        assert.deepEqual(await peer.call('message-with-ack', i), [i]);
        await peer.close();
      }),
    );
    finish();
    assert.equal((await slow).body, 'ok');
    assert.deepEqual(await session.receive(), ['42["echo","at last"]']);
  });
});

describe('a crowd', () => {
  it('of all kinds of clients gets every broadcast once and in order', async () => {
    const nsp = freshNsp();
    const kinds = ['polling', 'websocket', 'websocket', 'upgrade'];
    const crowd = [];
    for (let i = 0; i < 160; i += 20) {
      crowd.push(
        ...(await Promise.all(
          upTo(20).map((k) =>
            connect(server.entries[k % server.entries.length], kinds[k % kinds.length], {
              nsp,
            }),
          ),
        )),
      );
    }
    const n = 60;
    const senders = crowd.slice(0, 8);
    await Promise.all(
      senders.map(async (sender, s) => {
        for (let i = 0; i < n; i++)
          await call(sender, 'cast', { via: 'io' }, 'tick', s, i);
      }),
    );
    const lists = await received(crowd);
    for (const list of lists) {
      assert.equal(list.length, n * senders.length);
      for (const s of senders.keys()) {
        assert.deepEqual(
          list.filter(([, sender]) => sender === s).map(([, , i]) => i),
          upTo(n),
        );
      }
      assert.deepEqual(list, lists[0], 'another order than the first client saw');
    }
    crowd.forEach((socket) => socket.close());
  });

  it('connects all at once', async () => {
    const start = Date.now();
    const sockets = await Promise.all(
      upTo(200).map((i) => connect(server.url, i % 2 === 0 ? 'polling' : 'websocket')),
    );
    assert.equal(new Set(sockets.map((socket) => socket.id)).size, 200);
    const ms = Date.now() - start;
    assert.ok(ms < 10_000 * slowness, `200 connections took ${ms} ms`);
    sockets.forEach((socket) => socket.close());
  });
});

describe('many of them', () => {
  it('10,000 rooms for one socket', async () => {
    const [socket, other] = await Promise.all([
      connect(server.url, 'websocket', { nsp: '/custom' }),
      connect(server.url, 'polling', { nsp: '/custom' }),
    ]);
    const names = upTo(10_000).map((i) => `room ${i}`);
    for (let i = 0; i < names.length; i += 2500)
      await call(socket, 'join', names.slice(i, i + 2500));
    assert.equal((await call(socket, 'rooms')).length, names.length);
    await call(
      other,
      'cast',
      { via: 'io', to: ['room 0', 'room 5000', 'room 9999'] },
      'once',
    );
    assert.deepEqual(await next(socket, 'once'), []);
    await call(other, 'cast', { via: 'io', to: names.slice(0, 3000) }, 'once again');
    assert.deepEqual(await next(socket, 'once again'), []);
    assert.equal(await call(other, 'sockets', { in: names.slice(0, 100) }), 1);
    socket.close();
    other.close();
  });

  for (const transport of ['polling', 'websocket']) {
    it(`1000 namespaces on one connection over ${transport}`, async () => {
      const peer = await Peer.connect(transport, server.entries);
      const names = upTo(999).map((i) => `/dyn-${i}`);
      for (let i = 0; i < names.length; i += 100) {
        const part = names.slice(i, i + 100);
        await peer.send(...part.map((name) => `0${name},`));
        const missing = new Set(part);
        while (missing.size > 0) {
          const packet = await peer.next(
            `the CONNECT replies of ${[...missing].slice(0, 3)}`,
          );
          if (packet.startsWith('0'))
            missing.delete(packet.slice(1, packet.indexOf(',')));
          else assert.match(packet, /^2[^,]+,\["auth",/);
        }
      }
      await peer.send(
        ...names.map((name, i) => `2${name},${i}["message-with-ack",${i}]`),
      );
      for (const seen = new Set(); seen.size < names.length;) {
        const packet = await peer.next('an ack');
        const match = packet.match(/^3(\/dyn-\d+),(\d+)\[(\d+)\]$/);
        if (match) seen.add(match[1]);
      }
      await peer.close();
    });
  }
});

describe('a small ring', { skip: needsOwn }, () => {
  it('changes nothing: what is not in memory any more comes from the log', async () => {
    const small = await startServer({ set: { ring_rows: 16 } });
    try {
      const nsp = freshNsp();
      const sender = await connect(small.url, 'websocket', { nsp });
      const readers = await Promise.all(
        upTo(6).map((i) =>
          connect(small.entries[i % 2], ['polling', 'upgrade', 'websocket'][i % 3], {
            nsp,
          }),
        ),
      );
      const session = await Polling.connect(small.entries);
      for (let i = 0; i < 30; i++) {
        await call(sender, 'cast', { via: 'io', repeat: 20 }, 'tick', i);
        await small.sql(
          `INSERT INTO emit (room, event, args) VALUES ('${session.sioId}', 'tick', '[${i}]')`,
        );
        if (i % 10 === 0) await pause(20);
      }
      const expected = upTo(30).flatMap((i) => upTo(20).map((k) => ['tick', k, i]));
      for (const list of await received([sender, ...readers]))
        assert.deepEqual(list, expected);
      const got = await within(
        10_000,
        'all ticks of the session',
        session.receive((packets) => counters(packets).length >= 30),
      );
      assert.deepEqual(counters(got), upTo(30));
      [sender, ...readers].forEach((socket) => socket.close());
    } finally {
      await small.stop();
    }
  });
});
