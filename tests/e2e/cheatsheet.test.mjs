// SPDX-License-Identifier: MIT
//
// docs/emit-cheatsheet.md: each cell of its tables is run as it stands there, in C, in SQL, as a web hook's answer, through
// the HTTP API and by the command line; whatever the form, the same clients must see the same.
//
//   a  SOCKET  WebSocket  room1          n  /myNamespace  room1
//   b  OTHER   polling    room1 room2    m  /myNamespace
//   c          WebSocket  room1 room3
//   d          polling    room2          b and d are connections of the user ann

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { apiOf, TOKEN } from './lib/api.mjs';
import { Hook, options } from './lib/hook.mjs';
import { build, root } from './lib/npm.mjs';
import { call, client, plain } from './lib/official.mjs';
import { quoted } from './lib/outsider.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { until, within } from './lib/wait.mjs';

const run = promisify(execFile);
const NSP = '/myNamespace';

// ---- the page: {title, cells: {c, sql, json, cli}}; a cell is a list of code, or a text that begins with "no: "

const FORMS = ['c', 'sql', 'json', 'cli'];
const codeOf = (cell) => [...cell.matchAll(/`([^`]+)`/g)].map((m) => m[1]);
const lines = fs.readFileSync(path.join(root, 'docs/emit-cheatsheet.md'), 'utf8').split('\n')
  .filter((line) => line.startsWith('| ') && !line.startsWith('| Socket.IO |'))
  .map((line) => {
    const [title, ...cells] = line.slice(2, -2).split(' | ');
    return {
      title: title.replaceAll('`', ''),
      cells: Object.fromEntries(FORMS.map((form, i) => [form, cells[i].startsWith('no: ') ? cells[i] : codeOf(cells[i])])),
    };
  });
const isNo = (cell) => typeof cell === 'string';

// ---- what each line does; the keys are its first words

const gets = (who, args = ['world']) => ({ kind: 'gets', who, args });
const asks = (who) => ({ kind: 'asks', who });
const moves = (rooms) => ({ kind: 'moves', rooms });
const ends = (who) => ({ kind: 'ends', who });
const lists = (who) => ({ kind: 'lists', who });
const EXPECTED = {
  'socket.emit("hello", "world")': gets('a'),
  'io.to(OTHER).emit("hello", "world")': gets('b'),
  'socket.emit("hello", buffer)': gets('a', [Buffer.from([1, 2])]),
  'await socket.emitWithAck("hello", "world")': asks('a'),
  'await socket.timeout(5000).emitWithAck("hello", "world")': asks('a'),
  'socket.on("question", (callback) => callback("done"))': { kind: 'acks' },
  'socket.compress(false).emit("hello", "world")': gets('a'),
  'socket.volatile.emit("hello", "world")': gets('a'),
  'io.emit("hello", "world")': gets('abcd'),
  'socket.broadcast.emit("hello", "world")': gets('bcd'),
  'io.to("room1").emit("hello", "world")': gets('abc'),
  'socket.to("room1").emit("hello", "world")': gets('bc'),
  'io.to(["room1", "room2"]).emit("hello", "world")': gets('abcd'),
  'socket.to(["room1", "room2"]).emit("hello", "world")': gets('bcd'),
  'io.except("room1").emit("hello", "world")': gets('d'),
  'io.to("room1").except("room3").emit("hello", "world")': gets('ab'),
  'socket.to("room1").except("room3").emit("hello", "world")': gets('b'),
  'io.of("/myNamespace").emit("hello", "world")': gets('nm'),
  'io.of("/myNamespace").to("room1").emit("hello", "world")': gets('n'),
  'all connections of a user': gets('bd'),
  'await io.timeout(5000).emitWithAck("hello", "world")': asks('abcd'),
  'await io.to("room1").timeout(5000).emitWithAck("hello", "world")': asks('abc'),
  'io.local.emit("hello", "world")': gets('ac'), // the WebSockets of the one sidecar, in C
  'socket.join("room4")': moves({ a: 'room1 room4' }),
  'socket.leave("room1")': moves({ a: '' }),
  'io.socketsJoin("room4")': moves({ a: 'room1 room4', b: 'room1 room2 room4', c: 'room1 room3 room4', d: 'room2 room4' }),
  'io.in("room1").socketsJoin("room4")': moves({ a: 'room1 room4', b: 'room1 room2 room4', c: 'room1 room3 room4' }),
  'io.in(OTHER).socketsJoin("room4")': moves({ b: 'room1 room2 room4' }),
  'io.socketsLeave("room1")': moves({ a: '', b: 'room2', c: 'room3' }),
  'io.in("room1").socketsLeave("room3")': moves({ c: 'room1' }),
  'socket.disconnect()': ends('a'),
  'socket.disconnect(true)': ends('a'),
  'io.disconnectSockets()': ends('abcd'),
  'io.in("room3").disconnectSockets(true)': ends('c'),
  'io.in(OTHER).disconnectSockets()': ends('b'),
  'socket.data.name = "Ann"': { kind: 'is', sql: 'SELECT data FROM socket WHERE socket =', value: '{"name": "Ann"}' },
  'whose connection it is': { kind: 'is', sql: 'SELECT user FROM socket WHERE socket =', value: 'eve' },
  'socket.rooms': { kind: 'rooms' },
  'await io.fetchSockets()': lists('abcd'),
  'await io.in("room1").fetchSockets()': lists('abc'),
  'io.serverSideEmit("hello", "world")': { kind: 'heard' },
  'await io.serverSideEmitWithAck("hello")': { kind: 'nothing' },
};

// ---- the application: a handler for each cell in C

function application() {
  const handlers = lines.map(({ cells }, i) => isNo(cells.c) ? '' : `
static void on_${i}(struct app_call *c)
{
    const char *other = "";
    size_t len;
    (void)(app_arg_str(c, 0, &other, &len));
    ${cells.c.join('\n    ').replaceAll('"OTHER"', 'other')}
    ${cells.c.join().includes('json_t *list') ? 'app_ack(c, "j", list);' : 'app_ack(c, "");'}
}`);
  return `#include <siolite/app.h>
${handlers.join('\n')}

static void on_answered(struct app_call *c)
{
    app_emit(app_sender(c), "answered", "ii", (int64_t)app_n_answers(c), (int64_t)app_n_expected(c));
}
static void on_server_hello(struct app_call *c)
{
    app_emit(app_all(c), "heard", "A", (size_t)0);
}
int app_load(struct app *a, int abi)
{
    if (abi != APP_ABI)
        return APP_ABI;
    (void)app_nsp(a, "${NSP}");
    struct app_nsp *n = app_nsp(a, "/");
${lines.map(({ cells }, i) => (isNo(cells.c) ? '' : `    app_on_event(n, "c ${i}", on_${i});`)).join('\n')}
    app_on_later(n, "answered", on_answered);
    app_on_server_event(n, "hello", on_server_hello);
    return 0;
}
`;
}

// ---- clients

const KINDS = { a: 'websocket', b: 'polling', c: 'websocket', d: 'polling', n: 'websocket', m: 'websocket' };
const ROOMS = { a: 'room1', b: 'room1 room2', c: 'room1 room3', d: 'room2', n: 'room1', m: '' };
const USERS = { b: 'ann', d: 'ann' };
const people = {};
let server, api, hook, folder;
let answer = []; // of the hook, to what comes next

async function join(who) {
  const socket = client(server.url, KINDS[who], { nsp: 'nm'.includes(who) ? NSP : '/' });
  people[who] = socket;
  await within(5000, `${who} to connect`, socket.ready);
  await server.sql(ROOMS[who].split(' ').filter(Boolean)
    .map((room) => `INSERT INTO room_join (socket, room) VALUES (${quoted(socket.id)}, '${room}')`)
    .concat(USERS[who] ? [`INSERT INTO socket_user (socket, user) VALUES (${quoted(socket.id)}, '${USERS[who]}')`] : []).join(';'));
}
async function everybody() {
  await Promise.all(Object.keys(KINDS).filter((who) => !people[who]?.connected).map(join));
}
async function roomsNow() {
  const rooms = Object.fromEntries(Object.keys(KINDS).map((who) => [who, []]));
  for (const { socket, room } of await server.sql('SELECT socket, room FROM member ORDER BY room')) {
    const who = Object.keys(KINDS).find((name) => people[name].id === socket);
    if (who) rooms[who].push(room);
  }
  return Object.fromEntries(Object.entries(rooms).map(([who, list]) => [who, list.join(' ')]));
}
async function roomsAsBefore() {
  for (const [who, list] of Object.entries(await roomsNow())) {
    const change = (verb, from, to) => from.split(' ').filter((room) => room && !to.split(' ').includes(room))
      .map((room) => `INSERT INTO ${verb} (socket, room) VALUES (${quoted(people[who].id)}, '${room}')`);
    const sql = [...change('room_leave', list, ROOMS[who]), ...change('room_join', ROOMS[who], list)];
    if (sql.length > 0) await server.sql(sql.join(';'));
  }
}
// What each got, functions (acks) called and left out.
let nMarks = 0;
async function received() {
  const mark = `mark ${++nMarks}`;
  await server.sql(`INSERT INTO emit (event) VALUES ('${mark}'); INSERT INTO emit (nsp, event) VALUES ('${NSP}', '${mark}')`);
  const lists = {};
  for (const [who, socket] of Object.entries(people)) {
    lists[who] = [];
    for (;;) {
      const event = await socket.events.next(`${mark} of ${who}`);
      if (event[0] === mark) break;
      lists[who].push(event.filter((arg) => typeof arg !== 'function'));
    }
  }
  return lists;
}

// ---- running a cell; the result is what it shows, if it shows anything

const filled = (text, eventId = '') =>
  text.replaceAll('SOCKET', people.a.id).replaceAll('OTHER', people.b.id).replaceAll('EVENT_ID', eventId);
const hookIsDone = () => until('the hook to be done', async () => (await server.value('SELECT count(*) FROM hook')) === 0);

const runners = {
  c: async (i) => call(people.a, `c ${i}`, people.b.id),
  sql: async (i, code, eventId) => {
    let rows;
    for (const statement of code) rows = await server.sql(filled(statement, eventId));
    return rows;
  },
  hook: async (i, code, eventId) => {
    const action = code.find((text) => text.startsWith('{'));
    if (!action) return undefined; // only the API can do it
    answer = [JSON.parse(filled(action, eventId))];
    const told = hook.of('event').length;
    people.a.emit('for the hook');
    await until('the hook to be told', () => hook.of('event').length > told);
    await hookIsDone();
    return undefined;
  },
  api: async (i, code, eventId) => {
    let shown;
    for (const text of code) {
      if (text.startsWith('GET ')) shown = await api.get(`/${filled(text.slice(4))}`);
      else if (text.startsWith('{')) await api.post('/actions', [JSON.parse(filled(text, eventId))]);
    }
    return shown;
  },
  cli: async (i, code, eventId) => {
    const script = `siolite() { command siolite "$@" --json --database "$DB"; }; ${filled(code.join(' && '), eventId)}`;
    const { stdout } = await run('bash', ['-ec', script],
      { cwd: folder, env: { ...process.env, PATH: `${build}:${process.env.PATH}`, DB: server.db }, timeout: 20_000 });
    return stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  },
};

const ids = (who) => [...who].map((name) => people[name].id).sort();
const idsIn = (form, shown) => (form === 'c' ? shown.map((row) => row.id) : (shown.items ?? shown).map((row) => row.socket)).sort();

const checks = {
  async gets(form, { who, args }, perform) {
    await perform();
    const lists = await received();
    for (const name of Object.keys(KINDS)) {
      assert.deepEqual(lists[name].map(plain), who.includes(name) ? [['hello', ...args].map(plain)] : [], name);
    }
  },
  async asks(form, { who }, perform) {
    for (const name of who) people[name].once('hello', (word, ack) => ack(`${word} ${name}`));
    const heard = form === 'c' && new Promise((resolve) => people.a.once('answered', (...n) => resolve(n)));
    const shown = await perform();
    const answers = () => server.sql(`SELECT socket, args FROM answer WHERE is_answered`);
    const all = [...who].map((name) => [people[name].id, `world ${name}`]).sort();
    if (form === 'c') {
      assert.deepEqual(await within(5000, 'the continuation', heard), [who.length, who.length]);
    } else {
      await until('all answers', async () => (await answers()).length === who.length);
      assert.deepEqual((await answers()).map((row) => [row.socket, JSON.parse(row.args)[0]]).sort(), all);
    }
    if (form === 'cli') assert.deepEqual(shown.map((row) => [row.socket, row.args[0]]).sort(), all);
    if (form === 'api') assert.deepEqual(shown.answers.map((row) => [row.socket, row.args[0]]).sort(), all);
    if (form === 'sql') assert.deepEqual(shown.map((row) => row.socket).sort(), ids(who));
    await server.sql('DELETE FROM ask');
    const lists = await received();
    for (const name of Object.keys(KINDS)) {
      assert.deepEqual(lists[name].filter(([event]) => event !== 'answered'), who.includes(name) ? [['hello', 'world']] : [], name);
    }
  },
  async acks(form, expected, perform) {
    if (form === 'c') {
      assert.equal(await perform(), 'done');
      return;
    }
    // The client's number of the ack that it waits for, which whoever gets the event is told.
    const eventId = `${people.a.id}:${people.a.ids}`;
    const result = within(5000, 'the ack', new Promise((resolve) => people.a.emit('nobody answers this', resolve)));
    await hookIsDone();
    await perform(eventId);
    assert.equal(await result, 'done');
  },
  async moves(form, { rooms }, perform) {
    await perform();
    assert.deepEqual(await roomsNow(), { ...ROOMS, ...rooms });
    await roomsAsBefore();
  },
  async ends(form, { who }, perform) {
    // The ack of a handler in C may be lost with the connection.
    perform().catch((error) => assert.match(error.message, /disconnected|timed out|hook/));
    for (const name of who) await within(5000, `the end of ${name}`, people[name].ended);
    if (form === 'hook') await hookIsDone();
    for (const name of Object.keys(KINDS)) assert.equal(people[name].connected, !who.includes(name), name);
    await everybody();
  },
  async is(form, { sql, value }, perform) {
    await perform();
    const now = () => server.value(`${sql} ${quoted(people.a.id)}`);
    if (value.startsWith('{')) assert.deepEqual(JSON.parse(await now()), JSON.parse(value));
    else assert.equal(await now(), value);
    await server.sql(`INSERT INTO socket_data (socket) VALUES (${quoted(people.a.id)}); INSERT INTO socket_user (socket) VALUES (${quoted(people.a.id)})`);
  },
  async rooms(form, expected, perform) {
    const shown = await perform();
    if (form === 'hook') return;
    assert.deepEqual(form === 'c' ? shown : form === 'api' ? shown.rooms : shown.map((row) => row.room), ['room1']);
  },
  async lists(form, { who }, perform) {
    const shown = await perform();
    if (form !== 'hook') assert.deepEqual(idsIn(form, shown), ids(who));
  },
  async heard(form, expected, perform) {
    await perform();
    // Each process hears it once, and tells all; in C the one that emits it does not hear itself.
    const n = (await server.value('SELECT count(*) FROM process')) - (form === 'c' ? 1 : 0);
    for (const name of 'abcd') {
      for (let i = 0; i < n; i++) assert.deepEqual(await people[name].events.next('what was heard'), ['heard', 'world']);
    }
    assert.deepEqual(Object.values(await received()).flat(), []);
  },
  async nothing() {
    assert.fail('a line that is not there in any form has no code');
  },
};

describe('docs/emit-cheatsheet.md', { skip: needsOwn }, () => {
  before(async () => {
    folder = fs.mkdtempSync(path.join(root, 'build/cheatsheet-'));
    fs.writeFileSync(path.join(folder, 'two.bytes'), Buffer.from([1, 2]));
    fs.writeFileSync(path.join(folder, 'sheet.c'), application());
    const { stdout } = await run('pkg-config', ['--cflags', '--libs', 'jansson']);
    await run('cc', ['-std=c11', '-Wall', '-Werror', '-shared', '-fPIC', `-I${build}/gen`, '-o', `${folder}/sheet.so`, `${folder}/sheet.c`,
      ...stdout.trim().split(/\s+/)]);
    hook = await new Hook((event) => {
      if (event.event !== 'for the hook') return [];
      return answer;
    }).start();
    server = await startServer({
      app: path.join(folder, 'sheet.so'), fcgi: 1, ws: 1, hooks: 1,
      set: options(hook, { nsp: NSP, hook_events: 'event', api_token: TOKEN }),
    });
    api = apiOf(server.url);
    await everybody();
  });
  after(async () => {
    for (const person of Object.values(people)) person.close();
    await server?.stop();
    await hook?.stop();
    fs.rmSync(folder, { recursive: true, force: true });
  });

  it('has every line once, and each cell has code or says why not', () => {
    assert.deepEqual(lines.map((line) => line.title), Object.keys(EXPECTED));
    for (const { title, cells } of lines) {
      for (const form of FORMS) assert.ok(cells[form].length > 0, `${title}: ${form}`);
    }
  });

  lines.forEach(({ title, cells }, i) => {
    it(title, async () => {
      const expected = EXPECTED[title];
      for (const form of ['c', 'sql', 'hook', 'api', 'cli']) {
        const cell = cells[form === 'hook' || form === 'api' ? 'json' : form];
        if (isNo(cell)) continue;
        try {
          await checks[expected.kind](form, expected, (eventId) => runners[form](i, cell, eventId));
        } catch (error) {
          error.message = `${form}: ${error.message}`;
          throw error;
        }
      }
    });
  });
});
