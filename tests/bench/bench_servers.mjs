// SPDX-License-Identifier: MIT
//
// make bench: siolite and npm socket.io side by side; docs/performance.md says how to read
// the table. Every message is checked (sio_load); figures are never asserted. Fails only if
// a message was wrong or a server ended.
//
//   BENCH_QUICK=1     one short run of the most telling cases (make bench-quick)
//   BENCH_ONLY=TEXT   only cases whose id matches this regular expression
//   BENCH_RUNS=3  BENCH_SECONDS=2

import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { root } from '../e2e/lib/npm.mjs';
import { pause } from '../e2e/lib/wait.mjs';
import { GENERATOR_CORE, SERVER_CORE, startContestant, tool } from './contestants.mjs';

const isQuick = Boolean(process.env.BENCH_QUICK);
const nRuns = Number(process.env.BENCH_RUNS ?? (isQuick ? 1 : 3));
const seconds = Number(process.env.BENCH_SECONDS ?? (isQuick ? 1 : 2));
const only = new RegExp(process.env.BENCH_ONLY ?? '');
const out = path.join(root, 'build/bench');
const BUSY = 0.1; // of the two cores, used by others: the run is marked with *
let patienceMs = isQuick ? 0 : 180_000; // how long to wait for them, in all

// ---- what is measured ----

const echo = (...args) => ['--mode', 'echo', ...args];
const broadcast = (n, window) => ['--mode', 'broadcast', '--conns', n, '--window', window];
const idle = (n, transport) =>
  ['--mode', 'connect', '--conns', n, '--transport', transport, '--hold', 3];
const atLeast = (ratio) => ({ text: `>= ${ratio}x`, isOk: (row) => row.ratio >= ratio });
const atMost = (bytes) => ({ text: `<= ${bytes}`, isOk: (row) => row.siolite.value <= bytes });

const rate = { unit: '/s', of: (r) => r.run.rate };
const connects = { unit: '/s', of: (r) => r.connect.rate };
const memory = { unit: 'B', of: (r) => r.server.pss_per_conn, isOwnOnly: true };

function echoCases() {
  const marks = { 100: atLeast(2.5), 1000: atLeast(2.5) };
  return [1, 100, 1000].flatMap((n) => [
    {
      id: `ws-echo-${n}`,
      title: `WebSocket echo, ${n}`,
      args: echo('--conns', n),
      siolite: 'siolite-ws',
      reference: 'socket.io',
      limits: ['raw-floor', 'lws-floor'],
      mark: marks[n],
      isQuick: n > 1,
      ...rate,
    },
    {
      id: `ws-echo-durable-${n}`,
      title: `WebSocket echo, recovery on, ${n}`,
      args: echo('--conns', n, '--offset-arg'),
      siolite: 'siolite-ws-durable',
      reference: 'socket.io-recovery',
      isQuick: n === 100,
      ...rate,
    },
    {
      id: `polling-echo-${n}`,
      title: `polling echo, ${n}`,
      args: echo('--conns', n, '--transport', 'polling'),
      siolite: 'siolite-polling',
      reference: 'socket.io',
      mark: atLeast(0.7),
      isQuick: n === 100,
      ...rate,
    },
  ]);
}

function broadcastCases() {
  const sizes = [[1000, 1], [1000, 8], [5000, 1], [5000, 8]];
  return sizes.map(([n, window]) => ({
    id: `broadcast-${n}-${window}`,
    title: `broadcast to ${n}, window ${window}`,
    args: broadcast(n, window),
    siolite: 'siolite-ws',
    reference: 'socket.io',
    limits: ['raw-floor', 'lws-floor'],
    mark: n === 1000 ? atLeast(1.5) : undefined,
    isQuick: n === 1000 && window === 1,
    ...rate,
  }));
}

const cases = [
  ...echoCases(),
  ...broadcastCases(),
  {
    id: 'connect-ws',
    title: 'connects, WebSocket',
    args: ['--mode', 'connect', '--conns', 2000, '--hold', 0],
    siolite: 'siolite-ws',
    reference: 'socket.io',
    ...connects,
  },
  {
    id: 'connect-polling',
    title: 'connects, polling',
    args: ['--mode', 'connect', '--conns', 2000, '--hold', 0, '--transport', 'polling'],
    siolite: 'siolite-polling',
    reference: 'socket.io',
    ...connects,
  },
  {
    id: 'memory-ws',
    title: 'memory of an idle WebSocket',
    args: idle(4000, 'websocket'),
    siolite: 'siolite-ws',
    reference: 'socket.io',
    mark: atMost(6144),
    isQuick: true,
    ...memory,
  },
  {
    id: 'memory-polling',
    title: 'memory of a parked poll',
    args: idle(2500, 'polling'),
    siolite: 'siolite-polling',
    reference: 'socket.io',
    mark: atMost(2048),
    isQuick: true,
    ...memory,
  },
];

// ---- running ----

// The standard output of a program on the generator's core (or another).
function run(command, core = GENERATOR_CORE) {
  return new Promise((resolve, reject) => {
    const args = ['--pdeathsig', 'KILL', 'taskset', '-c', core, ...command.map(String)];
    const child = spawn('setpriv', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.on('data', (data) => (text += data));
    child.on('error', reject);
    child.on('close', () => resolve(text));
  });
}

function cpuTimes() {
  const cores = os.cpus();
  const busy = cores.map(({ times }) => times.user + times.nice + times.sys + times.irq);
  return { busy: busy.reduce((a, b) => a + b, 0), n: cores.length };
}

// What others use of this machine while we do nothing, 0 to 1.
async function othersShare() {
  const before = cpuTimes();
  await pause(250);
  const after = cpuTimes();
  return (after.busy - before.busy) / (250 * after.n);
}

async function isQuiet() {
  for (;;) {
    const start = Date.now();
    if ((await othersShare()) < BUSY) return true;
    if (patienceMs <= 0) return false;
    await pause(500);
    patienceMs -= Date.now() - start;
  }
}

function fail(name, kind, { bad, errors }) {
  throw new Error(`${kind.id}, ${name}: ${bad} messages or answers were wrong: ${errors.first}`);
}

async function once(name, kind) {
  const c = await startContestant(name);
  try {
    const wasQuiet = await isQuiet();
    const measured = kind.isOwnOnly ? [c.own] : c.pids;
    const command = [tool('sio_load'), '--warmup', isQuick ? 0.3 : 0.5, '--duration', seconds,
      '--pid', measured.join(','), ...kind.args, `http://127.0.0.1:${c.port}/socket.io/`];
    const result = JSON.parse(await run(command));
    c.check();
    result.isNoisy = !wasQuiet || (await othersShare()) >= BUSY;
    if (result.bad > 0) fail(name, kind, result);
    return result;
  } finally {
    await c.stop();
  }
}

const median = (list) => {
  const sorted = [...list].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};

const cpuOf = (r) => r.server.cpu_us_per_msg;

function summary(kind, results) {
  const values = results.map(kind.of);
  const value = median(values);
  return {
    value,
    spread: value > 0 ? (Math.max(...values) - Math.min(...values)) / value : 0,
    values,
    p50: median(results.map((r) => r.run.lat.p50)),
    p99: median(results.map((r) => r.run.lat.p99)),
    full: results[0].run.full && median(results.map((r) => r.run.full.p50)),
    cpu: median(results.map(cpuOf)),
    isNoisy: results.some((r) => r.isNoisy),
    results,
  };
}

// The contestants take turns, so that a slow minute of the machine hits all of them; the
// ratio is the median of the ratios of neighbours.
async function measure(kind) {
  const names = [kind.siolite, kind.reference, ...(isQuick ? [] : (kind.limits ?? []))];
  const results = new Map(names.map((name) => [name, []]));
  for (let i = 0; i < nRuns; i++) {
    for (const name of names) results.get(name).push(await once(name, kind));
  }
  const [siolite, reference, ...limits] = names.map((name) => summary(kind, results.get(name)));
  const row = { id: kind.id, title: kind.title, unit: kind.unit, siolite, reference, limits: {} };
  names.slice(2).forEach((name, i) => (row.limits[name] = limits[i]));
  row.ratio = median(siolite.values.map((value, i) => value / reference.values[i]));
  row.cpuRatio = median(siolite.results.map((r, i) => cpuOf(reference.results[i]) / cpuOf(r)));
  if (kind.mark) row.mark = { text: kind.mark.text, isOk: kind.mark.isOk(row) };
  return row;
}

// ---- the store alone, and rows of other programs ----

// bench_store prints "broadcast n=100 148000 rows/s …".
async function measureStore() {
  const text = await run([tool('bench_store'), out, 1], SERVER_CORE);
  const lines = text.matchAll(/^broadcast +n=(\d+) +(\d+) rows\/s.*cpu ([\d.]+)/gm);
  return [...lines].map(([, n, value, cpu]) => ({
    n: Number(n),
    rows_per_s: Number(value),
    cpu_us: Number(cpu),
  }));
}

async function measureDelivery(n, perSecond) {
  const c = await startContestant('siolite-ws');
  try {
    await isQuiet();
    const result = JSON.parse(await run([tool('delivery'), c.port, c.database, n, perSecond]));
    c.check();
    return { perSecond, ...result };
  } finally {
    await c.stop();
  }
}

// ---- the table ----

const count = (v) => (v >= 9999.5 ? `${(v / 1000).toFixed(v >= 99_950 ? 0 : 1)}k` : v.toFixed(0));
const ms = (us) => (us >= 99_950 ? (us / 1000).toFixed(0) : (us / 1000).toPrecision(2));
const TITLE = 34;
const columns = [9, 6, 12, 7]; // of one contestant
const cells = (title, list) =>
  title.padEnd(TITLE) + list.map((cell, i) => cell.padStart(columns[i % 4])).join('');

function figures(s, unit) {
  return [
    count(s.value) + (s.isNoisy ? '*' : ' '),
    `${(50 * s.spread).toFixed(0)}%`,
    s.p50 > 0 ? `${ms(s.p50)}/${ms(s.p99)}` : unit,
    s.cpu > 0 ? s.cpu.toFixed(1) : '',
  ];
}

function print(row) {
  const times = (v) => (Number.isFinite(v) ? `${v.toFixed(2)}x` : '').padStart(8);
  const mark = row.mark ? `  ${row.mark.text}: ${row.mark.isOk ? 'ok' : 'below'}` : '';
  const both = [...figures(row.siolite, row.unit), ...figures(row.reference, row.unit)];
  console.log(cells(row.title, both) + times(row.ratio) + times(row.cpuRatio) + mark);
  for (const [name, s] of Object.entries(row.limits)) {
    console.log(cells(`  limit: ${name}`, figures(s, row.unit)));
  }
}

function printHead() {
  const head = ['+-', 'p50/p99 ms', 'us'];
  console.log(`${nRuns} run(s) of ${seconds} s, medians; +-: half the spread; *: others were busy`);
  console.log('us: CPU a message; ratio: siolite to npm; by CPU: the same from us, less noisy');
  console.log(cells('', ['siolite', ...head, 'npm', ...head]) + '   ratio  by CPU');
}

function printStore(list) {
  for (const { n, rows_per_s, cpu_us } of list) {
    const title = `log rows, ${n} a commit`.padEnd(TITLE);
    console.log(`${title}${count(rows_per_s).padStart(8)} /s, ${cpu_us} us CPU a row`);
  }
}

function printDelivery(list) {
  for (const { perSecond, insert: i, delivery: d } of list) {
    const title = `INSERT to client, ${perSecond} a second`.padEnd(TITLE);
    const transaction = `the transaction ${ms(i.p50)}/${ms(i.p99)}`;
    console.log(`${title}${ms(d.p50)}/${ms(d.p99)} ms (p50/p99), of it ${transaction}`);
  }
}

function versionOf(name) {
  const file = path.join(root, 'build/npm/node_modules', name, 'package.json');
  return JSON.parse(fs.readFileSync(file, 'utf8')).version;
}

function commit() {
  try {
    const args = ['describe', '--always', '--dirty'];
    return execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch {
    return 'unknown'; // a tarball
  }
}

async function main() {
  fs.mkdirSync(out, { recursive: true });
  const report = {
    date: new Date().toISOString(),
    cores: os.cpus().length,
    node: process.version,
    socket_io: versionOf('socket.io'),
    commit: commit(),
    nRuns,
    seconds,
    rows: [],
  };
  if (report.cores < 2) throw new Error('two cores are needed: for the server and for the generator');
  printHead();
  for (const kind of cases.filter((c) => only.test(c.id) && (!isQuick || c.isQuick))) {
    const row = await measure(kind);
    report.rows.push(row);
    print(row);
  }
  if (!isQuick && only.test('store')) {
    report.store = await measureStore();
    printStore(report.store);
  }
  if (!isQuick && only.test('delivery')) {
    report.delivery = [await measureDelivery(300, 100), await measureDelivery(2000, 1000)];
    printDelivery(report.delivery);
  }
  const below = report.rows.filter((row) => row.mark && !row.mark.isOk).map((row) => row.id);
  console.log(below.length > 0 ? `below their marks: ${below.join(', ')}` : 'all marks are met');
  const name = isQuick ? 'quick.json' : `${report.date.replace(/[:.]/g, '-')}.json`;
  const file = path.join(out, name);
  fs.writeFileSync(file, JSON.stringify(report, null, 1));
  if (!isQuick) fs.copyFileSync(file, path.join(out, 'latest.json'));
  console.log(path.relative(root, file));
}

await main();
