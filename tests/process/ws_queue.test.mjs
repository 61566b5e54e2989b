// SPDX-License-Identifier: MIT
//
// siolite-ws: what goes out to clients that read slowly, not at all, or are gone.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { HAS_REAL_MEMORY, OP, Sidecar } from "./lib_ws.mjs";

const QUEUE = 4 << 20;
let server;
before(async () => (server = await Sidecar.start({ max_queue: QUEUE, ring_bytes: "1M" })));
after(async () => assert.deepEqual(await server.stop(), { code: 0, signal: null }));

const joined = () => server.connect().then((peer) => peer.join());
const answer = (id, n) => `43${id}["${"a".repeat(n)}"]`;

/** Another client gets its echo: the loop is alive, and all that was sent before has been looked at. */
async function roundTrip(peer) {
  const text = `42["message",${Math.random()}]`;
  peer.send(text);
  await peer.until(new RegExp(text.replace("message", "message-back").replace(/[[\]]/g, "\\$&")));
}

test("three large writes to a client that does not read arrive whole once it reads", async () => {
  const peer = await joined();
  const other = await joined();
  peer.socket.pause();
  for (let i = 0; i < 3; i++) {
    peer.send(`42${i}["big",1000000]`);
    await roundTrip(other);
  }
  peer.write({ opcode: OP.ping, payload: "between" }); // its pong may stand between fragments
  await roundTrip(other);
  peer.socket.resume();
  for (let i = 0; i < 3; i++) {
    const m = await peer.message();
    assert.ok(m.text === answer(i, 1000000), `answer ${i} is whole`);
    assert.ok(m.n_frames > 1);
  }
  await roundTrip(peer);
  peer.destroy();
  other.destroy();
});

test("many small messages that waited arrive in order", async () => {
  const peer = await joined();
  const other = await joined();
  peer.socket.pause();
  peer.send(`420["big",1000000]`);
  peer.send(`421["big",1000000]`);
  peer.write(...Array.from({ length: 20000 }, (_, i) => ({ payload: `42["message",${i}]` })));
  await roundTrip(other);
  peer.socket.resume();
  for (const i of [0, 1]) assert.ok((await peer.message()).text === answer(i, 1000000));
  for (let i = 0; i < 20000; i++) assert.equal((await peer.message()).text, `42["message-back",${i}]`);
  peer.destroy();
  other.destroy();
});

// EIO-WS-QUEUE
test("a client whose queue exceeds max_queue is cut off, and its memory comes back", async () => {
  const other = await joined();
  const before = server.pss();
  for (let round = 0; round < 5; round++) {
    const peer = await joined();
    peer.socket.on("error", () => {});
    peer.socket.pause();
    const n = server.log.all.filter((line) => / ws\.slow /.test(line)).length;
    for (let i = 0; i < 30 && server.log.all.filter((line) => / ws\.slow /.test(line)).length === n; i++) {
      peer.send(`42${i}["big",1000000]`);
      await roundTrip(other);
    }
    await server.log.until(/ ws\.slow /);
    assert.ok(server.log.all.filter((line) => / ws\.slow /.test(line)).length > n);
    peer.socket.resume();
    await peer.ended();
  }
  const grown = server.pss() - before;
  if (HAS_REAL_MEMORY) assert.ok(grown < (2 * QUEUE) / 1024, `grew by ${grown} kB`);
  other.destroy();
});

test("resets with a full queue harm nobody and cost no CPU afterwards", async () => {
  const other = await joined();
  for (let round = 0; round < 20; round++) {
    const peer = await joined();
    peer.socket.on("error", () => {});
    peer.socket.pause();
    for (let i = 0; i < 4; i++) peer.send(`42${i}["big",1000000]`);
    await roundTrip(other);
    peer.socket.resetAndDestroy();
    await roundTrip(other);
  }
  const ticks = server.cpuTicks();
  const start = Date.now();
  let n = 0;
  while (Date.now() - start < 300) {
    await roundTrip(other);
    n++;
  }
  assert.ok(n > 100, `${n} round trips in 0.3 s`);
  assert.ok(server.cpuTicks() - ticks <= 31);
  other.destroy();
});

test("a client that ends its side while it is owed a lot is let go", async () => {
  const other = await joined();
  const peer = await joined();
  peer.socket.on("error", () => {});
  peer.socket.pause();
  for (let i = 0; i < 4; i++) peer.send(`42${i}["big",1000000]`);
  await roundTrip(other);
  peer.socket.end();
  await roundTrip(other);
  peer.socket.resume();
  await peer.ended();
  await roundTrip(other);
  other.destroy();
});

test("a broadcast reaches a thousand clients, those that read and those that do not", async () => {
  const peers = await Promise.all(Array.from({ length: 1000 }, joined));
  for (const p of peers.slice(0, 100)) p.socket.pause();
  for (let i = 0; i < 20; i++) peers[999].send(`42["bcast",${i},"${"y".repeat(1000)}"]`);
  for (const p of peers.slice(100))
    for (let i = 0; i < 20; i++) assert.ok((await p.until(/bcast/)).text.startsWith(`42["bcast",${i},`));
  for (const p of peers.slice(0, 100)) p.socket.resume();
  for (const p of peers.slice(0, 100))
    for (let i = 0; i < 20; i++) assert.ok((await p.until(/bcast/)).text.startsWith(`42["bcast",${i},`));
  for (const p of peers) p.destroy();
});

const isLong = { skip: process.env.SIOLITE_LONG ? false : "SIOLITE_LONG is not set" };

test("a connection that shall close is cut off when its client does not take the rest within 10 s", isLong, async () => {
  const own = await Sidecar.start({ max_queue: "64M" });
  const other = await own.connect().then((p) => p.join());
  const peer = await own.connect().then((p) => p.join());
  peer.socket.on("error", () => {});
  peer.socket.pause();
  // More than the kernel's buffers hold.
  for (let i = 0; i < 30; i++) peer.send(`42${i}["big",1000000]`);
  peer.send('42["disconnect-me",true]');
  await roundTrip(other);
  const start = performance.now();
  for (;;) {
    // Nothing is read here, so only a write can tell that the connection is gone.
    const isAlive = await new Promise((resolve) => peer.socket.write(Buffer.alloc(0), (e) => resolve(!e)));
    await roundTrip(other);
    if (!isAlive || peer.socket.destroyed || performance.now() - start > 15000) break;
    peer.write({ opcode: OP.pong });
  }
  const seconds = (performance.now() - start) / 1000;
  assert.ok(seconds > 8 && seconds < 14, `${seconds} s`);
  other.destroy();
  assert.deepEqual(await own.stop(), { code: 0, signal: null });
});
