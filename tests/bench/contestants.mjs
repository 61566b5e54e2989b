// SPDX-License-Identifier: MIT
//
// The servers that the bench compares. Each is started afresh for each run, with everything
// that belongs to it on core 0; what drives it runs on core 1.
//
// Invariant: no process outlives stop(), nor this program: the kernel ends them with it.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { build, root } from '../e2e/lib/npm.mjs';
import { isListening } from '../e2e/lib/server.mjs';
import { until } from '../e2e/lib/wait.mjs';

export const SERVER_CORE = '0';
export const GENERATOR_CORE = '1';
export const tool = (name) => path.join(build, 'bench', name);

// A database on a disk in memory would flatter us; build/ is where the tree is.
const folder = path.join(root, 'build/bench', `run-${process.pid}`);

function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

function lighttpd() {
  const folders = `${process.env.PATH}:/usr/sbin:/sbin`.split(':');
  const found = folders.map((f) => path.join(f, 'lighttpd')).find((f) => fs.existsSync(f));
  if (!found) throw new Error('lighttpd is missing; tests/setup.sh test installs it');
  return found;
}

class Contestant {
  programs = [];

  // Starts one program; resolves when `target` (a port, or the path of a socket) listens.
  async run(name, command, target) {
    const log = path.join(folder, `${name}.log`);
    const fd = fs.openSync(log, 'w');
    const args = ['--pdeathsig', 'KILL', 'taskset', '-c', SERVER_CORE, ...command];
    const child = spawn('setpriv', args, {
      cwd: folder,
      stdio: ['ignore', fd, fd],
      env: { ...process.env, NODE_ENV: 'production' },
    });
    fs.closeSync(fd);
    const program = { name, child, log, isEnded: false };
    program.ended = new Promise((resolve) => child.on('exit', resolve));
    child.on('exit', () => (program.isEnded = true));
    this.programs.push(program);
    await until(`${name} to listen`, () => program.isEnded || isListening(target), 10_000);
    this.check();
    return child.pid;
  }

  // Fails if a program has ended, or logged an error.
  check() {
    for (const { name, log, isEnded } of this.programs) {
      const text = fs.readFileSync(log, 'utf8');
      if (isEnded) throw new Error(`${name} ended: ${text.slice(-500)}`);
      const error = text.split('\n').find((line) => /^\S+ error /.test(line));
      if (error) throw new Error(`${name}: ${error}`);
    }
  }

  async stop() {
    for (const { child } of this.programs) child.kill('SIGKILL');
    await Promise.all(this.programs.map(({ ended }) => ended));
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

function siolite(settings) {
  const conf = path.join(folder, 'siolite.conf');
  const all = {
    database: path.join(folder, 'siolite.db'),
    app: path.join(build, 'apps/conformance.so'),
    log_level: 'warn',
    serve_client: 'off',
    ...settings,
  };
  fs.writeFileSync(
    conf,
    Object.entries(all)
      .map(([key, value]) => `${key} = ${value}\n`)
      .join(''),
  );
  return ['--config', conf];
}

async function sidecar(c, settings) {
  c.port = await freePort();
  c.database = path.join(folder, 'siolite.db');
  const command = [path.join(build, 'siolite-ws'), ...siolite(settings)];
  c.own = await c.run('siolite-ws', [...command, '--set', `ws_listen=127.0.0.1:${c.port}`], c.port);
}

// lighttpd is set up as www/lighttpd.conf.in: a GET is passed on at once.
async function fastcgi(c, settings) {
  const target = path.join(folder, 'f.sock');
  const command = [path.join(build, 'siolite.fcgi'), ...siolite(settings)];
  c.own = await c.run('siolite.fcgi', [...command, '--set', `fcgi_listen=${target}`], target);
  c.port = await freePort();
  fs.writeFileSync(
    path.join(folder, 'lighttpd.conf'),
    `server.modules = ( "mod_fastcgi" )
server.bind = "127.0.0.1"
server.port = ${c.port}
server.document-root = "${folder}"
server.max-fds = 16384
$HTTP["request-method"] == "GET" {
  server.stream-request-body = 1
  server.stream-response-body = 1
}
fastcgi.server = ( "/socket.io" => (( "socket" => "${target}", "check-local" => "disable" )))
`,
  );
  await c.run('lighttpd', [lighttpd(), '-D', '-f', 'lighttpd.conf'], c.port);
}

async function npm(c, ...args) {
  c.port = await freePort();
  const script = path.join(root, 'tests/bench/reference.cjs');
  c.own = await c.run('socket.io', [process.execPath, script, String(c.port), ...args], c.port);
}

async function floor(c, name) {
  c.port = await freePort();
  c.own = await c.run(name, [tool(name), String(c.port)], c.port);
}

const starters = {
  'siolite-ws': (c) => sidecar(c, {}),
  'siolite-ws-durable': (c) => sidecar(c, { recovery: '120s' }),
  'siolite-polling': (c) => fastcgi(c, {}),
  'socket.io': (c) => npm(c),
  'socket.io-recovery': (c) => npm(c, 'recovery'),
  'raw-floor': (c) => floor(c, 'raw_floor'),
  'lws-floor': (c) => floor(c, 'lws_floor'),
};

// What can be asked of it: port, own (the process id of the server itself), pids (with what
// is in front of it), database; check(), stop().
export async function startContestant(name) {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  const c = new Contestant();
  c.name = name;
  try {
    await starters[name](c);
  } catch (error) {
    await c.stop();
    throw error;
  }
  c.pids = c.programs.map(({ child }) => child.pid);
  return c;
}
