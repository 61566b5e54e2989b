// SPDX-License-Identifier: MIT
//
// A disk that is full: what there is stays whole, new work is refused so that the client sees it, and when there is room
// again everything goes on by itself. The database lies on a file system of 3 MB in a machine of its own.

import assert from 'node:assert/strict';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { root, build } from '../e2e/lib/npm.mjs';
import { call, client, connect } from '../e2e/lib/official.mjs';
import { isListening } from '../e2e/lib/server.mjs';
import { until, within } from '../e2e/lib/wait.mjs';
import { Machine, needsRoot } from './lib_machine.mjs';

const freePort = () => new Promise((resolve) => {
  const server = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

describe('a full disk', { skip: needsRoot }, () => {
  let machine, url, log = '';
  before(async () => {
    machine = await Machine.start({ share: path.resolve(root, build) });
    await machine.ok('mkdir -p /data && mount -t tmpfs -o size=3M none /data && install -d -o nobody /data/siolite');
    const port = await freePort();
    const program = machine.start(['/share/siolite-ws', '--set', 'database=/data/siolite/siolite.db', '--set', `ws_listen=127.0.0.1:${port}`,
      '--set', 'app=/share/apps/conformance.so', '--set', 'recovery=60s', '--set', 'ping_interval=1s'], { user: 'nobody' });
    program.stderr.on('data', (chunk) => { log += chunk; });
    await until('the sidecar to listen', () => isListening(port));
    url = `http://127.0.0.1:${port}`;
  });
  after(() => machine?.stop());

  // Until nothing more fits; root's files count like everybody's on this file system.
  const fill = () => machine.run('dd if=/dev/zero of=/data/full bs=4k');
  const room = () => machine.ok('rm /data/full');
  const sql = async (text) => (await machine.ok(`sqlite3 /data/siolite/siolite.db "${text}"`)).trim();

  it('refuses what is new, and the client sees it', async () => {
    const socket = await connect(url, 'websocket');
    assert.deepEqual(await call(socket, 'message-with-ack', 'kept'), 'kept');
    await call(socket, 'join', 'room');
    await fill();
    // The WAL has pages that it can use again; then none.
    const refused = within(20_000, 'the end of who wants more than fits', socket.ended);
    const more = setInterval(() => socket.emit('message', 'x'.repeat(50_000)), 5);
    try {
      assert.match(await refused, /^transport (close|error)$/);
    } finally {
      clearInterval(more);
    }
    const late = client(url, 'websocket', { timeout: 2000 });
    await assert.rejects(within(10_000, 'a refusal', late.ready), /websocket error|timeout|xhr/);
    assert.match(log, / error .*(full|disk)/);
    assert.equal(await sql('PRAGMA integrity_check'), 'ok');
    assert.equal(await sql("SELECT count(*) FROM t_room WHERE name = 'room'"), '1');
  });

  it('goes on by itself when there is room', async () => {
    await room();
    const socket = await until('a client to get in', async () => {
      try {
        return await connect(url, 'websocket');
      } catch {
        return undefined;
      }
    }, 15_000);
    for (let i = 0; i < 20; i++) assert.equal((await call(socket, 'message-with-ack', 'y'.repeat(10_000))).length, 10_000);
    assert.equal(await sql('PRAGMA integrity_check'), 'ok');
    socket.close();
  });
});
