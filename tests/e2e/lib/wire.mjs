// SPDX-License-Identifier: MIT
//
// Engine.IO 4 and Socket.IO 5 by hand: single HTTP requests, raw polling sessions whose
// requests rotate over several entries of a server, raw WebSockets, and a Peer that speaks
// Socket.IO over either. Nothing here hides a wrong answer; what the official clients would
// do by themselves (heartbeat, next poll) only Peer does.

import assert from 'node:assert/strict';
import http from 'node:http';
import { onEnd, require } from './npm.mjs';
import { deadline, Inbox, within } from './wait.mjs';

const { WebSocket } = require('ws');

export const SEPARATOR = '\x1e';
export const PATH = '/socket.io/';

// One HTTP request on a connection of its own. Of the promise, `abort()` resets the connection,
// `cancel()` closes it as a browser does, and `sent` resolves once the head is on the wire.
// With `body` a function it gets the request to write to, and ends it itself.
export function request(
  base,
  { method = 'GET', path = PATH, query = {}, headers = {}, body, localAddress } = {},
) {
  const url = new URL(base);
  const search =
    typeof query === 'string' ? query : new URLSearchParams(query).toString();
  const options = {
    host: url.hostname,
    port: url.port,
    method,
    agent: false,
    localAddress,
    path: path + (search ? `?${search}` : ''),
    headers,
  };
  if (typeof body === 'string' || Buffer.isBuffer(body)) {
    options.headers = { 'Content-Length': Buffer.byteLength(body), ...headers };
  }
  const req = http.request(options);
  const answer = new Promise((resolve, reject) => {
    req.on('error', reject);
    req.on('response', (res) => {
      const chunks = [];
      res.on('data', (chunk) => chunks.push(chunk));
      res.on('error', reject);
      res.on('end', () => {
        const bytes = Buffer.concat(chunks);
        resolve({
          status: res.statusCode,
          headers: res.headers,
          rawHeaders: res.rawHeaders,
          bytes,
          body: bytes.toString(),
        });
      });
    });
  });
  const promise = within(30_000, `an answer to ${method} ${options.path}`, answer);
  promise.abort = () => req.socket.resetAndDestroy();
  promise.cancel = () => req.destroy();
  req.on(
    'close',
    onEnd(() => req.destroy()),
  );
  promise.sent = new Promise((resolve) =>
    req.on('socket', (socket) => socket.once('connect', () => setImmediate(resolve))),
  );
  promise.catch(() => {}); // awaited later, or never
  if (typeof body === 'function') body(req);
  else req.end(body);
  return promise;
}

export function openPacket(text) {
  assert.equal(text[0], '0', `expected an open packet, saw ${JSON.stringify(text)}`);
  return JSON.parse(text.slice(1));
}

export const packetsOf = (body) => (body === '' ? [] : body.split(SEPARATOR));

// A raw polling session. With several urls each request goes to the next one.
export class Polling {
  constructor(urls, { query = {}, headers = {}, localAddress } = {}) {
    this.urls = [urls].flat();
    this.turn = 0;
    this.query = { EIO: '4', transport: 'polling', ...query };
    this.headers = headers;
    this.localAddress = localAddress;
  }

  static async open(urls, options) {
    const session = new Polling(urls, options);
    const answer = await session.request({});
    assert.equal(answer.status, 200, `handshake: ${answer.status} ${answer.body}`);
    session.open = openPacket(answer.body);
    session.sid = session.open.sid;
    session.query.sid = session.sid;
    session.handshake = answer;
    return session;
  }

  // A session that has joined `/`, or the namespace, its `auth` event read.
  static async connect(urls, { nsp = '/', auth = undefined, ...options } = {}) {
    const session = await Polling.open(urls, options);
    await session.join(nsp, auth);
    return session;
  }

  async join(nsp = '/', auth = undefined) {
    const prefix = nsp === '/' ? '' : `${nsp},`;
    await this.send(`40${prefix}${auth === undefined ? '' : JSON.stringify(auth)}`);
    const got = await this.receive((packets) =>
      packets.some((p) => p.startsWith(`42${prefix}["auth"`)),
    );
    const reply = got.find((p) => p.startsWith(`40${prefix}{`));
    assert.ok(reply, `expected a CONNECT reply, saw ${JSON.stringify(got)}`);
    this.sioId = JSON.parse(reply.slice(2 + prefix.length)).sid;
    return this.sioId;
  }

  get url() {
    return this.urls[this.turn % this.urls.length];
  }

  request(options) {
    const url = this.url;
    this.turn++;
    return request(url, {
      query: this.query,
      localAddress: this.localAddress,
      ...options,
      headers: { ...this.headers, ...options.headers },
    });
  }

  poll(options = {}) {
    return this.request(options);
  }

  post(body, options = {}) {
    return this.request({
      method: 'POST',
      body,
      ...options,
      headers: { 'Content-Type': 'text/plain;charset=UTF-8', ...options.headers },
    });
  }

  // POSTs the packets and expects `ok`; after the POST that is under way, as a client must.
  send(...packets) {
    const sent = (this.lastSend ?? Promise.resolve()).then(async () => {
      const answer = await this.post(packets.map(encode).join(SEPARATOR));
      assert.deepEqual([answer.status, answer.body], [200, 'ok']);
    });
    this.lastSend = sent.catch(() => {});
    return sent;
  }

  // Polls until `isDone(all packets so far)`; pings are answered and left out, noops left out.
  async receive(isDone = (packets) => packets.length > 0) {
    const all = [];
    const check = deadline(15_000, 'what a test polls for', () => all);
    while (!isDone(all)) {
      check();
      const answer = await this.poll();
      assert.equal(
        answer.status,
        200,
        `poll: ${answer.status} ${answer.body}, after ${JSON.stringify(all)}`,
      );
      for (const packet of packetsOf(answer.body)) {
        if (packet === '2') await this.send('3');
        else if (packet !== '6') all.push(packet);
      }
    }
    return all;
  }

  // Emits with an ack and polls until the answer is there, which is the result.
  async call(event, ...args) {
    const id = (this.lastAck = (this.lastAck ?? 0) + 1);
    await this.send(`42${id}${JSON.stringify([event, ...args])}`);
    const got = await this.receive((packets) =>
      packets.some((p) => p.startsWith(`43${id}[`)),
    );
    return JSON.parse(
      got.find((p) => p.startsWith(`43${id}[`)).slice(2 + String(id).length),
    );
  }
}

const decode = (packet) =>
  packet[0] === 'b' ? Buffer.from(packet.slice(1), 'base64') : packet;
const encode = (packet) =>
  Buffer.isBuffer(packet) ? `b${packet.toString('base64')}` : packet;

// A raw WebSocket: `inbox` has its messages (strings or Buffers), `closed` its close code.
export class Socket {
  constructor(url, { query = {}, headers = {}, path = PATH, options = {} } = {}) {
    const target = new URL(url);
    target.protocol = 'ws:';
    target.pathname = path;
    target.search =
      typeof query === 'string'
        ? query
        : new URLSearchParams({ EIO: '4', transport: 'websocket', ...query }).toString();
    this.inbox = new Inbox();
    this.ws = new WebSocket(target, {
      headers,
      perMessageDeflate: false,
      maxPayload: 1 << 28,
      ...options,
    });
    this.ws.on('message', (data, isBinary) =>
      this.inbox.push(isBinary ? data : data.toString()),
    );
    this.ws.on('error', () => {});
    const forget = onEnd(() => this.ws.terminate());
    this.closed = new Promise((resolve) =>
      this.ws.on('close', (code, reason) => {
        forget();
        this.inbox.finish(`the WebSocket was closed with ${code} ${reason}`);
        resolve(code);
      }),
    );
    // The answer of the server: status 101, or a refusal with its body.
    this.answered = new Promise((resolve, reject) => {
      this.ws.on('upgrade', (res) =>
        resolve({ status: 101, headers: res.headers, body: '' }),
      );
      this.ws.on('unexpected-response', (req, res) => {
        let body = '';
        res.on('data', (chunk) => (body += chunk));
        res.on('end', () =>
          resolve({ status: res.statusCode, headers: res.headers, body }),
        );
        res.on('close', () => this.ws.terminate());
      });
      this.ws.on('error', reject);
    });
    this.answered.catch(() => {});
    this.opened = new Promise((resolve, reject) => {
      this.ws.on('open', resolve);
      this.ws.on('error', reject);
    });
    this.opened.catch(() => {});
  }

  // A WebSocket-only session, its handshake read.
  static async open(url, options) {
    const socket = new Socket(url, options);
    await within(5000, 'the WebSocket to open', socket.opened);
    socket.open = openPacket(await socket.next('the open packet'));
    socket.sid = socket.open.sid;
    return socket;
  }

  // The same, joined to `/`, its `auth` event read.
  static async connect(url, options) {
    const socket = await Socket.open(url, options);
    socket.send('40');
    const reply = await socket.find('the CONNECT reply', (m) => m.startsWith('40{'));
    socket.sioId = JSON.parse(reply.slice(2)).sid;
    await socket.find('the auth event', (m) => m.startsWith('42["auth"'));
    return socket;
  }

  send(...messages) {
    for (const message of messages) this.ws.send(message);
  }

  next(what, ms) {
    return this.inbox.next(what, ms);
  }

  // The first text message for which `test` is true; pings are answered, others are dropped.
  find(what, test, ms) {
    return this.inbox.find(
      what,
      (message) => {
        if (message === '2') this.send('3');
        return typeof message === 'string' && test(message);
      },
      ms,
    );
  }

  async call(event, ...args) {
    const id = (this.lastAck = (this.lastAck ?? 0) + 1);
    this.send(`42${id}${JSON.stringify([event, ...args])}`);
    const answer = await this.find(`the ack of ${event}`, (m) =>
      m.startsWith(`43${id}[`),
    );
    return JSON.parse(answer.slice(2 + String(id).length));
  }

  close(code = 1000) {
    this.ws.close(code);
    return within(5000, 'the end of the WebSocket', this.closed);
  }

  terminate() {
    this.ws.terminate();
  }
}

// The change of a polling session to WebSocket, by the book; resolves with the WebSocket.
export async function upgrade(
  session,
  url = session.urls[session.turn++ % session.urls.length],
) {
  const socket = await probe(session, url);
  socket.send('5');
  return socket;
}

// The first half of it: up to the answered probe.
export async function probe(session, url = session.url) {
  const socket = new Socket(url, {
    query: { sid: session.sid },
    headers: session.headers,
  });
  await within(5000, 'the WebSocket to open', socket.opened);
  socket.send('2probe');
  assert.equal(await socket.next('3probe'), '3probe');
  return socket;
}

// A client that speaks Socket.IO packets over 'polling' or 'websocket', keeps up the
// heartbeat, and does nothing else by itself. Messages lose their Engine.IO type digit.
export class Peer {
  constructor(transport) {
    this.transport = transport;
    this.inbox = new Inbox();
    this.isClosed = false;
    this.closed = new Promise((resolve) => (this.onClosed = resolve));
  }

  static async open(transport, urls, options) {
    const peer = new Peer(transport);
    if (transport === 'polling') {
      peer.session = await Polling.open(urls, options);
      peer.sid = peer.session.sid;
      peer.pollLoop();
    } else {
      peer.socket = await Socket.open([urls].flat()[0], options);
      peer.sid = peer.socket.sid;
      peer.readLoop();
    }
    return peer;
  }

  // Joined to the namespace, the `auth` event read.
  static async connect(transport, urls, { nsp = '/', auth, ...options } = {}) {
    const peer = await Peer.open(transport, urls, options);
    await peer.join(nsp, auth);
    return peer;
  }

  async join(nsp = '/', auth = undefined) {
    const prefix = nsp === '/' ? '' : `${nsp},`;
    await this.send(`0${prefix}${auth === undefined ? '' : JSON.stringify(auth)}`);
    const reply = await this.next('the CONNECT reply');
    assert.ok(
      String(reply).startsWith(`0${prefix}{`),
      `expected a CONNECT reply for ${nsp}, saw ${reply}`,
    );
    const { sid } = JSON.parse(reply.slice(1 + prefix.length));
    const event = await this.next('the auth event');
    assert.ok(
      String(event).startsWith(`2${prefix}["auth",`),
      `expected the auth event, saw ${event}`,
    );
    this.sioId ??= sid;
    return sid;
  }

  async pollLoop() {
    while (!this.isPaused) {
      let answer;
      try {
        answer = await this.session.poll();
      } catch (error) {
        return this.end(`the poll failed: ${error.message}`);
      }
      if (answer.status !== 200)
        return this.end(`the poll was answered ${answer.status} ${answer.body}`);
      for (const packet of packetsOf(answer.body)) this.onPacket(decode(packet));
      if (this.isClosed) return undefined;
    }
    this.onRest();
    return undefined;
  }

  // As the official client does after `3probe`: no further poll, the parked one is awaited,
  // then the switch.
  async switchTo(socket) {
    const rest = new Promise((resolve) => (this.onRest = resolve));
    this.isPaused = true;
    await within(5000, 'the parked poll to be freed', rest);
    socket.send('5');
    this.transport = 'websocket';
    this.socket = socket;
    this.readLoop();
  }

  async readLoop() {
    this.socket.closed.then((code) => this.end(`the WebSocket was closed with ${code}`));
    for (;;) {
      let message;
      try {
        message = await this.socket.inbox.next('', 3600_000);
      } catch {
        return;
      }
      this.onPacket(message);
    }
  }

  onPacket(packet) {
    if (Buffer.isBuffer(packet)) this.inbox.push(packet);
    else if (packet === '2') this.engineSend('3').catch(() => {});
    else if (packet === '1') this.end('the server sent a close packet');
    else if (packet[0] === '4') this.inbox.push(packet.slice(1));
    else if (packet !== '6') this.inbox.push(`unexpected Engine.IO packet ${packet}`);
  }

  end(how) {
    if (this.isClosed) return;
    this.isClosed = true;
    this.inbox.finish(how);
    this.onClosed(how);
  }

  // Engine.IO packets, as they are.
  async engineSend(...packets) {
    if (this.transport === 'polling') await this.session.send(...packets);
    else this.socket.send(...packets);
  }

  // Socket.IO packets (text) and attachments (Buffers), in one POST or a frame each.
  send(...packets) {
    return this.engineSend(...packets.map((p) => (Buffer.isBuffer(p) ? p : `4${p}`)));
  }

  // The same, when the server is expected to close the connection for it: whatever the
  // answer of the POST is.
  async sendBad(...packets) {
    const full = packets.map((p) => (Buffer.isBuffer(p) ? p : `4${p}`));
    if (this.transport === 'polling')
      await this.session.post(full.map(encode).join(SEPARATOR)).catch(() => {});
    else this.socket.send(...full);
  }

  next(what, ms) {
    return this.inbox.next(what, ms);
  }

  async expect(...packets) {
    for (const packet of packets) {
      const what = Buffer.isBuffer(packet)
        ? `an attachment of ${packet.length} bytes`
        : packet;
      assert.deepEqual(await this.next(what), packet);
    }
  }

  async expectClosed(ms = 5000) {
    return within(ms, 'the end of the connection', this.closed, () => this.inbox.log);
  }

  // Emits with an ack; the result is the list of its arguments. Other packets stay queued.
  async call(event, ...args) {
    const id = (this.lastAck = (this.lastAck ?? 0) + 1);
    await this.send(`2${id}${JSON.stringify([event, ...args])}`);
    const answer = await this.inbox.find(`the ack of ${event}`, (p) =>
      String(p).startsWith(`3${id}[`),
    );
    return JSON.parse(answer.slice(1 + String(id).length));
  }

  // Nothing has come that was not taken, as far as the server had sent it: an echo follows it.
  async expectNothing() {
    await this.send('2["echo","nothing before this"]');
    await this.expect('2["echo","nothing before this"]');
  }

  close() {
    if (this.isClosed) return Promise.resolve();
    this.end('the test closed it');
    if (this.transport === 'polling')
      return this.session.post('1').then(
        () => {},
        () => {},
      );
    return this.socket.close().then(
      () => {},
      () => this.socket.terminate(),
    );
  }
}
