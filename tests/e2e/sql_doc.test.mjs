// SPDX-License-Identifier: MIT
//
// docs/sql.md: its blocks are an application that does what the page says.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { build, root } from './lib/npm.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { call, client, next } from './lib/official.mjs';
import { until, within } from './lib/wait.mjs';

const page = fs.readFileSync(path.join(root, 'docs/sql.md'), 'utf8');
const blocks = [...page.matchAll(/^```sql\n([^]*?)^```$/gm)].map((match) => match[1]);
const find = (part) => {
  const block = blocks.find((text) => text.includes(part));
  assert.ok(block, `docs/sql.md has no block with ${part}`);
  return block;
};

describe('docs/sql.md', { skip: needsOwn }, () => {
  let server;
  let folder;
  const people = {};
  before(async () => {
    folder = fs.mkdtempSync(path.join(root, 'build/sql-doc-'));
    const app = path.join(folder, 'hello.sql');
    fs.writeFileSync(app, blocks.filter((text) => text.includes('CREATE ')).join('\n'));
    execFileSync(path.join(build, 'siolite'), ['app-check', app]);
    server = await startServer({ app });
    await until('the tables to be there', () =>
      server.value(`SELECT count(*) FROM sqlite_schema WHERE name = 'member_token'`));
    await server.sql(`INSERT INTO member_token VALUES ('a', 'ada'), ('b', 'bob')`);
  });
  after(async () => {
    await server?.stop();
    fs.rmSync(folder, { recursive: true, force: true });
  });

  it('who may come in', async () => {
    const refused = client(server.url, 'websocket', { auth: { token: 'x' } });
    const error = await within(5000, 'the refusal', refused.ready.catch((e) => e));
    assert.deepEqual([error.message, error.data], ['unknown token', { retry: false }]);
    people.ada = client(server.url, 'polling', { auth: { token: 'a' } });
    await within(5000, 'ada', people.ada.ready);
    people.bob = client(server.sidecars[1], 'websocket', { auth: { token: 'b' } });
    assert.deepEqual(await next(people.ada, 'came'), ['bob']);
  });

  it('an answer', async () => {
    const { ada } = people;
    for (const n of [1, 2]) {
      assert.deepEqual(
        await new Promise((resolve) => ada.emit('hello', 'world', (...got) => resolve(got))),
        ['Hello, world', n],
      );
    }
    ada.emit('hello', { not: 'a name' }, () => assert.fail('answered'));
  });

  it('rooms, and all but the sender', async () => {
    const { ada, bob } = people;
    for (const what of ['text', { deep: [1, null] }, Buffer.from([1, 2])]) {
      ada.emit('say', what);
      assert.deepEqual(await next(bob, 'said'), ['ada', what]);
    }
  });

  it('later', async () => {
    const done = call(people.bob, 'job', 'dig');
    await call(people.bob, 'hello', 'x');
    await server.sql(find('UPDATE job SET result'));
    assert.equal(await done, 'DIG');
  });

  it('questions', async () => {
    const { ada, bob } = people;
    const asked = (socket) => new Promise((resolve) =>
      socket.once('poll?', (what, answer) => resolve([what, answer])));
    const both = [asked(ada), asked(bob)];
    const result = new Promise((resolve) => ada.emit('poll', 'tea?', (...got) => resolve(got)));
    for (const [i, question] of both.entries()) {
      const [what, answer] = await within(5000, 'the question', question);
      assert.equal(what, 'tea?');
      answer(['yes', 'no'][i]);
      await next([ada, bob][i], 'poll?');
    }
    const [isAll, answers] = await within(5000, 'the result', result);
    assert.equal(isAll, 1);
    assert.deepEqual(answers.sort(), [['no'], ['yes']]);
  });

  it('a function, nearly', async () => {
    people.ada.emit('tell', 'bob', 'psst');
    assert.deepEqual(await next(people.bob, 'told'), ['ada: psst']);
  });

  it('a trigger is tried out in the shell', async () => {
    const rows = await server.sqlite(['-cmd', '.timeout 10000', server.db, find('BEGIN;\nINSERT INTO event')]);
    assert.equal(rows.trim().split('\n').at(-1), 'x:1|dig');
    assert.equal(await server.value(`SELECT count(*) FROM job WHERE event_id = 'x:1'`), 0);
    assert.deepEqual(await server.sql(find('FROM app_error')), []);
  });

  it('rooms of who has gone', async () => {
    people.ada.disconnect();
    assert.deepEqual(await next(people.bob, 'left'), ['ada', 'client namespace disconnect']);
    people.bob.close();
  });
});
