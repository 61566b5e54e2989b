// SPDX-License-Identifier: MIT
//
// siolite.fcgi: polls that wait, and what ends them.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import zlib from 'node:zlib';
import { until, within } from '../e2e/lib/wait.mjs';
import { engineUri, handshake, poll, post, record, REQUEST_COMPLETE, request, Responder, T } from './lib_fcgi.mjs';

let server;
before(async () => {
  server = await Responder.start({ set: { http_compression: 1000, aborted_poll: 'strict', max_payload: 10000000 } });
});
after(() => server.stop());

// A session whose `40` was answered: it has nothing more to send.
async function connected(options) {
  const id = await handshake(server);
  await post(server, id, '40');
  const answer = await server.fetch({ uri: engineUri(`&sid=${id}`), ...options });
  assert.match(answer.body, /^40/);
  return id;
}

const isGone = (id) =>
  until('the session to be over', async () => (await post(server, id, '40/x,')).status === 400);

test('a poll waits, and is woken by a packet', async () => {
  const id = await connected();
  const c = await poll(server, id);
  await server.parked(1);
  assert.equal(c.records.size, 0);
  assert.equal((await post(server, id, '40/nowhere,')).body, 'ok');
  const answer = await c.answer();
  assert.equal(answer.status, 200);
  assert.match(answer.body, /^44\/nowhere,/);
  assert.equal(Number(answer.headers['content-length']), answer.raw.length);
  await c.ended();
});

// EIO-POLL-ABORT
test('a web server that closes the connection of a poll ends the session', async () => {
  const id = await connected();
  const c = await poll(server, id);
  await server.parked(1);
  c.close();
  await isGone(id);
});

// EIO-POLL-ABORT: lenient, nothing was sent, so the next poll gets what comes.
test('with aborted_poll=lenient a poll that is cut off costs nothing', async () => {
  const own = await Responder.start({ set: { aborted_poll: 'lenient' } });
  try {
    const id = await handshake(own);
    await post(own, id, '40');
    assert.match((await own.fetch({ uri: engineUri(`&sid=${id}`) })).body, /^40/);
    for (let i = 0; i < 10; i++) {
      const c = await poll(own, id);
      await own.parked(1);
      c.close();
      await own.parked(0);
      assert.equal((await post(own, id, `40/nowhere${i},`)).body, 'ok');
      const answer = await own.fetch({ uri: engineUri(`&sid=${id}`) });
      assert.match(answer.body, new RegExp(`^44/nowhere${i},`));
    }
  } finally {
    await own.stop();
  }
});

test('ABORT_REQUEST ends the session, and is answered', async () => {
  for (const keep of [false, true]) {
    const id = await connected();
    const c = await poll(server, id, { keep });
    await server.parked(1);
    await c.send(record(T.ABORT_REQUEST, 1));
    const answer = await c.answer();
    assert.equal(answer.protocolStatus, REQUEST_COMPLETE);
    assert.equal(answer.status, undefined);
    await isGone(id);
    if (keep) assert.equal((await c.fetch({ uri: engineUri('') })).status, 200);
    await c.ended();
  }
});

test('ABORT_REQUEST in the middle of a body ends the request', async () => {
  const id = await connected();
  const c = await server.open();
  const bytes = request({ keep: true, method: 'POST', uri: engineUri(`&sid=${id}`), body: '40/x,' });
  await c.send(bytes.subarray(0, bytes.length - 8), record(T.ABORT_REQUEST, 1));
  assert.equal((await c.answer()).protocolStatus, REQUEST_COMPLETE);
  assert.equal((await c.fetch({ uri: engineUri('') })).status, 200);
});

// EIO-COMPRESSION
test('a large answer is split, and compressed if both sides want it', async () => {
  const body = Array.from({ length: 2000 }, (_, i) => `40/a-namespace-that-does-not-exist-${i},`).join('\x1e');
  for (const coding of ['', 'gzip', 'deflate']) {
    const id = await connected();
    await post(server, id, body);
    const c = await poll(server, id, { headers: coding === '' ? {} : { 'accept-encoding': coding } });
    const answer = await c.answer();
    assert.equal(answer.headers['content-encoding'] ?? '', coding);
    assert.equal(Number(answer.headers['content-length']), answer.raw.length);
    if (coding === '') assert.ok(answer.nRecords > 2, `${answer.nRecords} records`);
    const text = (coding === 'gzip' ? zlib.gunzipSync(answer.raw) : coding === 'deflate' ? zlib.inflateSync(answer.raw) : answer.raw).toString();
    assert.equal(text.split('\x1e').length, 2000);
    assert.match(text, /-1999,/);
  }
});

test('a small answer is not compressed, nor one that nobody wants compressed', async () => {
  const small = await server.fetch({ uri: engineUri(''), headers: { 'accept-encoding': 'gzip' } });
  assert.equal(small.headers['content-encoding'], undefined);
  const id = await connected();
  await post(server, id, Array.from({ length: 100 }, (_, i) => `40/nowhere-${i},`).join('\x1e'));
  const refused = await server.fetch({ uri: engineUri(`&sid=${id}`), headers: { 'accept-encoding': 'gzip;q=0, br, *;q=0.0' } });
  assert.equal(refused.headers['content-encoding'], undefined);
});

test('a web server that is slow to read gets all of a large answer', async () => {
  const id = await connected();
  const name = 'n'.repeat(30000);
  await post(server, id, Array.from({ length: 100 }, () => `40/${name},`).join('\x1e'));
  const c = await server.open();
  c.socket.pause();
  await c.send(request({ uri: engineUri(`&sid=${id}`) }));
  // The others are served meanwhile.
  for (let i = 0; i < 20; i++) assert.equal((await server.fetch({ uri: engineUri('') })).status, 200);
  c.socket.resume();
  const answer = await c.answer();
  assert.equal(Number(answer.headers['content-length']), answer.raw.length);
  assert.ok(answer.raw.length > 2000000, `${answer.raw.length} bytes`);
});

test('a web server that closes while it is being written to harms nobody', async () => {
  const id = await connected();
  const name = 'n'.repeat(30000);
  await post(server, id, Array.from({ length: 100 }, () => `40/${name},`).join('\x1e'));
  const c = await server.open();
  c.socket.pause();
  await c.send(request({ uri: engineUri(`&sid=${id}`) }));
  c.close();
  assert.equal((await server.fetch({ uri: engineUri('') })).status, 200);
});

test('2000 parked polls take at most 2 kB each, and all are woken', async (t) => {
  const n = 2000;
  const own = await Responder.start({ set: { ping_interval: '60s', hold: '25s' } });
  try {
    const ids = [];
    for (let at = 0; at < n; at += 100) {
      ids.push(...(await Promise.all(Array.from({ length: 100 }, () => handshake(own)))));
    }
    const round = async () => {
      const conns = await Promise.all(ids.map((id) => poll(own, id)));
      await own.parked(n);
      return conns;
    };
    const before = own.pss();
    const conns = await round();
    const each = (own.pss() - before) / n;
    t.diagnostic(`${each.toFixed(0)} bytes for each parked poll`);
    const from = performance.now();
    const answers = conns.map((c) => c.answer(1, 20000));
    const end = own.signal('SIGTERM');
    for (const answer of await within(20000, 'all answers', Promise.all(answers))) assert.equal(answer.body, '6');
    t.diagnostic(`all answered within ${(performance.now() - from).toFixed(0)} ms`);
    assert.equal(await end, 0);
    assert.ok(process.env.SIOLITE_BUILD?.includes('asan') || process.env.SIOLITE_BUILD?.includes('tsan') || each <= 2048, `${each} bytes`);
  } finally {
    await own.stop();
  }
});
