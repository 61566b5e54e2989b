// SPDX-License-Identifier: MIT
//
// Plain CGI: siolite.cgi under lighttpd's mod_cgi and Apache's mod_cgid, beside FastCGI
// processes and sidecars on the same database. One installation for each hold: what `auto`
// makes of it, and a number.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { apiOf, refusal, TOKEN } from './lib/api.mjs';
import { build } from './lib/npm.mjs';
import { isListening, needsOwn, startServer } from './lib/server.mjs';
import { call, client, connect, next } from './lib/official.mjs';
import { slowness, until, within } from './lib/wait.mjs';
import { Polling, request } from './lib/wire.mjs';

const HOLD_MS = 4000;
// When this runs as root, Apache's children are somebody else.
const isRoot = process.getuid() === 0;

function find(program, hint) {
  for (const folder of `${process.env.PATH}:/usr/sbin:/sbin`.split(':')) {
    if (fs.existsSync(path.join(folder, program))) return path.join(folder, program);
  }
  throw new Error(`${program} is missing; ${hint}`);
}

const freePort = () => new Promise((resolve, reject) => {
  const socket = net.createServer();
  socket.on('error', reject);
  socket.listen(0, '127.0.0.1', () => {
    const { port } = socket.address();
    socket.close(() => resolve(port));
  });
});

// A web server of this test: ends with it, and takes its children along.
class WebServer {
  static async start(name, command, folder, port) {
    const web = Object.assign(new WebServer(), { name, log: path.join(folder, `${name}.log`), url: `http://127.0.0.1:${port}` });
    const log = fs.openSync(web.log, 'a');
    web.child = spawn('setpriv', ['--pdeathsig', 'TERM', ...command], { cwd: folder, stdio: ['ignore', log, log] });
    fs.closeSync(log);
    web.ended = new Promise((resolve) => web.child.on('exit', (code, signal) => resolve(signal ?? code)));
    await until(`${name} to listen`, () => web.child.exitCode !== null || isListening(port), 10_000);
    assert.equal(web.child.exitCode, null, `${name} ended: ${web.text()}`);
    return web;
  }

  text() {
    return fs.readFileSync(this.log, 'utf8');
  }

  async stop() {
    if (this.child.exitCode === null) this.child.kill('SIGTERM');
    await within(10_000, `the end of ${this.name}`, this.ended, () => this.text());
    return this.text();
  }
}

// Sidecar requests go to a sidecar, as with FastCGI.
const lighttpdConf = ({ port, site, wsPort }) => `
server.modules = ( "mod_alias", "mod_cgi", "mod_proxy" )
server.bind = "127.0.0.1"
server.port = ${port}
server.document-root = "${site}"
server.breakagelog = "${site}/../cgi-${port}.log"
alias.url = ( "/socket.io/" => "${site}/socket.io/siolite.cgi/" )
$HTTP["url"] =~ "^/socket\\.io/" {
  $REQUEST_HEADER["upgrade"] =~ "(?i)^websocket$" {
    proxy.server = ( "" => (( "host" => "127.0.0.1", "port" => ${wsPort} )))
    proxy.header = ( "upgrade" => "enable" )
  } else {
    cgi.assign = ( ".cgi" => "" )
  }
}
`;

// As on shared hosting: nothing about siolite in the server's own configuration.
const apacheConf = ({ port, site, folder }) => `
ServerRoot "${folder}"
ServerName localhost
Listen 127.0.0.1:${port}
PidFile apache-${port}.pid
DefaultRuntimeDir "${folder}"
ErrorLog "/dev/stderr"
LogLevel warn
${['mpm_event', 'authz_core', 'env', 'mime', 'rewrite', 'cgid'].map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so\n`).join('')}
${isRoot ? 'User nobody\nGroup nogroup' : ''}
ScriptSock cgid-${port}.sock
TypesConfig /dev/null
DocumentRoot "${site}"
<Directory "${site}">
  AllowOverride FileInfo Options AuthConfig
  Require all granted
</Directory>
`;

let server;
let folder;
const webs = {}; // by name: lighttpd auto, lighttpd hold, apache auto, apache hold

// A folder with the program, its configuration and what Apache needs; CGI has no options.
function install(name, settings) {
  const site = path.join(folder, name);
  const home = path.join(site, 'socket.io');
  fs.mkdirSync(home, { recursive: true });
  fs.copyFileSync(path.join(build, 'siolite.cgi'), path.join(home, 'siolite.cgi'));
  fs.chmodSync(path.join(home, 'siolite.cgi'), 0o755);
  fs.writeFileSync(path.join(home, 'siolite.conf'), Object.entries(settings).map(([key, value]) => `${key} = ${value}\n`).join(''));
  const conf = path.join(home, 'siolite.conf');
  fs.writeFileSync(path.join(home, '.htaccess'), execFileSync(path.join(build, 'siolite'), ['conf', 'htaccess', '--config', conf]));
  return site;
}

before(async () => {
  if (needsOwn) return;
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'siolite-cgi-'));
  fs.chmodSync(folder, 0o777);
  const database = path.join(folder, 'siolite.db');
  const app = path.join(folder, 'app.so');
  fs.copyFileSync(path.join(build, 'apps/conformance.so'), app);
  // Whoever made it, all may write it; the files beside it get its mode.
  fs.writeFileSync(database, '');
  fs.chmodSync(database, 0o666);
  server = await startServer({ app, set: { database, ping_interval: '10s', ping_timeout: '5s', api_token: TOKEN } });
  server.db = database;
  const sites = {
    auto: install('auto', { ...server.settings, max_held: 2 }),
    hold: install('hold', { ...server.settings, hold: `${HOLD_MS}ms` }),
  };
  for (const [hold, site] of Object.entries(sites)) {
    const [one, two] = [await freePort(), await freePort()];
    const write = (name, text) => {
      fs.writeFileSync(path.join(folder, name), text);
      return path.join(folder, name);
    };
    const wsPort = new URL(server.sidecars[0]).port;
    webs[`lighttpd ${hold}`] = await WebServer.start(`lighttpd-${hold}`, [find('lighttpd', 'tests/setup.sh test installs it'),
      '-D', '-f', write(`lighttpd-${hold}.conf`, lighttpdConf({ port: one, site, wsPort }))], folder, one);
    webs[`apache ${hold}`] = await WebServer.start(`apache-${hold}`, [find('apache2', 'tests/setup.sh test installs apache2-bin'),
      '-DFOREGROUND', '-f', write(`apache-${hold}.conf`, apacheConf({ port: two, site, folder }))], folder, two);
  }
});

after(async () => {
  if (server === undefined) return;
  const logs = await Promise.all(Object.values(webs).map((web) => web.stop()));
  for (const name of fs.readdirSync(folder).filter((file) => /^cgi-.*\.log$/.test(file))) {
    logs.push(fs.readFileSync(path.join(folder, name), 'utf8')); // lighttpd keeps their stderr apart
  }
  await server.stop();
  const bad = logs.join('').split('\n').filter((line) => /Z error siolite|Assertion|runtime error: |ERROR: \w+Sanitizer/.test(line));
  if (bad.length === 0) fs.rmSync(folder, { recursive: true, force: true });
  assert.deepEqual(bad, [], `what siolite.cgi wrote; logs in ${folder}`);
});

let lastNsp = 0;
const freshNsp = () => `/dyn-${++lastNsp}`;

// No CGI process is left once nobody asks any more.
const noneLeft = () => until('all siolite.cgi to end', async () =>
  (await server.value("SELECT count(*) FROM process WHERE front = 'cgi'")) === 0, 15_000);

for (const name of ['lighttpd', 'apache']) {
  describe(`siolite.cgi under ${name}`, { skip: needsOwn }, () => {
    const url = (hold = 'auto') => webs[`${name} ${hold}`].url;

    it('answers as FastCGI does', async () => {
      const query = { EIO: '4', transport: 'polling' };
      for (const options of [{ query: { EIO: '4' } }, { query: { ...query, sid: 'nobody' } }, { query, method: 'POST', body: '40' },
        { query: { ...query, transport: 'x' } }]) {
        const [cgi, fcgi] = [await request(url(), options), await request(server.url, options)];
        assert.deepEqual([cgi.status, cgi.body, cgi.headers['content-type']], [fcgi.status, fcgi.body, fcgi.headers['content-type']]);
      }
    });

    it('answers whole what it refuses before it has read the body', async () => {
      for (const n of [2, 20_000, 300_000]) {
        const answer = await request(url(), { query: { EIO: '4', transport: 'polling' }, method: 'POST', body: 'x'.repeat(n) });
        assert.deepEqual([answer.status, answer.body], [400, '{"code":2,"message":"Bad handshake method"}']);
      }
    });

    it('shows nobody its configuration', async () => {
      // Under this lighttpd the program has every path below /socket.io/.
      assert.equal((await request(url(), { path: '/socket.io/siolite.conf' })).status, name === 'apache' ? 403 : 400);
    });

    // EIO-POLL-HOLD
    it('hold = auto: the more processes are occupied, the shorter a poll is held', async () => {
      await noneLeft();
      const sessions = [];
      for (let i = 0; i < 3; i++) sessions.push(await Polling.connect(url()));
      await noneLeft();
      const timed = async (session) => {
        const from = performance.now();
        return { body: (await session.poll()).body, ms: performance.now() - from };
      };
      const occupied = (n) => until(`${n} polls to be held`, async () => (await server.value(
        "SELECT count(*) FROM session s JOIN process p USING (process_id) WHERE p.front = 'cgi' AND s.state = 'open'")) === n);
      const long = timed(sessions[0]); // nobody else: until the ping
      await occupied(1);
      const second = timed(sessions[1]); // as many as may be held for long: a second
      await occupied(2);
      const none = await timed(sessions[2]); // max_held are: at once
      assert.equal(none.body, '6');
      const short = await second;
      assert.equal(short.body, '6');
      assert.ok(short.ms > 900 && short.ms < 2500 * slowness, `the second was held for ${short.ms} ms`);
      assert.ok(none.ms < short.ms, `the third was held for ${none.ms} ms`);
      await server.sql(`INSERT INTO emit (room, event) VALUES ('${sessions[0].sioId}', 'now')`);
      assert.equal((await long).body, '42["now"]');
      await Promise.all(sessions.map((session) => session.post('1')));
    });

    it(`hold = ${HOLD_MS / 1000}s: that is how long it is held`, async () => {
      const session = await Polling.connect(url('hold'));
      const from = performance.now();
      assert.equal((await session.poll()).body, '6');
      const ms = performance.now() - from;
      assert.ok(ms > HOLD_MS - 100 && ms < HOLD_MS + 2000 * slowness, `held for ${ms} ms`);
      await session.post('1');
    });

    it('a held poll is woken by a WebSocket client, by FastCGI, by sqlite3, and by another CGI process', async () => {
      const nsp = freshNsp();
      const session = await Polling.connect(url('hold'), { nsp });
      const others = await Promise.all([connect(server.sidecars[0], 'websocket', { nsp }),
        connect(server.url, 'polling', { nsp }), connect(url(), 'polling', { nsp })]);
      const wakes = [...others.map((socket, i) => [`${i}`, () => socket.emit('bcast', i)]),
        ['"sql"', () => server.sql(`INSERT INTO emit (nsp, event, args) VALUES ('${nsp}', 'bcast', '["sql"]')`)]];
      for (const [what, wake] of wakes) {
        const poll = session.poll();
        await until('the poll to be held', async () => (await server.value(`SELECT p.front FROM session s JOIN process p USING (process_id)
          JOIN socket k USING (session_id) WHERE k.socket = '${session.sioId}'`)) === 'cgi');
        const from = performance.now();
        await wake();
        assert.equal((await poll).body, `42${nsp},["bcast",${what}]`);
        assert.ok(performance.now() - from < HOLD_MS - 1000, 'woken, not ended');
      }
      others.forEach((socket) => socket.close());
      await session.post('1');
    });

    it('the official client chats with clients of FastCGI and WebSocket', async () => {
      const nsp = freshNsp();
      const sockets = await Promise.all([connect(url(), 'polling', { nsp }), connect(url('hold'), 'polling', { nsp }),
        connect(server.url, 'polling', { nsp }), connect(server.sidecars[1], 'websocket', { nsp }), connect(server.url, 'upgrade', { nsp })]);
      for (const socket of sockets) await call(socket, 'join', 'chat');
      for (const [i, socket] of sockets.entries()) {
        for (let n = 0; n < 5; n++) socket.emit('cast', { via: 'io', to: ['chat'] }, 'said', i, n, 'h\u00e4 \u{1f600}', Buffer.from([i, n, 255]));
      }
      const heard = await Promise.all(sockets.map(async (socket) => {
        const list = [];
        while (list.length < 5 * sockets.length) list.push(await next(socket, 'said', 20_000));
        return list.map(([i, n, text, bytes]) => [i, n, text, [...new Uint8Array(bytes)]]);
      }));
      for (const list of heard) assert.deepEqual(list, heard[0], 'all hear the same in the same order');
      for (const i of sockets.keys()) {
        assert.deepEqual(heard[0].filter(([from]) => from === i), [0, 1, 2, 3, 4].map((n) => [i, n, 'h\u00e4 \u{1f600}', [i, n, 255]]));
      }
      // Acks both ways.
      assert.deepEqual(await call(sockets[0], 'message-with-ack', 'a', 1), 'a');
      sockets[1].on('ack-request', (...args) => args.pop()('yes'));
      sockets[1].emit('ack-me', 'ready?');
      assert.deepEqual(await sockets[1].events.find('ack-result', ([event]) => event === 'ack-result'), ['ack-result', 'yes']);
      const digest = await call(sockets[0], 'digest', Buffer.alloc(300_000, 7));
      assert.deepEqual([digest.type, digest.bytes], ['binary', 300_000]);
      assert.equal((await call(sockets[0], 'big', 500_000)).length, 500_000);
      const list = await call(sockets[3], 'sockets', { in: 'chat' });
      assert.equal(list, sockets.length);
      // Who leaves is gone for all.
      const { id } = sockets[0];
      sockets[0].close();
      await until('the end to be known', async () => (await call(sockets[4], 'reason-of', id)) === 'client namespace disconnect');
      assert.equal(await call(sockets[2], 'sockets', { in: 'chat' }), sockets.length - 1);
      sockets.forEach((socket) => socket.close());
    });

    it('the HTTP API emits, and waits for an answer', async () => {
      const api = apiOf(url('hold'));
      const nsp = freshNsp();
      const socket = await connect(server.sidecars[0], 'websocket', { nsp });
      const asked = new Promise((resolve) => socket.once('well', (question, ack) => resolve(ack)));
      const { asks: [question] } = await api.post('/ask', { nsp, event: 'well', args: [1], timeout_ms: 20_000 });
      const ack = await within(5000, 'the question', asked);
      const waiting = api('GET', `/ask/${question}?wait=20`);
      await until('a process to hold it', async () =>
        (await server.value("SELECT count(*) FROM process WHERE front = 'cgi'")) === 1);
      ack('yes');
      const answer = (await waiting).json;
      assert.deepEqual([answer.state, answer.answers.map((a) => a.args)], ['done', [['yes']]]);
      assert.equal(refusal(await apiOf(url(), { token: 'wrong' })('GET', '/socket'), 401).code, 'unauthorized');
      assert.equal(refusal(await api('POST', '/emit', { nsp, event: 5 }), 400).field, 'emit.event');
      const headers = { 'Idempotency-Key': name };
      for (let i = 0; i < 2; i++) await api.post('/emit', { nsp, event: 'once' }, { headers });
      await api.post('/emit', { nsp, event: 'end' });
      for (const event of ['well', 'once', 'end']) await next(socket, event);
      socket.close();
    });

    if (name === 'lighttpd') {
      it('a session that began over CGI is upgraded to a sidecar', async () => {
        const socket = await connect(url(), 'upgrade');
        assert.deepEqual((await call(socket, 'who')).transport, 'websocket');
        socket.close();
      });
    } else {
      it('a client that tries WebSocket where there is none stays on polling', async () => {
        const socket = client(url(), 'upgrade');
        const refused = new Promise((resolve) => socket.io.on('open', () => socket.io.engine.once('upgradeError', resolve)));
        await within(5000, 'the client to connect', socket.ready);
        await within(5000, 'its upgrade to fail', refused);
        assert.equal(await call(socket, 'message-with-ack', 1), 1);
        assert.equal((await call(socket, 'who')).transport, 'polling');
        socket.close();
      });
    }

    it('twenty polls at once are twenty processes, and none is left', async () => {
      const nsp = freshNsp();
      const sessions = [];
      for (let i = 0; i < 20; i++) sessions.push(await Polling.connect(url('hold'), { nsp }));
      const polls = sessions.map((session) => session.poll());
      await until('twenty processes to hold a poll', async () => (await server.value(
        "SELECT count(*) FROM session s JOIN process p USING (process_id) WHERE p.front = 'cgi' AND s.state = 'open'")) >= 20, 10_000);
      await server.sql(`INSERT INTO emit (nsp, event) VALUES ('${nsp}', 'all')`);
      for (const poll of polls) assert.equal((await poll).body, `42${nsp},["all"]`);
      await Promise.all(sessions.map((session) => session.post('1')));
      await noneLeft();
    });

    it('a session whose CGI process is killed goes on', async () => {
      const nsp = freshNsp();
      const session = await Polling.connect(url('hold'), { nsp });
      const poll = session.poll();
      const pid = await until('the poll to be held', () => server.value(`SELECT p.os_pid FROM session s JOIN process p USING (process_id)
        JOIN socket k USING (session_id) WHERE k.socket = '${session.sioId}' AND p.front = 'cgi'`));
      process.kill(pid, 'SIGKILL');
      const answer = await poll.catch((error) => ({ status: error.code }));
      assert.notEqual(answer.status, 200);
      await server.sql(`INSERT INTO emit (nsp, event) VALUES ('${nsp}', 'still here')`);
      assert.deepEqual(await session.receive(), [`42${nsp},["still here"]`]);
      await session.post('1');
    });
  });
}
