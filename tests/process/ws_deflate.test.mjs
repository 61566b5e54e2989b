// SPDX-License-Identifier: MIT
//
// siolite-ws: permessage-deflate.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { deflateRawSync, inflateRawSync, constants } from "node:zlib";
import { HAS_REAL_MEMORY, OP, Sidecar } from "./lib_ws.mjs";

const RSV1 = 4;
const TAIL = Buffer.from([0, 0, 0xff, 0xff]);
let server;
before(async () => (server = await Sidecar.start({ ws_compression: 256 })));
after(async () => assert.deepEqual(await server.stop(), { code: 0, signal: null }));

const connect = (offer = "permessage-deflate") =>
  server.connect({ headers: { "Sec-WebSocket-Extensions": offer } });
const joined = (offer) => connect(offer).then((peer) => peer.join());
const deflate = (text) =>
  deflateRawSync(text, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
const inflate = (data) =>
  inflateRawSync(Buffer.concat([data, TAIL]), { finishFlush: constants.Z_SYNC_FLUSH }).toString();
const extension = (peer) => /Sec-WebSocket-Extensions: (.*?)(\r\n|$)/.exec(peer.head)?.[1];
const both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/** The text of the next event that is not a greeting. */
async function event(peer) {
  for (;;) {
    const m = await peer.message();
    if (m.close) throw new Error(`closed with ${m.close}`);
    const text = m.rsv === RSV1 ? inflate(m.payload) : m.text;
    if (text !== '42["auth",{}]') return { ...m, text };
  }
}

for (const [offer, answer] of [
  ["permessage-deflate", both],
  ["permessage-deflate; client_max_window_bits", both],
  ["permessage-deflate; server_no_context_takeover", both],
  ["permessage-deflate; client_no_context_takeover; client_max_window_bits=10", both],
  ["permessage-deflate; server_max_window_bits=15", `${both}; server_max_window_bits=15`],
  ["permessage-deflate; server_max_window_bits=10", undefined],
  ["permessage-deflate; server_max_window_bits=10, permessage-deflate", both],
  ["permessage-deflate; unheard_of", undefined],
  ["x-webkit-deflate-frame", undefined],
  ["bbf-usp-protocol, permessage-deflate", both],
])
  test(`the offer "${offer}"`, async () => {
    const peer = await joined(offer);
    assert.equal(extension(peer), answer);
    const text = "y".repeat(2000);
    peer.send(`42["message","${text}"]`);
    const m = await event(peer);
    assert.equal(m.rsv, answer ? RSV1 : 0);
    assert.ok(m.text === `42["message-back","${text}"]`);
    peer.destroy();
  });

test("short messages are not compressed", async () => {
  const peer = await joined();
  peer.send('42["message","short"]');
  assert.equal((await event(peer)).rsv, 0);
  peer.destroy();
});

test("compressed messages of all sizes, in one frame or in fragments, again and again", async () => {
  const peer = await joined();
  for (const n of [1, 100, 4000, 20000, 300000, 900000, 5]) {
    const text = `42["message","${"abcdefghij".repeat(n / 10)}${n}"]`;
    const data = deflate(text);
    if (n % 20000)
      peer.write({ rsv: RSV1, payload: data });
    else
      peer.write(
        { rsv: RSV1, fin: false, payload: data.subarray(0, 7) },
        { opcode: OP.continuation, fin: false, payload: data.subarray(7, 11) },
        { opcode: OP.continuation, payload: data.subarray(11) },
      );
    const m = await event(peer);
    assert.ok(m.text === text.replace("message", "message-back"), `${n} letters`);
  }
  peer.destroy();
});

test("compressed and plain messages in one stream keep their order", async () => {
  const peer = await joined();
  const texts = Array.from({ length: 300 }, (_, i) => `42["message",${i},"${"z".repeat((i * 37) % 900)}"]`);
  peer.write(...texts.map((text, i) => (i % 2 ? { payload: text } : { rsv: RSV1, payload: deflate(text) })));
  for (const text of texts) assert.ok((await event(peer)).text === text.replace("message", "message-back"));
  peer.destroy();
});

test("a long message that hardly shrinks goes out in fragments", async () => {
  const peer = await joined();
  let text = "";
  while (text.length < 600000) text += Math.random().toString(36);
  text = `42["message","${text}"]`;
  peer.send(text);
  const m = await event(peer);
  assert.ok(m.text === text.replace("message", "message-back"));
  assert.equal(m.rsv, RSV1);
  assert.ok(m.n_frames > 1);
  peer.destroy();
});

test("a broadcast reaches clients with and without compression", async () => {
  const peers = await Promise.all([joined(), joined("none"), joined(), joined("none")]);
  const text = `42["bcast","${"w".repeat(5000)}"]`;
  peers[0].send(text);
  for (const [i, peer] of peers.entries()) {
    const m = await event(peer);
    assert.equal(m.rsv, i % 2 ? 0 : RSV1);
    assert.ok(m.text === text);
    peer.destroy();
  }
});

for (const [what, frames, code] of [
  ["a bomb: 50 kB that inflate to 50 MB", () => [{ rsv: RSV1, payload: deflate("4" + "\0".repeat(50 << 20)) }], 1009],
  ["one byte more than max_payload", () => [{ rsv: RSV1, payload: deflate("4" + "x".repeat(1000000)) }], 1009],
  ["bytes that are not deflated", () => [{ rsv: RSV1, payload: Buffer.from([0xff, 0xff, 0xff, 0x01]) }], 1007],
  ["text that is not UTF-8 when inflated", () => [{ rsv: RSV1, payload: deflate(Buffer.from([0x34, 0xff])) }], 1007],
  ["a reserved bit that was not negotiated", () => [{ rsv: RSV1 | 1, payload: deflate("40") }], 1002],
])
  test(`${what}: closed with ${code}`, async () => {
    const peer = await joined();
    const before = server.pss();
    const ticks = server.cpuTicks();
    peer.write(...frames());
    assert.equal(await peer.closeCode(), code);
    peer.socket.end();
    await peer.ended();
    if (HAS_REAL_MEMORY) {
      assert.ok(server.pss() - before < 8000);
      assert.ok(server.cpuTicks() - ticks < 20);
    }
  });

test("an idle connection takes no more than without compression", async () => {
  const own = await Sidecar.start({ ws_compression: 256 });
  const headers = { "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits" };
  const open = (n) =>
    Promise.all(Array.from({ length: n }, () => own.connect({ headers }).then((p) => p.join())));
  const some = await open(10);
  const before = own.pss();
  const peers = await open(1000);
  const kb = (own.pss() - before) / 1000;
  console.log(`# ${kb.toFixed(2)} kB an idle connection with compression`);
  if (HAS_REAL_MEMORY) assert.ok(kb <= 6, `${kb} kB`);
  for (const p of [...some, ...peers]) p.destroy();
  await own.stop();
});
