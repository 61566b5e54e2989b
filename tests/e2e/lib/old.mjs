// SPDX-License-Identifier: MIT
//
// Clients of every generation behind one face, and Engine.IO 3 by hand: its two polling
// framings, JSONP, and raw sessions over them.

import assert from 'node:assert/strict';
import { onEnd, require } from './npm.mjs';
import { transports } from './official.mjs';
import { deadline, Inbox, within } from './wait.mjs';
import { openPacket, request, Socket } from './wire.mjs';

export const generations = {
  '1.7.4': 'socket.io-client-1',
  '2.5.0': 'socket.io-client-2',
  '3.1.3': 'socket.io-client-3',
  '4.0.2': 'socket.io-client-4.0',
  '4.8.4': 'socket.io-client',
};
export const isEngine3 = (version) => version < '3';

// A client that is not yet connected. `events` is an Inbox of [name, …args]; `refused`
// resolves with what the server says when it does not let the client in.
export function client(version, url, mode, { nsp = '/', ...options } = {}) {
  const socket = require(generations[version])(url + nsp, {
    reconnection: false,
    forceNew: true,
    path: '/socket.io/',
    ...transports[mode],
    ...options,
  });
  const { onevent } = socket;
  socket.events = new Inbox();
  // Not onAny, which the older ones don't have.
  socket.onevent = function (packet) {
    socket.events.push([...packet.data]);
    onevent.call(this, packet);
  };
  socket.ended = new Promise((resolve) => socket.on('disconnect', resolve));
  socket.refused = new Promise((resolve) =>
    socket.on(isEngine3(version) ? 'error' : 'connect_error', resolve),
  );
  socket.ready = new Promise((resolve, reject) => {
    socket.on('connect', resolve);
    socket.refused.then((error) =>
      reject(new Error(`refused: ${error?.message ?? JSON.stringify(error)}`)),
    );
  });
  socket.ready.catch(() => {});
  onEnd(() => {
    socket.io.reconnection(false);
    socket.io.engine?.close();
    socket.close();
  });
  return socket;
}

// The same, connected (and upgraded, if that is its mode), its `auth` event taken.
export async function connect(version, url, mode, options) {
  const socket = client(version, url, mode, options);
  await within(5000, `client ${version} over ${mode} to connect`, socket.ready);
  const [name] = await socket.events.next('the auth event');
  assert.equal(name, 'auth');
  if (mode === 'upgrade') await upgraded(socket);
  return socket;
}

const upgraded = (socket) =>
  socket.io.engine.transport.name === 'websocket'
    ? Promise.resolve()
    : within(
        5000,
        'the upgrade to WebSocket',
        new Promise((resolve) => socket.io.engine.once('upgrade', resolve)),
      );

// Emits with an ack; the result is the list of its arguments.
export const call = (socket, event, ...args) =>
  within(
    5000,
    `the ack of ${event}`,
    new Promise((resolve) => socket.emit(event, ...args, (...list) => resolve(list))),
    () => socket.events.log,
  );

// ---- Engine.IO 3 payloads: packets are strings, binary messages are Buffers ----

export const encodeText = (...packets) =>
  packets
    .map((p) => (Buffer.isBuffer(p) ? `b4${p.toString('base64')}` : p))
    .map((p) => `${p.length}:${p}`)
    .join('');

export function decodeText(payload) {
  const packets = [];
  for (let at = 0; at < payload.length; ) {
    const colon = payload.indexOf(':', at);
    const digits = payload.slice(at, colon);
    assert.match(digits, /^[0-9]+$/, `a length in ${JSON.stringify(payload)}`);
    const packet = payload.slice(colon + 1, colon + 1 + Number(digits));
    assert.equal(packet.length, Number(digits), `UTF-16 units of ${packet}`);
    packets.push(
      packet.startsWith('b4') ? Buffer.from(packet.slice(2), 'base64') : packet,
    );
    at = colon + 1 + packet.length;
  }
  return packets;
}

export const encodeOctets = (...packets) =>
  Buffer.concat(
    packets.map((p) => {
      const data = Buffer.isBuffer(p)
        ? Buffer.concat([Buffer.from([4]), p])
        : Buffer.from(p);
      const head = [
        Buffer.isBuffer(p) ? 1 : 0,
        ...String(data.length).split('').map(Number),
        0xff,
      ];
      return Buffer.concat([Buffer.from(head), data]);
    }),
  );

export function decodeOctets(payload) {
  const packets = [];
  for (let at = 0; at < payload.length; ) {
    const kind = payload[at++];
    assert.ok(kind <= 1, `text or binary, saw ${kind}`);
    let n = 0;
    while (payload[at] !== 0xff) {
      assert.ok(payload[at] <= 9, `a digit, saw ${payload[at]}`);
      n = n * 10 + payload[at++];
    }
    const data = payload.subarray(at + 1, at + 1 + n);
    assert.equal(data.length, n);
    if (kind === 1) assert.equal(data[0], 4, 'the type byte of a message');
    packets.push(kind === 1 ? Buffer.from(data.subarray(1)) : data.toString());
    at += 1 + n;
  }
  return packets;
}

// The argument of a JSONP answer, which is run as the script that it is.
export function runJsonp(script, j) {
  let seen;
  const ___eio = [];
  ___eio[j] = (text) => (seen = text);
  new Function('___eio', script)(___eio);
  assert.equal(typeof seen, 'string', `a call of ___eio[${j}] in ${script}`);
  return seen;
}

// What a JSONP client makes of a payload before the browser encodes the form.
export const jsonpForm = (payload) =>
  new URLSearchParams({
    d: payload.replaceAll('\\n', '\\\\n').replaceAll('\n', '\\n'),
  }).toString();

const isOctets = (answer) =>
  (answer.headers['content-type'] ?? '').startsWith('application/octet-stream');

// A raw polling session of Engine.IO 3. `query` may have b64 or j (JSONP; also with EIO=4).
export class Polling3 {
  constructor(urls, { query = {}, headers = {} } = {}) {
    this.urls = [urls].flat();
    this.turn = 0;
    this.query = { EIO: '3', transport: 'polling', ...query };
    this.headers = headers;
    this.kept = [];
  }

  static async open(urls, options) {
    const session = new Polling3(urls, options);
    const answer = await session.request();
    assert.equal(answer.status, 200, `handshake: ${answer.status} ${answer.body}`);
    session.handshake = answer;
    const [first, ...others] = session.packetsOf(answer);
    session.open = openPacket(first);
    session.sid = session.query.sid = session.open.sid;
    session.kept.push(...others);
    return session;
  }

  // The same, with `/` joined by the server and its `auth` event read.
  static async connect(urls, options) {
    const session = await Polling3.open(urls, options);
    const got = await session.receive((p) => p.length >= 2);
    assert.deepEqual(got, ['40', '42["auth",{}]']);
    return session;
  }

  // Each request goes to the next entry.
  request(options = {}) {
    return request(this.urls[this.turn++ % this.urls.length], {
      query: this.query,
      ...options,
      headers: { ...this.headers, ...options.headers },
    });
  }

  packetsOf(answer) {
    if (this.query.j !== undefined) {
      const text = runJsonp(answer.body, Number(this.query.j));
      return this.query.EIO === '4' ? text.split('\x1e') : decodeText(text);
    }
    return isOctets(answer) ? decodeOctets(answer.bytes) : decodeText(answer.body);
  }

  async poll() {
    const answer = await this.request();
    assert.equal(answer.status, 200, `poll: ${answer.status} ${answer.body}`);
    return this.packetsOf(answer);
  }

  post(body, headers = { 'Content-Type': 'text/plain;charset=UTF-8' }) {
    return this.request({ method: 'POST', body, headers });
  }

  async send(...packets) {
    let answer;
    if (this.query.j === undefined) {
      answer = await this.post(encodeText(...packets));
    } else {
      const payload =
        this.query.EIO === '4' ? packets.join('\x1e') : encodeText(...packets);
      answer = await this.post(jsonpForm(payload), {
        'Content-Type': 'application/x-www-form-urlencoded',
      });
    }
    assert.deepEqual([answer.status, answer.body], [200, 'ok']);
  }

  // Polls until `isDone(all packets so far)`, noops and heartbeats left out.
  async receive(isDone = (packets) => packets.length > 0) {
    const all = this.kept.splice(0);
    const check = deadline(15_000, 'what a test polls for', () => all);
    for (; !isDone(all); check())
      all.push(...(await this.poll()).filter((p) => !['6', '2', '3'].includes(p)));
    return all;
  }
}

// A raw WebSocket of Engine.IO 3, with `/` joined by the server and its `auth` event read.
export async function socket3(url, { query = {}, ...options } = {}) {
  const socket = await Socket.open(url, { query: { EIO: '3', ...query }, ...options });
  assert.equal(await socket.next('the reply for /'), '40');
  assert.equal(await socket.next('the auth event'), '42["auth",{}]');
  return socket;
}
