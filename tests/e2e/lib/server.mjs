// SPDX-License-Identifier: MIT
//
// A private installation of siolite for one test file, in a folder of its own under build/:
// a database, N siolite.fcgi, M siolite-ws and a lighttpd in front of them. With
// SIOLITE_TEST_URL the tests run against a server that is there already.
//
//   url          through lighttpd, every process in turn
//   entries[i]   through lighttpd, but all requests go to siolite.fcgi i and siolite-ws i
//   sidecars[i]  siolite-ws i without lighttpd in between
//   streaming    as url, but lighttpd passes a POST on while it is still being received
//
// Invariants:
// 1. No process outlives stop(), nor the test: the kernel ends them with it.
// 2. stop() fails if a process ended that nobody killed, or logged an error.

import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { build, closeConnections, root } from './npm.mjs';
import { pause, slowness, until, within } from './wait.mjs';

// The options of the conformance application's two instances, as `make run-conformance` has
// them. `short` has no recovery, so that packets can be compared byte for byte.
const optionsOf = (instance) =>
  Object.fromEntries(
    fs
      .readFileSync(`${root}tests/apps/conformance-${instance}.conf`, 'utf8')
      .split('\n')
      .filter((line) => /^[a-z]/.test(line))
      .map((line) => line.split(/ = (.*)/s).slice(0, 2)),
  );
export const presets = {
  main: optionsOf('a'),
  short: { ...optionsOf('b'), recovery: 'off' },
};

// SIOLITE_TEST_URL (options of `main`) and SIOLITE_TEST_URL_SHORT (of `short`) may each list
// several entries, separated by commas. SIOLITE_TEST_FRONT=buffering says that a POST reaches
// that server only when it is complete.
const external = {
  main: process.env.SIOLITE_TEST_URL?.split(','),
  short: process.env.SIOLITE_TEST_URL_SHORT?.split(','),
};
export const isExternal = external.main !== undefined;
// For { skip }: tests that look into the database, or end processes, need our own server.
export const needsOwn =
  isExternal && 'needs a server of its own (SIOLITE_TEST_URL is set)';
export const needsStreaming =
  process.env.SIOLITE_TEST_FRONT === 'buffering' && 'the web server buffers requests';

export function freePorts(n) {
  const servers = Array.from({ length: n }, () => net.createServer());
  return Promise.all(
    servers.map(
      (server) =>
        new Promise((resolve, reject) => {
          server.on('error', reject);
          server.listen(0, '127.0.0.1', () => resolve(server.address().port));
        }),
    ),
  ).then(async (ports) => {
    await Promise.all(
      servers.map((server) => new Promise((resolve) => server.close(resolve))),
    );
    return ports;
  });
}

// Can it be connected to: a port, or the path of a UNIX socket? A function says it itself.
export function isListening(target) {
  if (typeof target === 'function') return target();
  return new Promise((resolve) => {
    const socket =
      typeof target === 'number' ? net.connect(target, '127.0.0.1') : net.connect(target);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

// What a request without transport is refused with.
function refusal(url, headers = {}) {
  return new Promise((resolve, reject) => {
    const req = http.get(`${url}/socket.io/?EIO=4`, { agent: false, headers }, (res) => {
      let text = '';
      res.on('data', (data) => (text += data));
      res.on('end', () => resolve(text));
    });
    req.on('error', reject);
    req.setTimeout(2000, () => req.destroy(new Error('no answer within 2 s')));
  });
}

// One program of the installation. It can be ended and started again, at the same place.
class Program {
  constructor(server, name, command, target) {
    Object.assign(this, {
      server,
      name,
      command,
      target,
      log: path.join(server.folder, `${name}.log`),
    });
  }

  get pid() {
    return this.child?.pid;
  }

  get isRunning() {
    return (
      this.child !== undefined &&
      this.child.exitCode === null &&
      this.child.signalCode === null
    );
  }

  async start() {
    const log = fs.openSync(this.log, 'a');
    this.isWanted = true;
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...this.command], {
      cwd: this.server.folder,
      stdio: ['ignore', log, log],
      env: { ...process.env, ...this.server.env },
    });
    this.child = child;
    fs.closeSync(log);
    this.ended = new Promise((resolve) =>
      child.on('exit', (code, signal) => resolve(signal ?? code)),
    );
    this.ended.then((how) => {
      if (this.child === child && this.isWanted)
        this.server.failures.push(`${this.name} ended by itself: ${how}`);
    });
    await until(
      `${this.name} to listen`,
      () => !this.isRunning || isListening(this.target),
      10_000,
    );
    if (!this.isRunning)
      throw new Error(`${this.name} ended at its start: ${this.tail()}`);
  }

  signal(signal) {
    if (signal === 'SIGKILL' || signal === 'SIGTERM') this.isWanted = false;
    process.kill(this.pid, signal);
  }

  // Resolves with the exit code or the signal's name, when the process is gone.
  async kill(signal = 'SIGKILL', ms = 10_000) {
    this.signal(signal);
    return within(ms, `the end of ${this.name} after ${signal}`, this.ended, () =>
      this.tail(),
    );
  }

  tail(n = 20) {
    return fs
      .readFileSync(this.log, 'utf8')
      .split('\n')
      .slice(-n - 1)
      .join('\n');
  }
}

class Server {
  constructor(folder) {
    this.folder = folder;
    this.db = path.join(folder, 'siolite.db');
    this.failures = [];
    this.env = {};
  }

  // Rows of one or several statements, by the sqlite3 program, as objects.
  async sql(text, { ms = 20_000 } = {}) {
    const out = await this.sqlite(['-json', '-cmd', '.timeout 10000', this.db, text], ms);
    const lists =
      out.trim() === ''
        ? []
        : out
            .trim()
            .split(/\n(?=\[)/)
            .map((list) => JSON.parse(list));
    return lists.flat();
  }

  // The first column of the first row.
  async value(text) {
    const [row] = await this.sql(text);
    return row === undefined ? undefined : Object.values(row)[0];
  }

  sqlite(args, ms = 20_000) {
    return new Promise((resolve, reject) => {
      execFile(
        'sqlite3',
        args,
        { timeout: ms, maxBuffer: 1 << 28 },
        (error, stdout, stderr) => {
          if (error)
            reject(
              Object.assign(new Error(`sqlite3: ${stderr || error.message}`), { stderr }),
            );
          else resolve(stdout);
        },
      );
    });
  }

  get programs() {
    return [...this.fcgi, ...this.ws, ...this.hooks, this.lighttpd];
  }

  logs() {
    return this.programs.map((p) => ({
      name: p.name,
      text: fs.existsSync(p.log) ? fs.readFileSync(p.log, 'utf8') : '',
    }));
  }

  // Lines at level error, and reports of sanitizers and of failed assertions.
  errors() {
    return this.logs().flatMap(({ name, text }) =>
      text
        .split('\n')
        .filter((line) =>
          /^\S+ error |Assertion .* failed|runtime error: |ERROR: \w+Sanitizer|stack smashing/.test(
            line,
          ),
        )
        .map((line) => `${name}: ${line}`),
    );
  }

  async start() {
    for (const program of [...this.fcgi, ...this.ws, ...this.hooks])
      await program.start();
    await this.lighttpd.start();
    // They listen before they have opened the database, and a sidecar is offered when it has.
    await until('all programs to have opened the database', async () => {
      const text = 'SELECT count(*) AS n FROM process WHERE NOT is_dead';
      const out = await this.sqlite(['-readonly', '-cmd', '.timeout 10000', this.settings.database, text]).catch(() => '0');
      return Number(out) >= this.fcgi.length + this.ws.length;
    }, 10_000);
    process.on('exit', (this.onExit = () => this.killAll()));
  }

  // Until lighttpd lets requests through again; it does not look at a program that was away
  // before a second is over.
  async ready() {
    for (const url of [this.url, this.streaming, ...this.entries]) {
      await until(`${url} to answer`, async () =>
        (await refusal(url)).startsWith('{"code":0,'),
      );
      await until(`${url} to answer upgrades`, async () => {
        const text = await refusal(url, {
          Connection: 'Upgrade',
          Upgrade: 'websocket',
          'Sec-WebSocket-Version': '13',
          'Sec-WebSocket-Key': 'c2lvbGl0ZSBzaW9saXRlIQ==',
        });
        return text === 'Transport unknown';
      });
    }
  }

  killAll() {
    for (const program of this.programs) {
      program.isWanted = false;
      if (program.isRunning) {
        try {
          process.kill(program.pid, 'SIGKILL');
        } catch {
          /* it was faster */
        }
      }
    }
  }

  // Ends everything; fails if anything had gone wrong that no test has seen. `allowErrors`: what
  // the errors that are wanted match, or true.
  async stop({ allowErrors = false } = {}) {
    nServers--;
    if (nServers === 0) closeConnections();
    const running = this.programs.filter((p) => p.isRunning);
    for (const program of running) {
      program.isWanted = false;
      process.kill(program.pid, 'SIGCONT');
      process.kill(program.pid, program === this.lighttpd ? 'SIGINT' : 'SIGTERM');
    }
    const end = Date.now() + 8000 * slowness;
    while (running.some((p) => p.isRunning) && Date.now() < end) await pause(10);
    const stubborn = running.filter((p) => p.isRunning).map((p) => p.name);
    this.killAll();
    process.off('exit', this.onExit);
    const errors = allowErrors === true ? [] : this.errors().filter((line) => !allowErrors || !allowErrors.test(line));
    const left = await this.value('PRAGMA integrity_check').catch(
      (error) => error.message,
    );
    if (
      !process.env.SIOLITE_TEST_KEEP &&
      this.failures.length + errors.length + stubborn.length === 0
    ) {
      fs.rmSync(this.folder, { recursive: true, force: true });
    }
    assert.deepEqual(this.failures, [], `programs that ended; logs in ${this.folder}`);
    assert.deepEqual(errors, [], `errors in ${this.folder}`);
    assert.deepEqual(stubborn, [], 'programs that did not end 8 s after SIGTERM');
    assert.equal(left, 'ok', 'PRAGMA integrity_check');
  }
}

function lighttpdConf({ root, port, streamingPort, entryPorts, wsPorts, fcgiTargets }) {
  const at = (target) =>
    typeof target === 'number'
      ? `"host" => "127.0.0.1", "port" => ${target}`
      : `"socket" => "${target}"`;
  const fcgi = (list) =>
    `fastcgi.server = ( "/socket.io" => ( ${list
      .map(
        (i) =>
          `( ${at(fcgiTargets[i])}, "check-local" => "disable", "disable-time" => 0 )`,
      )
      .join(', ')} ))`;
  const proxy = (list) =>
    `proxy.server = ( "" => ( ${list
      .map(
        (i) => `( "host" => "127.0.0.1", "port" => ${wsPorts[i]}, "disable-time" => 0 )`,
      )
      .join(', ')} ))`;
  const routes = (f, w, isStreaming) => `
    $HTTP["request-method"] ${isStreaming ? '=~ "."' : '== "GET"'} {
      server.stream-request-body = 1
      server.stream-response-body = 1
    }
    $HTTP["url"] =~ "^/socket\\.io(/|\\?|$)" {
      $REQUEST_HEADER["upgrade"] =~ "(?i)^websocket$" {
        ${w.length > 0 ? `${proxy(w)}\n        proxy.header = ( "upgrade" => "enable" )` : ''}
      } else {
        ${fcgi(f)}
      }
    }`;
  const all = [fcgiTargets.map((_, i) => i), wsPorts.map((_, i) => i)];
  const socket = (on, f, w, isStreaming = false) => `
  $SERVER["socket"] == "127.0.0.1:${on}" {${routes(f, w, isStreaming)}
  }`;
  return `# Written by tests/e2e/lib/server.mjs
server.modules = ( "mod_fastcgi", "mod_proxy" )
server.bind = "127.0.0.1"
server.port = ${port}
server.document-root = "${root}"
server.max-fds = 8192
mimetype.assign = ( ".html" => "text/html", ".js" => "text/javascript" )
server.errorlog = "./lighttpd-error.log"
fastcgi.balance = "round-robin"
proxy.balance = "round-robin"
$SERVER["socket"] == "127.0.0.1:${port}" {${routes(...all)}
}
${socket(streamingPort, ...all, true)}
${entryPorts.map((on, i) => socket(on, [i % fcgiTargets.length], wsPorts.length > 0 ? [i % wsPorts.length] : [])).join('\n')}
`;
}

let counter = 0;
let nServers = 0;

// options: preset 'main' or 'short'; set: {key: value} over it; fcgi, ws, hooks: how many
// processes.
export async function startServer({
  preset = 'main',
  set = {},
  fcgi = 2,
  ws = 2,
  hooks = 0,
  app = path.join(build, 'apps/conformance.so'),
} = {}) {
  if (isExternal) {
    const urls = external[preset];
    assert.ok(urls, `SIOLITE_TEST_URL${preset === 'short' ? '_SHORT' : ''} is not set`);
    return {
      url: urls[0],
      entries: [...urls, ...urls].slice(0, Math.max(2, urls.length)),
      sidecars: urls,
      streaming: urls[0],
      isExternal: true,
      stop: async () => closeConnections(),
    };
  }
  const folder = path.join(root, 'build/e2e', `${process.pid}-${counter++}`);
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(path.join(folder, 'www'), { recursive: true });
  const server = new Server(folder);
  const nEntries = Math.max(fcgi, ws);
  const [port, streamingPort, ...others] = await freePorts(2 + nEntries + ws + fcgi);
  const entryPorts = others.splice(0, nEntries);
  const wsPorts = others.splice(0, ws);
  // A path of a UNIX socket has some hundred bytes at most.
  const fcgiTargets = others.map((at, i) =>
    folder.length < 95 ? path.join(folder, `f${i}.sock`) : at,
  );
  const settings = {
    database: server.db,
    app,
    path: '/socket.io',
    log_level: process.env.SIOLITE_TEST_LOG ?? 'info',
    ...presets[preset],
    ...set,
  };
  fs.writeFileSync(
    path.join(folder, 'siolite.conf'),
    Object.entries(settings)
      .map(([key, value]) => `${key} = ${value}\n`)
      .join(''),
  );
  fs.writeFileSync(
    path.join(folder, 'lighttpd.conf'),
    lighttpdConf({
      root: path.join(folder, 'www'),
      port,
      streamingPort,
      entryPorts,
      wsPorts,
      fcgiTargets,
    }),
  );
  server.fcgi = fcgiTargets.map(
    (target, i) =>
      new Program(
        server,
        `fcgi-${i}`,
        [
          path.join(build, 'siolite.fcgi'),
          '--config',
          'siolite.conf',
          '--set',
          `fcgi_listen=${typeof target === 'number' ? `127.0.0.1:${target}` : target}`,
        ],
        target,
      ),
  );
  server.ws = wsPorts.map(
    (at, i) =>
      new Program(
        server,
        `ws-${i}`,
        [
          path.join(build, 'siolite-ws'),
          '--config',
          'siolite.conf',
          '--set',
          `ws_listen=127.0.0.1:${at}`,
        ],
        at,
      ),
  );
  server.hooks = Array.from({ length: hooks }, (_, i) => {
    const hook = new Program(
      server,
      `hook-${i}`,
      [path.join(build, 'siolite-hook'), '--config', 'siolite.conf'],
      () => server.value(`SELECT 1 FROM process WHERE os_pid = ${hook.pid}`),
    );
    return hook;
  });
  server.lighttpd = new Program(
    server,
    'lighttpd',
    [lighttpd(), '-D', '-f', 'lighttpd.conf'],
    port,
  );
  const local = (at) => `http://127.0.0.1:${at}`;
  Object.assign(server, {
    url: local(port),
    streaming: local(streamingPort),
    entries: entryPorts.map(local),
    sidecars: wsPorts.map(local),
    settings,
  });
  nServers++;
  try {
    await server.start();
  } catch (error) {
    nServers--;
    server.killAll();
    throw error;
  }
  return server;
}

export function lighttpd() {
  for (const folder of `${process.env.PATH}:/usr/sbin:/sbin`.split(':')) {
    if (fs.existsSync(path.join(folder, 'lighttpd')))
      return path.join(folder, 'lighttpd');
  }
  throw new Error('lighttpd is missing; tests/setup.sh test installs it');
}

// Is the process there? Used where a test asks whether nothing was left.
export function isAlive(pid) {
  try {
    execFileSync('kill', ['-0', String(pid)], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
