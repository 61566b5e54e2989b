// SPDX-License-Identifier: MIT
//
// An installation as an administrator makes it, in a folder of its own: programs where `make install` puts them, a
// configuration, a database, and web servers from Debian's packages that get what `siolite conf` prints. All run as one
// user: nobody if the tests run as root, else whoever we are.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { build, closeConnections } from './npm.mjs';
import { isListening } from './server.mjs';
import { until, within } from './wait.mjs';

export const isRoot = process.getuid() === 0;
const NOBODY = 65534;
const asNobody = ['--reuid', NOBODY, '--regid', NOBODY, '--clear-groups'].map(String);

export function find(program) {
  for (const folder of `${process.env.PATH}:/usr/sbin:/sbin`.split(':')) {
    if (fs.existsSync(path.join(folder, program))) return path.join(folder, program);
  }
  throw new Error(`${program} is missing; tests/setup.sh test installs it`);
}

// The exit status and what was printed, of a program that ends by itself.
export function run(command, { ms = 60_000, input, env, uid } = {}) {
  return within(ms, `the end of ${command[0]}`, new Promise((resolve) => {
    const child = spawn(command[0], command.slice(1), { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...env }, uid, gid: uid });
    const out = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) child[name].setEncoding('utf8').on('data', (text) => (out[name] += text));
    child.stdin.end(input);
    child.on('close', (code, signal) => resolve({ code: code ?? signal, ...out }));
  }));
}

export class Installation {
  // A short name: sockets lie in it, and the path of a socket has a hundred bytes.
  constructor(settings = {}) {
    this.root = fs.mkdtempSync(path.join(os.tmpdir(), 'sio-'));
    this.programs = [];
    this.nConfs = 0;
    for (const folder of ['etc/siolite', 'run', 'log', 'www', 'usr/local/bin', 'usr/local/lib/siolite', 'var/lib/siolite']) {
      fs.mkdirSync(this.at(folder), { recursive: true });
    }
    for (const [name, folder] of [['siolite', 'bin'], ['siolite-ws', 'bin'], ['siolite.fcgi', 'lib/siolite'], ['siolite.cgi', 'lib/siolite']]) {
      fs.copyFileSync(path.join(build, name), this.at('usr/local', folder, name));
    }
    fs.copyFileSync(path.join(build, 'apps/conformance.so'), this.at('usr/local/lib/siolite/app.so'));
    this.siolite = this.at('usr/local/bin/siolite');
    this.db = this.at('var/lib/siolite/siolite.db');
    this.settings = {
      database: this.db,
      app: this.at('usr/local/lib/siolite/app.so'),
      trusted_proxy: '127.0.0.1',
      foreign_origin: 'refuse',
      ...settings,
    };
    this.conf = this.configure('siolite.conf');
    fs.chmodSync(this.root, 0o755);
    for (const folder of ['run', 'log', 'var/lib/siolite']) {
      if (isRoot) fs.chownSync(this.at(folder), NOBODY, NOBODY);
    }
    fs.chmodSync(this.at('var/lib/siolite'), 0o2770);
  }

  at(...parts) {
    return path.join(this.root, ...parts);
  }

  // A configuration of that name, with further settings; its path.
  configure(name, settings = {}) {
    const file = this.at('etc/siolite', name);
    fs.writeFileSync(file, Object.entries({ ...this.settings, ...settings }).map(([key, value]) => `${key} = ${value}\n`).join(''));
    return file;
  }

  // What `siolite conf` prints, in a file of its own; its path.
  print(kind, args = [], file = this.at('etc', `${kind}-${this.nConfs++}.conf`)) {
    fs.writeFileSync(file, execFileSync(this.siolite, ['conf', kind, '--config', this.conf, ...args], { encoding: 'utf8' }));
    return file;
  }

  write(name, text) {
    fs.writeFileSync(this.at('etc', name), text);
    return this.at('etc', name);
  }

  // Starts a program and waits until it listens. `asUser`: not as root.
  async start(name, command, target, { asUser = true, signal = 'SIGTERM', env = {} } = {}) {
    const log = this.at('log', `${name}.log`);
    const fd = fs.openSync(log, 'a');
    const user = asUser && isRoot ? asNobody : [];
    const child = spawn('setpriv', ['--pdeathsig', 'TERM', ...user, ...command], { cwd: this.root, stdio: ['ignore', fd, fd], env: { ...process.env, ...env } });
    fs.closeSync(fd);
    const program = { name, child, log, signal, text: () => fs.readFileSync(log, 'utf8') };
    program.ended = new Promise((resolve) => child.on('exit', (code, sig) => resolve(sig ?? code)));
    program.end = async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill(program.signal);
      return within(10_000, `the end of ${name}`, program.ended, program.text);
    };
    this.programs.push(program);
    await until(`${name} to listen`, () => child.exitCode !== null || isListening(target), 10_000);
    assert.equal(child.exitCode, null, `${name} ended at its start: ${program.text()}`);
    return program;
  }

  fcgi(name, address, args = []) {
    return this.start(name, [this.at('usr/local/lib/siolite/siolite.fcgi'), '--config', this.conf, '--set', `fcgi_listen=${address}`, ...args], target(address));
  }

  ws(name, address, args = []) {
    return this.start(name, [this.at('usr/local/bin/siolite-ws'), '--config', this.conf, '--set', `ws_listen=${address}`, ...args], target(address));
  }

  async sql(text) {
    const { code, stdout, stderr } = await run(['sqlite3', '-json', '-cmd', '.timeout 10000', this.db, text]);
    assert.equal(code, 0, stderr);
    return stdout.trim() === '' ? [] : JSON.parse(stdout);
  }

  async value(text) {
    const [row] = await this.sql(text);
    return row === undefined ? undefined : Object.values(row)[0];
  }

  // Ends all, in the reverse order; fails if one of ours logged an error.
  async stop() {
    closeConnections();
    for (const program of [...this.programs].reverse()) await program.end();
    // Also what programs wrote that web servers have started.
    const bad = fs.readdirSync(this.at('log')).flatMap((name) => fs.readFileSync(this.at('log', name), 'utf8').split('\n')
      .filter((line) => /Z error siolite|Assertion|runtime error: |ERROR: \w+Sanitizer/.test(line)).map((line) => `${name}: ${line}`));
    if (bad.length === 0 && !process.env.SIOLITE_TEST_KEEP) fs.rmSync(this.root, { recursive: true, force: true });
    assert.deepEqual(bad, [], `errors; logs in ${this.root}/log`);
  }
}

const target = (address) => (address.startsWith('/') ? address : Number(address.split(':').pop()));

// ---- web servers: the least of a main configuration around what `siolite conf` has printed

// `sites`: { port, file } each; the rest of the site is an empty folder.
export function lighttpd(at, name, sites) {
  return at.start(name, [find('lighttpd'), '-D', '-f', at.write(`${name}.conf`, `
server.document-root = "${at.at('www')}"
server.bind = "127.0.0.1"
server.port = ${sites[0].port}
server.max-fds = 1024
server.errorlog = "${at.at('log', `${name}-error.log`)}"
server.breakagelog = "${at.at('log', `${name}-breakage.log`)}"
include "${sites[0].file}"
`)], sites[0].port, { signal: 'SIGINT' });
}

export function nginx(at, name, sites) {
  return at.start(name, [find('nginx'), '-e', at.at('log', `${name}-error.log`), '-c', at.write(`${name}.conf`, `
daemon off;
pid ${at.at('run', `${name}.pid`)};
error_log ${at.at('log', `${name}-error.log`)};
worker_processes 1;
events { worker_connections 512; }
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${at.at('run', `${name}-${kind}`)};`).join('\n  ')}
  ${sites.map(({ port, file }) => `server { listen 127.0.0.1:${port}; root ${at.at('www')}; include ${file}; }`).join('\n  ')}
}
`)], sites[0].port);
}

export function caddy(at, name, sites) {
  return at.start(name, [find('caddy'), 'run', '--adapter', 'caddyfile', '--config', at.write(`${name}.conf`, `
{
  admin off
  auto_https off
  storage file_system ${at.at('run', name)}
}
${sites.map(({ port, file }) => `http://127.0.0.1:${port}, http://localhost:${port} {\n  import ${file}\n}\n`).join('')}
`)], sites[0].port, { env: { HOME: at.at('run') } });
}

// `modules`: beside those that every Apache has. `site`: its folder, with .htaccess allowed.
export function apache(at, name, sites, modules) {
  const load = ['mpm_event', 'authz_core', 'mime', 'dir', 'env', 'setenvif', 'rewrite', ...modules];
  return at.start(name, [find('apache2'), '-DFOREGROUND', '-f', at.write(`${name}.conf`, `
ServerRoot "${at.root}"
ServerName localhost
PidFile "${at.at('run', `${name}.pid`)}"
DefaultRuntimeDir "${at.at('run')}"
ErrorLog "${at.at('log', `${name}-error.log`)}"
${load.map((module) => `LoadModule ${module}_module /usr/lib/apache2/modules/mod_${module}.so`).join('\n')}
TypesConfig /etc/mime.types
StartServers 1
ThreadsPerChild 64
MaxRequestWorkers 64
<IfModule cgid_module>
  ScriptSock ${at.at('run', `${name}.cgid`)}
</IfModule>
<IfModule fcgid_module>
  FcgidIPCDir ${at.at('run', `${name}-fcgid`)}
  FcgidProcessTableFile ${at.at('run', `${name}-fcgid.shm`)}
</IfModule>
<Directory />
  AllowOverride None
  Require all denied
</Directory>
${sites.map(({ port, file, site = at.at('www') }) => `
Listen 127.0.0.1:${port}
<VirtualHost 127.0.0.1:${port}>
  DocumentRoot "${site}"
  <Directory "${site}">
    AllowOverride FileInfo Options AuthConfig
    Require all granted
  </Directory>
  ${file ? `Include ${file}` : ''}
</VirtualHost>`).join('')}
`)], sites[0].port);
}
