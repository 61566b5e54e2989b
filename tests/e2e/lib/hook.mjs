// SPDX-License-Identifier: MIT
//
// A web hook of the tests: an HTTP server that checks each signature, notes what it was told,
// and answers what the test says.

import assert from 'node:assert/strict';
import { createHmac, timingSafeEqual } from 'node:crypto';
import http from 'node:http';
import { Inbox } from './wait.mjs';

export const secret = 'of the tests, 32 characters long';

// Throws unless it is an event that siolite-hook has signed just now.
export function verify(headers, body) {
  const timestamp = headers['x-siolite-timestamp'];
  assert.ok(Math.abs(Date.now() / 1000 - Number(timestamp)) < 60, 'the time is now');
  const mac = createHmac('sha256', secret).update(`${timestamp}.`).update(body);
  const expected = Buffer.from(`v1=${mac.digest('hex')}`);
  const given = Buffer.from(headers['x-siolite-signature'] ?? '');
  assert.ok(given.length === expected.length && timingSafeEqual(given, expected));
}

// `answer(event, n)` gives the list of effects, or {status, body, headers}, or null: the
// connection is cut; n counts the tries of this event from 1.
export class Hook {
  calls = []; // [{event, at, until}]
  told = new Inbox();
  connections = 0;
  atOnce = 0;
  mostAtOnce = 0;
  mishaps = [];
  #running = 0;

  constructor(answer = () => []) {
    this.answer = answer;
  }

  async start(port = 0) {
    this.server = http.createServer((req, res) => this.#serve(req, res));
    this.server.keepAliveTimeout = 30_000;
    this.server.on('connection', () => this.connections++);
    await new Promise((resolve) => this.server.listen(port, '127.0.0.1', resolve));
    this.port = this.server.address().port;
    this.url = `http://127.0.0.1:${this.port}/hook`;
    return this;
  }

  async #serve(req, res) {
    const chunks = [];
    try {
      for await (const chunk of req) chunks.push(chunk);
    } catch {
      return; // the worker was killed
    }
    const body = Buffer.concat(chunks);
    const event = JSON.parse(body);
    const call = { event, from: Date.now() };
    try {
      assert.equal(req.method, 'POST');
      assert.equal(req.headers['content-type'], 'application/json');
      assert.equal(req.headers['x-siolite-event-id'], event.event_id);
      verify(req.headers, body);
    } catch (error) {
      this.mishaps.push(error);
    }
    this.calls.push(call);
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.#running);
    this.told.push(event);
    const n = this.calls.filter((c) => c.event.event_id === event.event_id).length;
    let answer = await this.answer(event, n);
    this.#running--;
    call.to = Date.now();
    if (answer === null) {
      req.socket.destroy();
      return;
    }
    if (Array.isArray(answer)) answer = { body: JSON.stringify(answer) };
    res.writeHead(answer.status ?? 200, answer.headers);
    res.end(answer.body ?? '');
  }

  // What was told of that kind so far: the events, each once, in order.
  of(kind) {
    const seen = new Map(this.calls.map(({ event }) => [event.event_id, event]));
    return [...seen.values()].filter((event) => event.kind === kind);
  }

  async stop() {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
    assert.deepEqual(this.mishaps, []);
  }
}

// The options of an installation with this hook.
export const options = (hook, set = {}) => ({
  hook_url: hook.url,
  hook_secret: secret,
  hook_connect_wait: '5s',
  nsp: '/chat',
  ...set,
});
