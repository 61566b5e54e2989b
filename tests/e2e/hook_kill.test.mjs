// SPDX-License-Identifier: MIT
//
// The web hook, and processes that die: what was told is told again under the same id, and takes
// effect once; nothing of what was committed is lost, and each socket's order stays.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Hook, options } from './lib/hook.mjs';
import { client, next } from './lib/official.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { pause, until, within } from './lib/wait.mjs';

const skip = needsOwn;
let hook;
let server;
let rules = {};

before(async () => {
  if (skip) return;
  hook = await new Hook((event, n) => (rules[event.event] ?? rules[event.kind] ?? (() => []))(event, n)).start();
  server = await startServer({ app: '', hooks: 2, set: options(hook, {
    hook_concurrency: 4,
    hook_events: 'connect,event,disconnect,ack,presence',
  }) });
});

after(async () => {
  await server?.stop({ allowErrors: true }); // lighttpd and clients notice the dead
  await hook?.stop();
});

async function connect(url, mode, more = {}) {
  const socket = client(url, mode, more);
  await within(5000, 'the client to connect', socket.ready);
  return socket;
}

// Kills the worker that posts this event, and starts it again.
async function killPoster(eventId) {
  const pid = await server.value(`SELECT os_pid FROM hook JOIN process USING (process_id) WHERE event_id = '${eventId}'`);
  const worker = server.hooks.find((program) => program.pid === pid);
  await worker.kill();
  await worker.start();
}
// What the client got of that event. (The log forgets what nobody needs any more.)
const got = (socket, event) => socket.events.log.filter(([name]) => name === event);

test('a worker that is killed while it posts: told twice, done once', { skip }, async () => {
  const socket = await connect(server.url, 'websocket');
  rules.one = async (event, n) => {
    if (n === 1) await killPoster(event.event_id);
    return [{ emit: { event: 'one done' } }, { ack: { args: [n] } }];
  };
  assert.equal(await socket.timeout(9000).emitWithAck('one'), 2);
  assert.equal(got(socket, 'one done').length, 1);
});

test('a worker that is killed when it has the answer: done once', { skip }, async () => {
  const socket = await connect(server.url, 'websocket');
  let dead;
  rules.two = (event, n) => {
    // As soon as the answer is on its way.
    if (n === 1)
      dead = new Promise((resolve) => setImmediate(resolve)).then(() => Promise.all(server.hooks.map((worker) => worker.kill())));
    return [{ emit: { event: 'two done', args: [event.args[0]] } }];
  };
  for (let i = 0; i < 6; i++) {
    socket.emit('two', i);
    await until(`event ${i} to be told`, () => dead, 9000);
    await dead;
    dead = undefined;
    for (const worker of server.hooks) await worker.start();
    await until(`event ${i} to be done`, () => got(socket, 'two done').length === i + 1, 9000);
  }
  assert.equal(await server.value('SELECT count(*) FROM hook'), 0);
});

test('without a worker events wait, and are told in order later', { skip }, async () => {
  const socket = await connect(server.url, 'polling');
  for (const worker of server.hooks) await worker.kill();
  for (let i = 0; i < 10; i++) socket.emit('three', i);
  await until('the events to wait', async () => (await server.value('SELECT n_waiting FROM hook_total')) === 10);
  rules.three = (event) => [{ emit: { room: event.socket, event: 'three done', args: event.args } }];
  for (const worker of server.hooks) await worker.start();
  for (let i = 0; i < 10; i++) assert.deepEqual(await next(socket, 'three done'), [i]);
});

// SIO-HOOK-CONNECT
test('a front that is killed while a connection waits: told as never connected', { skip }, async () => {
  const witness = await connect(server.sidecars[0], 'websocket');
  let accept;
  rules.connect = () => new Promise((resolve) => (accept = resolve));
  const socket = client(server.sidecars[1], 'websocket');
  await until('the connection to be told', () => accept);
  const id = hook.calls.at(-1).event.socket;
  await server.ws[1].kill();
  await until('the session to be closed', async () =>
    (await server.value("SELECT count(*) FROM session WHERE state = 'open' AND session_id NOT IN (SELECT session_id FROM socket)")) === 0);
  accept([{ emit: { event: 'in vain' } }]);
  delete rules.connect;
  rules.disconnect = () => [{ emit: { event: 'told' } }];
  await until('its end to be told', () => hook.of('disconnect').some((event) => event.socket === id && event.reason === 'never connected'));
  await witness.events.find('what comes after it', ([event]) => event === 'told');
  assert.equal(got(witness, 'in vain').length, 0);
  assert.equal(socket.connected, false);
  await server.ws[1].start();
});

test('a worker that hangs loses its event in time, and is too late when it goes on', { skip }, async () => {
  const other = await startServer({ app: '', fcgi: 1, ws: 1, hooks: 2, set: options(hook, { hook_timeout: '1s' }) });
  const posterOf = async ({ event_id }) => {
    const pid = await other.value(`SELECT os_pid FROM hook JOIN process USING (process_id) WHERE event_id = '${event_id}'`);
    return other.hooks.find((program) => program.pid === pid);
  };
  const socket = await connect(other.url, 'websocket');
  let hung;
  let taker;
  rules.six = async (event, n) => {
    if (n === 1) {
      hung = await posterOf(event);
      hung.signal('SIGSTOP'); // and the answer is on its way
    } else {
      taker = await posterOf(event);
      hung.signal('SIGCONT');
      await until('what it got to be dropped', () => / hook (answer\.late|down)\b/.test(hung.tail()));
      assert.equal(await other.value("SELECT count(*) FROM hook WHERE event = 'six' AND state = 'posting'"), 1);
    }
    return [{ emit: { event: 'six done', args: [n] } }, { ack: { args: [n] } }];
  };
  rules.seven = async (event) => [{ ack: { args: [(await posterOf(event)) === hung] } }];
  const first = socket.timeout(15_000).emitWithAck('six');
  const then = socket.timeout(15_000).emitWithAck('seven');
  assert.equal(await first, 2);
  assert.notEqual(taker, hung);
  assert.match(taker.tail(), / hook event\.taken /);
  await then;
  await taker.kill();
  assert.equal(await socket.timeout(5000).emitWithAck('seven'), true, 'it works again');
  await until('nothing to wait', async () => (await other.value('SELECT count(*) FROM hook')) === 0);
  assert.deepEqual(got(socket, 'six done'), [['six done', 2]]);
  await other.stop({ allowErrors: true });
});

// SIO-PRESENCE
test('users who come and go are told in turn, whatever is killed', { skip }, async () => {
  const told = () => hook.of('presence').filter(({ user }) => user === 'ann');
  const effects = ({ user, is_online }) => [{ emit: { nsp: '/', event: 'seen', args: [user, is_online] } }];
  const witness = await connect(server.url, 'websocket');
  rules.connect = ({ auth }) => (auth.user ? [{ socket_user: { user: auth.user } }] : []);
  let answer;
  rules.presence = async (event, n) => {
    if (event.is_online && n === 1) await killPoster(event.event_id);
    if (event.is_online && n === 2) await new Promise((resolve) => (answer = resolve));
    if (!event.is_online && n === 1) return null; // cut
    return effects(event);
  };
  const tabs = [];
  for (const mode of ['websocket', 'polling'])
    tabs.push(await connect(server.url, mode, { nsp: '/chat', auth: { user: 'ann' } }));
  await until('it to be told again', () => answer);
  tabs.forEach((tab) => tab.close());
  await until('her end to wait behind it', async () =>
    (await server.value("SELECT count(*) FROM hook WHERE kind = 'presence' AND event = 'ann' AND state = 'behind'")) === 1);
  assert.equal(told().length, 1);
  answer();
  assert.deepEqual(await next(witness, 'seen'), ['ann', true]);
  assert.deepEqual(await next(witness, 'seen', 9000), ['ann', false]);
  assert.equal(await server.value("SELECT count(*) FROM hook WHERE kind = 'presence'"), 0);
  assert.equal(got(witness, 'seen').length, 2);
  const calls = hook.calls.filter(({ event }) => event.kind === 'presence').map(({ event }) => event.event_id);
  assert.equal(calls.length, 4);
  const common = { kind: 'presence', nsp: '/chat', user: 'ann' };
  assert.deepEqual(told().map(({ event_id, time, ...event }) => event), [
    { ...common, is_online: true },
    { ...common, is_online: false },
  ]);
  delete rules.connect;
});

// Clients that send again (docs/users.md, 6). What was done is counted in the outbox: who adds to it twice is seen.

const order = async (entry, mode, { nLost = 0, isHeld = false, ...more } = {}) => {
  const socket = await connect(entry, mode, { retries: 50, ackTimeout: 250, auth: { clientId: randomUUID() }, ...more });
  const item = { retryKey: randomUUID(), user: randomUUID(), isHeld };
  const sent = [];
  const { onack } = socket;
  socket.onack = (packet) => nLost-- > 0 || onack.call(socket, packet); // the first ones are lost
  socket.onAnyOutgoing((...args) => sent.push(args));
  const answer = new Promise((resolve, reject) =>
    socket.emit('order', item, (error, ...args) => (error ? reject(error) : resolve(args))));
  const told = () => hook.calls.filter(({ event }) => event.args?.[0]?.retryKey === item.retryKey).length;
  const done = () => server.value(`SELECT count(*) FROM outbox WHERE user = '${item.user}'`);
  // The number by which the client waits for the try that the server has seen last.
  const last = () => server.value(`SELECT ack_id FROM t_retry WHERE key = '"${item.retryKey}"'`);
  return { socket, item, sent, answer, told, done, last };
};
const ordered = ({ args: [item] }, n) => [
  { outbox: { user: item.user, event: 'ordered' } },
  { ack: { args: ['number', n] } },
];

for (const mode of ['polling', 'websocket']) {
  // SIO-RETRY, SIO-RETRY-ACK
  test(`${mode}: what is sent again after it was answered is not told again`, { skip }, async () => {
    rules.order = ordered;
    const one = await order(server.url, mode, { nLost: 2 });
    assert.deepEqual(await within(9000, 'the ack', one.answer), ['number', 1]);
    assert.ok(one.sent.length >= 3, `sent ${one.sent.length} times`);
    assert.deepEqual([one.told(), await one.done()], [1, 1]);
  });

  // SIO-RETRY, SIO-RETRY-ACK
  test(`${mode}: what is sent again while it is told is told once, and the last try is answered`, { skip }, async () => {
    let answer;
    rules.order = (event, n) => new Promise((resolve) => (answer = () => resolve(ordered(event, n))));
    const one = await order(server.url, mode);
    await until('it to be told', () => answer);
    const first = await one.last();
    await until('two tries more', async () => (await one.last()) >= first + 2);
    answer();
    assert.deepEqual(await within(9000, 'the ack', one.answer), ['number', 1]);
    assert.deepEqual([one.told(), await one.done()], [1, 1]);
  });
}

// SIO-RETRY, SIO-RETRY-ACK
test('what is sent again after kill -9 of the fronts is told once, answered before or after', { skip }, async () => {
  const fronts = [...server.fcgi, ...server.ws];
  const back = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 100, ackTimeout: 1000 };
  const answers = [];
  rules.order = (event, n) => (event.args[0].isHeld
    ? new Promise((resolve) => answers.push(() => resolve(ordered(event, n)))) : ordered(event, n));
  const answered = await Promise.all(['polling', 'websocket'].map((mode) => order(server.url, mode, { ...back, nLost: 1 })));
  for (const one of answered) await until('it to be done', async () => (await one.done()) === 1);
  const held = await Promise.all(['polling', 'websocket'].map((mode) => order(server.url, mode, { ...back, isHeld: true })));
  await until('both to be told', () => answers.length === 2);
  const ids = [...answered, ...held].map(({ socket }) => socket.id);
  await Promise.all(fronts.map((front) => front.kill()));
  await Promise.all(fronts.map((front) => front.start()));
  for (const [i, one] of [...answered, ...held].entries())
    await until('the client to be back', () => one.socket.connected && one.socket.id !== ids[i], 9000);
  for (const one of [...answered, ...held]) await until('it to be sent again', () => one.sent.length >= 2);
  answers.forEach((answer) => answer());
  for (const one of [...answered, ...held]) {
    assert.deepEqual(await within(9000, 'the ack', one.answer), ['number', 1]);
    assert.deepEqual([one.told(), await one.done()], [1, 1]);
  }
});

test('SIGTERM lets the POST under way come to its end', { skip }, async () => {
  const socket = await connect(server.url, 'websocket');
  let started;
  rules.four = async (event, n) => {
    const pid = await server.value(`SELECT os_pid FROM hook JOIN process USING (process_id) WHERE event_id = '${event.event_id}'`);
    const worker = server.hooks.find((program) => program.pid === pid);
    worker.signal('SIGTERM');
    await until('it to have heard', () => /signal number=15/.test(worker.tail()));
    started = worker.ended.then(() => worker.start());
    return [{ ack: { args: [n] } }];
  };
  assert.equal(await socket.timeout(5000).emitWithAck('four'), 1);
  await started;
});

test('SIGHUP takes another URL and key, and keeps them if the next ones are wrong', { skip }, async () => {
  const other = await new Hook(() => [{ ack: { args: ['the other'] } }]).start();
  const file = path.join(server.folder, 'siolite.conf');
  const text = fs.readFileSync(file, 'utf8');
  const socket = await connect(server.url, 'websocket');
  const reload = async (conf, line) => {
    fs.writeFileSync(file, conf);
    for (const worker of server.hooks) {
      const before = fs.readFileSync(worker.log, 'utf8').length;
      worker.signal('SIGHUP');
      await until(`${worker.name} to say ${line}`, () => fs.readFileSync(worker.log, 'utf8').slice(before).includes(line));
    }
  };
  await reload(text.replace(hook.url, other.url), 'reload.done');
  assert.equal(await socket.timeout(5000).emitWithAck('five'), 'the other');
  await reload(text.replace(/^hook_secret.*$/m, 'hook_secret = short'), 'reload.failed');
  assert.equal(await socket.timeout(5000).emitWithAck('five'), 'the other');
  await reload(text, 'reload.done');
  rules.five = () => [{ ack: { args: ['this one'] } }];
  assert.equal(await socket.timeout(5000).emitWithAck('five'), 'this one');
  await other.stop();
});

// A receiver in a process of its own, which is killed too.
class Receiver {
  constructor(folder) {
    this.file = path.join(folder, 'told.txt');
    this.script = fileURLToPath(new URL('./lib/hook_receiver.mjs', import.meta.url));
  }

  async start(port) {
    this.child = spawn('setpriv', ['--pdeathsig', 'KILL', process.execPath, this.script, this.file, String(port)],
      { stdio: ['ignore', 'pipe', 'inherit'] });
    const line = await within(5000, 'the receiver to listen', new Promise((resolve) => this.child.stdout.once('data', resolve)));
    return Number(String(line));
  }

  kill() {
    const gone = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    return gone;
  }

  told() {
    return fs.readFileSync(this.file, 'utf8').split('\n').slice(0, -1).map((line) => JSON.parse(line));
  }
}

test('workers, fronts and the receiver are killed again and again: nothing is lost or doubled', { skip }, async (t) => {
  const other = await startServer({ app: '', hooks: 2, set: options(hook, { hook_concurrency: 4, hook_connect_wait: '9s' }) });
  const receiver = new Receiver(other.folder);
  const clients = [];
  let isOver = false;
  t.after(async () => {
    isOver = true;
    clients.forEach((socket) => socket.close());
    await receiver.kill();
    await other.stop({ allowErrors: true });
  });
  const port = await receiver.start(0);
  const text = fs.readFileSync(path.join(other.folder, 'siolite.conf'), 'utf8');
  fs.writeFileSync(path.join(other.folder, 'siolite.conf'), text.replace(/^hook_url.*$/m, `hook_url = http://127.0.0.1:${port}/`));
  for (const worker of other.hooks) await worker.kill().then(() => worker.start());

  const sockets = await Promise.all(['polling', 'websocket', 'polling', 'websocket', 'websocket'].map(
    (mode, i) => connect(other.entries[i % 2], mode, { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 50 })));
  const witness = await connect(other.sidecars[0], 'websocket'); // which is not killed
  clients.push(...sockets, witness);
  let n = 0;
  const talk = Promise.all(sockets.map(async (socket) => {
    while (!isOver) {
      if (socket.connected) socket.emit('step', n++);
      await pause(5 + Math.random() * 10);
    }
  }));
  const victims = [other.hooks[0], receiver, other.hooks[1], other.fcgi[0], other.hooks[0], other.ws[1], receiver, other.hooks[1], other.fcgi[1]];
  // What was under way at a kill is told again; mostly the first kills find something.
  const wasToldAgain = () => {
    const told = receiver.told();
    return told.length > new Set(told.map((event) => event.event_id)).size;
  };
  for (let k = 0; k < victims.length || (k < 60 && !wasToldAgain()); k++) {
    const victim = victims[k % victims.length];
    await pause(100 + Math.random() * 200);
    await victim.kill();
    await pause(Math.random() * 100);
    await victim.start(port);
  }
  isOver = true;
  await talk;
  await until('the queue to be empty', async () => (await other.value('SELECT count(*) FROM hook')) === 0, 15_000);

  await other.sql("INSERT INTO emit (event) VALUES ('the end')");
  await witness.events.find('what comes last', ([event]) => event === 'the end');
  // What was under way as the queue was empty comes, too: events of clients, ends of sockets whose process was killed.
  const look = async () => {
    const open = new Set((await other.sql('SELECT socket FROM socket')).map((row) => row.socket));
    const told = receiver.told();
    const idsOf = (kind, name) => new Set(told.filter((event) => event.kind === kind).map((event) => event[name]));
    return { open, told, ids: idsOf('event', 'event_id'), starts: idsOf('connect', 'socket'), ended: idsOf('disconnect', 'socket') };
  };
  const { open, told, ids, starts, ended } = await until('the end of each to be told, and each event to take effect', async () => {
    const seen = await look();
    return got(witness, 'done').length >= seen.ids.size &&
      [...seen.starts].every((id) => seen.ended.has(id) !== seen.open.has(id)) && seen;
  }, 15_000);
  const done = got(witness, 'done').map(([, ...args]) => args);
  assert.ok(done.length > 100, `${done.length} events`);
  assert.equal(done.length, ids.size, 'each event took effect');
  assert.equal(new Set(done.map(([, id]) => id)).size, done.length, 'once');
  assert.ok(told.length > new Set(told.map((event) => event.event_id)).size, 'some were told again');
  for (const id of starts) {
    const numbers = done.filter(([socket]) => socket === id).map(([, , number]) => number);
    assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b), 'in order');
    const kinds = told.filter((event) => event.socket === id).map((event) => event.kind);
    assert.deepEqual(kinds, [...kinds].sort((a, b) => '0ced'.indexOf(a[0]) - '0ced'.indexOf(b[0])), 'connect, events, disconnect');
  }
  for (const id of starts) assert.equal(ended.has(id), !open.has(id), 'the end of each is told');
});
