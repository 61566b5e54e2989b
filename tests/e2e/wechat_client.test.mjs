// SPDX-License-Identifier: MIT
//
// The client for WeChat mini-programs (npm weapp.socket.io). What WeChat gives it, the
// global `wx`, has a real WebSocket behind it here.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { reasonOf } from './lib/claims.mjs';
import { onEnd, require } from './lib/npm.mjs';
import { call, connect as connectOfficial, freshNsp, plain } from './lib/official.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { Inbox, within } from './lib/wait.mjs';

const { WebSocket } = require('ws');

// WeChat's SocketTask: texts are strings, binary messages ArrayBuffers.
globalThis.wx = {
  connectSocket({ url, header, protocols }) {
    const ws = new WebSocket(url, protocols, { headers: header });
    ws.binaryType = 'arraybuffer';
    onEnd(() => ws.terminate());
    const on = (name, fn) => ws.addEventListener(name, fn);
    return {
      onOpen: (fn) => on('open', () => fn({ header: {} })),
      onMessage: (fn) => on('message', ({ data }) => fn({ data })),
      onClose: (fn) => on('close', ({ code, reason }) => fn({ code, reason })),
      onError: (fn) => on('error', ({ message }) => fn({ errMsg: message })),
      send({ data, success, fail }) {
        ws.send(data, (error) => (error ? fail?.({ errMsg: error.message }) : success?.({})));
      },
      close({ code, reason, success } = {}) {
        ws.close(code, reason);
        success?.({});
      },
    };
  },
};
globalThis.window = globalThis; // the package is made for a page
const io = require('weapp.socket.io');

let server;
before(async () => {
  server = await startServer({ set: { ping_interval: '300ms', ping_timeout: '2s' } });
});
after(() => server?.stop());

function client(url, { nsp = '/', ...options } = {}) {
  const socket = io(url + nsp, { reconnection: false, forceNew: true, path: '/socket.io/', ...options });
  socket.events = new Inbox();
  socket.onAny((...event) => socket.events.push(event));
  socket.ended = new Promise((resolve) => socket.on('disconnect', resolve));
  onEnd(() => socket.close());
  return socket;
}

async function connect(url, options) {
  const socket = client(url, options);
  await within(5000, 'the client to connect', new Promise((resolve, reject) => {
    socket.on('connect', resolve);
    socket.on('connect_error', reject);
  }));
  assert.equal((await socket.events.next('the auth event'))[0], 'auth');
  return socket;
}

const ask = (socket, event, ...args) =>
  within(5000, `the ack of ${event}`, new Promise((resolve) =>
    socket.emit(event, ...args, (...list) => resolve(list))));

describe('the WeChat client', { concurrency: 4 }, () => {
  for (const [where, url] of [
    ['through the web server', () => server.url],
    ['at the sidecar', () => server.sidecars[0]],
  ])
    it(`speaks by WebSocket ${where}`, async () => {
      const socket = await connect(url());
      const [who] = await ask(socket, 'who');
      assert.deepEqual(
        [who.id, who.transport, who.protocol, who.query.transport],
        [socket.id, 'websocket', 4, 'websocket'],
      );
      const args = ['\u4f60\u597d \u{1f600}', { a: [1, null] }, new Uint8Array([0, 1, 255]).buffer];
      assert.deepEqual(plain(await ask(socket, 'message-with-ack', ...args)), plain(args));
      socket.emit('message', ...args);
      assert.deepEqual(plain(await socket.events.next('the event')), plain(['message-back', ...args]));
      socket.close();
    });

  it('answers what it is asked, and lives longer than its heartbeat', async () => {
    const socket = await connect(server.url);
    socket.on('ack-request', (a, b, answer) => answer(b, a));
    const start = Date.now();
    for (let i = 0; Date.now() - start < 1200; i++) {
      socket.emit('ack-me', i, 'x');
      assert.deepEqual((await socket.events.find('the question', ([name]) => name === 'ack-request'))
        .slice(0, 3), ['ack-request', i, 'x']);
      assert.deepEqual(await socket.events.next('the result'), ['ack-result', 'x', i]);
    }
    assert.equal(socket.connected, true);
    socket.close();
  });

  it('is in one room with an official client over polling', async () => {
    const nsp = freshNsp();
    const [socket, other] = [
      await connect(server.url, { nsp, auth: { a: 1 } }),
      await connectOfficial(server.url, 'polling', { nsp }),
    ];
    await ask(socket, 'join', 'room');
    await call(other, 'join', 'room');
    const bytes = Buffer.from([1, 2]);
    await call(other, 'cast', { via: 'socket', to: ['room'] }, 'hi', bytes, 'from polling');
    assert.deepEqual(plain(await socket.events.next('hi')), plain(['hi', bytes, 'from polling']));
    await ask(socket, 'cast', { via: 'socket', to: ['room'] }, 'hi', 'from WeChat');
    assert.deepEqual(await other.events.next('hi'), ['hi', 'from WeChat']);
    socket.close();
    other.close();
  });

  it('is refused, sent away, and leaves as any other', async () => {
    const refused = client(server.url, { nsp: '/refused' });
    const error = await within(5000, 'the refusal', new Promise((resolve) =>
      refused.on('connect_error', resolve)));
    assert.deepEqual([error.message, error.data], ['refused', { code: 4001, detail: ['a', 1] }]);
    const socket = await connect(server.url);
    socket.emit('disconnect-me', false);
    assert.equal(await within(5000, 'the end', socket.ended), 'io server disconnect');
    const other = await connect(server.url);
    const { id } = other;
    other.close();
    assert.equal(await reasonOf(server, id), 'client namespace disconnect');
    const third = await connect(server.url);
    third.emit('disconnect-me', true);
    await within(5000, 'the end', third.ended);
  });

  // When it is told to: a refused attempt of its own would throw, in its code.
  it('comes back after its sidecar was killed', { skip: needsOwn }, async () => {
    const alone = await startServer({ fcgi: 1, ws: 1 });
    const socket = await connect(alone.url);
    await alone.ws[0].kill();
    await within(5000, 'the loss', socket.ended);
    await alone.ws[0].start();
    await alone.ready();
    const isBack = new Promise((resolve) => socket.once('connect', resolve));
    socket.connect();
    await within(5000, 'the client to come back', isBack);
    assert.deepEqual(await ask(socket, 'message-with-ack', 'back'), ['back']);
    socket.close();
    await alone.stop();
  });
});
