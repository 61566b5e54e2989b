// SPDX-License-Identifier: MIT
//
// siolite.fcgi against a web server that follows the FastCGI specification, and against ones that don't.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { within } from '../e2e/lib/wait.mjs';
import {
  begin, CANT_MPX_CONN, cgiParams, engineUri, handshake, pairs, parsePairs, poll, post, record, request, REQUEST_COMPLETE,
  Responder, stream, T, UNKNOWN_ROLE,
} from './lib_fcgi.mjs';

const max = 10000;
let server;
before(async () => {
  server = await Responder.start({ set: { max_payload: max, http_compression: 1000 } });
});
after(() => server.stop());

// What needs no session: the engine refuses it at once.
const unknown = { uri: '/socket.io/?EIO=4&transport=pigeon' };
const assertUnknown = (answer) => {
  assert.equal(answer.headers.status, '400 Bad Request');
  assert.deepEqual(JSON.parse(answer.body), { code: 0, message: 'Transport unknown' });
  assert.equal(answer.protocolStatus, REQUEST_COMPLETE);
};

test('an answer is one STDOUT stream and END_REQUEST, then the connection closes', async () => {
  const c = await server.open();
  await c.send(request({ id: 7, ...unknown }));
  await c.ended();
  const types = c.records.log.map(({ type, id, content }) => [type, id, content.length > 0]);
  assert.deepEqual(types, [[T.STDOUT, 7, true], [T.STDOUT, 7, false], [T.END_REQUEST, 7, true]]);
});

test('a handshake has exact headers', async () => {
  const answer = await server.fetch({ uri: engineUri('') });
  assert.equal(answer.headers.status, '200 OK');
  assert.equal(answer.headers['content-type'], 'text/plain; charset=UTF-8');
  assert.equal(Number(answer.headers['content-length']), answer.raw.length);
  assert.equal(JSON.parse(answer.body.slice(1)).maxPayload, max);
});

test('a request may be cut at every byte', async () => {
  const bytes = request({ id: 258, ...unknown, headers: { 'x-long': 'x'.repeat(200) } });
  const whole = await server.open();
  for (let at = 1; at < bytes.length; at++) {
    const c = await server.open();
    await c.send(bytes.subarray(0, at));
    await c.send(bytes.subarray(at));
    assertUnknown(await c.answer(258));
  }
  whole.close();
});

test('a request may come byte by byte', async () => {
  const c = await server.open();
  for (const byte of request(unknown)) await c.send(Buffer.from([byte]));
  assertUnknown(await c.answer());
});

test('variables and body may be spread over many padded records', async () => {
  const id = await handshake(server);
  const c = await server.open();
  const params = pairs(cgiParams({ method: 'POST', uri: engineUri(`&sid=${id}`), body: '40' }));
  await c.send(begin(1), stream(T.PARAMS, 1, params, { size: 3, padding: 5 }), stream(T.STDIN, 1, '40', { size: 1, padding: 255 }));
  assert.equal((await c.answer()).body, 'ok');
});

test('the route follows from REQUEST_URI alone', async () => {
  const misleading = { SCRIPT_NAME: '/elsewhere', PATH_INFO: '/x', QUERY_STRING: 'EIO=4&transport=polling' };
  assertUnknown(await server.fetch({ ...unknown, params: misleading }));
});

test('without REQUEST_URI, SCRIPT_NAME, PATH_INFO and QUERY_STRING make the route', async () => {
  const params = { REQUEST_URI: '', SCRIPT_NAME: '/socket.io', PATH_INFO: '/', QUERY_STRING: 'EIO=4&transport=pigeon' };
  assertUnknown(await server.fetch({ params }));
});

test('CONTENT_LENGTH may be empty, -1 or absent', async () => {
  const id = await handshake(server);
  for (const CONTENT_LENGTH of ['', '-1', undefined]) {
    const all = cgiParams({ method: 'POST', uri: engineUri(`&sid=${id}`), body: '40' });
    const { CONTENT_LENGTH: ignored, ...without } = all;
    const params = CONTENT_LENGTH === undefined ? without : { ...all, CONTENT_LENGTH };
    const c = await server.open();
    await c.send(begin(1), stream(T.PARAMS, 1, pairs(params)), stream(T.STDIN, 1, '3'));
    assert.equal((await c.answer()).body, 'ok', `CONTENT_LENGTH ${CONTENT_LENGTH}`);
  }
});

test('a body shorter than CONTENT_LENGTH is not handled', async () => {
  const id = await handshake(server);
  const c = await server.open();
  const params = { ...cgiParams({ method: 'POST', uri: engineUri(`&sid=${id}`), body: '40' }), CONTENT_LENGTH: 3 };
  await c.send(begin(1), stream(T.PARAMS, 1, pairs(params)), stream(T.STDIN, 1, '40'));
  await c.ended();
  assert.equal(c.records.log.length, 0);
});

test('a body over max_payload is read to its end and answered 413', async () => {
  const id = await handshake(server);
  const c = await server.open();
  const answer = await c.fetch({ method: 'POST', uri: engineUri(`&sid=${id}`), body: `4${'x'.repeat(40 * max)}` });
  assert.equal(answer.headers.status, '413 Payload Too Large');
  assert.equal(answer.headers['content-length'], '0');
  assert.equal((await post(server, id, '40')).body, 'ok'); // the session survives
});

test('too many variables are refused', async () => {
  for (const headers of [{ 'x-big': 'x'.repeat(70000) }, Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`x-${i}`, '1']))]) {
    const answer = await server.fetch({ ...unknown, headers });
    assert.equal(answer.headers.status, '431 Request Header Fields Too Large');
  }
});

test('variables that are no pairs are refused', async () => {
  const c = await server.open();
  await c.send(begin(1), stream(T.PARAMS, 1, [200, 0, 0]), record(T.STDIN, 1));
  assert.equal((await c.answer()).headers.status, '400 Bad Request');
});

test('an answer before the end of the body waits for it', async () => {
  const c = await server.open();
  const bytes = request({ ...unknown, method: 'POST', body: 'x'.repeat(500) });
  await c.send(bytes.subarray(0, bytes.length - 300));
  assertUnknown(await server.fetch(unknown)); // by now the first one was seen
  assert.equal(c.records.size, 0);
  await c.send(bytes.subarray(bytes.length - 300));
  assertUnknown(await c.answer());
});

test('a kept connection carries several requests', async () => {
  const c = await server.open();
  for (const id of [1, 2, 1]) {
    assertUnknown(await c.fetch({ id, keep: true, ...unknown }));
  }
  const session = JSON.parse((await c.fetch({ id: 1, keep: true, uri: engineUri('') })).body.slice(1)).sid;
  assert.equal((await c.fetch({ id: 1, keep: true, method: 'POST', uri: engineUri(`&sid=${session}`), body: '40' })).body, 'ok');
  assert.match((await c.fetch({ id: 1, keep: true, uri: engineUri(`&sid=${session}`) })).body, /^40/);
  assertUnknown(await c.fetch({ id: 9, keep: false, ...unknown }));
  await c.ended();
});

test('requests that follow each other at once are answered in order', async () => {
  const c = await server.open();
  await c.send(request({ id: 1, keep: true, ...unknown }), request({ id: 2, keep: true, ...unknown }));
  assertUnknown(await c.answer(1));
  assertUnknown(await c.answer(2));
  c.close();
});

test('a second request on a busy connection is refused, the first one goes on', async () => {
  const id = await handshake(server);
  const c = await poll(server, id, { id: 1 });
  await c.send(request({ id: 2, ...unknown }));
  const refused = await c.answer(2);
  assert.equal(refused.protocolStatus, CANT_MPX_CONN);
  assert.equal(refused.status, undefined);
  await post(server, id, '40');
  assert.match((await c.answer(1)).body, /^40/);
  await c.ended();
});

test('other roles are refused', async () => {
  for (const role of [2, 3, 4, 0x0101]) {
    const c = await server.open();
    await c.send(begin(1, { role }), stream(T.PARAMS, 1, pairs(cgiParams(unknown))), record(T.STDIN, 1));
    assert.equal((await c.answer()).protocolStatus, UNKNOWN_ROLE);
    await c.ended();
  }
  const kept = await server.open();
  await kept.send(begin(1, { role: 3, keep: true }), stream(T.PARAMS, 1, pairs(cgiParams(unknown))), record(T.STDIN, 1));
  assert.equal((await kept.answer()).protocolStatus, UNKNOWN_ROLE);
  assertUnknown(await kept.fetch(unknown));
});

test('GET_VALUES is answered with what was asked for and is known', async () => {
  const c = await server.open();
  const ask = async (names) => {
    await c.send(record(T.GET_VALUES, 0, pairs(Object.fromEntries(names.map((name) => [name, ''])))));
    const { type, id, content } = await c.records.next();
    assert.deepEqual([type, id], [T.GET_VALUES_RESULT, 0]);
    return parsePairs(content);
  };
  assert.deepEqual(await ask(['FCGI_MPXS_CONNS', 'FCGI_COLOUR']), { FCGI_MPXS_CONNS: '0' });
  const all = await ask(['FCGI_MAX_CONNS', 'FCGI_MAX_REQS', 'FCGI_MPXS_CONNS']);
  assert.equal(all.FCGI_MAX_CONNS, all.FCGI_MAX_REQS);
  assert.ok(Number(all.FCGI_MAX_CONNS) > 0);
  assertUnknown(await c.fetch(unknown)); // the connection goes on
});

test('management records in the middle of a request are answered', async () => {
  const c = await server.open();
  const bytes = request(unknown);
  await c.send(bytes.subarray(0, 16), record(T.GET_VALUES, 0, pairs({ FCGI_MPXS_CONNS: '' })), record(77, 0, 'what'));
  assert.equal((await c.records.next()).type, T.GET_VALUES_RESULT);
  const { type, content } = await c.records.next();
  assert.deepEqual([type, content[0]], [T.UNKNOWN_TYPE, 77]);
  await c.send(bytes.subarray(16));
  assertUnknown(await c.answer());
});

test('records of no or another request are skipped', async () => {
  const c = await server.open();
  const bytes = request({ id: 3, ...unknown });
  await c.send(record(T.STDIN, 9, 'lost'), record(T.ABORT_REQUEST, 9), record(T.PARAMS, 9, 'x'), bytes.subarray(0, 16));
  await c.send(record(T.STDIN, 4, 'lost'), record(T.DATA, 3, 'data'), record(55, 3, 'what'), bytes.subarray(16));
  assertUnknown(await c.answer(3));
});

test('what is not FastCGI closes the connection', async () => {
  const cases = {
    'another version': Buffer.from([2, 1, 0, 1, 0, 8, 0, 0]),
    'HTTP': Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
    'a short BEGIN_REQUEST': record(T.BEGIN_REQUEST, 1, [0, 1, 0]),
    'request 0': record(T.BEGIN_REQUEST, 0, [0, 1, 0, 0, 0, 0, 0, 0]),
    'STDIN before the variables end': Buffer.concat([begin(1), record(T.STDIN, 1, 'x')]),
    'the same request twice': Buffer.concat([begin(1), begin(1)]),
  };
  for (const [what, bytes] of Object.entries(cases)) {
    const c = await server.open();
    await c.send(bytes);
    await within(5000, `the end after ${what}`, c.closed);
    assert.equal(c.records.log.length, 0, what);
  }
});

test('a flood of management records ends, without an end of memory', async () => {
  const c = await server.open();
  const ask = record(T.GET_VALUES, 0, pairs({ FCGI_MPXS_CONNS: '' }));
  const flood = Buffer.concat(Array.from({ length: 20000 }, () => ask));
  c.send(flood);
  await c.ended();
});

test('silence, half a header, half a request and a slow body end after 10 s', async () => {
  const id = await handshake(server);
  const bytes = request({ method: 'POST', uri: engineUri(`&sid=${id}`), body: 'x'.repeat(2 * max) });
  const starts = [0, 5, 100, bytes.length - 100, bytes.length - 15000];
  const from = performance.now();
  const conns = await Promise.all(starts.map(async (n) => {
    const c = await server.open();
    if (n > 0) await c.send(bytes.subarray(0, n));
    return c;
  }));
  const kept = await server.open();
  assertUnknown(await kept.fetch({ keep: true, ...unknown }));
  const half = await server.open();
  assertUnknown(await half.fetch({ keep: true, ...unknown }));
  await half.send(bytes.subarray(0, 3));
  await Promise.all([...conns, half].map((c) => c.ended(15000)));
  const ms = performance.now() - from;
  assert.ok(ms > 9000, `after ${ms} ms`);
  assert.deepEqual(conns.map((c) => c.records.log.length), starts.map(() => 0));
  assertUnknown(await kept.fetch(unknown)); // waiting for a next request is no sin
});

test('many connections at once', async () => {
  const answers = await Promise.all(Array.from({ length: 500 }, () => server.fetch(unknown)));
  answers.forEach(assertUnknown);
});
