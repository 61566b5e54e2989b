// SPDX-License-Identifier: MIT
//
// What grows must come back: the log and the WAL stay bounded under continuous load, under a
// reader of somebody else that stays open, and after it. With SIOLITE_LONG that reader stays
// for a minute.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { needsOwn, startServer } from './lib/server.mjs';
import { call, connect } from './lib/official.mjs';
import { SqliteShell } from './lib/outsider.mjs';
import { slowness, until } from './lib/wait.mjs';

const READER_MS = process.env.SIOLITE_LONG ? 60_000 : 10_000;
const WAL_MAX = 64 * 1024 * 1024; // journal_size_limit
const WAL_EACH = 40_000; // for a broadcast of 1 kB, if each were a commit of its own
const LOG_MAX = 20_000; // rows that may wait for a slice of pruning
const LOG_REST = 2000; // what pruning leaves: it keeps the newest 1000 rows

let server, sockets, received = 0;
before(async () => {
  if (needsOwn) return;
  server = await startServer();
  sockets = await Promise.all(
    ['websocket', 'polling', 'websocket'].map((mode) => connect(server.url, mode)),
  );
  for (const socket of sockets) socket.on('bcast', () => received++);
});
after(async () => {
  for (const socket of sockets ?? []) socket.close();
  await server?.stop();
});

const walBytes = () => fs.statSync(`${server.db}-wal`).size;
const logRows = () => server.value('SELECT count(*) FROM t_packet');

/** Broadcasts of 1 kB, 64 in flight, until it is told to stop; returns their number. */
function load(socket) {
  const text = 'x'.repeat(1000);
  let isOver = false, n = 0;
  const done = (async () => {
    while (!isOver) {
      for (let i = 0; i < 64; i++, n++) socket.emit('bcast', text);
      await call(socket, 'message-with-ack', n);
    }
    return n;
  })();
  return () => {
    isOver = true;
    return done;
  };
}

describe('what grows', { skip: needsOwn }, () => {
  it('the log and the WAL stay bounded under continuous load', async () => {
    const stop = load(sockets[0]);
    let most = 0;
    await until(
      '20000 broadcasts, and never too many rows',
      async () => {
        most = Math.max(most, await logRows());
        return received >= 3 * 20_000;
      },
      60_000 * slowness,
    );
    const n = await stop();
    assert.ok(most < LOG_MAX, `${most} rows in the log, ${n} were sent`);
    assert.ok(walBytes() <= WAL_MAX, `${walBytes()} bytes of WAL`);
    await until('the rest to be pruned', async () => (await logRows()) < LOG_REST, 20_000);
  });

  it('a reader that stays open holds the WAL alone, and only as long as it stays', async (t) => {
    const shell = new SqliteShell(server.db);
    await shell.run('BEGIN');
    await shell.run('SELECT count(*) FROM t_packet');
    const stop = load(sockets[2]);
    const end = Date.now() + READER_MS;
    const [wal, first] = [walBytes(), received];
    let most = 0;
    await until(
      'the time of the reader to be over',
      async () => {
        most = Math.max(most, await logRows());
        return Date.now() >= end;
      },
      READER_MS + 5000,
    );
    assert.ok(most < LOG_MAX, `${most} rows in the log while somebody reads`);
    // It can't begin anew, but grows by what is written only.
    const [grown, n] = [walBytes() - wal, (received - first) / 3];
    t.diagnostic(`${n} broadcasts, ${most} rows at most, the WAL has grown by ${Math.round(grown / n)} bytes for each`);
    assert.ok(grown < n * WAL_EACH, `${n} broadcasts, and ${grown} bytes more of WAL`);
    await shell.run('COMMIT');
    const before = received;
    await until('the WAL to be small again', () => walBytes() <= WAL_MAX, 30_000 * slowness);
    await until('events to go on', () => received > before, 5000);
    await stop();
    await until('the log to be pruned', async () => (await logRows()) < LOG_REST, 20_000);
    await shell.close();
    assert.equal(await server.value('PRAGMA integrity_check'), 'ok');
  });
});
