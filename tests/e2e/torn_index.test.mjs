// SPDX-License-Identifier: MIT
//
// While the head of the WAL-index is being written, nothing can be read; mostly that takes
// some nanoseconds. Here somebody tears it again and again, so that every place that reads
// finds it so; whatever meets it waits and goes on, and nothing is lost, done twice, or said
// to be of another namespace.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { call, connect, freshNsp, next, plain } from './lib/official.mjs';
import * as old from './lib/old.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { within } from './lib/wait.mjs';
import { Peer } from './lib/wire.mjs';

const RUN_MS = 1500;
const CHANGE = 8; // where the first copy of the head counts commits (SQLite's walformat.html)

let server;
before(async () => {
  if (!needsOwn) server = await startServer({ set: { recovery: '60s', cleanup_nsp: 'on' } });
});
after(() => server?.stop());

// Tears it after each event of this loop; the next transaction mends it.
function tearing() {
  const fd = fs.openSync(`${server.db}-shm`, 'r+');
  const word = Buffer.alloc(4);
  let n = 0;
  const timer = setInterval(() => {
    fs.readSync(fd, word, 0, 4, CHANGE);
    word.writeUInt32LE((word.readUInt32LE() + 1) >>> 0);
    fs.writeSync(fd, word, 0, 4, CHANGE);
    n++;
  }, 1);
  return () => {
    clearInterval(timer);
    fs.closeSync(fd);
    return n;
  };
}

// Comes, says something, is lost, comes back, leaves; each time in a namespace that no
// process knows yet.
async function visit(mode, i) {
  const nsp = freshNsp();
  const url = server.entries[i % server.entries.length];
  const socket = await connect(url, mode, { nsp });
  await call(socket, 'join', 'room');
  assert.deepEqual(
    plain(await call(socket, 'message-with-ack', { b: Buffer.from([i & 255, 2]) })),
    plain({ b: Buffer.from([i & 255, 2]) }),
  );
  assert.deepEqual(await call(socket, 'rooms'), ['room']);
  const who = await call(socket, 'who');
  assert.deepEqual([who.nsp, who.query.EIO], [nsp, '4']);
  const { id } = socket;
  socket.io.engine.close();
  await within(5000, `the end of the ${mode} connection`, socket.ended);
  const isBack = new Promise((resolve) => socket.once('connect', resolve));
  socket.connect();
  await within(5000, `the ${mode} client to come back`, isBack);
  assert.equal(socket.id, id);
  assert.equal(socket.recovered, true);
  assert.equal((await next(socket, 'auth')).length, 2); // and its offset
  socket.emit('echo', Buffer.from([7]), i);
  const [bytes, number] = await next(socket, 'echo');
  assert.deepEqual([...bytes, number], [7, i]);
  socket.close();
}

async function visitOld(mode, i) {
  const socket = await old.connect('2.5.0', server.entries[i % 2], mode);
  const [back] = await old.call(socket, 'message-with-ack', Buffer.from([i & 255]));
  assert.deepEqual([...Buffer.from(back)], [i & 255]);
  socket.close();
}

async function visitByHand(transport, i) {
  const peer = await Peer.connect(transport, server.entries);
  const bytes = Buffer.from([i & 255]);
  await peer.send('51-["echo",{"_placeholder":true,"num":0}]', bytes);
  for (;;) {
    const packet = await peer.next('the echo');
    if (String(packet).startsWith('51-["echo"')) break;
  }
  assert.deepEqual(await peer.next('its attachment'), bytes);
  await peer.close();
}

describe('a head of the WAL-index that cannot be read', { skip: needsOwn }, () => {
  it('is waited for, everywhere', async () => {
    const stop = tearing();
    const end = Date.now() + RUN_MS;
    const guests = [
      (i) => visit('polling', i),
      (i) => visit('websocket', i),
      (i) => visit('upgrade', i),
      (i) => visitOld('polling', i),
      (i) => visitOld('websocket', i),
      (i) => visitByHand('websocket', i),
    ];
    let n = 0;
    let nTorn;
    try {
      await Promise.all(
        guests.map(async (guest) => {
          for (let i = 0; Date.now() < end || i < 3; i++, n++) await guest(i);
        }),
      );
    } finally {
      nTorn = stop();
    }
    assert.ok(nTorn > 200 && n >= 12, `torn ${nTorn} times, ${n} visits`);
  });
});
