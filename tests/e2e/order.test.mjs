// SPDX-License-Identifier: MIT
//
// docs/examples/order.php and order.py, against a live server and the official client: their own rows and the emit are one
// transaction, by php-cgi behind lighttpd, by php and python3 from the command line, and by a WSGI server. And what docs/php.md says
// of the settings.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { onEnd, root } from './lib/npm.mjs';
import { connect, next } from './lib/official.mjs';
import { SqliteShell } from './lib/outsider.mjs';
import { freePorts, isListening, lighttpd, needsOwn, startServer } from './lib/server.mjs';
import { pause, until } from './lib/wait.mjs';
import { request } from './lib/wire.mjs';

const examples = path.join(root, 'docs/examples');

describe('docs/examples/order', { skip: needsOwn }, () => {
  let server, env, watcher, web;
  const programs = [];
  const run = (command, args) => promisify(execFile)(command, args, { env, timeout: 20_000 });
  const start = async (command, args, port) => {
    const log = fs.openSync(path.join(server.folder, 'shop.log'), 'a');
    const child = spawn('setpriv', ['--pdeathsig', 'TERM', command, ...args], { cwd: server.folder, env, stdio: ['ignore', log, log] });
    fs.closeSync(log);
    onEnd(() => child.kill());
    programs.push(child);
    await until(`${command} to listen`, () => isListening(port), 10_000);
  };
  const post = (url, form) => request(url, { method: 'POST', path: '/order.php', body: new URLSearchParams(form).toString(),
    headers: { 'Content-Type': 'application/x-www-form-urlencoded' } });
  const state = () => server.value(`SELECT (SELECT count(*) FROM shop_order) || ' orders, ' || group_concat(item || ' ' || n_left, ', ')
    FROM (SELECT * FROM shop_stock ORDER BY item)`);
  const nothingCame = async () => {
    await server.sql("INSERT INTO emit (event) VALUES ('end')");
    assert.deepEqual(await next(watcher, 'end'), []);
  };

  before(async () => {
    server = await startServer({ fcgi: 1, ws: 1 });
    env = { ...process.env, SHOP_DATABASE: server.db };
    const [php, python] = await freePorts(2);
    web = { 'order.php': `http://127.0.0.1:${php}`, 'order.py': `http://127.0.0.1:${python}` };
    fs.writeFileSync(path.join(server.folder, 'shop.conf'), `
server.modules = ( "mod_cgi", "mod_setenv" )
server.bind = "127.0.0.1"
server.port = ${php}
server.document-root = "${examples}"
setenv.set-environment = ( "SHOP_DATABASE" => "${server.db}" )
cgi.assign = ( ".php" => "${(await run('which', ['php-cgi'])).stdout.trim()}" )
`);
    await start(lighttpd(), ['-D', '-f', 'shop.conf'], php);
    await start('python3', [path.join(examples, 'order.py'), 'serve', String(python)], python);
    watcher = await connect(server.url, 'websocket');
  });
  after(async () => {
    for (const program of programs) program.kill();
    await server?.stop();
  });

  for (const name of ['order.php', 'order.py']) {
    const shell = name.endsWith('.php') ? 'php' : 'python3';

    it(`${name}: an order is a row, less in stock, and an event`, async () => {
      await server.sql('DROP TABLE IF EXISTS shop_order; DROP TABLE IF EXISTS shop_stock');
      const page = await request(web[name], { path: '/order.php' });
      assert.equal(page.status, 200, page.body);
      assert.match(page.body, /<option value="tea">tea, 10 left<\/option>/);
      const answer = await post(web[name], { item: 'tea', n: 2 });
      assert.equal(answer.status, 200, answer.body);
      assert.match(answer.body, /Order 1: thank you\..*tea, 8 left.*1: 2 tea/s);
      assert.deepEqual(await next(watcher, 'order'), [{ id: 1, item: 'tea', n: 2 }]);
      assert.equal((await run(shell, [path.join(examples, name), 'coffee', '5'])).stdout, 'order 2\n');
      assert.deepEqual(await next(watcher, 'order'), [{ id: 2, item: 'coffee', n: 5 }]);
      assert.equal(await state(), '2 orders, coffee 0, tea 8');
    });

    it(`${name}: what fails is taken back as a whole, and nobody hears of it`, async () => {
      const before = await state();
      for (const [form, said, status] of [
        [{ item: 'tea', n: 9 }, /Not ordered: .*CHECK constraint failed: n_left/, 409],
        [{ item: '<b>', n: 1 }, /Not ordered: there is no &lt;b&gt;/, 409],
        [{ item: 'tea', n: 'x' }, /How many\?/, 400], [{ item: 'tea', n: 0 }, /How many\?/, 400], [{}, /How many\?/, 400],
      ]) {
        const answer = await post(web[name], form);
        assert.equal(answer.status, status);
        assert.match(answer.body, said);
      }
      await assert.rejects(run(shell, [path.join(examples, name), 'tea', '9']), /CHECK constraint failed/);
      await nothingCame();
      assert.equal(await state(), before);
    });

    it(`${name}: it waits for who writes, and many orders at once are all there`, async () => {
      const other = new SqliteShell(server.db);
      await other.run('BEGIN IMMEDIATE');
      const waiting = post(web[name], { item: 'tea', n: 1 });
      await waiting.sent;
      await pause(300); // the page comes to its BEGIN meanwhile; if not, the test proves less, but does not fail
      await other.run('COMMIT');
      await other.close();
      assert.equal((await waiting).status, 200);
      const answers = await Promise.all(Array.from({ length: 10 }, () => post(web[name], { item: 'tea', n: 1 })));
      assert.deepEqual(answers.map((a) => a.status).sort(), [...Array(7).fill(200), ...Array(3).fill(409)]);
      const ids = [];
      for (let i = 0; i < 8; i++) ids.push((await next(watcher, 'order'))[0].id);
      assert.deepEqual(ids, [...ids].sort((a, b) => a - b), 'the pages hear of them in the order of the orders');
      await nothingCame();
      assert.match(await state(), /^10 orders, coffee 0, tea 0$/);
    });
  }

  it('docs/php.md: what goes wrong without the settings', async () => {
    const text = fs.readFileSync(path.join(root, 'docs/php.md'), 'utf8');
    const { stdout } = await run('sqlite3', [':memory:', 'SELECT sqlite_version()']);
    const isOld = stdout.split('.').map(Number)[1] < 41;
    const untrusted = () => run('sqlite3', ['-bail', '-cmd', 'PRAGMA trusted_schema = OFF', server.db, "INSERT INTO emit (event) VALUES ('x')"]);
    if (isOld) await assert.rejects(untrusted(), (error) => text.includes(error.stderr.match(/unsafe use of \w+\(\)/)[0]));
    const other = new SqliteShell(server.db);
    await other.run('BEGIN IMMEDIATE');
    await assert.rejects(run('sqlite3', ['-bail', server.db, "INSERT INTO emit (event) VALUES ('x')"]),
      (error) => /database is locked/.test(error.stderr) && text.includes('database is locked'));
    await other.run('ROLLBACK');
    // A transaction that has read before others wrote can't write any more, however long it waits.
    await other.run('BEGIN; SELECT count(*) FROM shop_order; SELECT 1');
    await server.sql("INSERT INTO emit (event) VALUES ('y')");
    await assert.rejects(other.run("INSERT INTO emit (event) VALUES ('x')"), /database is locked/);
  });
});
