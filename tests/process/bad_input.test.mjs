// SPDX-License-Identifier: MIT
//
// Bad input at the real programs: a siolite.fcgi, spoken to in FastCGI records so that no web server mends anything, and a
// sidecar, spoken to in bytes. Whatever comes in, the answer is that of the table or the connection closes; two witnesses
// (a parked poll, a WebSocket) notice nothing; nothing is logged at level error; and no memory stays.

import assert from 'node:assert/strict';
import net from 'node:net';
import fs from 'node:fs';
import { after, afterEach, before, describe, it } from 'node:test';
import { startServer } from '../e2e/lib/server.mjs';
import { slowness, until, within } from '../e2e/lib/wait.mjs';
import { Peer as Client, Polling, SEPARATOR } from '../e2e/lib/wire.mjs';
import { Connection, engineUri, record, request } from './lib_fcgi.mjs';
import { frameBytes, HAS_REAL_MEMORY, OP, Peer, rawRequest } from './lib_ws.mjs';

const PAYLOAD_MAX = 20_000;
const EVENT = '42["echo","alive"]';
// So many random inputs of each kind in a round; later rounds must not need more memory than the first ones.
const ROUND = HAS_REAL_MEMORY ? 600 : 100;
const GROWTH_MAX = 384 * 1024;

let server;
let fcgi; // where siolite.fcgi listens
let port; // of the sidecar
let witnesses;

before(async () => {
  // Few rows in memory and no long history, so that what grows is what should not.
  server = await startServer({ fcgi: 1, ws: 1, set: { max_payload: PAYLOAD_MAX, ping_interval: '60s', ping_timeout: '60s',
    connect_timeout: '5s', max_queue: '256k', ring_rows: 200, log_rows_max: 2000, log_bytes_max: '8M' } });
  fcgi = server.fcgi[0].target;
  port = Number(new URL(server.sidecars[0]).port);
  witnesses = [await Client.connect('polling', server.url), await Client.connect('websocket', server.sidecars[0])];
});
after(() => server?.stop());

// Each witness still is the same session, and hears itself and the other one.
let lastWord = 0;
async function seeWitnesses() {
  for (const witness of witnesses) {
    const word = `2["bcast",${++lastWord}]`;
    const from = performance.now();
    await witness.send(word);
    for (const other of witnesses) assert.equal(await other.next(word), word);
    const ms = performance.now() - from;
    assert.ok(ms < 1000 * slowness, `a witness waited ${ms} ms`);
  }
}
afterEach(seeWitnesses);

// ---- polling, without a web server

// One request; undefined: the connection was closed without an answer.
async function fetch(options) {
  const c = await Connection.open(fcgi);
  try {
    await c.send(request(options));
    return await c.answer(1, 10_000);
  } catch (error) {
    if (/connection (ended|closed)/.test(error.message)) return undefined;
    throw error;
  } finally {
    c.close();
  }
}

const post = (id, body) => fetch({ method: 'POST', uri: engineUri(`&sid=${id}`), body });
const poll = (id) => fetch({ uri: engineUri(`&sid=${id}`) });

async function joined() {
  const id = JSON.parse((await fetch({ uri: engineUri('') })).body.slice(1)).sid;
  assert.equal((await post(id, '40')).body, 'ok');
  assert.match((await poll(id)).body, /^40\{/);
  return id;
}

// `n` at a time.
async function each(list, fn, n = 12) {
  let at = 0;
  await Promise.all(Array.from({ length: n }, async () => {
    while (at < list.length) await fn(list[at], at++);
  }));
}

// ---- chance, the same every time

function dice(seed) {
  let s = seed;
  return (n) => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return Math.floor((s / 2 ** 32) * n);
  };
}

const SAMPLES = ['40', '40/custom,{"token":"x"}', '41', '42["message",1,"a\u00e4\u{1f600}",{"b":[null,true]}]', '421["message-with-ack",-1.5e3]',
  '42/custom,7["echo"]', '430["x"]', '44{"message":"m"}', '451-["message",{"_placeholder":true,"num":0}]', '461-3[{"_placeholder":true,"num":0}]',
  'bAAECAw==', '2', '3', '2probe', '5', '6', '0{"sid":"x"}', '1', `42["message"]${SEPARATOR}42["echo",2]${SEPARATOR}bAAAA`];
const SPICE = ['\0', '\xff', '\xed\xa0\x80', '\xc0\x80', '\xf4\x90\x80\x80', '"', '\\', '\\ud800', '\\u0000', '[', ']', '{', '}', ',', '-', '1e999',
  '99999999999999999999', '/', '?', '\x1e', '\r\n', '4', 'b', '_placeholder', '\u2028'];

// A sample with a few places changed. Bytes, as latin1 text.
function mutated(roll, samples = SAMPLES) {
  let bytes = Buffer.from(samples[roll(samples.length)]).toString('latin1');
  for (let n = 1 + roll(4); n > 0; n--) {
    const at = roll(bytes.length + 1);
    const [head, tail] = [bytes.slice(0, at), bytes.slice(at)];
    switch (roll(6)) {
      case 0: bytes = head + String.fromCharCode(roll(256)) + tail.slice(1); break;
      case 1: bytes = head + SPICE[roll(SPICE.length)] + tail; break;
      case 2: bytes = head + tail.slice(roll(tail.length + 1)); break;
      case 3: bytes = head + bytes + tail; break;
      case 4: bytes = head + SPICE[roll(SPICE.length)].repeat(1 + roll(200)) + tail; break;
      default: bytes = head; break;
    }
  }
  return Buffer.from(bytes, 'latin1');
}

// ---- memory

const pss = (program) => Number(/^Pss:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${program.pid}/smaps_rollup`, 'utf8'))[1]) * 1024;

// Nothing of it is left: neither open sessions other than the witnesses', nor jobs, nor halves of packets.
async function settled() {
  await server.sql(`INSERT INTO kick (socket, is_close) SELECT socket, 1 FROM socket
    WHERE socket NOT IN (${witnesses.map((witness) => `'${witness.sioId}'`).join()})`);
  await until('all sessions but the witnesses\' to have ended', async () => {
    const left = await server.value(`SELECT (SELECT count(*) FROM session WHERE state = 'open') || ' sessions, ' || (SELECT count(*) FROM t_job)
      || ' jobs, ' || (SELECT count(*) FROM t_partial) || ' halves'`);
    if (left !== '2 sessions, 0 jobs, 0 halves') throw new Error(left);
    return true;
  }, 20_000);
}

// Runs four rounds; the last two must not make a program larger. A size by itself jitters: pages of the page cache, a
// queue that was larger this time.
async function steady(t, program, round, ...others) {
  const programs = [program, ...others];
  const sizes = [];
  for (let i = 0; i < 4; i++) {
    await round(dice(1000 + i));
    await settled();
    sizes.push(programs.map(pss));
  }
  for (const [i, { name }] of programs.entries()) {
    const own = sizes.map((list) => list[i]);
    const text = own.map((n) => `${Math.round(n / 1024)} kB`).join(', ');
    t.diagnostic(`PSS of ${name} after each round: ${text}`);
    if (HAS_REAL_MEMORY) assert.ok(Math.min(own[2], own[3]) - Math.max(own[0], own[1]) < GROWTH_MAX, `${name} grew: ${text}`);
  }
}

// ---- what becomes of a session

// `alive`: it goes on, `parse`: Engine.IO could not read it, `forced`: Socket.IO could not, `left`: it broke a rule of
// namespaces, `closed`: it asked for it.
const deep = (n) => `42["message",${'['.repeat(n)}${']'.repeat(n)}]`;
const INPUTS = [
  ['an empty payload', '', 'parse'],
  ['a type that does not exist', '7', 'parse'],
  ['a letter', 'x', 'parse'],
  ['a separator alone', SEPARATOR, 'parse'],
  ['a separator at the end', `42["message"]${SEPARATOR}`, 'parse'],
  ['two separators', `42["message"]${SEPARATOR}${SEPARATOR}42["message"]`, 'parse'],
  ['bad base64', 'b*', 'parse'],
  ['text that is not UTF-8', Buffer.from('42["message","\xff"]', 'latin1'), 'parse'],
  ['an overlong NUL', Buffer.from('42["message","\xc0\x80"]', 'latin1'), 'parse'],
  ['a surrogate in UTF-8', Buffer.from('42["message","\xed\xa0\x80"]', 'latin1'), 'parse'],
  ['half a character', Buffer.from('42["message","\xf0\x9f"]', 'latin1'), 'parse'],
  ['a message without a packet', '4', 'forced'],
  ['a packet type that does not exist', '47', 'forced'],
  ['a packet type beyond any digit', '4\x7f', 'forced'],
  ['an event without JSON', '42{', 'forced'],
  ['JSON that ends early', '42["message",{"a":', 'forced'],
  ['JSON and more', '42["message"]x', 'forced'],
  ['an event that is an object', '42{"0":"message"}', 'forced'],
  ['an event whose name is null', '42[null]', 'forced'],
  ['a reserved name', '42["disconnect"]', 'forced'],
  ['a reserved name in escapes', '42["\\u0064isconnect"]', 'forced'],
  ['an event name of 10,000 letters', `42["${'x'.repeat(10_000)}"]`, 'forced'],
  ['a NUL in JSON', '42["message","\0"]', 'forced'],
  ['a NUL for JSON', '42\0', 'forced'],
  ['a bare control character', '42["message","\x01"]', 'forced'],
  ['NaN', '42["message",NaN]', 'forced'],
  ['a number with a zero in front', '42["message",01]', 'forced'],
  ['a number without digits', '42["message",-]', 'forced'],
  ['half an escape', '42["message","\\u12"]', 'forced'],
  ['JSON 10,000 levels deep', deep(9_900), 'forced'],
  ['JSON 3,000 objects deep', `42["message",${'{"":'.repeat(3_000)}0${'}'.repeat(3_000)}]`, 'forced'],
  ['10,000 brackets that never close', `42${'['.repeat(10_000)}`, 'forced'],
  ['an auth that is a list', '40/custom,[]', 'forced'],
  ['a DISCONNECT with JSON', '41{}', 'forced'],
  ['an ack that is an object', '430{}', 'forced'],
  ['no number of attachments', '45-["message"]', 'forced'],
  ['no attachments', '450-["message"]', 'forced'],
  ['eleven attachments', '4511-["message"]', 'forced'],
  ['more attachments than there are numbers', `45${'9'.repeat(400)}-["message"]`, 'forced'],
  ['minus one attachment', '45-1-["message"]', 'forced'],
  ['a binary event without a dash', '451["message"]', 'forced'],
  ['text while attachments are owed', `451-["message",{"_placeholder":true,"num":0}]${SEPARATOR}42["message"]`, 'forced'],
  ['an attachment that nobody announced', 'bAAAA', 'forced'],
  ['a placeholder without its attachment', `451-["message",{"_placeholder":true,"num":1}]${SEPARATOR}bAAAA`, 'forced'],
  ['a placeholder below zero', `451-["message",{"_placeholder":true,"num":-1}]${SEPARATOR}bAAAA`, 'forced'],
  ['a placeholder that is no number', `451-["message",{"_placeholder":true,"num":"0"}]${SEPARATOR}bAAAA`, 'forced'],
  ['a second CONNECT', '40', 'left'],
  ['an event for a namespace that was not joined', '42/custom,["message"]', 'left'],
  ['a CONNECT_ERROR from a client', '44{"message":"x"}', 'left'],
  ['a namespace that does not exist', '40/none,', 'alive'],
  ['a namespace of 10,000 letters', `40/${'n'.repeat(10_000)},`, 'alive'],
  ['an ack that nobody asked for', '43123456["x"]', 'alive'],
  ['an ack id beyond any number', `43${'9'.repeat(300)}["x"]`, undefined],
  ['an event without a name', '42[]', undefined],
  ['an event that nobody handles', '42["\\ud800\\u0000",{"__proto__":1}]', 'alive'],
  ['numbers of any size', `42["message",1e999999,-${'9'.repeat(5_000)},1.${'0'.repeat(5_000)}1]`, 'alive'],
  ['lone surrogates as escapes', '42["message","\\ud800","\\udc00\\ud800"]', 'alive'],
  ['NULs as escapes', '42["message","\\u0000",{"\\u0000":1}]', 'alive'],
  ['a thousand times the same key', `42["message",{${Array.from({ length: 1000 }, () => '"a":1').join()}}]`, 'alive'],
  ['JSON as deep as it may be', deep(62), 'alive'],
  ['noops, opens and upgrades', ['6', '0{"sid":"x"}', '5'].join(SEPARATOR), 'alive'],
  ['a close packet with data', '1x', 'closed'],
];

const REASONS = { parse: 'parse error', forced: 'forced close', left: 'forced server close', closed: 'transport close' };
const reasonOfSid = (id) => until('the end of the session', () =>
  server.value(`SELECT l.reason FROM t_lease l JOIN t_session s USING (session_id) WHERE s.eio_sid = '${id}'`));

// What the next poll says after such an input, or undefined if the session goes on.
async function fateOfPolling(id) {
  const said = await post(id, EVENT);
  const got = await poll(id);
  if (got.status === 400) return `400 ${got.body === '' ? '' : JSON.parse(got.body).code}`.trim();
  const packets = got.body.split(SEPARATOR);
  if (packets.includes(EVENT)) {
    assert.equal(said.body, 'ok');
    return 'alive';
  }
  return got.body;
}

const LONG = 'x'.repeat(20_000);
const SIDS = ['nobody', '%00', '\x01\x02\xff', '%ff%fe', "'; DROP TABLE t_session; --", '%27%20OR%201=1', LONG, 'x'.repeat(63), 'x'.repeat(64), '../../etc/passwd',
  '%', '%4', '%zz', '+', '%F0%9F%98%80', '%0d%0aSet-Cookie:a=b'];

describe('requests', () => {
  const code = (n) => ({ status: 400, code: n });
  const URIS = [
    ['no query', '/socket.io/', code(0)],
    ['an empty query', '/socket.io/?', code(0)],
    ['separators only', '/socket.io/?&&&=&=&==&', code(0)],
    ['a transport of any bytes', '/socket.io/?EIO=4&transport=\xff\x01polling', code(0)],
    ['a transport with a NUL', '/socket.io/?EIO=4&transport=polling%00', code(0)],
    ['a transport of 20 kB', `/socket.io/?EIO=4&transport=${LONG}`, code(0)],
    ['websocket without an upgrade', '/socket.io/?EIO=4&transport=websocket', code(3)],
    ...SIDS.map((id) => [`the sid ${JSON.stringify(id.slice(0, 30))}`, engineUri(`&sid=${id}`), code(1)]),
    ['a JSONP index of any bytes', '/socket.io/?EIO=4&transport=x&j=%3Cscript%3E', code(0)],
    ['two thousand parameters', `/socket.io/?${'a=b&'.repeat(2000)}EIO=4&transport=x`, code(0)],
    ['another path', '/socket.iox/?EIO=4&transport=polling', { status: 404 }],
    ['a path with a NUL', '/socket.io%00/?EIO=4&transport=polling', { status: 404 }],
    ['no path', '', { status: 404 }],
  ];
  for (const [what, uri, { status, code: n }] of URIS) {
    it(`${what}: ${status}${n === undefined ? '' : ` code ${n}`}, GET and POST`, async () => {
      for (const method of ['GET', 'POST']) {
        const isPost = method === 'POST' && status === 400 && !uri.includes('sid=') && n !== 0;
        const answer = await fetch({ method, uri, body: method === 'POST' ? '40' : '' });
        assert.equal(answer.status, status);
        if (n !== undefined) assert.equal(JSON.parse(answer.body).code, isPost ? 2 : n);
        assert.ok(!('set-cookie' in answer.headers), 'nothing of the request is a header of the answer');
      }
    });
  }

  it('what is not protocol 4 is protocol 3', async () => {
    for (const eio of ['', '&EIO=', '&EIO=5', `&EIO=${'4'.repeat(400)}`, '&EIO=-4', '&EIO=%00', '&EIO=4&EIO=4x', '&EIO=4%20']) {
      const answer = await fetch({ uri: `/socket.io/?transport=polling${eio}` });
      assert.match(answer.body, /^\d+:0\{/, eio);
    }
    await settled();
  });

  it('methods of any name', async () => {
    const id = await joined();
    for (const method of ['', 'get', 'BREW', 'G\0T', 'x'.repeat(5000), '\xff']) {
      assert.equal(JSON.parse((await fetch({ method, uri: engineUri('') })).body).code, 2);
      assert.equal((await fetch({ method, uri: engineUri(`&sid=${id}`) })).status, 500);
    }
    await post(id, '1');
  });

  it('lengths that are none', async () => {
    const id = await joined();
    for (const n of ['x', '-5', '+2', '0x2', '99999999999999999999999', '2.0', ' 2', '2 ']) {
      const answer = await fetch({ method: 'POST', uri: engineUri(`&sid=${id}`), body: '3', params: { CONTENT_LENGTH: n } });
      assert.ok(answer === undefined || [200, 400, 413].includes(answer.status), `CONTENT_LENGTH ${n}: ${answer?.status}`);
    }
    await post(id, '1');
  });

  it('an Origin of any bytes', async () => {
    for (const origin of ['\0', 'a\nb', '\x7f', 'http://[', '\xff\xfe', 'x'.repeat(10_000)]) {
      const answer = await fetch({ uri: engineUri(''), headers: { origin } });
      assert.ok([200, 400].includes(answer.status));
      if (answer.status === 200) await post(JSON.parse(answer.body.slice(1)).sid, '1');
    }
  });

  it('records of chance leave no memory behind', async (t) => {
    const samples = ['', 'a', '\x04\x03NAMEabc', '\xff\xff\xff\xff\x80', LONG];
    await steady(t, server.fcgi[0], (roll) => each(Array.from({ length: ROUND }), async () => {
      const good = request({ method: 'POST', uri: engineUri('&sid=nobody'), body: mutated(roll).toString('latin1') });
      const parts = Array.from({ length: 1 + roll(4) }, () => (roll(3) === 0 ? good
        : record(roll(2) === 0 ? roll(256) : 1 + roll(9), roll(3), Buffer.from(samples[roll(samples.length)], 'latin1'), roll(9))));
      const bytes = Buffer.concat(parts);
      for (let n = roll(3); n > 0; n--) bytes[roll(Math.min(64, bytes.length))] = roll(256);
      const c = await Connection.open(fcgi);
      await c.send(bytes.subarray(0, 1 + roll(bytes.length)));
      // Half-closed behind it, so that whoever waits for more sees the end.
      c.socket.end();
      await c.ended(10_000);
    }));
  });

  it('thousands of requests of chance leave no memory behind', async (t) => {
    const samples = ['/socket.io/?EIO=4&transport=polling&sid=abcdefghijklmnopqrst', '/socket.io/?EIO=4&transport=pollin',
      '/socket.io/?EIO=3&transport=polling&sid=%F0%9F%98%80&j=1', '/socket.io/?t=1&EIO=4&transport=websocket', '/socket.io/x.js'];
    await steady(t, server.fcgi[0], (roll) => each(Array.from({ length: ROUND * 2 }), async () => {
      const uri = mutated(roll, samples).toString('latin1');
      const method = ['GET', 'POST', 'PUT', 'OPTIONS'][roll(4)];
      const answer = await fetch({ method, uri, body: method === 'POST' ? mutated(roll).toString('latin1') : '' });
      assert.ok(answer === undefined || [200, 204, 400, 404, 413, 431, 500].includes(answer.status), `${method} ${JSON.stringify(uri)}: ${answer?.status}`);
    }));
  });
});

describe('payloads and packets, by POST', () => {
  const FATES = { parse: ['400 1'], forced: [`6${SEPARATOR}1`], left: [`6${SEPARATOR}1`], closed: ['400 1'], alive: ['alive'] };
  for (const [what, body, fate] of INPUTS) {
    it(`${what}: ${fate ?? 'refused or ignored'}`, async () => {
      const id = await joined();
      const answer = await post(id, body);
      assert.deepEqual([answer.status, answer.body], [200, 'ok']);
      const saw = await fateOfPolling(id);
      const expected = fate === undefined ? [...FATES.forced, 'alive'] : FATES[fate];
      assert.ok(expected.includes(saw), `expected ${JSON.stringify(expected)}, saw ${JSON.stringify(saw)}`);
      if (saw === 'alive') {
        await post(id, '1');
      } else if (fate !== undefined) {
        assert.equal(await reasonOfSid(id), REASONS[fate]);
      }
    });
  }

  it('a body over the limit: 413, and the session goes on', async () => {
    const id = await joined();
    for (const n of [PAYLOAD_MAX + 1, 1_000_000]) assert.equal((await post(id, `4${'x'.repeat(n)}`)).status, 413);
    assert.equal(await fateOfPolling(id), 'alive');
    await post(id, '1');
  });

  it('half-received events of sessions that end leave nothing', async () => {
    await each(Array.from({ length: 100 }), async () => {
      const id = await joined();
      await post(id, `4510-["message",{"_placeholder":true,"num":0}]${`${SEPARATOR}b${'A'.repeat(2000)}`.repeat(9)}`);
      await post(id, '1');
    });
    await settled();
  });

  it('thousands of payloads of chance leave no memory behind', async (t) => {
    await steady(t, server.fcgi[0], (roll) => each(Array.from({ length: ROUND }), async () => {
      const id = await joined();
      const body = mutated(roll);
      const answer = await post(id, body);
      assert.ok([200, 400, 413].includes(answer.status), `${JSON.stringify(body.toString('latin1'))}: ${answer.status}`);
      await post(id, EVENT);
      await within(5000, `an answer after ${JSON.stringify(body.toString('latin1'))}`, poll(id));
      await post(id, '1');
    }));
  });
});

describe('packets, by WebSocket', () => {
  async function fateOfSocket(peer) {
    for (;;) {
      const m = await peer.message();
      if (m === null) return 'gone';
      if (m.close) return m.close;
      if (m.text === EVENT) return 'alive';
    }
  }

  for (const [what, body, fate] of INPUTS.filter(([, text]) => typeof text === 'string' && !text.includes(SEPARATOR))) {
    it(`${what}: ${fate ?? 'refused or ignored'}`, async () => {
      const peer = await (await Peer.connect({ port })).join();
      peer.send(body);
      peer.send(EVENT);
      const saw = await fateOfSocket(peer);
      if (saw === 'alive') assert.ok(fate === 'alive' || fate === undefined, `expected it closed for ${fate}`);
      else assert.ok(fate !== 'alive' && [1000, 1005].includes(saw), `expected it closed or alive (${fate}), saw ${saw}`);
      if (saw !== 'alive' && fate !== undefined) assert.equal(await reasonOfSid(peer.open.sid), REASONS[fate]);
      peer.destroy();
    });
  }

  it('sids of any bytes are refused before the 101', async () => {
    for (const id of SIDS) {
      const text = await rawRequest(port, Buffer.from(`GET /socket.io/?EIO=4&transport=websocket&sid=${id} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n`
        + 'Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n', 'latin1'));
      assert.match(text, /^HTTP\/1\.1 4(00|14|31) /, JSON.stringify(id.slice(0, 30)));
      assert.doesNotMatch(text, /^Set-Cookie/mi);
    }
  });

  it('messages of chance leave no memory behind', async (t) => {
    await steady(t, server.ws[0], (roll) => each(Array.from({ length: ROUND }), async () => {
      const peer = await (await Peer.connect({ port })).join();
      const messages = Array.from({ length: 1 + roll(3) }, () => ({ opcode: roll(4) === 0 ? OP.binary : OP.text, payload: mutated(roll) }));
      peer.write(...messages);
      peer.send(EVENT);
      await fateOfSocket(peer);
      peer.destroy();
    }));
  });

  it('frames of chance leave no memory behind', async (t) => {
    await steady(t, server.ws[0], (roll) => each(Array.from({ length: ROUND }), async () => {
      const peer = await Peer.connect({ port });
      const frames = Array.from({ length: 1 + roll(6) }, () => frameBytes({ fin: roll(3) > 0, rsv: roll(4) === 0 ? roll(8) : 0,
        opcode: roll(8) === 0 ? roll(16) : [OP.text, OP.continuation, OP.ping][roll(3)], mask: roll(8) > 0, payload: mutated(roll),
        ...(roll(10) === 0 ? { length: [2 ** 53, 2 ** 40, 125, 65_535][roll(4)] } : {}) }));
      const bytes = Buffer.concat(frames);
      if (roll(2) === 0 && bytes.length > 0) bytes[roll(bytes.length)] ^= 1 << roll(8);
      await new Promise((resolve) => {
        peer.socket.on('error', () => {});
        peer.socket.write(bytes.subarray(0, 1 + roll(bytes.length)), resolve);
      });
      if (roll(2) === 0) peer.socket.resetAndDestroy();
      else peer.destroy();
    }));
  });

  it('upgrade requests of chance leave no memory behind', async (t) => {
    const samples = ['GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
      + 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n',
      'POST /socket.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'];
    await steady(t, server.ws[0], (roll) => each(Array.from({ length: ROUND }), async () => {
      const text = mutated(roll, samples);
      // Half-closed behind it, so that whoever waits for more sees the end.
      await rawRequest(port, text).catch((error) => assert.ok(['ECONNRESET', 'EPIPE'].includes(error.code), error.message));
    }));
  });
});

describe('the slow', () => {
  it('two hundred senders that stop in the middle hold up nobody, and their memory comes back', async (t) => {
    await steady(t, server.fcgi[0], stop, server.ws[0]);
  });

  async function stop() {
    const ids = [];
    for (let i = 0; i < 100; i++) ids.push(await joined());
    const slow = [];
    for (const id of ids) {
      const c = await Connection.open(fcgi);
      const bytes = request({ method: 'POST', uri: engineUri(`&sid=${id}`), body: `42["message","${'x'.repeat(5000)}"]` });
      await c.send(bytes.subarray(0, bytes.length - 2000));
      slow.push({ close: () => c.close() });
      const peer = await (await Peer.connect({ port })).join();
      peer.write(frameBytes({ payload: `42["message","${'x'.repeat(5000)}"]` }).subarray(0, 3000));
      slow.push({ close: () => peer.destroy() });
    }
    await seeWitnesses();
    for (const one of slow) one.close();
    await each(ids, (id) => post(id, '1'));
  }

  it('readers that do not read are let go at max_queue, and their memory comes back', async (t) => {
    const sizes = [];
    const size = 15_000;
    for (let round = 0; round < 3; round++) {
      const peers = [];
      for (let i = 0; i < 20; i++) {
        const peer = await (await Peer.connect({ port })).join();
        peer.socket.pause();
        peers.push(peer);
      }
      const gone = () => server.ws[0].tail(100_000).split('\n').filter((line) => / ws\.slow /.test(line)).length;
      const wanted = (round + 1) * peers.length;
      await until('all of them to be let go', async () => {
        for (let i = 0; i < 20; i++) {
          const word = `2["bcast",${++lastWord},"${'x'.repeat(size)}"]`;
          await witnesses[1].send(word);
          for (const witness of witnesses) assert.equal(await witness.next('the broadcast'), word);
        }
        return gone() >= wanted;
      }, 60_000);
      for (const peer of peers) peer.destroy();
      await settled();
      sizes.push(pss(server.ws[0]));
    }
    t.diagnostic(`PSS after each round: ${sizes.map((n) => `${Math.round(n / 1024)} kB`).join(', ')}`);
    // The ring and the page cache are full after the first round; each one queues 5 MB.
    if (HAS_REAL_MEMORY) assert.ok(sizes[2] - sizes[1] < 2 * 1024 * 1024, 'the queues are given back');
  });

  it('polls whose answers nobody reads', async () => {
    const sessions = await Promise.all(Array.from({ length: 20 }, () => Polling.connect(server.url)));
    const sockets = [];
    for (const session of sessions) {
      await session.send(`42["message","${'x'.repeat(15_000)}"]`);
      const socket = net.connect(Number(new URL(server.url).port), '127.0.0.1');
      socket.on('error', () => {});
      socket.pause();
      socket.write(`GET ${engineUri(`&sid=${session.sid}`)} HTTP/1.1\r\nHost: a\r\n\r\n`);
      sockets.push(socket);
    }
    await seeWitnesses();
    // Each was answered, whether read or not: the cursor has moved past the event.
    await until('all to be answered', async () => (await server.value(`SELECT count(*) FROM session WHERE state = 'open' AND transport = 'polling'
      AND process_id IS NOT NULL`)) <= 1);
    for (const socket of sockets) socket.destroy();
    for (const session of sessions) await session.post('1');
    await settled();
  });
});
