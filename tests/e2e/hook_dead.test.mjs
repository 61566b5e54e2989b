// SPDX-License-Identifier: MIT
//
// A web hook that is not there, or never answers: it blocks nobody else, and its queue is
// bounded.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { Hook, options } from './lib/hook.mjs';
import { client, next } from './lib/official.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { until, within } from './lib/wait.mjs';

const skip = needsOwn;
let hook;
let server;

before(async () => {
  if (skip) return;
  hook = await new Hook().start();
  server = await startServer({
    app: '',
    hooks: 1,
    set: options(hook, {
      hook_connect_wait: '700ms',
      hook_timeout: '1s',
      hook_queue: 20,
      hook_socket_queue: 15,
    }),
  });
});

after(async () => {
  await server?.stop({ allowErrors: true });
});

const refused = (socket) =>
  within(5000, 'the refusal', new Promise((resolve) => socket.on('connect_error', resolve)));

// SIO-HOOK-CONNECT
test('without a hook connections are refused in time, and others go on', { skip }, async () => {
  const one = client(server.url, 'websocket');
  const other = client(server.url, 'polling');
  await Promise.all([one.ready, other.ready]);
  await hook.stop();

  const late = client(server.url, 'polling', { nsp: '/chat' });
  const start = Date.now();
  assert.equal((await refused(late)).message, 'The application does not answer');
  assert.ok(Date.now() - start >= 650, 'it waited');

  for (let i = 0; i < 60; i++) one.emit('lost', i);
  await until('the queue to be full', async () =>
    (await server.value('SELECT n_dropped FROM hook_total')) === 45);
  await server.sql("INSERT INTO emit (event, args) VALUES ('news', '[1]')");
  assert.deepEqual(await next(one, 'news'), [1]);
  assert.deepEqual(await next(other, 'news'), [1]);
  for (let i = 0; i < 60; i++) other.emit('lost', i);
  await until('the queue to be full', async () =>
    (await server.value('SELECT n_dropped FROM hook_total')) === 100);
  assert.equal(await server.value('SELECT n_waiting FROM hook_total'), 20);
  const full = client(server.url, 'websocket', { nsp: '/chat' });
  assert.equal((await refused(full)).message, 'The application is busy');
  const lines = server.logs().flatMap(({ text }) => text.split('\n'))
    .filter((line) => / hook\.dropped /.test(line));
  assert.ok(lines.length >= 1 && lines.length <= 3, `${lines.length} lines`);
});

test('when it is back it gets what waited, in order', { skip }, async () => {
  hook = await new Hook().start(hook.port);
  await until('the queue to be empty', async () =>
    (await server.value('SELECT n_waiting FROM hook_total')) === 0, 10_000);
  const told = hook.of('event');
  assert.equal(told.length, 20);
  for (const id of new Set(told.map((event) => event.socket))) {
    const numbers = told.filter((event) => event.socket === id).map((event) => event.args[0]);
    assert.deepEqual(numbers, [...Array(numbers.length).keys()]);
  }
  await hook.stop();
});

test('a hook that never answers is given up after hook_timeout', { skip }, async () => {
  const silent = http.createServer(() => {});
  await new Promise((resolve) => silent.listen(hook.port, '127.0.0.1', resolve));
  const socket = client(server.url, 'websocket', { nsp: '/chat' });
  assert.equal((await refused(socket)).message, 'The application does not answer');
  // It was sent, so the receiver may hold it for connected.
  const [row] = await until('its end to wait', () =>
    server.sql("SELECT event_id FROM hook WHERE kind = 'disconnect' AND nsp = '/chat'")
      .then((rows) => rows.length === 1 && rows));
  const error = await until('its error', () =>
    server.value(`SELECT error FROM hook WHERE event_id = '${row.event_id}'`), 5000);
  assert.match(error, /timed out/);
  silent.closeAllConnections();
  await new Promise((resolve) => silent.close(resolve));
});
