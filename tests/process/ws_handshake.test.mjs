// SPDX-License-Identifier: MIT
//
// siolite-ws: from the connection to the open WebSocket, and what is answered instead.
import assert from "node:assert/strict";
import net from "node:net";
import { after, before, test } from "node:test";
import { HAS_REAL_MEMORY, Sidecar, frameBytes, rawRequest, within } from "./lib_ws.mjs";

let server;
before(async () => (server = await Sidecar.start()));
after(async () => assert.deepEqual(await server.stop(), { code: 0, signal: null }));

const UPGRADE =
  "Host: localhost\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const OURS = "/socket.io/?EIO=4&transport=websocket";

test("the open packet is the first frame", async () => {
  const peer = await server.connect();
  const m = await peer.message();
  assert.match(m.text, /^0\{"sid":"/);
  assert.equal(m.n_frames, 1);
  peer.destroy();
});

test("frames in the segment of the request are not lost", async () => {
  const early = Buffer.concat([frameBytes({ payload: "40" }), frameBytes({ payload: '42["message","early"]' })]);
  const peer = await server.connect({ early });
  await peer.until(/^40\{/);
  await peer.until(/^42\["message-back","early"\]$/);
  peer.destroy();
});

test("a request that comes byte by byte is answered", async () => {
  const socket = net.connect({ port: server.port, host: "127.0.0.1" });
  socket.setNoDelay(true);
  let text = "";
  socket.setEncoding("latin1");
  const open = new Promise((resolve) => socket.on("data", (d) => (text += d).includes("0{") && resolve()));
  for (const c of `GET ${OURS} HTTP/1.1\r\n${UPGRADE}\r\n`)
    await new Promise((resolve) => socket.write(c, () => setImmediate(resolve)));
  await within(open, "the open packet");
  assert.match(text, /^HTTP\/1\.1 101 /);
  assert.match(text, /Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/);
  socket.destroy();
});

test("4 kB and 12 kB of cookies are no problem, 20 kB are refused with 431", async () => {
  for (const n of [4096, 12288]) {
    const peer = await server.connect({ headers: { Cookie: "a=" + "x".repeat(n) } });
    await peer.join();
    peer.destroy();
  }
  const answer = await rawRequest(server.port, `GET ${OURS} HTTP/1.1\r\n${UPGRADE}Cookie: ${"x".repeat(20000)}\r\n\r\n`);
  assert.match(answer, /^HTTP\/1\.1 431 /);
});

test("a query with escapes that are none, with %00 and 200 parameters is accepted", async () => {
  const url = `${OURS}&a=%ZZ&b=%00&c=%&${Array.from({ length: 200 }, (_, i) => `p${i}=${i}`).join("&")}`;
  const peer = await server.connect({ url });
  await peer.join();
  peer.destroy();
});

test("the first subprotocol offered is chosen, none if none", async () => {
  const peer = await server.connect({ headers: { "Sec-WebSocket-Protocol": "chat, superchat" } });
  assert.match(peer.head, /Sec-WebSocket-Protocol: chat(\r\n|$)/);
  peer.destroy();
  const other = await server.connect();
  assert.doesNotMatch(other.head, /Protocol:/);
  other.destroy();
});

test("permessage-deflate is not negotiated while it is off", async () => {
  const peer = await server.connect({ headers: { "Sec-WebSocket-Extensions": "permessage-deflate" } });
  assert.doesNotMatch(peer.head, /Extensions:/);
  peer.write({ rsv: 4, payload: "40" });
  assert.equal(await peer.closeCode(), 1002);
});

for (const [what, request, expected] of [
  ["GET transport=websocket without upgrade", `GET ${OURS} HTTP/1.1\r\nHost: a\r\n\r\n`, /^HTTP\/1\.1 400 [^]*\{"code":3,"message":"Bad request"\}$/],
  ["polling", "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n", /^HTTP\/1\.1 400 [^]*\{"code":0,"message":"Transport unknown"\}$/],
  ["another path", "GET /other/ HTTP/1.1\r\nHost: a\r\n\r\n", /^HTTP\/1\.1 404 [^]*Not Found$/],
  ["an upgrade for another path", `GET /other HTTP/1.1\r\n${UPGRADE}\r\n`, /^HTTP\/1\.1 404 /],
  ["a POST with a body", "POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + "x".repeat(100000), /^HTTP\/1\.1 400 /],
  ["a bad key", `GET ${OURS} HTTP/1.1\r\n${UPGRADE.replace("dGhl", "dG")}\r\n`, /^HTTP\/1\.1 400 [^]*Missing or invalid Sec-WebSocket-Key header$/],
  ["a bad version", `GET ${OURS} HTTP/1.1\r\n${UPGRADE.replace(": 13", ": 7")}\r\n`, /^HTTP\/1\.1 400 [^]*Sec-WebSocket-Version: 13, 8\r\n[^]*Missing or invalid Sec-WebSocket-Version header$/],
  ["no HTTP", "hello\r\n\r\n", /^HTTP\/1\.1 400 /],
  ["a folded header", "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", /^HTTP\/1\.1 400 /],
  ["a NUL in a header", "GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", /^HTTP\/1\.1 400 /],
])
  test(`${what}: a clear answer, then the end`, async () => {
    assert.match(await rawRequest(server.port, request, { keepOpen: true }), expected);
  });

test("a client that goes away in the middle of its request harms nobody", async () => {
  for (const part of ["", "GET /socket.io/", `GET ${OURS} HTTP/1.1\r\nHost:`])
    assert.equal(await rawRequest(server.port, part), "");
  const peer = await server.connect();
  await peer.join();
  peer.destroy();
});

test("a client that resets right after its request harms nobody", async () => {
  for (let i = 0; i < 200; i++) {
    await new Promise((resolve) => {
      const socket = net.connect({ port: server.port, host: "127.0.0.1" }, () =>
        socket.write(`GET ${OURS} HTTP/1.1\r\n${UPGRADE}\r\n`, () => socket.resetAndDestroy()),
      );
      socket.on("error", () => {});
      socket.on("close", resolve);
    });
  }
  const peer = await server.connect();
  await peer.join();
  peer.destroy();
});

test("2000 connects at once: all are served, and none is mixed up with another", async () => {
  const peers = await Promise.all(
    Array.from({ length: 2000 }, async (_, i) => {
      const peer = await server.connect();
      await peer.join();
      peer.send(`42["message",${i}]`);
      await peer.until(new RegExp(`^42\\["message-back",${i}\\]$`));
      return peer;
    }),
  );
  assert.equal(new Set(peers.map((p) => p.open.sid)).size, 2000);
  for (const p of peers) p.destroy();
});

test("an idle connection takes at most 6 kB, all included", async () => {
  const own = await Sidecar.start();
  const open = (n) => Promise.all(Array.from({ length: n }, () => own.connect().then((p) => p.join())));
  const some = await open(10);
  const before = own.pss();
  const peers = await open(2000);
  const kb = (own.pss() - before) / 2000;
  console.log(`# ${kb.toFixed(2)} kB an idle connection`);
  if (HAS_REAL_MEMORY) assert.ok(kb <= 6, `${kb} kB`);
  for (const p of [...some, ...peers]) p.destroy();
  await own.stop();
});

const isLong = { skip: process.env.SIOLITE_LONG ? false : "SIOLITE_LONG is not set" };

test("a request that never ends is given up after 10 s", isLong, async () => {
  const start = performance.now();
  const socket = net.connect({ port: server.port, host: "127.0.0.1" });
  socket.write("GET /socket.io/?EIO=4 HTTP/1.1\r\n");
  await within(new Promise((resolve) => socket.on("close", resolve)), "the end", 15000);
  const seconds = (performance.now() - start) / 1000;
  assert.ok(seconds > 9 && seconds < 13, `${seconds} s`);
});
