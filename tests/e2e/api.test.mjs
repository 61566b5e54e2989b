// SPDX-License-Identifier: MIT
//
// The HTTP API (docs/http-api.md): what it does to connected clients of the official library, over FastCGI and plain CGI,
// and what it refuses.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { apiOf, refusal, TOKEN } from './lib/api.mjs';
import { root } from './lib/npm.mjs';
import { connect, freshNsp, next, plain } from './lib/official.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { until, within } from './lib/wait.mjs';

const OLD_TOKEN = 'an-older-token-4567';

describe('the HTTP API', { skip: needsOwn }, () => {
  let server, api, nsp, polling, websocket;
  before(async () => {
    server = await startServer({
      set: { api_token: `${OLD_TOKEN} ${TOKEN}`, max_payload: 20000, foreign_origin: 'refuse' },
    });
    api = apiOf(server.url);
    nsp = freshNsp();
    polling = await connect(server.entries[0], 'polling', { nsp });
    websocket = await connect(server.entries[1], 'websocket', { nsp });
  });
  after(() => server?.stop());

  const nobodyGot = async (...sockets) => {
    await api.post('/emit', { nsp, event: 'end' });
    for (const socket of sockets) assert.deepEqual(await next(socket, 'end'), []);
  };

  it('emits with every kind of argument', async () => {
    const args = ['1.10', '123456789012345678901234567890', '"é\\u0000\\ud800"', '{"a":[null,true]}', '-0'];
    await api.post('/emit', `{"nsp":"${nsp}","event":"raw","args":[${args.join(', ')}]}`);
    for (const socket of [polling, websocket])
      assert.deepEqual(await next(socket, 'raw'), args.map((arg) => JSON.parse(arg)));
    await api.post('/emit', { nsp, event: 'bytes', args: [{ $binary: 'AP8=' }, { $$binary: 1, b: { $binary: '' } }] });
    for (const socket of [polling, websocket])
      assert.deepEqual(plain(await next(socket, 'bytes')), [{ bytes: [0, 255] }, { $binary: 1, b: { bytes: [] } }]);
  });

  it('emits to rooms, sockets and users, and not to others', async () => {
    await api.post('/actions', [
      { room_join: { nsp, socket: polling.id, room: 'left' } },
      { room_join: { nsp, socket: websocket.id, room: 'right' } },
      { socket_user: { nsp, socket: websocket.id, user: 'ann' } },
    ]);
    const cases = [
      [{ room: 'left' }, [polling]],
      [{ room: ['left', 'right'] }, [polling, websocket]],
      [{ rooms: ['right', 'right'] }, [websocket]],
      [{ room: websocket.id }, [websocket]],
      [{ user: 'ann' }, [websocket]],
      [{ except_room: 'left' }, [websocket]],
      [{ except_room: [polling.id, 'left'] }, [websocket]],
      [{ room: ['left', 'right'], except_rooms: ['right'], is_plain: true }, [polling]],
      [{ room: 'nobody' }, []],
    ];
    for (const [target, sockets] of cases) {
      await api.post('/emit', { nsp, ...target, event: 'to', args: [target] });
      for (const socket of sockets) assert.deepEqual(await next(socket, 'to'), [target]);
    }
    await nobodyGot(polling, websocket);
    await api.post('/room_leave', { nsp, is_all: true, room: 'left' });
    assert.deepEqual((await api.get(`/room?nsp=${nsp}`)).items, [{ nsp, room: 'right', n_members: 1 }]);
  });

  it('does all of a list, or nothing', async () => {
    const list = [{ emit: { nsp, event: 'first' } }, { emit: { nsp, event: 'second', args: 5 } }, { emit: { nsp, event: 'third' } }];
    assert.deepEqual(refusal(await api('POST', '/actions', list), 400), { code: 'invalid', field: 'emit.args', action: 1 });
    await nobodyGot(polling, websocket);
    assert.deepEqual(refusal(await api('POST', '/actions', [list[0], { shout: {} }]), 400), { code: 'invalid', field: 'shout', action: 1 });
    assert.deepEqual(refusal(await api('POST', '/actions', [list[0], { emit: 1 }]), 400), { code: 'invalid', action: 1 });
    assert.deepEqual(refusal(await api('POST', '/actions', []), 400), { code: 'invalid' });
    assert.deepEqual(
      refusal(await api('POST', '/actions', `[${Array(1001).fill('{"kick":{}}')}]`), 400), { code: 'invalid' },
    );
    await nobodyGot(polling, websocket);
    assert.deepEqual(await api.post('/actions', { emit: { nsp, event: 'one' } }), { done: 1, asks: [] });
    list[1].emit.args = [];
    assert.deepEqual(await api.post('/actions', list), { done: 3, asks: [] });
    for (const socket of [polling, websocket])
      for (const name of ['one', 'first', 'second', 'third']) await next(socket, name);
  });

  it('names the field that is wrong', async () => {
    const cases = [
      ['/emit', { nsp: '/none', event: 'x' }, 'emit.nsp'],
      ['/emit', { nsp, event: 'connect' }, 'emit.event'],
      ['/emit', { nsp }, 'emit.event'],
      ['/emit', { nsp, event: 'x', args: [{ $binary: '?' }] }, 'emit.args'],
      ['/emit', { nsp, event: 'x', args: Array(11).fill({ $binary: '' }) }, 'emit.args'],
      ['/emit', { nsp, event: 'x', is_volatile: 2 }, 'emit.is_volatile'],
      ['/emit', { nsp, event: 'x', rooms: [1] }, 'emit.rooms'],
      ['/emit', { nsp, event: 'x', colour: 'red' }, 'emit.colour'],
      ['/emit', '{"event":"x","event":"y"}', 'emit.event'],
      ['/server_emit', { event: 'x', args: [{ $binary: '' }] }, 'server_emit.args'],
      ['/ask', { nsp, event: 'x', timeout_ms: 0 }, 'ask.timeout_ms'],
      ['/ask', { nsp, event: 'x', name: 5 }, 'ask.name'],
      ['/room_join', { nsp, socket: 'nobody', room: 'r' }, 'room_join.socket'],
      ['/room_join', { nsp, socket: polling.id }, 'room_join.room'],
      ['/kick', { nsp }, 'kick'],
      ['/socket_data', { socket: 'nobody', data: 1 }, 'socket_data.socket'],
      ['/emit', [], 'emit'],
    ];
    for (const [where, body, field] of cases)
      assert.deepEqual(refusal(await api('POST', where, body), 400), { code: 'invalid', field }, JSON.stringify(body));
    for (const body of ['', '{', '{"event":"x"} {}', '\ufeff{"event":"x"}'])
      assert.match(refusal(await api('POST', '/emit', body), 400).code, /^(bad_json|invalid)$/);
    const deep = `{"event":"x","args":${'['.repeat(70)}${']'.repeat(70)}}`;
    assert.deepEqual(refusal(await api('POST', '/emit', deep), 400), { code: 'bad_json' });
    await nobodyGot(polling, websocket);
  });

  it('collects acks, and waits for them in every process', async () => {
    const asked = (socket, event) => new Promise((resolve) => socket.once(event, (question, ack) => resolve(ack)));
    const [one, two] = [asked(polling, 'vote'), asked(websocket, 'vote')];
    const { asks: [name] } = await api.post('/ask', { nsp, event: 'vote', args: ['?'], timeout_ms: 20_000 });
    for (const socket of [polling, websocket]) assert.equal((await next(socket, 'vote'))[0], '?');
    (await one)('yes', Buffer.from([1]), { $binary: 2 });
    const partial = await until('the first answer', async () => {
      const seen = await api.get(`/ask/${name}`);
      return seen.n_answered === 1 && seen;
    });
    assert.deepEqual([partial.state, partial.n_expected, partial.event, partial.args], ['open', 2, 'vote', ['?']]);
    const begin = Date.now();
    assert.equal((await api.get(`/ask/${name}?wait=1`)).state, 'open');
    assert.ok(Date.now() - begin >= 990, 'it was held');
    const waiting = server.entries.map((url) => api('GET', `/ask/${name}?wait=20`, undefined, { url }));
    for (const url of server.entries) await api('GET', '/room', undefined, { url }); // they came behind
    (await two)('no');
    for (const { json } of await Promise.all(waiting)) {
      assert.deepEqual([json.state, json.n_answered], ['done', 2]);
      assert.deepEqual(json.answers.sort((a, b) => a.n - b.n).map(({ socket, args }) => [socket, args]), [
        [polling.id, ['yes', { $binary: 'AQ==' }, { $$binary: 2 }]],
        [websocket.id, ['no']],
      ]);
    }
    assert.ok(Date.now() - begin < 15_000, 'they were woken, not ended');
  });

  it('takes back questions and what waits for a user', async () => {
    const { asks: [name] } = await api.post('/ask', { nsp, room: websocket.id, event: 'well', timeout_ms: 60_000 });
    await next(websocket, 'well');
    const waiting = api('GET', `/ask/${name}?wait=20`);
    await api('GET', '/room'); // it came behind
    await api.post('/ask_cancel', { name });
    assert.deepEqual(refusal(await waiting, 404), { code: 'not_found', field: 'ask' });
    assert.deepEqual((await api.get(`/answer?name=${name}`)).items, []);
    const user = `absent from ${nsp}`;
    await api.post('/actions', ['a', 'b', 'a', 'c'].map((event) => ({ outbox: { user, nsp, event } })));
    const items = async () => (await api.get(`/outbox?user=${encodeURIComponent(user)}`)).items;
    await api.post('/actions', [{ outbox_cancel: { user, nsp, event: 'a' } }, { outbox_cancel: { id: (await items())[1].id } }]);
    assert.deepEqual((await items()).map(({ event }) => event), ['c']);
    await api.post('/outbox_cancel', { user, nsp });
    assert.deepEqual(await items(), []);
    assert.deepEqual(refusal(await api('POST', '/outbox_cancel', { nsp }), 400), { code: 'invalid', field: 'outbox_cancel.user' });
  });

  it('tells of questions that nobody answers', async () => {
    const id = 'a name/+\u00fc%';
    await api.post('/ask', { nsp, room: websocket.id, event: 'well', name: id, timeout_ms: 300 });
    await next(websocket, 'well');
    const late = await api.get(`/ask/${encodeURIComponent(id)}?wait=20`);
    assert.deepEqual([late.name, late.state, late.n_expected, late.n_answered], [id, 'timeout', 1, 0]);
    assert.deepEqual((await api.get(`/answer?name=${encodeURIComponent(id)}&is_answered=false`)).items,
      [{ name: id, socket: websocket.id, is_answered: false, n: 0, args: null }]);
    assert.deepEqual(refusal(await api('POST', '/ask', { nsp, event: 'x', name: id }), 400), { code: 'invalid', field: 'ask.name' });
    const asked = await api.post('/actions', [1, 2].map(() => ({ ask: { nsp, room: 'nobody', event: 'x' } })));
    assert.equal(new Set(asked.asks).size, 2);
    for (const name of asked.asks) assert.deepEqual((await api.get(`/ask/${name}?wait=20`)).state, 'done');
  });

  it('tells who is there', async () => {
    await api.post('/actions', [
      { socket_data: { nsp, socket: polling.id, data: { name: 'Bea', n: [1] } } },
      { socket_user: { nsp, socket: polling.id, user: 'bea' } },
      { room_join: { nsp, socket: polling.id, room: 'hall' } },
    ]);
    const one = await api.get(`/socket/${polling.id}`);
    assert.deepEqual([one.socket, one.nsp, one.user, one.data, one.rooms], [polling.id, nsp, 'bea', { name: 'Bea', n: [1] }, ['hall']]);
    assert.deepEqual((await api.get('/socket?user=bea')).items.map((s) => s.socket), [polling.id]);
    assert.deepEqual((await api.get(`/member?nsp=${nsp}&room=hall`)).items, [
      { nsp, room: 'hall', socket: polling.id, user: 'bea', data: { name: 'Bea', n: [1] } },
    ]);
    const first = await api.get(`/socket?nsp=${nsp}&limit=1`);
    const second = await api.get(`/socket?nsp=${nsp}&limit=1&offset=1`);
    assert.deepEqual([first.is_more, second.is_more], [true, false]);
    assert.deepEqual([...first.items, ...second.items].map((s) => s.socket).sort(), [polling.id, websocket.id].sort());
    assert.deepEqual(refusal(await api('GET', '/socket/nobody'), 404), { code: 'not_found', field: 'socket' });
    assert.deepEqual(refusal(await api('GET', '/ask/nothing?wait=5'), 404), { code: 'not_found', field: 'ask' });
    for (const [where, field] of [
      ['/socket?limit=0', 'limit'], ['/socket?limit=1001', 'limit'], ['/socket?limit=x', 'limit'], ['/socket?offset=-1', 'offset'],
      ['/socket?data=1', 'data'], ['/socket?nsp=/&nsp=/', 'nsp'], ['/answer?is_answered=1', 'is_answered'], ['/ask/x?wait=61', 'wait'],
      [`/socket?${Array.from({ length: 17 }, (_, i) => `p${i}`).join('=&')}=`, 'p16'],
    ])
      assert.deepEqual(refusal(await api('GET', where), 400), { code: 'invalid', field });
  });

  it('happens once under an Idempotency-Key', async () => {
    const headers = { 'Idempotency-Key': 'tests 17' };
    const body = { nsp, event: 'once', args: [17] };
    const answers = await Promise.all(
      [...server.entries, ...server.entries, server.url].map((url) => api('POST', '/emit', body, { headers, url })),
    );
    assert.deepEqual(answers.map((a) => [a.status, a.body]), Array(5).fill([200, answers[0].body]));
    assert.equal(answers.filter((a) => a.headers['idempotency-replayed'] === undefined).length, 1);
    for (const socket of [polling, websocket]) assert.deepEqual(await next(socket, 'once'), [17]);
    await nobodyGot(polling, websocket);
    assert.deepEqual(refusal(await api('POST', '/emit', { ...body, args: [18] }, { headers }), 422),
      { code: 'key_reused', field: 'Idempotency-Key' });
    assert.equal(refusal(await api('POST', '/actions', { emit: body }, { headers }), 422).code, 'key_reused');
    // What was refused had not happened: the key is free.
    headers['Idempotency-Key'] = 'tests 18';
    refusal(await api('POST', '/emit', { ...body, args: 5 }, { headers }), 400);
    await api.post('/emit', body, { headers });
    for (const socket of [polling, websocket]) assert.deepEqual(await next(socket, 'once'), [17]);
    // The name of a question that was made up is the same again.
    headers['Idempotency-Key'] = 'question';
    const asked = await Promise.all([1, 2].map(() => api.post('/ask', { nsp, event: 'ask' }, { headers })));
    assert.deepEqual(asked[0], asked[1]);
    assert.equal((await api.get(`/ask/${asked[0].asks[0]}`)).n_expected, 2);
    for (const socket of [polling, websocket]) await next(socket, 'ask');
    assert.deepEqual(refusal(await api('POST', '/emit', body, { headers: { 'Idempotency-Key': 'x'.repeat(201) } }), 400),
      { code: 'invalid', field: 'Idempotency-Key' });
    await nobodyGot(polling, websocket);
  });

  // EIO-API
  it('is for those who have a token, and JSON', async () => {
    const body = { nsp, event: 'stranger' };
    for (const token of [null, 'wrong', `${TOKEN}x`, TOKEN.slice(0, -1), `${OLD_TOKEN} ${TOKEN}`, '']) {
      const answer = await apiOf(server.url, { token })('POST', '/emit', body);
      assert.deepEqual(refusal(answer, 401), { code: 'unauthorized', field: 'Authorization' });
      assert.equal(answer.headers['www-authenticate'], 'Bearer');
    }
    await apiOf(server.url, { token: OLD_TOKEN }).post('/emit', { nsp, event: 'end' });
    for (const socket of [polling, websocket]) await next(socket, 'end');
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx', ''])
      assert.equal(refusal(await api('POST', '/emit', body, { headers: { 'Content-Type': type } }), 415).code, 'unsupported_media_type');
    await api.post('/emit', { nsp, event: 'end' }, { headers: { 'Content-Type': 'Application/JSON ; charset=utf-8' } });
    for (const socket of [polling, websocket]) await next(socket, 'end');
    const big = { nsp, event: 'big', args: ['x'.repeat(20_001)] };
    assert.deepEqual(refusal(await api('POST', '/emit', big), 413), { code: 'too_large' });
    for (const origin of ['http://evil.example', 'null', 'http://127.0.0.1.evil.example'])
      assert.deepEqual(refusal(await api('POST', '/emit', body, { headers: { Origin: origin } }), 403), { code: 'forbidden', field: 'Origin' });
    // A listed origin may connect, but is told nothing that lets its pages read an answer.
    for (const [method, sent] of [['OPTIONS', undefined], ['POST', { nsp, event: 'end' }]]) {
      const answer = await api(method, '/emit', sent, {
        headers: { Origin: 'http://allowed.example', 'Access-Control-Request-Method': 'POST' },
      });
      assert.equal(answer.status, method === 'POST' ? 200 : 405);
      assert.deepEqual(Object.keys(answer.headers).filter((name) => name.startsWith('access-control')), []);
    }
    for (const socket of [polling, websocket]) await next(socket, 'end');
    await nobodyGot(polling, websocket);
  });

  it('is not there without a token, which may stand in a file', async () => {
    const other = await startServer({ fcgi: 1, ws: 0 });
    const configure = (line, tokens) => {
      fs.writeFileSync(path.join(other.folder, 'tokens'), tokens);
      fs.appendFileSync(path.join(other.folder, 'siolite.conf'), line);
      other.fcgi[0].signal('SIGHUP');
    };
    const status = async (token) => (await apiOf(other.url, { token })('GET', '/room')).status;
    assert.deepEqual(refusal(await apiOf(other.url)('GET', '/room'), 404), { code: 'not_found' });
    configure('api_token_file = tokens\n', `\n ${OLD_TOKEN}\t${TOKEN}\n`);
    await until('the tokens to be read', async () => (await status(TOKEN)) === 200);
    assert.deepEqual(await Promise.all([OLD_TOKEN, '', 'x'].map(status)), [200, 401, 401]);
    configure('', `${TOKEN} short`);
    await until('the short one to be refused', () => /reload\.failed .*api_token_file: a token is too short/.test(other.fcgi[0].tail()));
    assert.deepEqual(await Promise.all([OLD_TOKEN, 'short'].map(status)), [200, 401]);
    await other.stop({ allowErrors: true });
  });

  it('does what docs/http-api.md says', async () => {
    const text = fs.readFileSync(path.join(root, 'docs/http-api.md'), 'utf8');
    const blocks = (kind) => [...text.matchAll(new RegExp(`\`\`\`${kind}\\n(.*?)\`\`\``, 'gs'))].map((m) => m[1]);
    const env = { ...process.env, API: `${server.url}/socket.io/api/v1`, TOKEN };
    const run = (command, args) => new Promise((resolve, reject) => {
      execFile(command, args, { env, timeout: 20_000 }, (error, stdout, stderr) =>
        error || stderr ? reject(new Error(`${error} ${stderr}`)) : resolve(stdout));
    });
    const socket = await connect(server.entries[1], 'websocket');
    await api.post('/room_join', { socket: socket.id, room: 'lobby' });
    socket.on('vote', (question, ack) => ack('yes'));
    const [emit, actions, wrong, thrice, ask, lists] = await Promise.all(blocks('sh').map((block) => run('bash', ['-euc', block])));
    assert.deepEqual(JSON.parse(emit), { done: 1, asks: [] });
    assert.deepEqual(JSON.parse(actions), { done: 2, asks: [] });
    assert.equal(wrong.trim(), blocks('json')[0].trim());
    assert.equal(thrice, '{"done":1,"asks":[]}\n'.repeat(3));
    const [asked, question] = ask.trim().split('\n').map((line) => JSON.parse(line));
    assert.deepEqual([asked.asks, question.state, question.answers[0].args], [['vote 1'], 'done', ['yes']]);
    assert.deepEqual(lists.trim().split('\n').map((line) => Object.keys(JSON.parse(line))), Array(3).fill(['items', 'is_more']));
    const [helper, old] = blocks('php');
    await run('php', ['-r', `${helper}; $to = 'lobby'; $content = 'hello'; ${old}`]);
    assert.deepEqual(JSON.parse(await run('python3', ['-c', blocks('python')[0]])), { done: 1, asks: [] });
    const got = [];
    while (got.length < 7) got.push((await socket.events.next()).slice(0, 3));
    assert.deepEqual(got.map((event) => JSON.stringify(event.filter((arg) => typeof arg !== 'function'))).sort(), [
      ...Array(3).fill(['news', 'hello', { n: 1 }]), ['news', 'we have moved'], ['new_msg', 'hello'], ['order', 17], ['vote', 'yes or no?'],
    ].map((event) => JSON.stringify(event)).sort());
    socket.close();
  });

  it('disconnects', async () => {
    await api.post('/kick', { nsp, user: 'bea' });
    assert.equal(await within(5000, 'the end', polling.ended), 'io server disconnect');
    await api.post('/kick', { nsp, is_all: true, is_close: true });
    assert.match(await within(5000, 'the end', websocket.ended), /^(io server disconnect|transport close)$/);
  });

  it('ends the requests that wait when a process ends', async () => {
    const websocket = await connect(server.entries[1], 'websocket', { nsp });
    const { asks: [name] } = await api.post('/ask', { nsp, room: websocket.id, event: 'well', timeout_ms: 60_000 });
    await next(websocket, 'well');
    const [url] = server.entries;
    const waiting = api('GET', `/ask/${name}?wait=20`, undefined, { url });
    await api('GET', '/room', undefined, { url });
    await server.fcgi[0].kill('SIGTERM');
    assert.equal((await waiting).json.state, 'open');
    await server.fcgi[0].start();
    await server.ready();
  });
});
