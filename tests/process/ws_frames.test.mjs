// SPDX-License-Identifier: MIT
//
// siolite-ws: what comes in. Whole and fragmented messages, limits, broken frames, and the close codes for them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { OP, Sidecar, frameBytes } from "./lib_ws.mjs";

const MAX = 100000;
let server;
before(async () => (server = await Sidecar.start({ max_payload: MAX })));
after(async () => assert.deepEqual(await server.stop(), { code: 0, signal: null }));

const joined = () => server.connect().then((peer) => peer.join());
const message = (text) => `42["message",${JSON.stringify(text)}]`;
const back = (text) => `42["message-back",${JSON.stringify(text)}]`;

test("messages of all sizes around the limits of headers and buffers come back whole", async () => {
  const peer = await joined();
  for (const n of [0, 1, 100, 125, 126, 127, 1000, 1024, 1040, 4096, 65500, 65522, 65523, 65536, 70000, 99000]) {
    const text = "x".repeat(n);
    peer.send(message(text));
    assert.ok((await peer.until(/message-back/)).text === back(text), `${n} letters`);
  }
  peer.destroy();
});

test("a message in fragments, with pings between them, is one message", async () => {
  const peer = await joined();
  const bytes = Buffer.from(message("grüße 😀 ".repeat(500)));
  const frames = [];
  for (let at = 0; at < bytes.length; at += 333) {
    const opcode = at ? OP.continuation : OP.text;
    frames.push({ opcode, fin: at + 333 >= bytes.length, payload: bytes.subarray(at, at + 333) });
    if (at === 333 * 5) frames.push({ opcode: OP.ping, payload: "p" });
  }
  frames.push({ opcode: OP.continuation, fin: true }); // of nothing: after the end it would be wrong
  frames.at(-2).fin = false;
  peer.write(...frames);
  const pong = await peer.frame();
  const first = pong.opcode === OP.pong ? await peer.message() : { text: pong.payload.toString() };
  assert.ok(first.text === back("grüße 😀 ".repeat(500)));
  peer.destroy();
});

test("messages that come a byte at a time are whole", async () => {
  const peer = await joined();
  for (const byte of frameBytes({ payload: message("slow") }))
    await new Promise((resolve) => peer.socket.write(Buffer.of(byte), () => setImmediate(resolve)));
  assert.equal((await peer.until(/message-back/)).text, back("slow"));
  peer.destroy();
});

test("a thousand messages in one write are answered in order", async () => {
  const peer = await joined();
  peer.write(...Array.from({ length: 1000 }, (_, i) => ({ payload: `42["message",${i}]` })));
  for (let i = 0; i < 1000; i++) assert.equal((await peer.until(/back/)).text, `42["message-back",${i}]`);
  peer.destroy();
});

test("a ping is answered with its payload", async () => {
  const peer = await joined();
  peer.write({ opcode: OP.ping, payload: "are you there" });
  const pong = await peer.frame();
  assert.equal(pong.opcode, OP.pong);
  assert.equal(pong.payload.toString(), "are you there");
  peer.destroy();
});

for (const [what, frames, code] of [
  ["a frame that announces 2^40 bytes", [{ length: 2 ** 40, payload: "42" }], 1009],
  ["a message one byte too long", [{ payload: "4" + "x".repeat(MAX) }], 1009],
  ["fragments that are too long together", [{ fin: false, payload: "4" + "x".repeat(MAX / 2) }, { opcode: 0, payload: "x".repeat(MAX / 2) }], 1009],
  ["text that is not UTF-8", [{ payload: Buffer.from([0x34, 0x32, 0xff]) }], 1007],
  ["text with half a character at its end", [{ payload: Buffer.from([0x34, 0xc3]) }], 1007],
  ["text with a surrogate, in fragments", [{ fin: false, payload: Buffer.from([0x34, 0xed]) }, { opcode: 0, payload: Buffer.from([0xa0, 0x80]) }], 1007],
  ["reserved bits", [{ rsv: 2, payload: "40" }], 1002],
  ["an unknown opcode", [{ opcode: 3, payload: "40" }], 1002],
  ["a continuation of nothing", [{ opcode: 0, payload: "40" }], 1002],
  ["a new message inside of another", [{ fin: false, payload: "4" }, { payload: "40" }], 1002],
  ["a ping in fragments", [{ opcode: OP.ping, fin: false, payload: "x" }], 1002],
])
  test(`${what} is closed with ${code}`, async () => {
    const peer = await joined();
    peer.write(...frames);
    assert.equal(await peer.closeCode(), code);
    peer.socket.end(); // in the middle of a frame our close frame is taken for its data
    await peer.ended();
  });

test("what follows a refused message has no effect", async () => {
  const peer = await joined();
  peer.write({ payload: Buffer.from([0x34, 0xff]) }, { payload: message("late") });
  const m = await peer.message();
  assert.equal(m.close, 1007);
  peer.destroy();
});

for (const code of [1000, 1001, 3000, 4999])
  test(`a client's close with ${code} is answered with ${code}`, async () => {
    const peer = await joined();
    peer.write({ opcode: OP.close, payload: Buffer.from([code >> 8, code & 255]) });
    assert.equal(await peer.closeCode(), code);
    await peer.ended();
  });

test("a close frame without a code is answered", async () => {
  const peer = await joined();
  peer.write({ opcode: OP.close });
  assert.equal(await peer.closeCode(), 1005);
  await peer.ended();
});

test("a close that the application asks for comes after what it sent", async () => {
  const peer = await joined();
  peer.send('42["disconnect-me",true]');
  const seen = [];
  for (;;) {
    const m = await peer.message();
    assert.ok(m, "a close frame before the end");
    if (m.close) break;
    seen.push(m.text);
  }
  assert.deepEqual(seen.filter((text) => text.startsWith("41")), ["41"]);
  peer.destroy();
});

test("the Engine.IO close packet closes the connection", async () => {
  const peer = await joined();
  peer.send("1");
  assert.ok([1000, 1005].includes(await peer.closeCode()));
  await peer.ended();
});
