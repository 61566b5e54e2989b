// SPDX-License-Identifier: MIT
//
// An application in SQL where each request is a process (CGI), and a file that is wrong.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { cgiParams, engineUri, parseCgi, PROGRAM } from './lib_fcgi.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
let folder;
before(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'siolite-sql-'));
  fs.copyFileSync(PROGRAM, path.join(folder, 'siolite.cgi'));
  fs.copyFileSync(path.join(root, 'tests/apps/zoo.sql'), path.join(folder, 'zoo.sql'));
  fs.writeFileSync(path.join(folder, 'siolite.conf'), 'database = siolite.db\napp = zoo.sql\nhold = 0\n');
});
after(() => fs.rmSync(folder, { recursive: true, force: true }));

const run = (program, args = [], { env = process.env, input = '' } = {}) => new Promise((resolve) => {
  const child = execFile(program, args, { timeout: 20000, env, encoding: 'buffer' }, (error, stdout, stderr) =>
    resolve({ code: error ? error.code ?? error.signal : 0, stdout, stderr: stderr.toString() }));
  child.stdin.on('error', () => {}); // it need not be read
  child.stdin.end(input);
});

async function cgi(options) {
  const env = { PATH: process.env.PATH, ...cgiParams(options) };
  const { code, stdout, stderr } = await run(path.join(folder, 'siolite.cgi'), [], { env, input: options.body ?? '' });
  return { code, stderr, ...(stdout.length > 0 && parseCgi(stdout)) };
}
const post = async (id, ...packets) => {
  const answer = await cgi({ method: 'POST', uri: engineUri(`&sid=${id}`), body: packets.join('\x1e') });
  assert.deepEqual([answer.status, answer.body], [200, 'ok']);
};
const poll = async (id) => (await cgi({ uri: engineUri(`&sid=${id}`) })).body.split('\x1e');
const value = async (sql) => (await run('sqlite3', [path.join(folder, 'siolite.db'), sql])).stdout.toString().trim();

test('a session over CGI: refused, let in, an event, its end', async () => {
  const id = JSON.parse((await cgi({ uri: engineUri('') })).body.slice(1)).sid;
  await post(id, '40{"refuse":"not you"}');
  assert.deepEqual(await poll(id), ['44{"message":"not you"}']);
  await post(id, '40{"user":"ada","room":"a"}', '421["note","x"]', '422["abort"]', '423["note","y"]');
  const [reply, ...rest] = await poll(id);
  assert.match(reply, /^40\{"sid":"/);
  assert.deepEqual(rest, ['42["auth",{"user":"ada","room":"a"}]', '431["kept"]', '433["kept"]']);
  await post(id, '41');
  const { sid } = JSON.parse(reply.slice(2));
  assert.equal(await value('SELECT group_concat(what, char(10)) FROM seen'),
    `x\ny\n${JSON.stringify([sid, '/', 'ada', 'client namespace disconnect', ['a']])}`);
  assert.equal(await value('SELECT event || error FROM app_error ORDER BY error_id DESC LIMIT 1'), 'abortas it was asked to');
});

test('a file that is wrong starts no program, and leaves the old one', async () => {
  const file = path.join(folder, 'wrong.sql');
  fs.writeFileSync(file, 'CREATE TABLE half (done);\n\nCREATE TABEL x (y);\n');
  const { code, stderr } = await run(PROGRAM, ['--set', `database=${folder}/siolite.db`, '--set', `app=${file}`,
    '--set', `fcgi_listen=${folder}/f.sock`]);
  assert.equal(code, 1);
  assert.match(stderr, /wrong\.sql:3: near \\?"TABEL\\?": syntax error/);
  assert.equal(await value(`SELECT count(*) FROM sqlite_schema WHERE name IN ('half', 'zoo_who')`), '1');
});
