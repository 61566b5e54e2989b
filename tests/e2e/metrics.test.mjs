// SPDX-License-Identifier: MIT
//
// <path>/metrics and <path>/health (docs/metrics.md): what they say, to whom, and that the sums are those of all
// processes together.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { root } from './lib/npm.mjs';
import { call, connect, next } from './lib/official.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { until } from './lib/wait.mjs';
import { request } from './lib/wire.mjs';

const TOKEN = 'a-token-for-prometheus';
const get = (url, name, token = TOKEN, method = 'GET') =>
  request(url, { method, path: `/socket.io${name}`, headers: token ? { Authorization: `Bearer ${token}` } : {} });

// name{labels} -> value, and the names that have a type.
function parse(text) {
  const values = {};
  const types = {};
  for (const line of text.split('\n').slice(0, -1)) {
    const type = line.match(/^# TYPE (\w+) (counter|gauge)$/);
    const value = line.match(/^(\w+(?:\{[^}]*\})?) (-?\d+)$/);
    if (type) types[type[1]] = type[2];
    else if (value) values[value[1]] = Number(value[2]);
    else assert.match(line, /^# HELP \w+ \S.*\.$/);
  }
  return { values, types };
}

describe('metrics', { skip: needsOwn }, () => {
  let server;
  before(async () => {
    server = await startServer({ set: { metrics_token: `old-token ${TOKEN}` } });
  });
  after(() => server?.stop());

  const read = async (url = server.url) => {
    const answer = await get(url, '/metrics');
    assert.equal(answer.status, 200);
    assert.match(answer.headers['content-type'], /^text\/plain; version=0\.0\.4/);
    return parse(answer.body);
  };

  it('are the sums over all processes', async () => {
    const before = (await read()).values;
    const polling = await connect(server.entries[0], 'polling');
    const other = await connect(server.entries[1], 'polling');
    const websocket = await connect(server.sidecars[1], 'websocket');
    for (const socket of [polling, other, websocket]) await call(socket, 'join', 'lobby');
    websocket.emit('cast', { via: 'io', to: ['lobby'] }, 'said', 'hello');
    for (const socket of [polling, other, websocket]) await next(socket, 'said');
    const now = await until('what happened to be counted', async () => {
      const { values } = await read(server.entries[1]);
      return values.socket_io_events_received_total >= (before.socket_io_events_received_total ?? 0) + 4 &&
        values.siolite_packets_sent_total >= (before.siolite_packets_sent_total ?? 0) + 3 && values;
    });
    assert.equal(now.socket_io_connected, 3);
    assert.equal(now['siolite_sessions{transport="polling"}'], 2);
    assert.equal(now['siolite_sessions{transport="websocket"}'], 1);
    assert.equal(now.socket_io_connect_total, before.socket_io_connect_total + 3);
    assert.equal(now.siolite_handshakes_total, before.siolite_handshakes_total + 3);
    assert.equal(now.siolite_rooms, 1);
    assert.equal(now['siolite_processes{front="fcgi"}'], 2);
    assert.equal(now['siolite_processes{front="ws"}'], 2);
    assert.ok(now.siolite_sent_bytes_total > now.siolite_packets_sent_total);
    for (const socket of [polling, other, websocket]) socket.close();
    await until('the ends to be counted', async () => {
      const { values } = await read();
      return values.socket_io_connected === 0 &&
        values['socket_io_disconnect_total{reason="client namespace disconnect"}'] === 3;
    });
  });

  it('survive the processes that counted', async () => {
    const before = (await read()).values;
    assert.ok(before.socket_io_events_received_total >= 4);
    await Promise.all(server.fcgi.map((program) => program.kill('SIGKILL')));
    await Promise.all(server.fcgi.map((program) => program.start()));
    const { values } = await read();
    assert.equal(values.socket_io_events_received_total, before.socket_io_events_received_total);
  });

  it('are those of the view and of docs/metrics.md', async () => {
    const { types } = await read();
    const page = fs.readFileSync(path.join(root, 'docs/metrics.md'), 'utf8');
    const documented = [...page.matchAll(/^\| `(\w+)` \| (counter|gauge) \|/gm)].map((m) => [m[1], m[2]]);
    assert.deepEqual(Object.fromEntries(documented), types);
    const rows = await server.sql('SELECT DISTINCT name, kind FROM metric');
    assert.deepEqual(Object.fromEntries(rows.map((row) => [row.name, row.kind])), types);
  });

  it('want the token', async () => {
    for (const name of ['/metrics', '/health'])
      for (const token of ['', 'old-toke', 'old-tokenx', `old-token ${TOKEN}`, TOKEN.toUpperCase()]) {
        const answer = await get(server.url, name, token);
        assert.equal(answer.status, 401, `${name} with '${token}'`);
        assert.equal(JSON.parse(answer.body).status, 'refused');
      }
    assert.equal((await get(server.url, '/metrics', 'old-token')).status, 200);
    assert.equal((await get(server.url, '/metrics', TOKEN, 'POST')).status, 405);
  });

  it('health says what is wrong', async () => {
    const health = async () => {
      const answer = await get(server.url, '/health');
      return [answer.status, JSON.parse(answer.body).status];
    };
    assert.deepEqual(await health(), [200, 'ok']);
    await Promise.all(server.ws.map((program) => program.kill('SIGKILL')));
    await until('the sidecars to be missed', async () => (await health())[1] === 'degraded');
    await Promise.all(server.ws.map((program) => program.start()));
    await until('the sidecars to be seen', async () => (await health())[1] === 'ok');
  });
});

describe('metrics without a token', { skip: needsOwn }, () => {
  it('do not exist', async () => {
    const server = await startServer({ fcgi: 1, ws: 1 });
    try {
      for (const name of ['/metrics', '/health']) {
        const answer = await get(server.url, name);
        assert.equal(answer.status, 400); // a request of Engine.IO without its transport
        assert.equal(JSON.parse(answer.body).code, 0);
      }
    } finally {
      await server.stop();
    }
  });
});
