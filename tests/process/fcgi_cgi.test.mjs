// SPDX-License-Identifier: MIT
//
// The same program as plain CGI: one process for each request.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { build } from '../e2e/lib/npm.mjs';
import { within } from '../e2e/lib/wait.mjs';
import { cgiParams, engineUri, parseCgi, PROGRAM } from './lib_fcgi.mjs';

let folder;
let program;
// CGI has no arguments: the configuration stands beside the program.
function install(name, settings) {
  const home = path.join(folder, name);
  const text = { database: path.join(home, 'siolite.db'), ...settings };
  fs.mkdirSync(home);
  fs.copyFileSync(PROGRAM, path.join(home, 'siolite.cgi'));
  fs.writeFileSync(path.join(home, 'siolite.conf'), Object.entries(text).map(([key, value]) => `${key} = ${value}\n`).join(''));
  return path.join(home, 'siolite.cgi');
}
before(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'siolite-cgi-'));
  program = install('plain', { max_payload: 10000, hold: '1s' });
});
after(() => fs.rmSync(folder, { recursive: true, force: true }));

function start(options = {}, { args = [], stdin = 'pipe', at = program } = {}) {
  const params = Object.fromEntries(Object.entries(cgiParams(options)).filter(([, value]) => value !== undefined));
  const child = spawn(at, args, { stdio: [stdin, 'pipe', 'pipe'], env: { PATH: process.env.PATH, ...params } });
  const out = [];
  child.stdout.on('data', (data) => out.push(data));
  child.log = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (child.log += text));
  child.stdin?.on('error', () => {}); // it need not be read
  child.ended = new Promise((resolve) => child.on('close', (code, signal) => resolve(signal ?? code)));
  child.answer = async (ms = 20000) => {
    const code = await within(ms, 'the end of siolite.cgi', child.ended, () => child.log);
    assert.doesNotMatch(child.log, / error |Sanitizer|runtime error/);
    const bytes = Buffer.concat(out);
    return bytes.length > 0 ? { code, log: child.log, ...parseCgi(bytes) } : { code };
  };
  return child;
}

// One request to its end.
function cgi(options = {}, more = {}) {
  const child = start(options, more);
  child.stdin?.end(options.body ?? '');
  return child.answer();
}

const handshake = async () => JSON.parse((await cgi({ uri: engineUri('') })).body.slice(1)).sid;

test('a session over CGI: handshake, POST, poll', async () => {
  const first = await cgi({ uri: engineUri('') });
  assert.equal(first.code, 0);
  assert.equal(first.headers.status, '200 OK');
  assert.equal(Number(first.headers['content-length']), first.raw.length);
  const id = JSON.parse(first.body.slice(1)).sid;
  const ok = await cgi({ method: 'POST', uri: engineUri(`&sid=${id}`), body: '40' });
  assert.deepEqual([ok.status, ok.body, ok.code], [200, 'ok', 0]);
  const poll = await cgi({ uri: engineUri(`&sid=${id}`) });
  assert.match(poll.body, /^40/);
});

test('a poll with nothing to send ends soon', async () => {
  const id = await handshake();
  await cgi({ method: 'POST', uri: engineUri(`&sid=${id}`), body: '40' });
  await cgi({ uri: engineUri(`&sid=${id}`) });
  const from = performance.now();
  const answer = await cgi({ uri: engineUri(`&sid=${id}`) });
  assert.equal(answer.body, '6');
  assert.ok(performance.now() - from < 6000);
});

test('a body that ends with CONTENT_LENGTH, its pipe still open', async () => {
  const id = await handshake();
  const child = start({ method: 'POST', uri: engineUri(`&sid=${id}`), body: '40' });
  child.stdin.write('40');
  assert.equal((await child.answer()).body, 'ok');
});

test('a body without CONTENT_LENGTH ends with the pipe', async () => {
  const id = await handshake();
  const params = { CONTENT_LENGTH: undefined, HTTP_TRANSFER_ENCODING: 'chunked' };
  const child = start({ method: 'POST', uri: engineUri(`&sid=${id}`), body: '40', params });
  child.stdin.write('4');
  child.stdin.end('0');
  assert.equal((await child.answer()).body, 'ok');
});

test('a body in a file', async () => {
  const id = await handshake();
  const file = path.join(folder, 'body');
  fs.writeFileSync(file, '40');
  const fd = fs.openSync(file, 'r');
  const child = start({ method: 'POST', uri: engineUri(`&sid=${id}`), body: '40' }, { stdin: fd });
  fs.closeSync(fd);
  assert.equal((await child.answer()).body, 'ok');
});

test('a body over max_payload', async () => {
  const id = await handshake();
  const answer = await cgi({ method: 'POST', uri: engineUri(`&sid=${id}`), body: `4${'x'.repeat(100000)}` });
  assert.equal(answer.headers.status, '413 Payload Too Large');
});

test('a body that is shorter than CONTENT_LENGTH is not handled', async () => {
  const id = await handshake();
  const child = start({ method: 'POST', uri: engineUri(`&sid=${id}`), params: { CONTENT_LENGTH: 10 } });
  child.stdin.end('40');
  assert.deepEqual(await child.answer(), { code: 0 });
});

test('a body that does not come ends the process', async () => {
  const id = await handshake();
  const child = start({ method: 'POST', uri: engineUri(`&sid=${id}`), params: { CONTENT_LENGTH: 10 } });
  assert.deepEqual(await child.answer(), { code: 0 });
});

test('stdin may be /dev/null', async () => {
  const answer = await cgi({ uri: engineUri('') }, { stdin: 'ignore' });
  assert.equal(answer.status, 200);
});

test('a query string is no command line', async () => {
  const answer = await cgi({ uri: '/socket.io/?--version' }, { args: ['--version'] });
  assert.equal(answer.status, 400);
  assert.deepEqual(JSON.parse(answer.body), { code: 0, message: 'Transport unknown' });
});

test('a web server that closes stdout ends a poll', async () => {
  const id = await handshake();
  await cgi({ method: 'POST', uri: engineUri(`&sid=${id}`), body: '40' });
  await cgi({ uri: engineUri(`&sid=${id}`) });
  const child = start({ uri: engineUri(`&sid=${id}`) });
  child.stdin.end();
  child.stdout.destroy();
  assert.equal(await within(5000, 'the end', child.ended), 0);
});

test('SIGTERM answers a poll', async () => {
  const id = await handshake();
  await cgi({ method: 'POST', uri: engineUri(`&sid=${id}`), body: '40' });
  await cgi({ uri: engineUri(`&sid=${id}`) });
  const child = start({ uri: engineUri(`&sid=${id}`) });
  child.stdin.end();
  child.kill('SIGTERM');
  const end = await within(5000, 'the end', child.ended);
  assert.ok(end === 0 || end === 'SIGTERM'); // before it has begun, the signal's own effect
});

// EIO-HEADERS-APP, EIO-ERROR-APP
test('an application adds headers, and hears of errors', async () => {
  const at = install('app', { app: path.join(build, 'apps/options.so'), hold: '1s' });
  const ask = (options) => cgi(options, { at });
  const first = await ask({ uri: engineUri(''), headers: { 'X-Enter': '1', 'X-Add': 'X-Own=a' } });
  assert.equal(first.headers['x-request'], 'GET polling 4 first');
  assert.deepEqual([first.headers['x-own'], first.headers['set-cookie']], ['a', 'two=2']); // the last one
  const id = JSON.parse(first.body.slice(1)).sid;
  const posted = await ask({ method: 'POST', uri: engineUri(`&sid=${id}`), body: '40', headers: { 'X-Add': 'X-Own=' } });
  assert.deepEqual([posted.body, posted.headers['x-request'], posted.headers['x-own']], ['ok', 'POST polling 4 later', '']);
  const denied = await ask({ uri: engineUri('&deny=no&tag=denied'), headers: { 'X-Enter': '1' } });
  assert.deepEqual([denied.status, denied.headers['set-cookie']], [403, 'two=2']);
  assert.match(denied.log, /^connection_error denied: 4 "no" - GET polling first from 127\.0\.0\.1, /m);
  for (const Origin of ['http://\x01', 'http://a\x7f']) {
    const answer = await ask({ uri: engineUri('&tag=origin'), headers: { Origin } });
    assert.equal(answer.body, '{"code":3,"message":"Bad request"}');
    assert.equal(answer.log.match(/^connection_error origin: 3 "Bad request" INVALID_ORIGIN GET polling first /gm).length, 1);
  }
});
