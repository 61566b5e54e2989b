// SPDX-License-Identifier: MIT
//
// Clients with socket.io-msgpack-parser: the official one over each transport, alone and in
// rooms with clients that speak JSON; raw packets; and what ends a session. Both parsers are
// served at once, each session by its own.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { reasonOf } from './lib/claims.mjs';
import { require } from './lib/npm.mjs';
import {
  call,
  client,
  connect,
  freshNsp,
  group,
  next,
  plain,
  received,
} from './lib/official.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { until, within } from './lib/wait.mjs';
import { Peer, Polling, probe, upgrade } from './lib/wire.mjs';

const parser = require('socket.io-msgpack-parser');
const msgpack = require('notepack.io');

let server; // no recovery
let keeping;
before(async () => {
  server = await startServer();
  keeping = await startServer({ set: { recovery: '60s' } });
});
after(async () => {
  await server?.stop();
  await keeping?.stop();
});

const modes = ['polling', 'websocket', 'upgrade'];
const emoji = '\u00e4\u20ac\u{1f600}';
const pack = (packet) => new parser.Encoder().encode(packet)[0];
const one = (mode, options) => connect(server.url, mode, { parser, ...options });
const all = (socket, event, ...args) =>
  within(
    5000,
    `the ack of ${event}`,
    new Promise((resolve) => socket.emit(event, ...args, (...list) => resolve(list))),
  );

// Values of every kind, the same for the same seed.
function* values(seed) {
  let state = seed;
  const random = (n) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const text = () => [...Array(random(40))].map(() => ['a', '"', '\n', emoji][random(4)]);
  const value = (depth) => {
    switch (random(depth > 4 ? 7 : 9)) {
      case 0:
        return null;
      case 1:
        return random(2) === 1;
      case 2:
        return (random(2) * 2 - 1) * (1 + random(2 ** random(50)));
      case 3:
        return (random(2 ** 30) - 2 ** 29) / 1024;
      case 4:
        return Math.fround((random(2 ** 30) + 0.5) * 1e-9) * 10 ** (random(30) - 15);
      case 5:
        return text().join('');
      case 6:
        return random(8) === 0 ? Buffer.alloc(random(300), random(256)) : random(200);
      case 7:
        return [...Array(random(20))].map(() => value(depth + 1));
      default:
        return Object.fromEntries(
          [...Array(random(20))].map((_, i) => [`${i}${emoji}`, value(depth + 1)]),
        );
    }
  };
  for (;;) yield value(0);
}

// The reference encodes numbers from 2^64 on wrongly, and at most ten attachments pass.
const isOrdinary = (list) => {
  let nBinary = 0;
  const look = (v) => {
    if (typeof v === 'number') return Math.abs(v) < 2 ** 53;
    if (Buffer.isBuffer(v)) return ++nBinary <= 10;
    return v === null || typeof v !== 'object' || Object.values(v).every(look);
  };
  return look(list);
};

for (const mode of modes) {
  // SIO-MSGPACK
  describe(`a msgpack client over ${mode}`, { concurrency: 8 }, () => {
    it('connects with what it wants to say', async () => {
      const auth = { user: emoji, list: [1, { a: null }] };
      const socket = await one(mode, { auth, nsp: freshNsp() });
      const seen = await call(socket, 'who');
      assert.deepEqual(
        [seen.id, seen.auth, seen.protocol, seen.transport],
        [socket.id, auth, 4, mode === 'polling' ? 'polling' : 'websocket'],
      );
      socket.close();
    });

    it('is refused with message and data', async () => {
      for (const [nsp, auth, message, data] of [
        ['/none', {}, 'Invalid namespace', undefined],
        ['/token', { token: 'x' }, 'invalid token', undefined],
        ['/refused', {}, 'refused', { code: 4001, detail: ['a', 1] }],
      ]) {
        const socket = client(server.url, mode, { nsp, auth, parser });
        const error = await within(
          5000,
          'connect_error',
          socket.ready.then(
            () => assert.fail('was accepted'),
            (e) => e,
          ),
        );
        assert.deepEqual([error.message, error.data], [message, data]);
        socket.close();
      }
      const slow = await one(mode, { nsp: '/slow' });
      assert.equal((await call(slow, 'who')).nsp, '/slow');
      slow.close();
    });

    it('is refused, then accepted on the same connection', async () => {
      const socket = client(server.url, mode, { nsp: '/refused', parser });
      await assert.rejects(within(5000, 'the refusal', socket.ready));
      const custom = socket.io.socket('/custom');
      await until('the second namespace', () => custom.connected);
      assert.equal((await call(custom, 'who')).nsp, '/custom');
      socket.close();
      custom.close();
    });

    it('gets its messages and attachments back', async () => {
      const socket = await one(mode);
      const args = [
        1,
        -5,
        1.5,
        emoji,
        '',
        null,
        true,
        { b: [1, { c: 2 }], '': [] },
        [],
        Buffer.from([1, 2, 255]),
        { a: [Buffer.alloc(0), { b: Buffer.alloc(50_000, 5) }] },
      ];
      socket.emit('message', ...args);
      assert.deepEqual(plain(await next(socket, 'message-back')), plain(args));
      assert.deepEqual(plain(await all(socket, 'message-with-ack', ...args)), plain(args));
      socket.emit('echo');
      assert.deepEqual(await next(socket, 'echo'), []);
      socket.close();
    });

    it('gets any value back', async () => {
      const socket = await one(mode);
      let n = 0;
      for (const value of values(7)) {
        if (!isOrdinary(value)) continue;
        assert.deepEqual(
          plain(await all(socket, 'message-with-ack', value)),
          plain([value]),
        );
        if (++n === (mode === 'polling' ? 40 : 150)) break;
      }
      socket.close();
    });

    it('sends undefined and dates as JSON would', async () => {
      const socket = await one(mode);
      const at = new Date(1700000000123);
      assert.deepEqual(
        await all(socket, 'message-with-ack', undefined, { at, no: undefined }, [at]),
        [null, { at: at.toISOString() }, [at.toISOString()]],
      );
      socket.close();
    });

    it('computes with text and attachments', async () => {
      const socket = await one(mode);
      const { n, data } = await call(socket, 'make-binary', 1000);
      assert.deepEqual([n, plain(data).bytes.length], [1000, 1000]);
      assert.equal(await call(socket, 'big', 200_000), 'a'.repeat(200_000));
      assert.deepEqual(await call(socket, 'digest', Buffer.from('abc')), {
        type: 'binary',
        bytes: 3,
        fnv: 440920331,
      });
      socket.close();
    });

    it('answers questions of the server', async () => {
      const socket = await one(mode);
      socket.once('ack-request', (...args) =>
        args.pop()('answer', Buffer.from([7]), ...args),
      );
      socket.emit('ack-me', 1, 'two');
      assert.equal((await socket.events.next())[0], 'ack-request');
      assert.deepEqual(
        plain(await next(socket, 'ack-result')),
        plain(['answer', Buffer.from([7]), 1, 'two']),
      );
      socket.close();
    });

    it('keeps the order of a burst', async () => {
      const socket = await one(mode);
      for (let i = 0; i < 300; i++) socket.emit('echo', i);
      for (let i = 0; i < 300; i++)
        assert.deepEqual(await next(socket, 'echo', 10_000), [i]);
      socket.close();
    });

    it('leaves, and is told to leave', async () => {
      const witness = await connect(server.url, 'websocket');
      for (const [how, atServer, atClient] of [
        [
          (socket) => socket.disconnect(),
          'client namespace disconnect',
          'io client disconnect',
        ],
        [
          (socket) => socket.emit('disconnect-me', false),
          'server namespace disconnect',
          'io server disconnect',
        ],
        [
          (socket) => socket.emit('disconnect-me', true),
          'server namespace disconnect',
          'io server disconnect',
        ],
      ]) {
        const socket = await one(mode);
        const { id } = socket;
        how(socket);
        assert.equal(await within(5000, 'the disconnection', socket.ended), atClient);
        assert.equal(
          await until('a reason', () => call(witness, 'reason-of', id)),
          atServer,
        );
        socket.close();
      }
      witness.close();
    });
  });
}

describe('a room of both parsers', { concurrency: 4 }, () => {
  for (const sender of [0, 1, 2, 3, 4, 5])
    it(`hears the same from number ${sender}`, async () => {
      const nsp = freshNsp();
      const sockets = await Promise.all(
        [...modes, ...modes].map((mode, i) =>
          connect(server.entries[i % server.entries.length], mode, {
            nsp,
            ...(i < 3 && { parser }),
          }),
        ),
      );
      for (const socket of sockets) await call(socket, 'join', 'room');
      const args = [
        emoji,
        { n: [0.5, -7, 2 ** 40], data: Buffer.from([0, 255]) },
        Buffer.alloc(300, 7),
      ];
      await call(sockets[sender], 'cast', { via: 'io', to: ['room'] }, 'news', ...args);
      await call(sockets[sender], 'cast', { via: 'socket', to: ['room'] }, 'others', []);
      const lists = await received(sockets);
      lists.forEach((list, i) =>
        assert.deepEqual(
          list.map(plain),
          [['news', ...args], ...(i === sender ? [] : [['others', []]])].map(plain),
        ),
      );
      for (const socket of sockets) socket.close();
    });

  it('answers a question together', async () => {
    const nsp = freshNsp();
    const sockets = [
      await connect(server.url, 'polling', { nsp, parser }),
      await connect(server.url, 'websocket', { nsp }),
      await connect(server.url, 'websocket', { nsp, parser }),
    ];
    for (const socket of sockets) await call(socket, 'join', 'room');
    sockets.forEach((socket, i) =>
      socket.on('ask', (value, ack) => ack([i, value, Buffer.from([i])])),
    );
    const { timedOut, responses } = await call(
      sockets[1],
      'ack-room',
      { to: ['room'], timeout: 3000 },
      'ask',
      { x: 1 },
    );
    assert.equal(timedOut, false);
    assert.deepEqual(
      responses.map(plain).sort((a, b) => a[0] - b[0]),
      [0, 1, 2].map((i) => plain([i, { x: 1 }, Buffer.from([i])])),
    );
    for (const socket of sockets) socket.close();
  });

  it('is not disturbed by what only looks like a placeholder', async () => {
    const sockets = await group(server, ['polling', 'websocket']);
    const other = await one('websocket', { nsp: sockets.nsp });
    const args = [{ _placeholder: true, num: 9 }, { _placeholder: true }];
    await call(other, 'cast', { via: 'io' }, 'news', ...args);
    for (const list of await received([...sockets, other]))
      assert.deepEqual(list, [['news', ...args]]);
    other.close();
    sockets.close();
  });
});

// A raw session that has joined `/` with a map; `next` gives the maps that come.
async function raw(transport, { auth } = {}) {
  const peer = await Peer.open(transport, server.url);
  const maps = {
    peer,
    send: (...packets) =>
      peer.send(...packets.map((p) => (Buffer.isBuffer(p) ? p : pack(p)))),
    next: async (what) => msgpack.decode(await peer.next(what)),
  };
  await maps.send({ type: 0, data: auth, nsp: '/' });
  maps.reply = await maps.next('the CONNECT reply');
  maps.auth = await maps.next('the auth event');
  return maps;
}

for (const transport of ['polling', 'websocket'])
  describe(`raw maps over ${transport}`, { concurrency: 8 }, () => {
    it('are answered by maps', async () => {
      const { peer, send, next: nextMap, reply, auth } = await raw(transport);
      assert.deepEqual(reply, { type: 0, data: { sid: reply.data.sid }, nsp: '/' });
      assert.deepEqual(auth, { type: 2, data: ['auth', {}], nsp: '/' });
      await send({ type: 2, data: ['message-with-ack', 1], id: 0, nsp: '/', x: [{}] });
      assert.deepEqual(await nextMap(), { type: 3, data: [1], nsp: '/', id: 0 });
      await send({ type: 0, data: { a: 1 }, nsp: '/refused' });
      assert.deepEqual(await nextMap(), {
        type: 4,
        data: { message: 'refused', data: { code: 4001, detail: ['a', 1] } },
        nsp: '/refused',
      });
      await send({ type: 2, data: ['disconnect-me', false], nsp: '/' });
      assert.deepEqual(await nextMap(), { type: 1, nsp: '/' });
      await peer.close();
    });

    it('may say nil for what is absent', async () => {
      const { peer, send, next: nextMap } = await raw(transport, { auth: null });
      await send({ nsp: '/', id: null, data: ['echo', null], type: 2 });
      assert.deepEqual((await nextMap()).data, ['echo', null]);
      await peer.close();
    });

    for (const [what, message] of [
      ['text', '2["echo",1]'],
      ['no map', msgpack.encode([2, ['echo']])],
      ['a map that ends early', pack({ type: 2, data: ['echo'], nsp: '/' }).subarray(0, -1)],
      ['a map that goes on', Buffer.concat([pack({ type: 1, nsp: '/' }), Buffer.alloc(1)])],
      ['a type that there is not', { type: 5, data: ['echo'], nsp: '/' }],
      ['an event without data', { type: 2, nsp: '/' }],
      ['a reserved event', { type: 2, data: ['disconnect'], nsp: '/' }],
      ['a namespace without slash', { type: 0, nsp: 'custom' }],
      ['a namespace that it has not joined', { type: 2, data: ['echo'], nsp: '/custom' }],
      ['an id below zero', { type: 2, data: ['echo'], id: -1, nsp: '/' }],
      ['a number for data', { type: 2, data: 5, nsp: '/' }],
      ['CONNECT_ERROR', { type: 4, data: 'no', nsp: '/' }],
      ['eleven attachments', { type: 2, data: ['echo', ...Array(11).fill(Buffer.alloc(1))], nsp: '/' }],
    ])
      it(`end the session if they are ${what}`, async () => {
        const { peer, reply } = await raw(transport);
        const isPacket = typeof message === 'object' && !Buffer.isBuffer(message);
        await peer.sendBad(isPacket ? pack(message) : message);
        await peer.expectClosed();
        const reason = await reasonOf(server, reply.data.sid);
        assert.match(reason, /^forced (server )?close$/);
      });

    it('come too late in a session of text', async () => {
      const peer = await Peer.connect(transport, server.url);
      await peer.sendBad(pack({ type: 2, data: ['echo', 1], nsp: '/' }));
      await peer.expectClosed();
    });

    it('must be maps from the first message on', async () => {
      const peer = await Peer.open(transport, server.url);
      await peer.sendBad(Buffer.from([0x93, 0, 1, 2]));
      await peer.expectClosed();
    });
  });

it('a session keeps its parser through the upgrade, whoever carries it', async () => {
  for (const first of ['before', 'between']) {
    const session = await Polling.open(server.entries);
    const join = () => session.send(pack({ type: 0, data: { a: 1 }, nsp: '/' }));
    if (first === 'before') await join();
    const socket = await probe(session);
    if (first === 'between') await join();
    socket.send('5');
    const maps = [];
    while (maps.length < 2) {
      const message = await socket.next('a map');
      if (Buffer.isBuffer(message)) maps.push(msgpack.decode(message));
    }
    assert.deepEqual([maps[0].type, maps[1].data], [0, ['auth', { a: 1 }]]);
    socket.send(pack({ type: 2, data: ['echo', first], nsp: '/' }));
    assert.deepEqual(msgpack.decode(await socket.next('the echo')).data, ['echo', first]);
    await socket.close();
  }
  // and after the upgrade, where WebSocket has the first message
  const session = await Polling.open(server.entries);
  const socket = await upgrade(session);
  socket.send(pack({ type: 0, nsp: '/' }));
  assert.equal(msgpack.decode(await socket.next('the reply')).type, 0);
  await socket.close();
});

it('a parked poll brings the answer to the first message', async () => {
  const session = await Polling.open([server.entries[0]]);
  const poll = session.request({});
  await poll.sent;
  await until('the poll to be parked', async () =>
    server.isExternal
      ? true
      : server.value(
          `SELECT owner_id FROM t_lease JOIN t_session USING (session_id) WHERE eio_sid = '${session.sid}'`,
        ),
  );
  await session.send(pack({ type: 0, nsp: '/none' }));
  const [packet] = (await poll).body.split('\x1e');
  assert.deepEqual(msgpack.decode(Buffer.from(packet.slice(1), 'base64')), {
    type: 4,
    data: { message: 'Invalid namespace' },
    nsp: '/none',
  });
  await session.post('1');
});

describe('recovery', { concurrency: 4, skip: needsOwn }, () => {
  for (const mode of modes)
    for (const isMsgpackAfter of [true, false])
      it(`brings a msgpack client over ${mode} back${isMsgpackAfter ? '' : ' as a client of JSON'}`, async () => {
        const nsp = freshNsp();
        const other = await connect(keeping.url, 'websocket', { nsp });
        const socket = await connect(keeping.url, mode, { nsp, parser });
        const { id } = socket;
        await call(socket, 'join', 'room');
        const data = { bytes: Buffer.from([1, 2]), at: emoji };
        await call(other, 'cast', { via: 'io', to: ['room'] }, 'seen', data);
        const [first, offset] = await next(socket, 'seen');
        assert.deepEqual(plain(first), plain(data));
        assert.match(offset, /^\d+\.\d+$/);
        const known = { _pid: socket._pid, _lastOffset: offset };
        socket.io.engine.close();
        await within(5000, 'the loss', socket.ended);
        await call(other, 'cast', { via: 'io', to: ['room'] }, 'missed', data);
        const back = isMsgpackAfter
          ? socket.connect()
          : Object.assign(client(keeping.url, mode, { nsp }), known);
        await until('the socket to be back', () => back.connected);
        assert.deepEqual([back.id, back.recovered], [id, true]);
        const [missed] = await next(back, 'missed');
        assert.deepEqual(plain(missed), plain(data));
        assert.equal((await call(back, 'who')).recovered, true);
        back.close();
        other.close();
      });
});
