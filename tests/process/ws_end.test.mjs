// SPDX-License-Identifier: MIT
//
// siolite-ws: start, signals, listening sockets, the end.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Peer, Sidecar, rawRequest, run, within } from "./lib_ws.mjs";

let dir;
before(() => (dir = mkdtempSync(join(tmpdir(), "siolite-ws-end-"))));
after(() => rmSync(dir, { recursive: true, force: true }));

const OK = { code: 0, signal: null };
const args = (set) => [
  "--config",
  "/dev/null",
  ...Object.entries({ database: join(dir, "run.db"), ...set }).flatMap(([k, v]) => ["--set", `${k}=${v}`]),
];

test("SIGTERM: everybody gets 1012, and the program ends with 0", async () => {
  const server = await Sidecar.start();
  const peers = await Promise.all(Array.from({ length: 300 }, () => server.connect().then((p) => p.join())));
  const codes = Promise.all(peers.map((p) => p.closeCode()));
  const end = server.stop();
  assert.deepEqual(new Set(await codes), new Set([1012]));
  assert.deepEqual(await end, OK);
});

test("SIGTERM with clients that do not answer, do not read, or are in the middle of a request", async () => {
  const server = await Sidecar.start();
  const silent = await server.connect().then((p) => p.join());
  const deaf = await server.connect().then((p) => p.join());
  deaf.socket.on("error", () => {});
  deaf.socket.pause();
  for (let i = 0; i < 4; i++) deaf.send(`42${i}["big",1000000]`);
  silent.send('42["message",1]');
  await silent.until(/back/);
  const half = net.connect({ port: server.port, host: "127.0.0.1" });
  half.on("error", () => {});
  await new Promise((resolve) => half.write("GET /socket.io/ HT", resolve));
  assert.deepEqual(await server.stop(), OK);
  for (const s of [silent.socket, deaf.socket, half]) s.destroy();
});

test("SIGTERM: no new connections while the old ones are closed", async () => {
  const server = await Sidecar.start();
  const peer = await server.connect().then((p) => p.join());
  peer.isPolite = false;
  server.child.kill("SIGTERM");
  assert.equal((await peer.message()).close, 1012);
  await assert.rejects(rawRequest(server.port, "GET / HTTP/1.1\r\n\r\n"), /ECONNREFUSED/);
  peer.destroy();
  assert.deepEqual(await server.stop(), OK);
});

test("SIGINT is the same; a second signal does not wait", async () => {
  const server = await Sidecar.start();
  const peer = await server.connect().then((p) => p.join());
  peer.isPolite = false;
  server.child.kill("SIGINT");
  await peer.message();
  const start = performance.now();
  assert.deepEqual(await server.stop("SIGTERM"), OK);
  assert.ok(performance.now() - start < 1500);
  peer.destroy();
});

test("SIGHUP leaves the connections open", async () => {
  const server = await Sidecar.start();
  const peer = await server.connect().then((p) => p.join());
  server.child.kill("SIGHUP");
  await server.log.until(/ reload\.done$/);
  peer.send('42["message",1]');
  await peer.until(/back/);
  peer.destroy();
  assert.deepEqual(await server.stop(), OK);
});

test("without connections it ends at once, ten times", async () => {
  for (let i = 0; i < 10; i++) {
    const server = await Sidecar.start();
    assert.deepEqual(await server.stop(), OK);
  }
});

test("an address in use is a clear error, exit 1", async () => {
  const other = net.createServer();
  await new Promise((resolve) => other.listen(0, "127.0.0.1", resolve));
  const address = `127.0.0.1:${other.address().port}`;
  const { code, stderr } = await run(args({ ws_listen: address }));
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`ws_listen ${address}: another program listens there`));
  other.close();
});

test("two sidecars share a port", async () => {
  const one = await Sidecar.start();
  const two = await Sidecar.start({ ws_listen: `127.0.0.1:${one.port}`, database: join(one.dir, "siolite.db") });
  const peers = await Promise.all(Array.from({ length: 200 }, () => one.connect().then((p) => p.join())));
  const end = two.stop();
  const codes = await Promise.all(
    peers.map(async (p) => {
      await two.log.until(/ stage name=drained/);
      p.send('42["message",1]');
      return p.until(/back/).then(
        () => 0,
        (e) => Number(/closed with (\d+)/.exec(e.message)?.[1]),
      );
    }),
  );
  assert.deepEqual(await end, OK);
  assert.ok(codes.includes(0) && codes.includes(1012), "both had connections");
  assert.ok(codes.every((c) => c === 0 || c === 1012));
  for (const p of peers) p.destroy();
  const later = await one.connect().then((p) => p.join());
  later.destroy();
  assert.deepEqual(await one.stop(), OK);
});

test("a Unix socket: mode 0660, a stale file is replaced, a living one is not, and it is removed at the end", async () => {
  const path = join(dir, "ws.sock");
  const dead = await Sidecar.start({ ws_listen: path });
  dead.child.kill("SIGKILL");
  await dead.ended;
  assert.ok(existsSync(path));
  const server = await Sidecar.start({ ws_listen: path });
  assert.equal(server.address, path);
  assert.equal(statSync(path).mode & 0o777, 0o660);
  const peer = await Peer.connect({ path });
  await peer.join();
  const second = await run(args({ ws_listen: path }));
  assert.equal(second.code, 1);
  assert.match(second.stderr, /another program listens there/);
  peer.destroy();
  assert.deepEqual(await server.stop(), OK);
  assert.ok(!existsSync(path));
});

test("a file that is no socket is not replaced", async () => {
  const path = join(dir, "precious");
  writeFileSync(path, "x");
  const { code, stderr } = await run(args({ ws_listen: path }));
  assert.equal(code, 1);
  assert.match(stderr, /exists and is not a socket/);
  assert.ok(existsSync(path));
});

test("an inherited socket (LISTEN_FDS)", async () => {
  const listener = net.createServer();
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const port = listener.address().port;
  const server = await Sidecar.start({ ws_listen: "" }, { fd3: listener._handle, env: { LISTEN_FDS: "1" } });
  assert.equal(server.port, port);
  listener.close();
  const peer = await server.connect().then((p) => p.join());
  peer.destroy();
  assert.deepEqual(await server.stop(), OK);
  const none = await run(args({ ws_listen: "" }));
  assert.equal(none.code, 1);
  assert.match(none.stderr, /no listening socket was handed over/);
});

test("when descriptors run out it waits without spinning and goes on", async () => {
  const server = await Sidecar.start({}, { limits: "nofile=64" });
  const peers = [];
  server.log.until(/accept\.stopped/).catch(() => {});
  const stopped = server.log.until(/accept\.stopped/);
  const sockets = Array.from({ length: 100 }, () => {
    const s = net.connect({ port: server.port, host: "127.0.0.1" });
    s.on("error", () => {});
    s.write("GET ");
    return s;
  });
  await stopped;
  for (const s of sockets) s.destroy();
  const peer = await server.connect().then((p) => p.join());
  peers.push(peer);
  for (const p of peers) p.destroy();
  assert.deepEqual(await server.stop(), OK);
});

test("options: --version, --help, --check-config, and exit 2 for nonsense", async () => {
  assert.match((await run(["--version"])).stdout, /^siolite-ws \d/);
  assert.match((await run(["--help"])).stdout, /ws_listen/);
  assert.equal((await run([...args({}), "--check-config"])).code, 0);
  assert.equal((await run(["--nonsense"])).code, 2);
});
