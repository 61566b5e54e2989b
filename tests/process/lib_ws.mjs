// SPDX-License-Identifier: MIT
//
// For the process tests of the sidecar: starts siolite-ws with a database of its own, and a scripted raw WebSocket peer
// that can do what no client library does (no reading, broken frames, resets). No dependencies.
//
// Nothing here sleeps: every wait is for a frame, a log line, an end; a wait that takes too long fails.
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";

const BUILD = process.env.SIOLITE_BUILD ?? new URL("../../build/release", import.meta.url).pathname;
export const PROGRAM = join(BUILD, "siolite-ws");
const APP = join(BUILD, "apps/conformance.so");
const WAIT_MS = 10000;
/** Is memory as it is in production? Sanitizers keep freed memory and pad the rest. */
export const HAS_REAL_MEMORY = !/\/[at]san$/.test(BUILD);

/** The promise, or an error that says what was waited for. */
export function within(promise, what, ms = WAIT_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Lines of a stream, kept from the beginning; until(pattern) finds one that is there or comes. */
class Lines {
  constructor(stream) {
    this.all = [];
    this.waiters = new Set();
    let rest = "";
    stream.setEncoding("utf8");
    stream.on("data", (text) => {
      const parts = (rest + text).split("\n");
      rest = parts.pop();
      for (const line of parts) this.#add(line);
    });
    stream.on("end", () => rest && this.#add(rest));
  }
  #add(line) {
    this.all.push(line);
    for (const w of this.waiters) w(line);
  }
  until(pattern) {
    const found = this.all.find((line) => pattern.test(line));
    if (found) return Promise.resolve(found);
    let waiter;
    const promise = new Promise((resolve) => {
      waiter = (line) => pattern.test(line) && resolve(line);
      this.waiters.add(waiter);
    });
    return within(promise, `the log line ${pattern}`)
      .catch((e) => {
        throw new Error(`${e.message}; the log is:\n${this.all.join("\n")}`);
      })
      .finally(() => this.waiters.delete(waiter));
  }
}

/** Runs the program to its end: {code, stdout, stderr}. */
export function run(args, options = {}) {
  const child = spawn(PROGRAM, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
  const out = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) child[name].on("data", (data) => (out[name] += data));
  return within(
    new Promise((resolve) => child.on("close", (code) => resolve({ code, ...out }))),
    "the end of the program",
  );
}

/**
 * A sidecar with its own database; `set` are configuration values, `fd3` becomes its descriptor 3, `limits` goes to
 * prlimit(1), such as "nofile=64".
 */
export class Sidecar {
  static async start(set = {}, { fd3, env, limits } = {}) {
    const s = new Sidecar();
    s.dir = mkdtempSync(join(tmpdir(), "siolite-ws-"));
    const all = {
      ws_listen: "127.0.0.1:0",
      database: join(s.dir, "siolite.db"),
      ...(existsSync(APP) ? { app: APP } : {}),
      ...set,
    };
    const args = Object.entries(all).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
    const command = [...(limits ? ["prlimit", `--${limits}`] : []), PROGRAM, "--config", "/dev/null", ...args];
    s.child = spawn(command[0], command.slice(1), {
      stdio: ["ignore", "inherit", "pipe", ...(fd3 === undefined ? [] : [fd3])],
      env: { ...process.env, ...env },
    });
    s.log = new Lines(s.child.stderr);
    s.ended = new Promise((resolve) =>
      s.child.on("close", (code, signal) => resolve({ code, signal })),
    );
    const line = await Promise.race([
      s.log.until(/ ws start .*address=/),
      s.ended.then(() => Promise.reject(new Error(`ended:\n${s.log.all.join("\n")}`))),
    ]);
    s.address = /address="?([^" ]+)/.exec(line)[1];
    s.port = Number(s.address.split(":").pop());
    return s;
  }
  get pid() {
    return this.child.pid;
  }
  /** Proportional set size in kB. */
  pss() {
    return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${this.pid}/smaps_rollup`, "utf8"))[1]);
  }
  cpuTicks() {
    const fields = readFileSync(`/proc/${this.pid}/stat`, "utf8").split(") ")[1].split(" ");
    return Number(fields[11]) + Number(fields[12]);
  }
  /** SIGTERM, and the exit status. Lines at level error are failures, but for those that `allowErrors` matches. */
  async stop(signal = "SIGTERM", { allowErrors } = {}) {
    this.child.kill(signal);
    const end = await within(this.ended, "the end of siolite-ws", 20000);
    if (end.code !== 0) console.error(this.log.all.slice(-50).join("\n"));
    rmSync(this.dir, { recursive: true, force: true });
    const wrong = this.log.all.filter((line) => /^\S+ error |Assertion|runtime error: |ERROR: \w+Sanitizer/.test(line) && !allowErrors?.test(line));
    if (wrong.length > 0) throw new Error(`siolite-ws logged:\n${wrong.join("\n")}`);
    return end;
  }
  connect(options = {}) {
    return Peer.connect({ port: this.port, ...options });
  }
}

/** Sends bytes to the sidecar and returns all of what it answers, until it closes. */
export function rawRequest(target, bytes, { keepOpen = false } = {}) {
  return within(
    new Promise((resolve, reject) => {
      const socket = net.connect(typeof target === "number" ? { port: target, host: "127.0.0.1" } : { path: target });
      let text = "";
      socket.setEncoding("latin1");
      socket.on("data", (data) => (text += data));
      socket.on("end", () => resolve(text));
      socket.on("error", reject);
      socket.on("close", () => resolve(text));
      if (keepOpen) socket.write(bytes);
      else socket.end(bytes);
    }),
    "the answer",
  );
}

export const OP = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

export function frameBytes({ fin = true, rsv = 0, opcode = OP.text, payload = "", mask = true, length }) {
  const data = Buffer.from(payload);
  const n = length ?? data.length;
  const head = Buffer.alloc(n < 126 ? 2 : n < 65536 ? 4 : 10);
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  head[1] = (mask ? 0x80 : 0) | (n < 126 ? n : n < 65536 ? 126 : 127);
  if (head.length === 4) head.writeUInt16BE(n, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(n), 2);
  if (!mask) return Buffer.concat([head, data]);
  const key = randomBytes(4);
  return Buffer.concat([head, key, data.map((byte, i) => byte ^ key[i & 3])]);
}

/** A WebSocket client by hand. */
export class Peer {
  #buffer = Buffer.alloc(0);
  #frames = [];
  #waiters = [];
  #isEnded = false;
  /** Answers a close frame that message() meets. */
  isPolite = true;

  /** Opens the connection (with `ca`: by TLS, to "localhost"), sends the upgrade and `early` behind it, waits for the 101. */
  static async connect({
    port,
    path,
    url = "/socket.io/?EIO=4&transport=websocket",
    headers = {},
    early = Buffer.alloc(0),
    ca,
  }) {
    const peer = new Peer();
    const key = randomBytes(16).toString("base64");
    peer.tcp = net.connect(path ? { path } : { port, host: "127.0.0.1" });
    peer.socket = ca ? tls.connect({ socket: peer.tcp, servername: "localhost", ca }) : peer.tcp;
    peer.socket.setNoDelay(true);
    const lines = [
      `GET ${url} HTTP/1.1`,
      "Host: localhost",
      "Upgrade: websocket",
      "Connection: Upgrade",
      `Sec-WebSocket-Key: ${key}`,
      "Sec-WebSocket-Version: 13",
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ];
    const head = new Promise((resolve, reject) => {
      peer.socket.on("error", (e) => {
        peer.error = e;
        reject(e);
      });
      const onData = (data) => {
        peer.#buffer = Buffer.concat([peer.#buffer, data]);
        const end = peer.#buffer.indexOf("\r\n\r\n");
        if (end < 0) return;
        peer.head = peer.#buffer.subarray(0, end).toString("latin1");
        peer.#buffer = peer.#buffer.subarray(end + 4);
        peer.socket.off("data", onData);
        peer.socket.on("data", (more) => peer.#parse(more));
        resolve();
        peer.#parse(Buffer.alloc(0));
      };
      peer.socket.on("data", onData);
      peer.socket.on("close", () => {
        peer.#isEnded = true;
        for (const w of peer.#waiters.splice(0)) w(null);
        reject(new Error(`closed during the handshake: ${peer.#buffer}`));
      });
    });
    head.catch(() => {});
    peer.socket.write(Buffer.concat([Buffer.from(lines.join("\r\n") + "\r\n\r\n"), early]));
    await within(head, "the answer to the upgrade");
    peer.status = Number(peer.head.split(" ")[1]);
    if (peer.status !== 101) throw new Error(`status ${peer.status}\n${peer.head}`);
    const accept = createHash("sha1").update(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest("base64");
    if (!peer.head.includes(`Sec-WebSocket-Accept: ${accept}`)) throw new Error("wrong accept key");
    return peer;
  }

  #parse(data) {
    let b = this.#buffer.length ? Buffer.concat([this.#buffer, data]) : data;
    for (;;) {
      if (b.length < 2) break;
      let n = b[1] & 0x7f;
      let head = 2;
      if (b[1] & 0x80) throw new Error("the server masked a frame");
      if (n === 126) {
        if (b.length < 4) break;
        n = b.readUInt16BE(2);
        head = 4;
      } else if (n === 127) {
        if (b.length < 10) break;
        n = Number(b.readBigUInt64BE(2));
        head = 10;
      }
      if (b.length < head + n) break;
      this.#deliver({
        fin: b[0] >> 7 === 1,
        rsv: (b[0] >> 4) & 7,
        opcode: b[0] & 15,
        payload: Buffer.from(b.subarray(head, head + n)),
      });
      b = b.subarray(head + n);
    }
    this.#buffer = b;
  }
  #deliver(frame) {
    const waiter = this.#waiters.shift();
    if (waiter) waiter(frame);
    else this.#frames.push(frame);
  }

  /** The next frame as it is; null: the connection is closed. */
  frame(ms = WAIT_MS) {
    if (this.#frames.length) return Promise.resolve(this.#frames.shift());
    if (this.#isEnded) return Promise.resolve(null);
    return within(new Promise((resolve) => this.#waiters.push(resolve)), "a frame", ms);
  }
  /** The next message, of one or more frames: {text} or {binary}, with n_frames; {close, reason} or null at the end. */
  async message(ms = WAIT_MS) {
    const parts = [];
    let first;
    for (;;) {
      const f = await this.frame(ms);
      if (f === null) return null;
      if (f.opcode === OP.close) {
        if (this.isPolite && this.socket.writable) this.write({ opcode: OP.close, payload: f.payload });
        return { close: f.payload.length ? f.payload.readUInt16BE(0) : 1005, reason: f.payload.subarray(2).toString() };
      }
      if (f.opcode >= 8) continue;
      if ((f.opcode === OP.continuation) !== (first !== undefined)) throw new Error("frames out of order");
      first ??= f;
      parts.push(f.payload);
      if (!f.fin) continue;
      const payload = Buffer.concat(parts);
      const meta = { n_frames: parts.length, rsv: first.rsv };
      return first.opcode === OP.binary ? { binary: payload, ...meta } : { text: payload.toString(), payload, ...meta };
    }
  }
  /** Messages are skipped (pings answered) until one matches. */
  async until(pattern, ms = WAIT_MS) {
    for (;;) {
      const m = await this.message(ms);
      if (m === null) throw new Error(`closed while waiting for ${pattern}`);
      if (m.close) throw new Error(`closed with ${m.close} while waiting for ${pattern}`);
      if (m.text === "2") this.send("3");
      if (m.text !== undefined && pattern.test(m.text)) return m;
    }
  }
  /** All up to the close frame. Returns its code, null without one. */
  async closeCode(ms = WAIT_MS) {
    for (;;) {
      const m = await this.message(ms);
      if (m === null) return null;
      if (m.close) return m.close;
    }
  }
  write(...frames) {
    this.socket.write(Buffer.concat(frames.map((f) => (Buffer.isBuffer(f) ? f : frameBytes(f)))));
  }
  send(text) {
    this.write({ payload: text });
  }
  /** Engine.IO open packet, then the default namespace; the application greets with an event. */
  async join() {
    const open = await this.until(/^0\{/);
    this.open = JSON.parse(open.text.slice(1));
    this.send("40");
    await this.until(/^42\["auth",/);
    return this;
  }
  /** Waits until the other side has closed the connection. */
  ended(ms = WAIT_MS) {
    return within(
      new Promise((resolve) => (this.#isEnded ? resolve() : this.socket.on("close", resolve))),
      "the end of the connection",
      ms,
    );
  }
  destroy() {
    this.socket.destroy();
  }
}
