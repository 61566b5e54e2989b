// SPDX-License-Identifier: MIT
//
// The official JavaScript client: connections that are closed when the test is over, and
// waiting for their events.

import assert from 'node:assert/strict';
import { onEnd, require } from './npm.mjs';
import { Inbox, within } from './wait.mjs';

const { io } = require('socket.io-client');

export const transports = {
  polling: { transports: ['polling'] },
  websocket: { transports: ['websocket'] },
  upgrade: { transports: ['polling', 'websocket'] },
};

// A client on `nsp`, not yet connected. `events` is an Inbox of [name, …args] of everything
// that the server emits; `ended` resolves with the reason of the disconnection.
export function client(url, mode, { nsp = '/', ...options } = {}) {
  const socket = io(url + nsp, {
    reconnection: false,
    forceNew: true,
    path: '/socket.io/',
    ...transports[mode],
    ...options,
  });
  socket.events = new Inbox();
  socket.onAny((...event) => socket.events.push(event));
  socket.ended = new Promise((resolve) => socket.on('disconnect', resolve));
  socket.ready = new Promise((resolve, reject) => {
    socket.on('connect', resolve);
    socket.on('connect_error', reject);
  });
  socket.ready.catch(() => {});
  onEnd(() => {
    socket.io.reconnection(false);
    socket.close();
  });
  return socket;
}

// The same, connected (and upgraded, if that is its mode), its `auth` event taken.
export async function connect(url, mode, options) {
  const socket = client(url, mode, options);
  await within(5000, `${mode} client to connect`, socket.ready);
  await next(socket, 'auth');
  if (mode === 'upgrade') await upgraded(socket);
  return socket;
}

export function upgraded(socket) {
  const { engine } = socket.io;
  if (engine.transport.name === 'websocket') return Promise.resolve();
  return within(
    5000,
    'the upgrade to WebSocket',
    new Promise((resolve, reject) => {
      engine.once('upgrade', resolve);
      engine.once('upgradeError', (error) => reject(error));
      engine.once('close', (reason) =>
        reject(new Error(`closed before the upgrade: ${reason}`)),
      );
    }),
    () => `${engine.id}: ${engine.readyState}, upgrading: ${engine.upgrading}`,
  );
}

// The arguments of the next event, which must have that name.
export async function next(socket, name, ms = 5000) {
  const [event, ...args] = await socket.events.next(`the event ${name}`, ms);
  assert.equal(
    event,
    name,
    `expected the event ${name}, saw ${event}(${JSON.stringify(args)})`,
  );
  return args;
}

// Emits with an ack; the result is its first argument.
export const call = (socket, event, ...args) =>
  socket.timeout(5000).emitWithAck(event, ...args);

// Tests run side by side; each has a namespace of its own.
let lastNsp = Date.now() % 1e9;
export const freshNsp = () => `/dyn-${++lastNsp}`;

// Clients of these kinds in one fresh namespace, spread over the entries of the server.
export async function group(server, kinds) {
  const nsp = freshNsp();
  const sockets = await Promise.all(
    kinds.map((mode, i) =>
      connect(server.entries[i % server.entries.length], mode, { nsp }),
    ),
  );
  return Object.assign(sockets, {
    nsp,
    close: () => sockets.forEach((socket) => socket.close()),
  });
}

// What each of them got until now. `mark(name)` emits an event of that name to all of them,
// which ends the lists; without it the first one has it cast.
let lastMark = 0;
export async function received(
  sockets,
  mark = (name) => call(sockets[0], 'cast', { via: 'io' }, name),
) {
  const end = `mark-${++lastMark}`;
  await mark(end);
  return Promise.all(
    sockets.map(async (socket) => {
      const list = [];
      for (;;) {
        const [name, ...args] = await socket.events.next(`the event ${end}`);
        if (name === end) return list;
        list.push([name, ...args]);
      }
    }),
  );
}

// Buffers compare by content, whatever their class.
export const plain = (value) => {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value))
    return {
      bytes: [
        ...new Uint8Array(value.buffer ?? value, value.byteOffset ?? 0, value.byteLength),
      ],
    };
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]));
  return value;
};
