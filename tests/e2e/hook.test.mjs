// SPDX-License-Identifier: MIT
//
// The web hook (docs/hook.md): what it is told, and what its answers do. The receiver is an
// HTTP server in this process; what happens when processes die is in hook_kill.test.mjs.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { Hook, options } from './lib/hook.mjs';
import { require } from './lib/npm.mjs';
import { call, client, freshNsp, next } from './lib/official.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { pause, until, within } from './lib/wait.mjs';

const skip = needsOwn;
let hook;
let server;
let rules; // by event name or kind: what is answered

before(async () => {
  if (skip) return;
  hook = await new Hook((event, n) => {
    const rule = rules[event.event] ?? rules[event.kind];
    return rule === undefined ? [] : rule(event, n);
  }).start();
  server = await startServer({
    app: '',
    hooks: 2,
    set: options(hook, { nsp: '~^/dyn-[0-9]+$', hook_retry: '2s', recovery: '10s' }),
  });
});

after(async () => {
  await server?.stop({ allowErrors: true }); // parked events are errors
  await hook?.stop();
  assert.deepEqual(hook?.of('presence') ?? [], []); // of users, for who has named it
});

afterEach(() => {
  rules = {};
});
rules = {};

const parked = (id) =>
  until('the event to be parked', async () => {
    const [row] = await server.sql(`SELECT * FROM hook WHERE event_id = '${id}'`);
    return row?.state === 'parked' && row;
  });

async function connect(mode, more = {}) {
  const socket = client(server.url, mode, { nsp: freshNsp(), ...more });
  await within(5000, `${mode} client to connect`, socket.ready);
  return socket;
}

const back = (event, ...args) => [{ emit: { room: event.socket, event: 'back', args } }];

// The events that the hook was told of this socket.
const of = (socket, kind) =>
  hook.of(kind).filter((event) => event.socket === (socket.id ?? socket.was));

for (const mode of ['polling', 'websocket']) {
  // SIO-HOOK-CONNECT
  test(`${mode}: a connection waits, and what is answered commits with it`, { skip }, async () => {
    const nsp = freshNsp();
    const witness = await connect(mode, { nsp });
    await server.sql(`INSERT INTO room_join (socket, room) VALUES ('${witness.id}', 'lobby')`);
    rules.connect = (event) => [
      { room_join: { room: 'lobby' } },
      { emit: { room: 'lobby', event: 'joined', args: [event.socket] } },
    ];
    const socket = client(server.url, mode, {
      nsp,
      auth: { token: 'a' },
      query: { colour: 'red' },
    });
    await within(5000, 'the client to connect', socket.ready);
    const id = socket.id;
    assert.equal((await next(socket, 'joined'))[0], id);
    assert.equal((await next(witness, 'joined'))[0], id);
    const [told] = of(socket, 'connect');
    assert.equal(told.nsp, nsp);
    assert.deepEqual(told.auth, { token: 'a' });
    assert.equal(told.query.colour, 'red');
    assert.match(told.headers.host, /^127\.0\.0\.1:/);
    assert.equal(told.transport, mode);
    assert.equal(told.remote, '127.0.0.1');
    assert.equal(told.recovered, false);
    assert.ok(Math.abs(told.time - Date.now()) < 5000);
  });
}

test('a refusal brings message and data', { skip }, async () => {
  rules.connect = () => [{ refuse: { message: 'not you', data: { code: 7 } } }];
  const socket = client(server.url, 'websocket', { nsp: freshNsp() });
  const error = await within(
    5000,
    'the refusal',
    new Promise((resolve) => socket.on('connect_error', resolve)),
  );
  assert.equal(error.message, 'not you');
  assert.deepEqual(error.data, { code: 7 });
  assert.equal(await server.value("SELECT count(*) FROM hook WHERE kind = 'connect'"), 0);
});

test('user and data are set with the connection', { skip }, async () => {
  rules.connect = () => ({
    body: '[{"socket_user":{"user":"ada"}},{"socket_data":{"data":{"n":[1,"two"],"big":12345678901234567890}}}]',
  });
  const socket = await connect('websocket');
  const [row] = await server.sql(`SELECT user, data FROM socket WHERE socket = '${socket.id}'`);
  assert.deepEqual({ ...row }, { user: 'ada', data: '{"n":[1,"two"],"big":12345678901234567890}' });
  socket.emit('hello');
  await until('the event', () => of(socket, 'event').length === 1);
  assert.equal(of(socket, 'event')[0].user, 'ada');
});

test('an event is answered by an ack, later events know what it set', { skip }, async () => {
  const socket = await connect('websocket');
  rules.name = (event) => [
    { socket_user: { user: event.args[0] } },
    { room_join: { room: 'named' } },
    { ack: { args: [null, event.args[0].toUpperCase()] } },
  ];
  rules.who = (event) => [{ ack: { args: [event.user, event.rooms, event.wants_ack] } }];
  const acks = await within(5000, 'both acks', Promise.all(['name', 'who'].map(
    (event) => new Promise((resolve) => socket.emit(event, 'grace', (...args) => resolve(args))))));
  assert.deepEqual(acks, [[null, 'GRACE'], ['grace', ['named'], true]]);
});

test('an ack may come later, from anywhere', { skip }, async () => {
  const socket = await connect('polling');
  const ack = call(socket, 'think');
  const [told] = await until('the event', () => of(socket, 'event').length > 0 && of(socket, 'event'));
  await server.sql(`INSERT INTO ack (event_id, args) VALUES ('${told.ack}', '["at last"]')`);
  assert.equal(await ack, 'at last');
});

test('binary goes both ways', { skip }, async () => {
  const socket = await connect('websocket');
  rules.picture = (event) => [
    { emit: { room: event.socket, event: 'back', args: [event.args[1], { deep: [event.args[0]] }] } },
    { ack: { args: [{ $binary: Buffer.from('yes').toString('base64') }] } },
  ];
  const picture = Buffer.from([0, 1, 254, 255]);
  const ack = call(socket, 'picture', picture, { a: Buffer.from('text') });
  const back = await next(socket, 'back');
  assert.deepEqual(back.slice(0, 2), [{ a: Buffer.from('text') }, { deep: [picture] }]);
  assert.deepEqual(await ack, Buffer.from('yes'));
  const [told] = of(socket, 'event');
  assert.deepEqual(told.args[0], { $binary: picture.toString('base64') });
});

test('the end of a question is told, with its answers', { skip }, async () => {
  const nsp = freshNsp();
  const [yes, no] = [await connect('websocket', { nsp }), await connect('polling', { nsp })];
  yes.on('vote', (ack) => ack('yes', Buffer.from('!')));
  rules.open = () => [{ ask: { event: 'vote', timeout_ms: 300 } }];
  rules.ack = (event) => [{ emit: { nsp, event: 'result', args: [event.answers.length, event.n_expected] } }];
  yes.emit('open');
  const [told] = await until('the end of the question', () => hook.of('ack').length > 0 && hook.of('ack'));
  assert.equal(told.ask, of(yes, 'event')[0].event_id);
  assert.equal(told.state, 'timeout');
  assert.deepEqual([told.n_expected, told.n_answered], [2, 1]);
  assert.deepEqual(told.answers, [{ socket: yes.id, args: ['yes', { $binary: 'IQ==' }] }]);
  const result = await no.events.find('the result', ([event]) => event === 'result');
  assert.deepEqual(result.slice(1, 3), [1, 2]);
});

test('each socket is told of in order, several at a time', { skip }, async () => {
  const sockets = await Promise.all(
    ['polling', 'websocket', 'websocket', 'polling', 'websocket', 'websocket'].map((mode) =>
      connect(mode),
    ),
  );
  hook.mostAtOnce = 0;
  rules.count = async () => {
    await pause(Math.random() * 20);
    return [];
  };
  for (let i = 0; i < 20; i++) for (const socket of sockets) socket.emit('count', i);
  await until('all to be told', () =>
    sockets.every((socket) => of(socket, 'event').length === 20),
  );
  for (const socket of sockets) {
    const calls = hook.calls.filter(({ event }) => event.socket === socket.id);
    assert.deepEqual(calls.slice(1).map(({ event }) => event.args[0]), [...Array(20).keys()]);
    for (let i = 1; i < calls.length; i++)
      assert.ok(calls[i].from >= calls[i - 1].to, 'one at a time');
  }
  assert.ok(hook.mostAtOnce >= 3, `${hook.mostAtOnce} at once`);
  assert.ok(hook.connections < hook.calls.length / 2, 'connections are kept');
});

test('the end of a socket comes last, with its reason and rooms', { skip }, async () => {
  const nsp = freshNsp();
  const witness = await connect('websocket', { nsp });
  const socket = await connect('websocket', { nsp });
  rules.enter = () => [{ room_join: { room: 'a' } }, { room_join: { room: 'b' } }];
  rules.disconnect = (event) => [{ emit: { event: 'left', args: [event.socket, event.rooms] } }];
  socket.emit('enter');
  await until('the rooms', async () =>
    (await server.value(`SELECT count(*) FROM member WHERE socket = '${socket.id}'`)) === 2);
  socket.was = socket.id;
  for (let i = 0; i < 5; i++) socket.emit('last words', i);
  socket.disconnect();
  const [id, rooms] = await next(witness, 'left');
  assert.equal(id, socket.was);
  assert.deepEqual(rooms.sort(), ['a', 'b']);
  const told = hook.calls.filter(({ event }) => event.socket === socket.was).map((c) => c.event);
  assert.deepEqual(told.slice(2, 7).map((event) => event.args[0]), [0, 1, 2, 3, 4]);
  assert.equal(told[7].kind, 'disconnect');
  assert.equal(told[7].reason, 'client namespace disconnect');
});

test('what fails is tried again under the same id', { skip }, async () => {
  const socket = await connect('polling');
  const failures = [{ status: 500 }, null];
  rules.try = (event, n) => (n > 2 ? back(event, n) : failures[n - 1]);
  socket.emit('try');
  assert.equal((await next(socket, 'back'))[0], 3);
  const ids = hook.calls.filter(({ event }) => event.event === 'try').map((c) => c.event.event_id);
  assert.equal(ids.length, 3);
  assert.equal(new Set(ids).size, 1);
});

for (const [what, answer, error] of [
  ['no JSON', { body: 'Fatal error: in chat.php' }, /the answer is no JSON$/],
  ['no list', { body: '{"emit": {}}' }, /the answer is no list of effects/],
  ['a wrong effect', [{ emit: { event: 'x' } }, { emit: { event: 'x' }, ack: {} }], /^effect 1: must be an object with one member/],
  ['a verb that fails', [{ emit: { event: 'x' } }, { emit: { event: 'x', args: 5 } }], /^emit\.args: must be a JSON array/],
  ['an unknown verb', [{ emit: { event: 'x' } }, { shout: { event: 'x' } }], /^shout: no such verb/],
  ['a refusal of an event', [{ refuse: { message: 'x' } }], /^effect 0: refuse: only where kind is connect/],
  ['a redirect', { status: 302, headers: { location: '/other' } }, /^HTTP 302$/],
  ['404', { status: 404 }, /^HTTP 404$/],
  ['more than is read', { body: `[${' '.repeat(5 << 20)}]` }, /^the answer is longer than /],
]) {
  test(`an answer that is ${what} is parked, and nothing of it is done`, { skip }, async () => {
    const socket = await connect('websocket');
    rules.bad = () => answer;
    rules.good = (event) => [{ emit: { room: event.socket, event: 'good' } }];
    socket.emit('bad');
    socket.emit('good');
    await next(socket, 'good');
    const [bad] = of(socket, 'event');
    const row = await parked(bad.event_id);
    assert.match(row.error, error);
    assert.equal(row.n_tries, 1);
    assert.equal(row.event, 'bad');
  });
}

test('what was parked can be told again', { skip }, async () => {
  const socket = await connect('websocket');
  rules.twice = (event, n) => (n === 1 ? { status: 400 } : back(event, n));
  socket.emit('twice');
  const [told] = await until('the event', () => of(socket, 'event').length > 0 && of(socket, 'event'));
  await parked(told.event_id);
  await server.sql(`INSERT INTO hook_retry (event_id) VALUES ('${told.event_id}')`);
  assert.equal((await next(socket, 'back'))[0], 2);
  assert.equal(await server.value(`SELECT count(*) FROM hook WHERE event_id = '${told.event_id}'`), 0);
});

test('a hook that fails for too long loses the event, not its order', { skip }, async () => {
  const socket = await connect('websocket');
  let isDown = true;
  rules.gone = () => (isDown ? { status: 503 } : []);
  rules.after = (event) => back(event, 'after');
  socket.emit('gone');
  socket.emit('after');
  assert.equal((await next(socket, 'back'))[0], 'after');
  isDown = false;
  const [told] = of(socket, 'event');
  assert.equal((await parked(told.event_id)).error, 'HTTP 503');
});

// SIO-HOOK-CONNECT
test('a connection that is answered by nonsense is refused, and its end is told', { skip }, async () => {
  rules.connect = () => ({ body: 'oops' });
  const socket = client(server.url, 'polling', { nsp: freshNsp() });
  const error = await within(5000, 'the refusal', new Promise((resolve) => socket.on('connect_error', resolve)));
  assert.equal(error.message, 'Internal error');
  const { event } = hook.calls.at(-1);
  const [end] = await until('its end', () => {
    const list = hook.of('disconnect').filter((e) => e.socket === event.socket);
    return list.length > 0 && list;
  });
  assert.equal(end.reason, 'never connected');
});

test('a client that leaves while it waits is told of as never connected', { skip }, async () => {
  let answer;
  rules.connect = () => new Promise((resolve) => (answer = resolve));
  const socket = client(server.url, 'websocket', { nsp: freshNsp() });
  await until('the connection to be told', () => answer);
  const { event } = hook.calls.at(-1);
  socket.io.engine.close();
  await until('the session to be closed', async () =>
    (await server.value("SELECT count(*) FROM session WHERE state = 'open'")) ===
      (await server.value('SELECT count(DISTINCT session_id) FROM socket')));
  answer([{ emit: { event: 'nobody' } }]);
  await until('its end', () => hook.of('disconnect').some((e) => e.socket === event.socket && e.reason === 'never connected'));
  assert.equal(await server.value("SELECT count(*) FROM emit WHERE event = 'nobody'"), 0);
});

// SIO-RECOVERY
test('a recovered connection does not wait, and is told', { skip }, async () => {
  const nsp = freshNsp();
  const socket = client(server.url, 'websocket', { nsp, reconnection: true, reconnectionDelay: 10 });
  rules.connect = () => [{ room_join: { room: 'r' } }];
  await within(5000, 'the client to connect', socket.ready);
  const { id } = socket;
  await server.sql(`INSERT INTO emit (nsp, event) VALUES ('${nsp}', 'mark')`);
  await next(socket, 'mark');
  const back = new Promise((resolve) => socket.once('connect', resolve));
  socket.io.engine.transport.ws.terminate?.();
  socket.io.engine.close();
  await within(5000, 'the client to come back', back);
  assert.equal(socket.recovered, true);
  assert.equal(socket.id, id);
  const told = await until('the recovery to be told', () => {
    const list = hook.of('connect').filter((e) => e.socket === id);
    return list.length === 2 && list;
  });
  assert.equal(told[1].recovered, true);
  assert.deepEqual(told[1].rooms, ['r']);
});

test('clients of revision 3 wait, too', { skip }, async () => {
  const old = require('socket.io-client-2');
  rules.connect = () => [{ room_join: { room: 'old' } }];
  const socket = old(server.url, { forceNew: true, reconnection: false });
  await within(5000, 'the old client', new Promise((resolve) => socket.on('connect', resolve)));
  const told = hook.of('connect').at(-1);
  assert.equal(told.protocol, 3);
  assert.equal(told.socket, socket.id);
  socket.close();
});
