// SPDX-License-Identifier: MIT
//
// What handlers send beyond one namespace: questions to the other processes
// (app_server_ask), listeners for what is emitted (app_on_outgoing), and all namespaces of
// a pattern at once (app_of).

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { build } from './lib/npm.mjs';
import { call, client, connect, next, plain } from './lib/official.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { slowness, until, within } from './lib/wait.mjs';

const app = path.join(build, 'apps/emitters.so');
let server;
before(async () => {
  if (!needsOwn) server = await startServer({ app }); // two of each program
});
after(() => server?.stop({ allowErrors: true }));

// The arguments of the ack.
const ask = (socket, event, ms, ...args) =>
  within(
    10_000,
    `the answers to ${event}`,
    new Promise((resolve) =>
      socket.emit('ask', event, ms, ...args, (...list) => resolve(list)),
    ),
  );

// SIO-SERVER-ASK
describe('app_server_ask', { skip: needsOwn }, () => {
  const pids = () => [...server.fcgi, ...server.ws].map((program) => program.pid);
  // Over WebSocket its handlers run in the sidecar, always.
  const here = () => server.ws[0].pid;
  const others = () => pids().filter((pid) => pid !== here()).sort((a, b) => a - b);
  const sorted = (list) => [...list].sort((a, b) => a - b);
  let socket;
  before(async () => {
    socket = await connect(server.entries[0], 'websocket');
  });
  after(() => socket?.close());

  it('is answered once by each of the other processes', async () => {
    const bytes = Buffer.from([1, 0, 255]);
    const [seen, ...first] = await ask(socket, 'who', 5000, { a: ['ä'] }, bytes);
    assert.deepEqual(sorted(seen.answers), others());
    assert.deepEqual({ ...seen, answers: 0 }, { late: false, expected: 3, answers: 0, state: 'kept' });
    assert.deepEqual(plain(first), plain([seen.answers[0], { a: ['ä'] }, bytes]));
  });

  it('works over polling, where any process may hear the answers', async () => {
    const poller = await connect(server.url, 'polling');
    for (let i = 0; i < 4; i++) {
      const [seen] = await ask(poller, 'who', 5000);
      assert.deepEqual([seen.late, seen.expected], [false, 3]);
      assert.equal(new Set(seen.answers).size, 3);
      assert.ok(seen.answers.every((pid) => pids().includes(pid)));
    }
    poller.close();
  });

  it('may be answered later, by a continuation', async () => {
    const [seen] = await ask(socket, 'later', 5000, 50);
    assert.equal(seen.late, false);
    assert.deepEqual(sorted(seen.answers), others());
  });

  it('ends at the time-out with those answers that came', async () => {
    const start = Date.now();
    const [some] = await ask(socket, 'only', 300, server.fcgi[1].pid);
    assert.deepEqual(some, { late: true, expected: 3, answers: [server.fcgi[1].pid], state: 'kept' });
    const [none] = await ask(socket, 'nobody has a handler for it', 100);
    assert.deepEqual([none.late, none.answers], [true, []]);
    const [late] = await ask(socket, 'later', 0, 300);
    assert.deepEqual([late.late, late.answers], [true, []]);
    const ms = Date.now() - start;
    assert.ok(ms >= 400 && ms < 1500 * slowness, `it took ${ms} ms`);
  });

  it('ends at once if there is no other process; a dead one is not waited for', async () => {
    const [a, b, c] = [server.fcgi[0], server.fcgi[1], server.ws[1]];
    for (const program of [a, b, c]) await program.kill('SIGTERM');
    // One that could not take its row away is noticed within a second.
    await until('only this one to be left', async () => (await server.value('SELECT count(*) FROM t_process')) === 1);
    const [seen] = await ask(socket, 'who', 5000);
    assert.deepEqual([seen.late, seen.expected, seen.answers], [false, 0, []]);
    await a.start();
    const [one] = await ask(socket, 'who', 5000);
    assert.deepEqual(one.answers, [a.pid]);
    for (const program of [b, c]) await program.start();
    await server.ready();
  });
});

// SIO-OUTGOING
describe('app_on_outgoing', { skip: needsOwn }, () => {
  for (const mode of ['polling', 'websocket'])
    it(`is told each emit of a handler once, over ${mode}`, async () => {
      await server.sql('DELETE FROM outgoing');
      const socket = client(server.entries[0], mode, { nsp: '/heard' });
      await within(5000, 'the connection', socket.ready);
      socket.on('question', (n, answer) => answer(n + 1));
      const bytes = Buffer.from([5, 6]);
      assert.equal(await call(socket, 'say', 'hi', bytes), 8);
      // Before the event itself, and not what the listener emits.
      assert.deepEqual(plain(await next(socket, 'heard')), plain(['/heard', 'one', 'hi', bytes]));
      assert.deepEqual(plain(await next(socket, 'one')), plain(['hi', bytes]));
      assert.deepEqual(await next(socket, 'heard'), ['/heard', 'two']);
      assert.deepEqual(await next(socket, 'heard'), ['/heard', 'question', 7]);
      assert.equal((await next(socket, 'question'))[0], 7);
      assert.deepEqual(await next(socket, 'heard'), ['/heard', 'fragile']);
      assert.deepEqual(await next(socket, 'fragile'), []);
      assert.equal(socket.events.size, 0);
      // In the namespace that it is emitted to; acks and app_server_emit are not told.
      assert.deepEqual(
        await server.sql('SELECT nsp, event, n_args FROM outgoing ORDER BY rowid'),
        [
          ['/heard', 'one', 2],
          ['/heard', 'two', 0],
          ['/dyn-1', 'elsewhere', 0],
          ['/heard', 'question', 1],
        ].map(([nsp, event, n_args]) => ({ nsp, event, n_args })),
      );
      socket.close();
    });
});

// SIO-FETCH
it('a handshake is known, the own one and those of others', { skip: needsOwn }, async () => {
  const mine = await connect(server.entries[0], 'polling', {
    query: { me: 'ä' },
    extraHeaders: { Origin: 'http://allowed.example' },
  });
  const other = await connect(server.sidecars[1], 'websocket');
  const [own, list] = await within(
    5000,
    'the handshakes',
    new Promise((resolve) => mine.emit('handshakes', (...all) => resolve(all))),
  );
  assert.equal(own.query.me, 'ä');
  assert.match(own.url, /^\/socket\.io\/\?(.*&)?me=%C3%A4(&|$)/);
  assert.equal(own.headers.origin, 'http://allowed.example');
  assert.deepEqual([own.secure, own.xdomain, own.address], [false, true, '127.0.0.1']);
  assert.ok(Math.abs(own.issued - Date.now()) < 60_000);
  assert.deepEqual(list.find(({ id }) => id === mine.id).handshake, own);
  const theirs = list.find(({ id }) => id === other.id).handshake;
  assert.deepEqual([theirs.query.transport, theirs.xdomain], ['websocket', false]);
  mine.close();
  other.close();
});

// SIO-NSP-PARENT
describe('a pattern as target', { skip: needsOwn }, () => {
  it('reaches all its namespaces, and no other', async () => {
    const nsps = ['/dyn-1', '/dyn-2', '/dyn-3', '/quiet'];
    const modes = ['polling', 'websocket', 'upgrade', 'websocket'];
    const sockets = await Promise.all(
      nsps.map((nsp, i) => connect(server.entries[i % 2], modes[i], { nsp })),
    );
    const sender = await connect(server.url, 'polling');
    await server.sql('DELETE FROM outgoing');
    await call(sender, 'shout', null, 1, Buffer.from([9]));
    for (const socket of sockets.slice(0, 3))
      assert.deepEqual(plain(await next(socket, 'shout')), plain([1, Buffer.from([9])]));
    assert.deepEqual(
      await server.sql('SELECT nsp, event, n_args FROM outgoing'),
      [{ nsp: '~^/dyn-[0-9]+$', event: 'shout', n_args: 2 }],
    );
    await call(sockets[1], 'join');
    await call(sockets[2], 'join');
    await call(sender, 'shout', 'room', 2);
    await call(sender, 'shout', null, 3);
    for (const [i, socket] of sockets.slice(0, 3).entries())
      for (const n of i === 0 ? [3] : [2, 3])
        assert.deepEqual(await next(socket, 'shout'), [n]);
    for (const socket of sockets) {
      assert.equal(socket.events.size, 0);
      socket.close();
    }
    for (const what of ['unknown', 'join'])
      await assert.rejects(call(sender.timeout(300), 'wrong', what)); // the handler fails
    sender.close();
    assert.match(server.errors().join('\n'), /app_of\(\\?"~\^\/nothing\$\\?"\): no such pattern is registered/);
    assert.match(server.errors().join('\n'), /a pattern of namespaces, which only app_emit takes/);
  });
});
