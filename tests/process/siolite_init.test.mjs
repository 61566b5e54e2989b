// SPDX-License-Identifier: MIT
//
// The command line by itself: its arguments, its exit statuses, and the database that it makes.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

const program = `${process.env.SIOLITE_BUILD ?? 'build/release'}/siolite`;
const run = (...args) => new Promise((resolve) => {
  execFile(program, args, { timeout: 10000 }, (error, stdout, stderr) => {
    resolve({ code: error ? error.code ?? error.signal : 0, stdout, stderr });
  });
});
const folder = (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'siolite-ctl-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
};

test('--help, --version and --config as in every program', async (t) => {
  assert.match((await run('--version')).stdout, /^siolite \d+\.\d+\.\d+\n$/);
  const help = await run('--help');
  assert.equal(help.code, 0);
  assert.match(help.stdout, /\n {2}init +\S/);
  assert.match((await run('init', '--help')).stdout, /^usage: siolite init/);
  const file = path.join(folder(t), 'siolite.conf');
  fs.writeFileSync(file, 'frobnicate = yes\n');
  const bad = await run('init', '--config', file);
  assert.equal(bad.code, 1);
  assert.match(bad.stderr, /siolite.conf:1: frobnicate: unknown option/);
});

test('what the caller could have known is exit status 2, and nothing is printed', async () => {
  for (const [args, text] of [
    [[], /no command is given/],
    [['frobnicate'], /frobnicate: no such command/],
    [['--frobnicate'], /--frobnicate: unknown option; allowed: --config, /],
    [['init', '--frobnicate'], /siolite init: --frobnicate: unknown option/],
    [['init', 'more'], /too many arguments/],
    [['init', '--database'], /--database: needs a value: FILE/],
    [['init', '--json=yes'], /--json: has no value/],
  ]) {
    const { code, stdout, stderr } = await run(...args);
    assert.deepEqual([code, stdout], [2, ''], args.join(' '));
    assert.match(stderr, text);
  }
});

test('init makes a database, and a second one leaves it as it is', async (t) => {
  const db = path.join(folder(t), 'it is.db');
  assert.deepEqual(await run('init', '--database', db), { code: 0, stdout: `${db}: made\n`, stderr: '' });
  assert.deepEqual(await run('--database', db, 'init', '--json'),
    { code: 0, stdout: `${JSON.stringify({ database: db, is_new: false })}\n`, stderr: '' });
  const config = path.join(path.dirname(db), 'siolite.conf');
  fs.writeFileSync(config, 'database = it is.db\n');
  assert.equal((await run('init', '--config', config)).stdout, `${db}: up to date\n`);
  assert.equal((await run('init', '--set', `database=${db}`)).stdout, `${db}: up to date\n`);
});

test('init refuses what is no database of siolite', async (t) => {
  const file = path.join(folder(t), 'letter.txt');
  fs.writeFileSync(file, 'Dear reader, this is no database at all, but a letter. '.repeat(30));
  const before = fs.readFileSync(file);
  const { code, stderr } = await run('init', '--database', file);
  assert.equal(code, 1);
  assert.match(stderr, /letter\.txt: file is not a database/);
  assert.deepEqual(fs.readFileSync(file), before);
});
