// SPDX-License-Identifier: MIT
//
// The official JavaScript client over polling, over WebSocket, and with an upgrade: each
// event of the conformance application as its users see it.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startServer } from './lib/server.mjs';
import {
  call,
  client,
  connect,
  freshNsp,
  next,
  plain,
  upgraded,
} from './lib/official.mjs';
import { pause, until, within } from './lib/wait.mjs';

let main;
let short;
before(async () => {
  main = await startServer();
  short = await startServer({ preset: 'short' });
});
after(async () => {
  await main?.stop();
  await short?.stop();
});

const modes = ['polling', 'websocket', 'upgrade'];
const emoji = '\u00e4\u20ac\u{1f600}';

const who = async (socket) => call(socket, 'who');
for (const mode of modes) {
  const one = (options) => connect(main.url, mode, options);

  describe(`a client over ${mode}`, { concurrency: 8 }, () => {
    it('connects, knows its id, and is known', async () => {
      const socket = await one({
        auth: { user: emoji },
        query: { a: 'b c', d: emoji },
        extraHeaders: { 'X-Kitchen': 'sink' },
      });
      const seen = await who(socket);
      assert.deepEqual(
        { ...seen, query: undefined },
        {
          id: socket.id,
          nsp: '/',
          transport: mode === 'polling' ? 'polling' : 'websocket',
          protocol: 4,
          query: undefined,
          auth: { user: emoji },
          header: 'sink',
          recovered: false,
          data: null,
        },
      );
      assert.deepEqual(
        [seen.query.a, seen.query.d, seen.query.EIO, seen.query.transport],
        ['b c', emoji, '4', mode === 'websocket' ? 'websocket' : 'polling'],
      );
      assert.notEqual(socket.id, socket.io.engine.id);
      assert.ok(!socket.recovered);
      socket.close();
    });

    it('is refused with message and data', async () => {
      for (const [nsp, auth, message, data] of [
        ['/none', {}, 'Invalid namespace', undefined],
        ['/token', { token: 'x' }, 'invalid token', undefined],
        ['/refused', {}, 'refused', { code: 4001, detail: ['a', 1] }],
      ]) {
        const socket = client(main.url, mode, { nsp, auth });
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
      const accepted = await one({ nsp: '/token', auth: { token: 'secret' } });
      assert.deepEqual((await who(accepted)).auth, { token: 'secret' });
      accepted.close();
    });

    it('uses several namespaces on one connection', async () => {
      const socket = await one();
      const custom = socket.io.socket('/custom');
      await within(
        5000,
        'the second namespace',
        new Promise((resolve) => custom.on('connect', resolve)),
      );
      assert.equal((await who(custom)).nsp, '/custom');
      const { id } = custom;
      custom.disconnect();
      assert.equal(
        await until('a reason', () => call(socket, 'reason-of', id)),
        'client namespace disconnect',
      );
      assert.equal((await who(socket)).nsp, '/');
      socket.close();
    });

    it('gets its messages back', async () => {
      const socket = await one();
      const args = [1, 'a', emoji, null, true, { b: [1, { c: 2 }] }, []];
      socket.emit('message', ...args);
      assert.deepEqual(await next(socket, 'message-back'), args);
      socket.emit('echo', ...args);
      assert.deepEqual(await next(socket, 'echo'), args);
      const all = await new Promise((resolve) =>
        socket.emit('message-with-ack', ...args, (...list) => resolve(list)),
      );
      assert.deepEqual(all, args);
      socket.close();
    });

    it('gets attachments back, nested, shared and empty', async () => {
      const socket = await one();
      const data = Buffer.from([1, 2, 3, 255]);
      const args = [
        data,
        { a: [Buffer.alloc(0), { b: new Uint8Array([9, 8]) }], text: 'x' },
        Buffer.alloc(50_000, 5),
      ];
      socket.emit('message', ...args);
      assert.deepEqual(plain(await next(socket, 'message-back')), plain(args));
      const all = await new Promise((resolve) =>
        socket.emit('message-with-ack', ...args, (...list) => resolve(list)),
      );
      assert.deepEqual(plain(all), plain(args));
      socket.close();
    });

    it('computes with text and attachments', async () => {
      const socket = await one();
      const { n, data } = await call(socket, 'make-binary', 1000);
      assert.deepEqual(
        [n, plain(data).bytes],
        [1000, Array.from({ length: 1000 }, (_, i) => i % 256)],
      );
      assert.equal(await call(socket, 'big', 200_000), 'a'.repeat(200_000));
      assert.deepEqual(await call(socket, 'digest', 'abc'), {
        type: 'string',
        bytes: 3,
        fnv: 440920331,
      });
      assert.deepEqual(await call(socket, 'digest', Buffer.from('abc')), {
        type: 'binary',
        bytes: 3,
        fnv: 440920331,
      });
      assert.deepEqual(await call(socket, 'digest', emoji), {
        type: 'string',
        bytes: 9,
        fnv: fnv(Buffer.from(emoji)),
      });
      assert.deepEqual(await call(socket, 'digest', ''), {
        type: 'string',
        bytes: 0,
        fnv: 2166136261,
      });
      const large = Buffer.alloc(600_000, 'siolite');
      assert.deepEqual(await call(socket, 'digest', large), {
        type: 'binary',
        bytes: 600_000,
        fnv: fnv(large),
      });
      socket.close();
    });

    it('answers questions of the server', async () => {
      const socket = await one();
      socket.once('ack-request', (...args) =>
        args.pop()('answer', Buffer.from([7]), ...args),
      );
      socket.emit('ack-me', 1, 'two');
      assert.equal((await socket.events.next())[0], 'ack-request');
      assert.deepEqual(
        plain(await next(socket, 'ack-result')),
        plain(['answer', Buffer.from([7]), 1, 'two']),
      );
      socket.once('ack-request', (a, ack) => ack(a + 1));
      socket.emit('ack-me-within', 3000, 1);
      assert.equal((await socket.events.next())[0], 'ack-request');
      assert.deepEqual(await next(socket, 'ack-result-within'), [false, 2]);
      socket.once('ack-request', (ack) => setTimeout(ack, 300, 'late'));
      socket.emit('ack-me-within', 100);
      assert.equal((await socket.events.next())[0], 'ack-request');
      assert.deepEqual(await next(socket, 'ack-result-within'), [true]);
      await pause(400);
      assert.equal(await call(socket, 'message-with-ack', 'still here'), 'still here');
      assert.deepEqual(socket.events.take(), []);
      socket.close();
    });

    it('keeps the order of a burst', async () => {
      const socket = await one();
      const n = 1000;
      const acked = [];
      for (let i = 0; i < n; i++) {
        if (i % 10 === 0)
          socket.emit('message-with-ack', i, (value) => acked.push(value));
        socket.emit('echo', i);
      }
      for (let i = 0; i < n; i++)
        assert.deepEqual(await next(socket, 'echo', 10_000), [i]);
      assert.deepEqual(
        acked,
        Array.from({ length: n / 10 }, (_, i) => i * 10),
      );
      socket.close();
    });

    it('sends what was emitted before it was connected', async () => {
      const socket = client(main.url, mode);
      for (let i = 0; i < 20; i++) socket.emit('echo', i);
      await within(5000, 'the connection', socket.ready);
      const seen = [];
      while (seen.length < 20) {
        const [name, value] = await socket.events.next();
        if (name === 'echo') seen.push(value);
      }
      assert.deepEqual(
        seen,
        Array.from({ length: 20 }, (_, i) => i),
      );
      socket.close();
    });

    it('sends again what was not acknowledged, if told to', async () => {
      const socket = await one({ retries: 3, ackTimeout: 2000 });
      const acks = [];
      for (let i = 0; i < 10; i++)
        socket.emit('message-with-ack', i, (error, value) => acks.push(error ?? value));
      await until('all acks', () => acks.length === 10);
      assert.deepEqual(
        acks,
        Array.from({ length: 10 }, (_, i) => i),
      );
      socket.close();
    });

    it('keeps data', async () => {
      const socket = await one();
      for (const value of [1, 'a', null, { b: [emoji] }, false]) {
        await call(socket, 'set-data', value);
        assert.deepEqual((await who(socket)).data, value);
      }
      socket.close();
    });

    it('leaves, and the reason is remembered', async () => {
      const witness = await connect(main.url, 'websocket');
      const reason = (id) =>
        until(`a reason for ${id}`, () => call(witness, 'reason-of', id));
      assert.equal(await call(witness, 'reason-of', witness.id), null);
      assert.equal(await call(witness, 'reason-of', 'nobody'), null);
      for (const [how, atServer, atClient] of [
        [
          (socket) => socket.disconnect(),
          'client namespace disconnect',
          'io client disconnect',
        ],
        [(socket) => socket.io.engine.close(), 'transport close', 'forced close'],
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
        const socket = await one();
        const { id } = socket;
        how(socket);
        assert.equal(await within(5000, 'the disconnection', socket.ended), atClient);
        assert.equal(await reason(id), atServer);
        socket.close();
      }
      witness.close();
    });

    it('comes back by itself', async () => {
      const socket = await one({ reconnection: true, reconnectionDelay: 20 });
      const { id } = socket;
      socket.io.engine.close();
      await until('another connection', () => socket.connected && socket.id !== id);
      await next(socket, 'auth');
      if (mode === 'upgrade') await upgraded(socket);
      assert.equal((await who(socket)).id, socket.id);
      socket.close();
    });

    it('stays as long as it answers pings', async () => {
      const socket = await connect(short.url, mode);
      const how = await Promise.race([socket.ended, pause(3500)]);
      assert.equal(how, undefined);
      assert.equal(await call(socket, 'message-with-ack', 1), 1);
      socket.close();
    });
  });
}

function fnv(bytes) {
  let hash = 2166136261;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 16777619) >>> 0;
  return hash;
}

describe('an upgrade under traffic', { concurrency: 4 }, () => {
  it('loses, doubles and reorders nothing', async () => {
    const nsp = freshNsp();
    const sender = await connect(main.url, 'websocket', { nsp });
    const n = 300;
    const done = sender
      .timeout(20_000)
      .emitWithAck('cast', { via: 'io', to: ['room'], repeat: n, every: 5 }, 'tick');
    const clients = Array.from({ length: 8 }, (_, i) =>
      client(main.entries[i % main.entries.length], 'upgrade', { nsp }),
    );
    await Promise.all(
      clients.map(async (socket) => {
        await within(5000, 'the connection', socket.ready);
        socket.emit('join', 'room');
        for (let i = 0; i < 100; i++) {
          socket.emit('echo', i);
          await pause(3);
        }
      }),
    );
    await done;
    await call(sender, 'cast', { via: 'io' }, 'end');
    for (const socket of clients) {
      const ticks = [];
      const echoes = [];
      for (;;) {
        const [name, i] = await socket.events.next();
        if (name === 'end') break;
        if (name === 'tick') ticks.push(i);
        else if (name === 'echo') echoes.push(i);
      }
      assert.ok(ticks.length > 0 && ticks.length <= n);
      assert.deepEqual(
        ticks,
        Array.from({ length: ticks.length }, (_, i) => n - ticks.length + i),
      );
      assert.deepEqual(
        echoes,
        Array.from({ length: 100 }, (_, i) => i),
      );
      assert.equal(socket.io.engine.transport.name, 'websocket');
      socket.close();
    }
    sender.close();
  });
});
