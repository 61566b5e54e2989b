// SPDX-License-Identifier: MIT
//
// siolite-ws with a certificate of its own: everything goes through a tunnel, so what is tested is that nothing is
// lost, held up or left over in it.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import tls from "node:tls";
import { OP, Sidecar, frameBytes, rawRequest, run, within } from "./lib_ws.mjs";

const dir = mkdtempSync(join(tmpdir(), "siolite-tls-"));
const file = (name) => join(dir, name);

/** A self-signed certificate for localhost; its key. */
function makeCertificate(name) {
  execFileSync(
    "openssl",
    ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
      "-subj", `/CN=${name}`, "-addext", "subjectAltName=DNS:localhost",
      "-keyout", file(`${name}.key`), "-out", file(`${name}.crt`)],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  return readFileSync(file(`${name}.crt`));
}
function install(name) {
  copyFileSync(file(`${name}.crt`), file("now.crt"));
  copyFileSync(file(`${name}.key`), file("now.key"));
}

let server, first, second;
before(async () => {
  first = makeCertificate("first");
  second = makeCertificate("second");
  install("first");
  server = await Sidecar.start({ ws_tls_cert: file("now.crt"), ws_tls_key: file("now.key") });
});
after(async () => {
  assert.deepEqual(await server.stop("SIGTERM", { allowErrors: / ws tls\.kept / }), { code: 0, signal: null });
  rmSync(dir, { recursive: true, force: true });
});
const connect = (options = {}) => server.connect({ ca: first, ...options });
const sql = (text) => execFileSync("sqlite3", ["-cmd", ".timeout 5000", join(server.dir, "siolite.db"), text]).toString().trim();

test("a WebSocket over TLS works, and the handshake is a secure one", async () => {
  const peer = await (await connect()).join();
  peer.send('42["message","h\u00e4"]');
  await peer.until(/^42\["message-back","h\u00e4"\]$/);
  assert.equal(sql("SELECT json_extract(handshake, '$.secure') || ' ' || remote FROM t_session ORDER BY session_id DESC LIMIT 1"), "1 127.0.0.1");
  peer.write({ opcode: OP.close, payload: Buffer.from([3, 232]) });
  assert.equal(await peer.closeCode(), 1000);
  await peer.ended();
});

test("frames in the segment behind the request are not lost", async () => {
  const peer = await connect({ early: Buffer.concat([frameBytes({ payload: "40" }), frameBytes({ payload: '42["message","early"]' })]) });
  await peer.until(/^42\["message-back","early"\]$/);
  peer.destroy();
});

test("900 kB go both ways, whole", async () => {
  const peer = await (await connect()).join();
  const text = "x\u00e4".repeat(300000);
  peer.send(`42["message","${text}"]`);
  const back = await peer.until(/^42\["message-back"/);
  assert.equal(back.text, `42["message-back","${text}"]`);
  peer.destroy();
});

test("a client that reads late gets everything in order", async () => {
  const peer = await (await connect()).join();
  const payload = "y".repeat(100000);
  peer.socket.pause();
  for (let i = 0; i < 40; i++) peer.send(`42["message",${i},"${payload}"]`);
  const other = await (await connect()).join(); // nobody waits for the one that does not read
  other.send('42["message","other"]');
  await other.until(/^42\["message-back","other"\]$/);
  other.destroy();
  peer.socket.resume();
  for (let i = 0; i < 40; i++) {
    const m = await peer.until(/^42\["message-back"/);
    assert.equal(m.text, `42["message-back",${i},"${payload}"]`);
  }
  peer.destroy();
});

test("a client that vanishes ends its session", async () => {
  const peer = await (await connect()).join();
  const { sid: id } = peer.open;
  peer.tcp.resetAndDestroy();
  const end = Date.now() + 10000;
  while (sql(`SELECT state FROM t_lease JOIN t_session USING (session_id) WHERE eio_sid = '${id}'`) !== "1")
    assert.ok(Date.now() < end, "the session is still open");
});

test("what is no TLS is hung up on, and other requests get their answers", async () => {
  const plain = await rawRequest(server.port, "GET /socket.io/ HTTP/1.1\r\nHost: x\r\n\r\n").catch((error) => error.code);
  assert.ok(plain === "ECONNRESET" || !plain.includes("HTTP/"), plain);
  const socket = tls.connect({ port: server.port, host: "127.0.0.1", servername: "localhost", ca: first });
  let text = "";
  socket.setEncoding("latin1").on("data", (data) => (text += data));
  socket.write("GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await within(new Promise((resolve) => socket.on("end", resolve)), "the answer");
  assert.match(text, /^HTTP\/1\.1 404 /);
  socket.destroy();
});

test("old versions of TLS are refused", async () => {
  const socket = tls.connect({ port: server.port, host: "127.0.0.1", servername: "localhost", ca: first, maxVersion: "TLSv1.1", minVersion: "TLSv1", ciphers: "DEFAULT@SECLEVEL=0" });
  const error = await within(new Promise((resolve, reject) => socket.on("error", resolve).on("secureConnect", () => reject(new Error("it was accepted")))), "the refusal");
  assert.match(error.message, /version|alert|disconnected|ECONNRESET/i);
});

test("SIGHUP takes the new certificate; connections stay; a bad one is not taken", async () => {
  const old = await (await connect()).join();
  writeFileSync(file("now.crt"), "nonsense");
  server.child.kill("SIGHUP");
  await server.log.until(/ error .*tls\.kept .*ws_tls_cert.*now\.crt/);
  (await connect()).destroy();
  install("second");
  server.child.kill("SIGHUP");
  await server.log.until(/tls\.reload/);
  await assert.rejects(connect(), /self.signed|certificate/i);
  const peer = await (await connect({ ca: second })).join();
  peer.destroy();
  old.send('42["message","old"]');
  await old.until(/^42\["message-back","old"\]$/);
  old.destroy();
  install("first");
  server.child.kill("SIGHUP");
  await within((async () => {
    while (server.log.all.filter((line) => /tls\.reload/.test(line)).length < 2) await new Promise(setImmediate);
  })(), "the second reload");
});

test("at the end clients are told to come back", async () => {
  const other = await Sidecar.start({ ws_tls_cert: file("first.crt"), ws_tls_key: file("first.key") });
  const peer = await (await other.connect({ ca: first })).join();
  const silent = net.connect(other.port, "127.0.0.1"); // its handshake never comes
  await within(new Promise((resolve) => silent.on("connect", resolve)), "a connection");
  const ended = other.stop();
  assert.equal(await peer.closeCode(), 1012);
  await peer.ended();
  assert.deepEqual(await ended, { code: 0, signal: null });
  silent.destroy();
});

test("certificate and key are checked at the start", async () => {
  const set = (o) => ["--config", "/dev/null", "--set", `database=${file("x.db")}`, "--set", "ws_listen=127.0.0.1:0",
    ...Object.entries(o).flatMap(([k, v]) => ["--set", `${k}=${v}`])];
  for (const [options, text] of [
    [{ ws_tls_cert: file("first.crt") }, /ws_tls_key: is not set; allowed/],
    [{ ws_tls_key: file("first.key") }, /ws_tls_cert: is not set; allowed/],
    [{ ws_tls_cert: file("none.crt"), ws_tls_key: file("first.key") }, /ws_tls_cert: .*none\.crt: No such file or directory; allowed/],
    [{ ws_tls_cert: file("first.crt"), ws_tls_key: file("second.key") }, /ws_tls_key: .*second\.key: key values mismatch; allowed/],
    [{ ws_tls_cert: file("first.crt"), ws_tls_key: file("first.crt") }, /ws_tls_key: .*first\.crt: .*; allowed/],
  ]) {
    const { code, stderr } = await run(set(options));
    assert.equal(code, 1);
    assert.match(stderr, text);
  }
});
