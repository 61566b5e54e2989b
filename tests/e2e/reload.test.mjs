// SPDX-License-Identifier: MIT
//
// SIGHUP: all programs read their configuration and the application again, with clients connected; what is wrong with
// the new ones leaves the old ones at work.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { build, root } from './lib/npm.mjs';
import { call, client, connect } from './lib/official.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { until, within } from './lib/wait.mjs';

const programs = (server) => [...server.fcgi, ...server.ws];
const logOf = (program) => fs.readFileSync(program.log, 'utf8');
const count = (text, part) => text.split(part).length - 1;

// SIGHUP to all, until each has said `event` once more.
async function hangUp(server, event) {
  const before = programs(server).map((program) => count(logOf(program), event));
  for (const program of programs(server)) program.signal('SIGHUP');
  await Promise.all(programs(server).map((program, i) =>
    until(`${program.name} to say ${event}`, () => count(logOf(program), event) > before[i])));
}

const configure = (server, settings) =>
  fs.writeFileSync(path.join(server.folder, 'siolite.conf'), Object.entries(settings).map(([key, value]) => `${key} = ${value}\n`).join(''));

describe('the configuration, read again', { skip: needsOwn }, () => {
  let server;
  before(async () => { server = await startServer({ set: { max_rooms: 100 } }); });
  after(() => server?.stop({ allowErrors: true }));

  it('takes effect with clients connected', async () => {
    const polling = await connect(server.url, 'polling');
    const websocket = await connect(server.sidecars[0], 'websocket');
    configure(server, { ...server.settings, max_payload: 2000, metrics_token: 'new', ping_interval: '2s' });
    await hangUp(server, 'reload.done');
    for (const socket of [polling, websocket]) assert.deepEqual(await call(socket, 'message-with-ack', 'still there'), 'still there');
    // What is asked at a handshake, and what bounds a message.
    const next = await connect(server.sidecars[1], 'websocket');
    assert.equal(next.io.engine._pingInterval, 2000);
    const closed = within(5000, 'the end of who sends too much', websocket.ended);
    websocket.emit('message', 'x'.repeat(3000));
    await closed;
    const answer = await fetch(`${server.url}/socket.io/metrics`, { headers: { Authorization: 'Bearer new' } });
    assert.equal(answer.status, 200);
    const hashes = await server.value('SELECT count(DISTINCT config_hash) FROM process');
    assert.equal(hashes, 1);
    for (const socket of [polling, next]) socket.close();
  });

  it('that is wrong leaves the old one', async () => {
    configure(server, { ...server.settings, max_rooms: 'many' });
    await hangUp(server, 'reload.failed');
    for (const program of programs(server)) assert.match(logOf(program), /reload\.failed error="[^"]*siolite\.conf:\d+: max_rooms: /);
    const socket = await connect(server.url, 'websocket');
    assert.equal(socket.io.engine._pingInterval, 2000); // of the first reload
    socket.close();
  });

  it('says what wants a restart', async () => {
    configure(server, { ...server.settings, database: 'other.db', ring_rows: 5 });
    await hangUp(server, 'reload.done');
    for (const program of programs(server)) assert.match(logOf(program), /reload\.kept options="database ring_rows"/);
    assert.ok(!fs.existsSync(path.join(server.folder, 'other.db')));
    const socket = await connect(server.url, 'polling');
    assert.deepEqual(await call(socket, 'message-with-ack', 1), 1);
    socket.close();
  });
});

describe('the application, loaded again', { skip: needsOwn }, () => {
  let server, folder, file;

  // Version n acks `version` with n and with what its own table says.
  const source = (n, { refuses = false, statement = `SELECT ${n} * 10 FROM told LIMIT 1` } = {}) => `
    #include <siolite/app.h>
    static void on_version(struct app_call *c)
    {
        app_ack(c, "ij", (int64_t)${n}, app_select(c, "told", ""));
    }
    int app_load(struct app *a, int abi)
    {
        struct app_nsp *nsp = app_nsp(a, "/");
        app_schema(a, 1, "CREATE TABLE told (x INTEGER) STRICT; INSERT INTO told VALUES (1)");
        app_sql(a, "told", "${statement}");
        app_on_event(nsp, "version", on_version);
        return abi == APP_ABI ? ${refuses ? 1000 : 0} : APP_ABI;
    }`;
  const compile = (text) => {
    fs.writeFileSync(path.join(folder, 'app.c'), text);
    execFileSync('cc', ['-shared', '-fPIC', `-I${build}/gen`, '-o', path.join(folder, 'app.new'), path.join(folder, 'app.c')]);
    fs.renameSync(path.join(folder, 'app.new'), file); // never into a file that is in use
  };
  const ask = (socket) => within(5000, 'the version', new Promise((resolve) => socket.emit('version', (...answer) => resolve(answer))));

  before(async () => {
    folder = path.join(root, 'build/e2e', `app-${process.pid}`);
    fs.mkdirSync(folder, { recursive: true });
    file = path.join(folder, 'app.so');
    compile(source(1));
    server = await startServer({ app: file });
  });
  after(async () => {
    await server?.stop({ allowErrors: true });
    fs.rmSync(folder, { recursive: true, force: true });
  });

  it('serves the sockets that are there', async () => {
    const sockets = [client(server.url, 'polling'), client(server.sidecars[0], 'websocket')];
    for (const socket of sockets) {
      await within(5000, 'the client to connect', socket.ready);
      assert.deepEqual(await ask(socket), [1, [[10]]]);
    }
    for (const n of [2, 3, 4]) {
      compile(source(n));
      await hangUp(server, 'reload.done');
      for (const socket of sockets) assert.deepEqual(await ask(socket), [n, [[n * 10]]]);
    }
    for (const socket of sockets) socket.close();
  });

  it('that is broken leaves the old one', async () => {
    const socket = client(server.url, 'websocket');
    await within(5000, 'the client to connect', socket.ready);
    for (const broken of [source(5, { refuses: true }), source(5, { statement: 'SELECT nothing FROM nowhere' })]) {
      compile(broken);
      await hangUp(server, 'reload.failed');
      assert.deepEqual(await ask(socket), [4, [[40]]]);
    }
    socket.close();
  });
});
