// SPDX-License-Identifier: MIT
//
// Options of the handshake: the application's say (app_on_request), its lines in answers
// (app_on_headers), what it hears of errors (app_on_connection_error), a message that comes
// with it (initial_packet), and the path without its slash (add_trailing_slash); dynamic
// namespaces that are forgotten (cleanup_nsp). And events between processes
// (app_server_emit).

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { needsOwn, startServer } from './lib/server.mjs';
import { build } from './lib/npm.mjs';
import { call, client, connect, group, next, plain, received, upgraded } from './lib/official.mjs';
import { Polling3 } from './lib/old.mjs';
import { Peer, Polling, SEPARATOR, Socket, request, upgrade } from './lib/wire.mjs';
import { pause, until, within } from './lib/wait.mjs';

const query = { EIO: '4', transport: 'polling' };
const app = path.join(build, 'apps/options.so');

// EIO-UPGRADES
describe('allow_upgrades', { skip: needsOwn }, () => {
  it('off: polling stays polling, WebSocket alone is served', async () => {
    const server = await startServer({ set: { allow_upgrades: 'off' }, fcgi: 1, ws: 1 });
    try {
      const answer = await request(server.url, { query });
      assert.deepEqual(JSON.parse(answer.body.slice(1)).upgrades, []);
      const polling = await connect(server.url, 'polling', { transports: ['polling', 'websocket'] });
      const websocket = await connect(server.url, 'websocket');
      assert.equal((await call(polling, 'who')).transport, 'polling');
      assert.equal((await call(websocket, 'who')).transport, 'websocket');
      for (const socket of [polling, websocket]) socket.close();
    } finally {
      await server.stop();
    }
  });
});

// EIO-REQUEST
describe('app_on_request', { skip: needsOwn }, () => {
  let server;
  before(async () => {
    server = await startServer({ app, set: { trusted_proxy: '127.0.0.1' } });
  });
  after(() => server?.stop({ allowErrors: / handler\.failed / }));

  const http = (extra = {}, headers = {}) =>
    request(server.url, { query: { ...query, ...extra }, headers });
  const ws = async (extra = {}, headers = {}) => {
    const socket = new Socket(server.url, { query: extra, headers });
    const answer = await within(5000, 'an answer', socket.answered);
    socket.terminate();
    return answer;
  };
  const assertRefused = (answer, message) => {
    assert.deepEqual(
      [answer.status, answer.body],
      [403, JSON.stringify({ code: 4, message })],
    );
    assert.match(answer.headers['content-type'], /^application\/json/);
  };

  it('HTTP: 403 with the text, or the usual one', async () => {
    assert.equal((await http()).status, 200);
    assertRefused(await http({ deny: 'not "today" \u00e4' }), 'not "today" \u00e4');
    assertRefused(await http({}, { 'X-Deny': '1' }), 'Forbidden');
    assertRefused(await http({}, { 'X-Forwarded-For': '192.0.2.66' }), 'polling');
  });

  it('WebSocket: 400 with the bare text', async () => {
    assert.equal((await ws()).status, 101);
    for (const [answer, text] of [
      [await ws({ deny: 'not today' }), 'not today'],
      [await ws({}, { 'X-Deny': '1' }), 'Forbidden'],
      [await ws({}, { 'X-Forwarded-For': '192.0.2.66' }), 'websocket'],
    ]) {
      assert.deepEqual([answer.status, answer.body], [400, text]);
      assert.match(answer.headers['content-type'], /^text\/html/);
    }
  });

  it('is asked for handshakes only', async () => {
    const session = await Polling.connect(server.url);
    session.headers = { 'X-Deny': '1' };
    await session.send('1');
    const upgrading = await Polling.connect(server.url);
    const answer = await ws({ sid: upgrading.sid }, { 'X-Deny': '1' });
    assert.equal(answer.status, 101);
    await upgrading.post('1');
  });

  it('a handler that fails lets nobody in', async () => {
    assertRefused(await http({}, { 'X-Broken': '1' }), 'Internal error');
    assert.ok(
      server.errors().every((line) => /handler=request .*not in app_on_request/.test(line)),
      String(server.errors()),
    );
  });

  it('the official client is told', async () => {
    const socket = client(server.url, 'polling', { query: { deny: 'no' } });
    const error = await socket.ready.then(assert.fail, (reason) => reason);
    assert.equal(error.message, 'xhr poll error');
    assert.equal(error.description, 403);
    socket.close();
  });
});

// EIO-HEADERS-APP, EIO-ERROR-APP
describe('app_on_headers, app_on_connection_error', { skip: needsOwn }, () => {
  let server;
  before(async () => {
    const header = { 'header(X-Fixed)': 'every' };
    server = await startServer({ app, fcgi: 1, ws: 1, set: { eio3: 'off', cors_origin: 'http://page.example', foreign_origin: 'refuse', ...header } });
  });
  after(() => server?.stop({ allowErrors: / handler\.failed / }));

  const http = (options) => request(server.url, { ...options, query: { ...query, ...options?.query } });
  const ws = async (options) => {
    const socket = new Socket(server.url, options);
    const answer = await within(5000, 'an answer', socket.answered);
    socket.terminate();
    return answer;
  };
  const asked = (answer) => answer.headers['x-request'];

  it('lines go with each answer: handshake, POST, poll, 101', async () => {
    const session = await Polling.connect(server.url);
    const first = await http({ headers: { 'X-Enter': '1', 'X-Add': 'X-Own=a, "b"; c' } });
    assert.equal(asked(first), 'GET polling 4 first');
    assert.equal(first.headers['x-own'], 'a, "b"; c');
    assert.deepEqual(first.headers['set-cookie'].slice(0, 2), ['one=1', 'two=2']);
    assert.match(first.headers['set-cookie'][2], /^io=/); // the option cookie's
    assert.equal(first.headers['cache-control'], 'no-store');
    const query = { sid: session.sid };
    const held = http({ query });
    await held.sent;
    const posted = await http({ query, method: 'POST', body: '42["tell","quiet"]',
      headers: { 'X-Enter': '1', 'X-Add': 'X-Own=2' } });
    assert.equal(asked(posted), 'POST polling 4 later');
    assert.equal(posted.headers['x-own'], '2');
    assert.equal(posted.headers['set-cookie'], undefined);
    const upgraded = await ws({ query });
    assert.deepEqual([upgraded.status, asked(upgraded)], [101, 'GET websocket 4 later']);
    await http({ query, method: 'POST', body: '1' });
    assert.equal(asked(await held), 'GET polling 4 later');
    const opened = await ws({ headers: { 'X-Enter': '1', 'X-Add': 'X-Own=1' } });
    assert.deepEqual([opened.status, asked(opened)], [101, 'GET websocket 4 first']);
    assert.deepEqual(opened.headers['set-cookie'], ['one=1', 'two=2']);
    for (const answer of [first, posted, await held, upgraded, opened])
      assert.equal(answer.headers['x-fixed'], 'every');
  });

  it('a refused handshake has those of app_on_request only', async () => {
    for (const answer of [await http({ query: { deny: 'no' }, headers: { 'X-Enter': '1' } }),
      await ws({ query: { deny: 'no' }, headers: { 'X-Enter': '1' } })]) {
      assert.ok([403, 400].includes(answer.status));
      assert.deepEqual(answer.headers['set-cookie'], ['one=1', 'two=2']);
      assert.equal(asked(answer), undefined);
      assert.equal(answer.headers['x-fixed'], 'every');
    }
  });

  it('2000 bytes go, over HTTP and WebSocket; one more fails', async () => {
    const room = 2000 - 'X-Request: GET polling 4 first\r\n'.length;
    const answer = await http({ headers: { 'X-Fill': room } });
    assert.equal(answer.headers['x-fill'].length, room - 'X-Fill: \r\n'.length);
    const opened = await ws({ headers: { 'X-Fill': room - 2 } });
    assert.equal(opened.headers['x-fill'].length, room - 2 - 'X-Fill: \r\n'.length);
    const tooMany = await http({ headers: { 'X-Fill': room + 1 } });
    assert.deepEqual([tooMany.status, tooMany.headers['x-fill'], asked(tooMany)], [200, undefined, undefined]);
  });

  it('a handler that fails adds none, and hurts nothing', async () => {
    const bad = ['X-A=b^M^JX-Evil: 1', 'X-A=b^JX-Evil: 1', 'X-A=b^MX-Evil: 1', 'X-A=^?', 'X-A=^[', 'X A=b', '=b', 'X:A=b', 'X-\u00e4=b', 'X-A^M^JX-Evil=b',
      'content-length=7', 'Content-Type=text/html', 'CONTENT-ENCODING=gzip', 'Transfer-Encoding=chunked', 'Cache-Control=public',
      'Access-Control-Allow-Origin=*', 'Connection=close', 'Upgrade=h2c', 'Sec-WebSocket-Protocol=x', 'Status=500 No',
      'Location=/', 'X-Sendfile=/etc/passwd', 'X-Accel-Redirect=/etc/passwd', 'X-LIGHTTPD-send-file=/etc/passwd', 'Vary=Cookie'];
    const n = server.errors().length;
    for (const add of bad)
      for (const answer of [await http({ query: { add } }), await ws({ query: { add } })]) {
        assert.ok([200, 101].includes(answer.status), add);
        assert.equal(asked(answer), undefined, add);
        const name = add.split('=')[0].toLowerCase();
        assert.ok(!('x-evil' in answer.headers) && !('x-a' in answer.headers), add);
        for (const other of ['location', 'x-sendfile', 'x-accel-redirect', 'x-lighttpd-send-file'])
          assert.equal(answer.headers[other], undefined, add);
        assert.notEqual(answer.headers.vary, 'Cookie');
        if (name === 'cache-control' && answer.status === 200) assert.equal(answer.headers[name], 'no-store');
      }
    const wrong = await http({ headers: { 'X-Wrong': '1' } });
    assert.deepEqual([wrong.status, asked(wrong)], [200, undefined]);
    const lines = server.errors();
    assert.equal(lines.length, n + 2 * bad.length + 1, String(lines));
    assert.ok(lines.every((line) => /handler=headers .*app_(add_header|refuse): /.test(line)), String(lines));
    const allowed = await http({ query: { add: 'X-A=\u00e4^I~' } });
    assert.equal(Buffer.from(allowed.headers['x-a'], 'latin1').toString(), '\u00e4\t~');
  });

  // What the handler wrote of the request with this tag.
  const told = (tag) => server.logs().flatMap(({ text }) =>
    text.split('\n').filter((line) => line.startsWith(`connection_error ${tag}: `))
      .map((line) => line.slice(`connection_error ${tag}: `.length)));

  it('each error is told once, with its request', async () => {
    const session = await Polling.connect(server.url);
    const gone = 'AAAAAAAAAAAAAAAAAAAA';
    const from = 'from 127.0.0.1, /socket.io/';
    const moved = await Polling.connect(server.url);
    const socket = await upgrade(moved);
    const cases = [
      [http, { query: { transport: 'x' } }, '0 "Transport unknown" - GET - first'],
      [http, { query: { sid: gone } }, '1 "Session ID unknown" - GET polling later'],
      [http, { query: { sid: gone }, method: 'POST', body: '40' }, '1 "Session ID unknown" - POST polling later'],
      [ws, { query: { sid: gone } }, '1 "Session ID unknown" - GET websocket later'],
      [http, { method: 'PUT' }, '2 "Bad handshake method" - PUT polling first'],
      [http, { query: { transport: 'websocket' } }, '3 "Bad request" TRANSPORT_HANDSHAKE_ERROR GET websocket first'],
      [ws, { query: { transport: 'polling' } }, '3 "Bad request" TRANSPORT_HANDSHAKE_ERROR GET polling first'],
      [http, { query: { sid: session.sid, transport: 'websocket' } }, '3 "Bad request" TRANSPORT_MISMATCH GET websocket later'],
      [http, { query: { sid: session.sid, EIO: '3' } }, '3 "Bad request" PROTOCOL_MISMATCH GET polling later'],
      [http, { query: { sid: session.sid, EIO: '3' }, method: 'POST', body: '40' }, '3 "Bad request" PROTOCOL_MISMATCH POST polling later'],
      [ws, { query: { sid: session.sid, EIO: '3' } }, '3 "Bad request" PROTOCOL_MISMATCH GET websocket later'],
      [http, { query: { sid: moved.sid } }, '3 "Bad request" TRANSPORT_MISMATCH GET polling later'],
      [http, { query: { sid: moved.sid }, method: 'POST', body: '40' }, '3 "Bad request" TRANSPORT_MISMATCH POST polling later'],
      [http, { query: { deny: 'a "reason"' } }, '4 "a "reason"" - GET polling first'],
      [ws, { query: { deny: 'no' } }, '4 "no" - GET websocket first'],
      [http, { headers: { Origin: 'http://else.where' } }, '4 "Forbidden" - GET polling first'],
      [ws, { headers: { Origin: 'http://else.where' } }, '4 "Forbidden" - GET websocket first'],
      [http, { query: { EIO: '3' } }, '5 "Unsupported protocol version" - GET polling first'],
      [ws, { query: { EIO: '3' } }, '5 "Unsupported protocol version" - GET websocket first'],
      // straight to the sidecar, which would not do it
      [(options) => request(server.sidecars[0], { ...options, query: { ...query, ...options.query } }), {}, '0 "Transport unknown" - GET polling first'],
      [(options) => request(server.sidecars[0], { ...options, query: { ...options.query, EIO: '4', transport: 'websocket' } }), {},
        '3 "Bad request" TRANSPORT_HANDSHAKE_ERROR GET websocket first'],
    ];
    for (const [i, [send, options, expected]] of cases.entries()) {
      const answer = await send({ ...options, query: { ...options.query, tag: `case-${i}` } });
      assert.ok([400, 403].includes(answer.status), `${expected}: ${answer.status}`);
      const [line, ...more] = told(`case-${i}`);
      assert.deepEqual(more, []);
      assert.ok(line.startsWith(`${expected} ${from}`), `${line} is not ${expected}`);
      assert.ok(!line.includes('a session id') && !line.includes('sid='), line);
      assert.equal(line.includes('?'), / first /.test(line), line); // the url's query
    }
    await socket.close();
  });

  it('what is no error of Engine.IO is not told', async () => {
    for (const options of [{ path: '/socket.io/api/x' }, { path: '/socket.io' }, { path: '/socket.io/socket.io.js' }, {}])
      await http({ ...options, query: { tag: 'fine' } });
    const session = await Polling.connect(server.url);
    const empty = await http({ query: { sid: session.sid, tag: 'fine' }, method: 'PUT' });
    assert.equal(empty.status, 500);
    await session.post('1');
    assert.deepEqual(told('fine'), []);
  });

  it('a handler of errors that fails changes nothing', async () => {
    const answer = await http({ query: { sid: 'AAAAAAAAAAAAAAAAAAAA', tag: 'broken' }, headers: { 'X-Broken-Error': '1' } });
    assert.deepEqual([answer.status, answer.body], [400, '{"code":1,"message":"Session ID unknown"}']);
    assert.equal(answer.headers['x-late'], undefined);
    const failed = server.errors().filter((line) => line.includes('handler="connection error"'));
    assert.equal(failed.length, 1);
    assert.match(failed[0], /app_add_header: only in app_on_request and app_on_headers/);
  });

  // EIO-TOO-MANY
  it('too many handshakes are told too', async () => {
    const other = await startServer({ app, fcgi: 1, ws: 1, set: { handshakes_per_s: 1 } });
    const answers = [];
    while (answers.every(({ status }) => status === 200))
      answers.push(await request(other.url, { query: { ...query, tag: 'many' } }));
    assert.deepEqual([answers.at(-1).status, answers.at(-1).headers['retry-after']], [429, '1']);
    const lines = other.logs().flatMap(({ text }) => text.match(/^connection_error many: .*$/gm) ?? []);
    assert.equal(lines.length, 1);
    assert.match(lines[0], /: 6 "Too many requests" - GET polling first /);
    await other.stop();
  });
});

describe('middlewares, compression of one event', { skip: needsOwn }, () => {
  let server;
  before(async () => {
    const set = { http_compression: 1000, ws_compression: 1000, cors_origin: 'http://page.example', log_level: 'debug' };
    server = await startServer({ app, fcgi: 1, ws: 1, set });
  });
  after(() => server?.stop({ allowErrors: / handler\.failed / }));

  // SIO-MIDDLEWARE, SIO-MIDDLEWARE-HELD
  for (const mode of ['polling', 'websocket'])
    it(`connection middlewares run in their order until one refuses, over ${mode}`, async () => {
      const peer = await Peer.open(mode, server.url);
      for (const [auth, ran] of [[{ refuse: 1 }, [1]], [{ refuse: 2 }, [1, 2]], [{ refuse: 3 }, [1, 2, 3]], [{ refuse: 3, hold: true }, [1, 2, 3]]]) {
        await peer.send(`0/guarded,${JSON.stringify(auth)}`);
        assert.equal(await peer.next(), `4/guarded,${JSON.stringify({ message: 'no', data: ran })}`);
      }
      await peer.join('/guarded', { hold: true });
      const data = await server.value("SELECT data FROM socket WHERE nsp = '/guarded'");
      assert.deepEqual(JSON.parse(data), [1, 2, 3]);
      await peer.close();
      await until('nobody to be there', async () => (await server.value('SELECT count(*) FROM socket')) === 0);
    });

  // SIO-MIDDLEWARE-PACKET
  for (const mode of ['polling', 'websocket'])
    it(`packet middlewares run in their order until one refuses, over ${mode}`, async () => {
      const peer = await Peer.connect(mode, server.url, { nsp: '/guarded' });
      await peer.send('2/guarded,1["fine",1]', '2/guarded,2["blocked",2]', '2/guarded,3["broken",3]', '2/guarded,4["fine",4]');
      const got = [];
      while (!got.includes('3/guarded,4[4]')) got.push(await peer.next());
      const seen = (nth, ...rest) => `2/guarded,${JSON.stringify(['seen', nth, ...rest])}`;
      assert.deepEqual(got, [
        seen('first', 'fine', 1), seen('third', 'fine'), '2/guarded,["passed",1]', '3/guarded,1[1]',
        seen('first', 'blocked', 2),
        seen('first', 'broken', 3),
        seen('first', 'fine', 4), seen('third', 'fine'), '2/guarded,["passed",4]', '3/guarded,4[4]',
      ]);
      await peer.close();
    });

  // SIO-ROOM, SIO-REASON
  it('a disconnect handler finds the rooms, and nobody in them any more', async () => {
    for (const mode of ['polling', 'websocket']) {
      const [stays, leaves] = [await Peer.connect('websocket', server.url, { nsp: '/guarded' }), await Peer.connect(mode, server.url, { nsp: '/guarded' })];
      await stays.send('2/guarded,["join","other"]', '2/guarded,1["fine"]');
      await leaves.send('2/guarded,["join","b"]', '2/guarded,["join","a"]', '1/guarded,');
      for (;;) {
        const packet = await stays.next('the end of the other');
        if (!packet.startsWith('2/guarded,["left"')) continue;
        assert.deepEqual(JSON.parse(packet.slice('2/guarded,'.length)), ['left', 'client namespace disconnect', ['a', 'b'], 1, 0]);
        break;
      }
      await Promise.all([stays.close(), leaves.close()]);
      await until('nobody to be there', async () => (await server.value('SELECT count(*) FROM socket')) === 0);
    }
  });

  // EIO-COMPRESSION
  it('polling: an answer is compressed unless all in it may not be', async () => {
    const headers = { 'Accept-Encoding': 'gzip' };
    const session = await Polling.connect(server.url, { headers });
    const large = `42${JSON.stringify(['large', 'x'.repeat(8000)])}`;
    for (const [wishes, encoding] of [[[true], undefined], [[false], 'gzip'], [[true, true], undefined], [[true, false], 'gzip']]) {
      await session.send(...wishes.map((isPlain) => `42["large",${isPlain}]`));
      const answer = await session.poll();
      assert.equal(answer.headers['content-encoding'], encoding, String(wishes));
      const bytes = encoding ? gunzipSync(answer.bytes) : answer.bytes;
      assert.deepEqual(bytes.toString().split(SEPARATOR), wishes.map(() => large));
    }
    await session.post('1');
  });

  // EIO-WS-COMPRESSION
  it('WebSocket: a message is compressed unless it may not be', async () => {
    const socket = await Socket.connect(server.sidecars[0], { options: { perMessageDeflate: true } });
    for (const isPlain of [true, false, true]) {
      const before = socket.ws._socket.bytesRead;
      socket.send(`42["large",${isPlain}]`);
      assert.equal((await socket.next('the event')).length, 8000 + '42["large",""]'.length);
      const n = socket.ws._socket.bytesRead - before;
      assert.equal(n > 8000, isPlain, `${n} bytes`);
    }
    await socket.close();
  });

  // EIO-V3-JOIN, EIO-V3-REFUSAL
  it('Engine.IO 3 is refused by a middleware of `/`, and goes on elsewhere', async () => {
    const session = await Polling3.open(server.url, { query: { join: 'not here' } });
    assert.deepEqual(await session.receive(), ['44"not here"']);
    await session.send('40/dyn-1,');
    assert.deepEqual(await session.receive((all) => all.length >= 2), ['40/dyn-1,', '42/dyn-1,["auth",{}]']);
    await session.send('1');
    const socket = await Socket.open(server.url, { query: { EIO: '3', join: 'nor here' } });
    assert.equal(await socket.next('the refusal'), '44"nor here"');
    await socket.close();
  });

  // SIO-ATTACHMENTS
  it('Engine.IO 3 may announce no attachments, 4 may not', async () => {
    const session = await Polling3.connect(server.url);
    await session.send('40/guarded,');
    await session.receive((all) => all.length >= 2);
    await session.send('450-/guarded,7["fine","a"]');
    const got = await session.receive((all) => all.some((p) => p.startsWith('43')));
    assert.deepEqual(got.slice(-2), ['42/guarded,["passed","a"]', '43/guarded,7["a"]']);
    const strict = await Polling.connect(server.url, { nsp: '/guarded' });
    await strict.send('450-/guarded,7["fine","a"]');
    assert.equal((await strict.poll()).body.split(SEPARATOR).at(-1), '1');
  });

  // EIO-ID
  it('no line of the log has a session id whole, at any level', async () => {
    const polling = await Polling.connect(server.url);
    const moved = await Polling.connect(server.url);
    const socket = await upgrade(moved);
    const ids = [polling.sid, moved.sid];
    const open = await Socket.connect(server.url);
    ids.push(open.sid);
    await request(server.url, { query: { ...query, sid: polling.sid, transport: 'websocket' } });
    await request(server.url, { query: { ...query, sid: polling.sid }, method: 'POST', body: 'bad' });
    const refused = new Socket(server.url, { query: { sid: polling.sid, EIO: '3' } });
    assert.equal((await refused.answered).status, 400);
    refused.terminate();
    await Promise.all([socket.close(), open.close()]);
    await until('the end to be logged', () => server.logs().some(({ text }) => / session.close /.test(text)));
    const text = server.logs().map((log) => log.text).join('');
    assert.match(text, / debug /);
    for (const id of ids) assert.ok(!text.includes(id), id);
  });
});

// EIO-TRANSPORT, EIO-UPGRADES
describe('transports', { skip: needsOwn }, () => {
  for (const [only, other] of [['polling', 'websocket'], ['websocket', 'polling']])
    it(`${only} alone: ${other} is unknown`, async () => {
      const server = await startServer({ set: { transports: only }, fcgi: 1, ws: 1 });
      const answer = await request(server.url, { query: { ...query, transport: 'polling' } });
      const socket = new Socket(server.url);
      const upgraded = await within(5000, 'an answer', socket.answered);
      socket.terminate();
      if (only === 'polling') {
        assert.deepEqual(JSON.parse(answer.body.slice(1)).upgrades, []);
        assert.deepEqual([upgraded.status, upgraded.body], [400, 'Transport unknown']);
      } else {
        assert.deepEqual([answer.status, answer.body], [400, '{"code":0,"message":"Transport unknown"}']);
        assert.equal(upgraded.status, 101);
      }
      const alone = await connect(server.url, only, { transports: [only] });
      assert.equal((await call(alone, 'who')).transport, only);
      alone.close();
      await server.stop();
    });
});

// EIO-INITIAL
describe('initial_packet', { skip: needsOwn }, () => {
  const text = '2["welcome","h\u00e4"]';
  let server;
  before(async () => {
    server = await startServer({ set: { initial_packet: text }, fcgi: 1, ws: 1 });
  });
  after(() => server?.stop());

  it('comes with the answer to the handshake', async () => {
    const { body } = await request(server.url, { query });
    const [open, message, ...rest] = body.split(SEPARATOR);
    assert.equal(open[0], '0');
    assert.deepEqual([message, rest], [`4${text}`, []]);
    const old = await request(server.url, { query: { ...query, EIO: '3' } });
    assert.match(old.body, /^\d+:0\{.*\}\d+:42\["welcome","h\u00e4"\]$/);
  });

  it('is the first message of a WebSocket', async () => {
    const socket = await Socket.open(server.url);
    assert.equal(await socket.next('the initial packet'), `4${text}`);
    await socket.close();
  });

  it('is an event for the official client, once, also if it upgrades', async () => {
    for (const mode of ['polling', 'websocket', 'upgrade']) {
      const socket = client(server.url, mode);
      await within(5000, 'the client to connect', socket.ready);
      assert.deepEqual(await next(socket, 'welcome'), ['h\u00e4']);
      await next(socket, 'auth');
      if (mode === 'upgrade') await upgraded(socket);
      assert.equal(await call(socket, 'message-with-ack', mode), mode);
      assert.equal(socket.events.size, 0);
      socket.close();
    }
  });
});

describe('add_trailing_slash', { skip: needsOwn }, () => {
  const bare = { path: '/socket.io' };

  it('on: the path without it is not ours', async () => {
    const server = await startServer({ fcgi: 1, ws: 1 });
    assert.equal((await request(server.url, { query, ...bare })).status, 404);
    const socket = new Socket(server.url, bare);
    assert.equal((await socket.answered).status, 404);
    await server.stop();
  });

  it('off: it is, and so is the one with it', async () => {
    const server = await startServer({ set: { add_trailing_slash: 'off' } });
    for (const mode of ['polling', 'websocket', 'upgrade'])
      for (const addTrailingSlash of [false, true]) {
        const socket = await connect(server.url, mode, {
          path: '/socket.io',
          addTrailingSlash,
        });
        assert.equal(await socket.emitWithAck('message-with-ack', mode), mode);
        socket.close();
      }
    assert.equal((await request(server.url, { query, path: '/socket.iox' })).status, 404);
    await server.stop();
  });
});

describe('cleanup_nsp', { skip: needsOwn }, () => {
  const kinds = ['polling', 'websocket', 'upgrade'];
  const flood = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
    INSERT INTO emit (event) SELECT 'noise' FROM n`;

  // The namespace has come and gone, and the log and the memory of disconnects with it.
  async function leave(server, nsp) {
    const sockets = await group(server, kinds);
    const ids = await Promise.all(sockets.map((socket) => call(socket, 'rooms')));
    assert.equal(ids.length, kinds.length);
    assert.equal(await isThere(server, sockets.nsp), 1);
    sockets.close();
    await until('all of them to be gone', async () =>
      (await server.value(`SELECT count(*) FROM socket WHERE nsp = '${sockets.nsp}'`)) === 0);
    await pause(300); // their handlers
    await server.sql('DELETE FROM t_socket WHERE state = 2');
    for (let i = 0; i < 3; i++) {
      await server.sql(flood);
      await pause(700);
    }
    return sockets.nsp;
  }
  const isThere = (server, nsp) =>
    server.value(`SELECT count(*) FROM t_nsp WHERE name = '${nsp}'`);

  it('on: a dynamic namespace is forgotten, and may come again', async () => {
    const server = await startServer({ set: { cleanup_nsp: 'on' } });
    const nsp = await leave(server);
    await until('it to be forgotten', async () => {
      await server.sql(flood);
      await pause(200);
      return (await isThere(server, nsp)) === 0;
    }, 15_000);
    for (const name of ['/', '/custom', '/token']) assert.equal(await isThere(server, name), 1);
    await assert.rejects(
      server.sql(`INSERT INTO emit (nsp, event) VALUES ('${nsp}', 'x')`), /emit\.nsp/);
    const sockets = await Promise.all(kinds.map((mode, i) =>
      connect(server.entries[i % 2], mode, { nsp })));
    await call(sockets[0], 'cast', { via: 'io' }, 'hello', 1);
    for (const list of await received(sockets)) assert.deepEqual(list, [['hello', 1]]);
    sockets.forEach((socket) => socket.close());
    await server.stop();
  });

  it('off: it never is', async () => {
    const server = await startServer();
    const nsp = await leave(server);
    await pause(1500);
    assert.equal(await isThere(server, nsp), 1);
    await server.stop();
  });
});

// SIO-SERVER-EMIT
describe('app_server_emit', { skip: needsOwn }, () => {
  let server;
  before(async () => {
    server = await startServer({ app }); // four processes
  });
  after(() => server?.stop());

  for (const nsp of ['/', '/dyn-1'])
    it(`is heard once by each of the other processes, and only in ${nsp}`, async () => {
      const other = await connect(server.url, 'polling', {
        nsp: nsp === '/' ? '/dyn-2' : '/',
      });
      for (const mode of ['polling', 'websocket', 'upgrade']) {
        const socket = await connect(server.url, mode, { nsp });
        const bytes = Buffer.from([1, 2, 255]);
        await call(socket, 'tell', 'news', 1, { a: ['h\u00e4'] }, bytes);
        for (let i = 0; i < 3; i++)
          assert.deepEqual(plain(await next(socket, 'told')),
            ['news', 1, { a: ['h\u00e4'] }, plain(bytes)]);
        await call(socket, 'tell', 'quiet');
        for (let i = 0; i < 3; i++)
          assert.deepEqual(await next(socket, 'told'), ['quiet, no socket', true]);
        await pause(100);
        assert.equal(socket.events.size, 0, 'none of its own');
        socket.close();
      }
      assert.equal(other.events.size, 0);
      other.close();
    });

  it('keeps its order', async () => {
    const socket = await connect(server.url, 'websocket', { nsp: '/dyn-3' });
    for (let i = 0; i < 50; i++) socket.emit('tell', 'n', i);
    const seen = [];
    while (seen.length < 150) seen.push((await next(socket, 'told'))[1]);
    const nth = new Map();
    for (const i of seen) nth.set(i, (nth.get(i) ?? 0) + 1);
    assert.deepEqual([...nth.keys()], Array.from({ length: 50 }, (_, i) => i));
    assert.ok([...nth.values()].every((n) => n === 3));
    socket.close();
  });
});
