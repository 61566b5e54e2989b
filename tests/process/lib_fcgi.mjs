// SPDX-License-Identifier: MIT
//
// For the process tests of siolite.fcgi: starts it with a database of its own, and a scripted web server that speaks
// FastCGI record by record, also wrongly.

import { execFile, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Inbox, until, within } from '../e2e/lib/wait.mjs';

const build = process.env.SIOLITE_BUILD ?? fileURLToPath(new URL('../../build/release', import.meta.url));
export const PROGRAM = path.join(build, 'siolite.fcgi');

// Types of records, roles and protocol states, with their names in the specification.
export const T = {
  BEGIN_REQUEST: 1, ABORT_REQUEST: 2, END_REQUEST: 3, PARAMS: 4, STDIN: 5, STDOUT: 6, STDERR: 7, DATA: 8,
  GET_VALUES: 9, GET_VALUES_RESULT: 10, UNKNOWN_TYPE: 11,
};
export const RESPONDER = 1;
export const REQUEST_COMPLETE = 0;
export const CANT_MPX_CONN = 1;
export const UNKNOWN_ROLE = 3;

// ---- bytes

export function record(type, id, content = '', padding = 0) {
  const body = Buffer.from(content);
  const head = Buffer.from([1, type, id >> 8, id & 255, body.length >> 8, body.length & 255, padding, 0]);
  return Buffer.concat([head, body, Buffer.alloc(padding)]);
}

// A stream of any length with the empty record that ends it.
export function stream(type, id, content, { size = 65535, padding = 0 } = {}) {
  const bytes = Buffer.from(content);
  const parts = [];
  for (let at = 0; at < bytes.length; at += size) parts.push(record(type, id, bytes.subarray(at, at + size), padding));
  return Buffer.concat([...parts, record(type, id)]);
}

const length = (n) => (n < 128 ? [n] : [0x80 | (n >> 24), (n >> 16) & 255, (n >> 8) & 255, n & 255]);

export function pairs(params) {
  return Buffer.concat(Object.entries(params).flatMap(([name, value]) => {
    const [n, v] = [Buffer.from(name), Buffer.from(String(value))];
    return [Buffer.from([...length(n.length), ...length(v.length)]), n, v];
  }));
}

export function parsePairs(bytes) {
  const out = {};
  let at = 0;
  const take = () => {
    const n = bytes[at] & 0x80 ? bytes.readUInt32BE(at) & 0x7fffffff : bytes[at];
    at += bytes[at] & 0x80 ? 4 : 1;
    return n;
  };
  while (at < bytes.length) {
    const [n, v] = [take(), take()];
    out[bytes.toString('latin1', at, at + n)] = bytes.toString('latin1', at + n, at + n + v);
    at += n + v;
  }
  return out;
}

export const begin = (id, { keep = false, role = RESPONDER } = {}) =>
  record(T.BEGIN_REQUEST, id, [role >> 8, role & 255, keep ? 1 : 0, 0, 0, 0, 0, 0]);

// The variables that every web server sends, of which ours are made.
export function cgiParams({ method = 'GET', uri = '/socket.io/', headers = {}, body = '', remote = '127.0.0.1', ...rest }) {
  const params = {
    GATEWAY_INTERFACE: 'CGI/1.1', SERVER_PROTOCOL: 'HTTP/1.1', REQUEST_METHOD: method, REQUEST_URI: uri,
    QUERY_STRING: uri.split('?')[1] ?? '', REMOTE_ADDR: remote, HTTP_HOST: 'localhost',
  };
  if (body.length > 0) Object.assign(params, { CONTENT_LENGTH: Buffer.byteLength(body), CONTENT_TYPE: 'text/plain;charset=UTF-8' });
  for (const [name, value] of Object.entries(headers)) params[`HTTP_${name.toUpperCase().replaceAll('-', '_')}`] = value;
  return Object.assign(params, rest.params);
}

export function request(options = {}) {
  const { id = 1, keep = false, body = '' } = options;
  return Buffer.concat([begin(id, { keep }), stream(T.PARAMS, id, pairs(cgiParams(options))), stream(T.STDIN, id, body)]);
}

// What a CGI program writes: header lines, an empty line, a body.
export function parseCgi(bytes) {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) throw new Error(`no header block: ${bytes.toString('latin1').slice(0, 200)}`);
  const headers = {};
  for (const line of bytes.toString('latin1', 0, end).split('\r\n')) {
    const colon = line.indexOf(':');
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { headers, status: parseInt(headers.status, 10), raw: bytes.subarray(end + 4), body: bytes.toString('utf8', end + 4) };
}

// ---- one connection of the web server

export class Connection {
  static open(target) {
    return new Promise((resolve, reject) => {
      const socket = net.connect(target);
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new Connection(socket));
      });
    });
  }

  constructor(socket) {
    this.socket = socket;
    this.records = new Inbox();
    this.rest = Buffer.alloc(0);
    socket.setNoDelay(true);
    socket.on('error', (error) => (this.error = error));
    socket.on('data', (data) => this.#parse(data));
    socket.on('end', () => this.records.finish('the connection ended'));
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.records.finish('the connection closed');
        resolve();
      });
    });
  }

  #parse(data) {
    this.rest = Buffer.concat([this.rest, data]);
    for (;;) {
      if (this.rest.length < 8) return;
      const n = this.rest.readUInt16BE(4);
      const end = 8 + n + this.rest[6];
      if (this.rest.length < end) return;
      this.records.push({ type: this.rest[1], id: this.rest.readUInt16BE(2), content: this.rest.subarray(8, 8 + n) });
      this.rest = this.rest.subarray(end);
    }
  }

  send(...parts) {
    return new Promise((resolve) => this.socket.write(Buffer.concat(parts), resolve));
  }

  // The answer to request `id`: everything up to its END_REQUEST.
  async answer(id = 1, ms = 5000) {
    const out = [];
    for (;;) {
      const r = await this.records.next(`END_REQUEST of ${id}`, ms);
      if (r.id !== id) throw new Error(`a record of type ${r.type} for request ${r.id}`);
      if (r.type === T.STDOUT) out.push(r.content);
      if (r.type === T.END_REQUEST) {
        const bytes = Buffer.concat(out);
        const ended = { appStatus: r.content.readUInt32BE(0), protocolStatus: r.content[4], nRecords: out.length };
        return bytes.length > 0 ? { ...parseCgi(bytes), ...ended } : ended;
      }
    }
  }

  async fetch(options = {}) {
    await this.send(request(options));
    return this.answer(options.id ?? 1);
  }

  // As a web server that dies, or gives the request up.
  close() {
    this.socket.destroy();
  }

  // The other side closes.
  ended(ms = 5000) {
    return within(ms, 'the end of the connection', this.closed);
  }
}

// ---- the program

export class Responder {
  // `set`: configuration. `fd`: a listening net.Server whose descriptor becomes fd 0 or 3. `wrap`: words before the command.
  static async start({ set = {}, wrap = [], env = {}, stdin = 'ignore', more = [], target } = {}) {
    const r = new Responder();
    r.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'siolite-fcgi-'));
    r.db = path.join(r.folder, 'siolite.db');
    r.target = target ?? path.join(r.folder, 'fcgi.sock');
    const all = { database: r.db, ...(target === undefined ? { fcgi_listen: r.target } : {}), ...set };
    r.args = ['--config', '/dev/null', ...Object.entries(all).flatMap(([key, value]) => ['--set', `${key}=${value}`])];
    r.spawn = { wrap, env, stdin, more };
    await r.run();
    return r;
  }

  async run() {
    const { wrap, env, stdin, more } = this.spawn;
    const words = ['setpriv', '--pdeathsig', 'KILL', ...wrap, PROGRAM, ...this.args];
    this.child = spawn(words[0], words.slice(1), { stdio: [stdin, 'inherit', 'pipe', ...more], env: { ...process.env, ...env } });
    this.log = '';
    this.child.stderr.setEncoding('utf8').on('data', (text) => (this.log += text));
    this.ended = new Promise((resolve) => this.child.on('close', (code, signal) => resolve(signal ?? code)));
    await until('siolite.fcgi to start', () => {
      if (this.child.exitCode !== null || this.child.signalCode !== null) throw new Error(`it ended: ${this.log}`);
      return this.log.includes('process.start');
    });
  }

  get pid() {
    return this.child.pid;
  }

  open() {
    return Connection.open(this.target);
  }

  // One request over a connection of its own, as most web servers do.
  async fetch(options) {
    const c = await this.open();
    const answer = await c.fetch(options);
    await c.ended();
    return answer;
  }

  async signal(name) {
    process.kill(this.pid, name);
    return within(15000, `the end after ${name}`, this.ended, () => this.log);
  }

  async logged(pattern) {
    return until(`the log line ${pattern}`, () => this.log.match(pattern));
  }

  sql(text) {
    return new Promise((resolve, reject) => {
      execFile('sqlite3', ['-cmd', '.timeout 5000', this.db, text], (error, stdout) => (error ? reject(error) : resolve(stdout.trim())));
    });
  }

  // So many polls are held by this process.
  parked(n) {
    return until(`${n} parked polls`, async () => Number(await this.sql('SELECT count(*) FROM t_lease WHERE owner_id IS NOT NULL AND state = 0')) === n, 20000);
  }

  pss() {
    return Number(/^Pss:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${this.pid}/smaps_rollup`, 'utf8'))[1]) * 1024;
  }

  async stop() {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill('SIGKILL');
      await this.ended;
    }
    fs.rmSync(this.folder, { recursive: true, force: true });
    const wrong = this.log.split('\n').filter((line) => /^\S+ error |Assertion|runtime error: |ERROR: \w+Sanitizer/.test(line));
    if (wrong.length > 0) throw new Error(`siolite.fcgi logged:\n${wrong.join('\n')}`);
  }
}

// ---- a client behind the web server

export const engineUri = (query) => `/socket.io/?EIO=4&transport=polling${query}`;

// A new session; its id.
export async function handshake(responder) {
  const answer = await responder.fetch({ uri: engineUri('') });
  if (answer.status !== 200) throw new Error(`handshake: ${answer.status} ${answer.body}`);
  return JSON.parse(answer.body.slice(1)).sid;
}

// A poll that is on its way; the connection.
export async function poll(responder, id, options = {}) {
  const c = await responder.open();
  await c.send(request({ uri: engineUri(`&sid=${id}`), ...options }));
  return c;
}

export const post = (responder, id, body) => responder.fetch({ method: 'POST', uri: engineUri(`&sid=${id}`), body });
