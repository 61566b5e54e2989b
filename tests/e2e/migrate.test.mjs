// SPDX-License-Identifier: MIT
//
// A database of an older schema is brought up to date by the first program that opens it, while others read it: what is in
// it stays. And databases that are not to be opened are left as they are.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { build, root } from './lib/npm.mjs';
import { call, connect } from './lib/official.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { SqliteShell } from './lib/outsider.mjs';

const APPLICATION_ID = fs.readFileSync(path.join(root, 'store/open.h'), 'utf8').match(/STORE_APPLICATION_ID (\w+)/)[1];
const first = fs.readFileSync(path.join(root, 'schema/migrations/0001_initial.sql'), 'utf8');
const newest = fs.readdirSync(path.join(root, 'schema/migrations')).length;

describe('a database', { skip: needsOwn }, () => {
  let folder, file;
  const sqlite = (sql) => execFileSync('sqlite3', [file], { input: sql }).toString().trim();
  before(() => {
    folder = path.join(root, 'build/e2e', `migrate-${process.pid}`);
    fs.mkdirSync(folder, { recursive: true });
    file = path.join(folder, 'old.db');
  });
  after(() => fs.rmSync(folder, { recursive: true, force: true }));

  it('of an older schema is brought up to date while it is read; what is in it stays', async () => {
    sqlite(`PRAGMA journal_mode = WAL; BEGIN; ${first}
      INSERT INTO t_nsp (nsp_id, name) VALUES (77, '/old');
      INSERT INTO t_room (room_id, nsp_id, name, idle_seq) VALUES (55, 77, 'kept', 9);
      INSERT INTO t_packet (seq, kind, nsp_id, to_kind, to_id, made_ms, body) VALUES (9, 2, 77, 0, 77, 1, '["old"]');
      PRAGMA user_version = 1; PRAGMA application_id = ${Number(APPLICATION_ID)}; COMMIT;`);
    const reader = new SqliteShell(file);
    let server;
    try {
      await reader.run('BEGIN; SELECT count(*) FROM t_nsp;');
      server = await startServer({ set: { database: file }, fcgi: 1, ws: 1 });
      const socket = await connect(server.url, 'upgrade');
      assert.equal(await call(socket, 'message-with-ack', 'new'), 'new');
      socket.close();
      assert.equal(sqlite('PRAGMA user_version'), String(newest));
      assert.equal(sqlite("SELECT count(*) FROM t_nsp WHERE nsp_id = 77 AND name = '/old'"), '1');
      assert.ok(Number(sqlite('SELECT max(seq) FROM t_packet')) > 9, 'the log goes on');
      assert.equal(sqlite('PRAGMA integrity_check'), 'ok');
      assert.equal(sqlite('SELECT count(*) FROM ban'), '0'); // a view of the new schema
    } finally {
      reader.kill();
      await server?.stop();
    }
  });

  it('of a newer schema, or of another program, is refused and left as it is', () => {
    for (const [name, sql, text] of [
      ['newer.db', `CREATE TABLE x (y); PRAGMA user_version = 999; PRAGMA application_id = ${Number(APPLICATION_ID)}`, /made by a newer siolite/],
      ['other.db', 'CREATE TABLE x (y)', /not a database of siolite/],
    ]) {
      file = path.join(folder, name);
      sqlite(sql);
      const before = fs.readFileSync(file);
      const { status, stderr } = spawnSync(path.join(build, 'siolite.fcgi'), ['--set', `database=${file}`, '--set', `fcgi_listen=${folder}/f.sock`], { timeout: 10_000 });
      assert.equal(status, 1);
      assert.match(stderr.toString(), text);
      assert.deepEqual(fs.readFileSync(file), before);
    }
  });
});
