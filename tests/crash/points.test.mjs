// SPDX-License-Identifier: MIT
//
// A process dies at a named point of a step, by strace, which kills it as it enters the n-th
// system call of that kind in one thread; nothing in the programs knows of it. A rehearsal of
// the step tells which call that is, and the trace of the dead process whether it was hit.
//
// What must hold at every point:
// 1. Before the commit nothing of the step is there, after it all of it, once; whoever was
//    told that it worked finds it.
// 2. A polling session goes on at another process, its rooms as they were, and gets what is
//    due once; a WebSocket's session ends with a reason.
// 3. In the end no session, socket, membership or job is left, and the file is sound.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { needsOwn, startServer } from '../e2e/lib/server.mjs';
import { pause, slowness, until, within } from '../e2e/lib/wait.mjs';
import {
  packetsOf,
  Peer,
  Polling,
  probe,
  request,
  Socket,
  upgrade,
} from '../e2e/lib/wire.mjs';

// ---- strace ----

// Why it can't be done here, or false.
function needsTrace() {
  const sleeper = spawn('sleep', ['10'], { stdio: 'ignore' });
  const seen = spawnSync(
    'strace',
    ['-e', 'trace=none', '-e', 'inject=all:signal=KILL', '-p', `${sleeper.pid}`],
    { timeout: 1000, killSignal: 'SIGINT', encoding: 'utf8' },
  );
  sleeper.kill('SIGKILL');
  if (seen.error?.code === 'ENOENT') return 'strace is not installed';
  if (!/attached/.test(seen.stderr))
    return `strace can't attach to a process here: ${seen.stderr.trim()}`;
  return false;
}

function threadOf(pid, name) {
  if (name === 'loop') return pid;
  return Number(
    fs
      .readdirSync(`/proc/${pid}/task`)
      .find(
        (tid) => fs.readFileSync(`/proc/${pid}/task/${tid}/comm`, 'utf8') === `${name}\n`,
      ),
  );
}

class Trace {
  // Of one thread with `inject`, of all without.
  static async start(pid, file, { thread, inject } = {}) {
    const trace = new Trace();
    trace.file = file;
    trace.ids = { loop: pid, store: threadOf(pid, 'store') };
    const which = thread === undefined ? ['-f', '-p', `${pid}`] : ['-p', `${trace.ids[thread]}`];
    trace.thread = thread;
    fs.rmSync(file, { force: true });
    trace.child = spawn(
      'strace',
      [
        '-y', '-x', '-s', '8', '-o', file,
        '-e', 'trace=flock,fcntl,pwrite64,write,sendto,recvfrom',
        ...(inject === undefined ? [] : ['-e', `inject=${inject}`]),
        ...which,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let said = '';
    trace.child.stderr.on('data', (data) => (said += data));
    trace.ended = new Promise((resolve) => trace.child.on('exit', resolve));
    await until('strace to attach', () => {
      if (said.includes('attached')) return true;
      if (trace.child.exitCode !== null) throw new Error(said);
      return false;
    });
    return trace;
  }

  async stop() {
    this.child.kill('SIGINT');
    await within(5000, 'the end of strace', this.ended);
  }

  // The calls of a thread as {name, text, nth}, nth counting those of that name.
  calls(thread) {
    const counts = {};
    const calls = [];
    for (const line of fs.readFileSync(this.file, 'utf8').split('\n')) {
      const [, tid, text] = /^(?:(\d+) +)?(.*)$/.exec(line);
      const [, name] = /^([a-z0-9]+)\(/.exec(text) ?? [];
      if (name === undefined || (tid !== undefined && Number(tid) !== this.ids[thread]))
        continue;
      counts[name] = (counts[name] ?? 0) + 1;
      calls.push({ name, text, nth: counts[name] });
    }
    return calls;
  }
}

// ---- points ----

// The header of a frame: number of its page, size of the file after a commit, or 0.
function frame(call) {
  const [, hex] = /^pwrite64\([^"]*-wal[^"]*"((?:\\x[0-9a-f]{2}){8})"\.\.\., 24, /.exec(call.text) ?? [];
  if (hex === undefined) return undefined;
  const bytes = Buffer.from(hex.replaceAll('\\x', ''), 'hex');
  return { page: bytes.readUInt32BE(0), isCommit: bytes.readUInt32BE(4) !== 0 };
}

const shm = (lock, at) => (c) =>
  c.name === 'fcntl' && c.text.includes('-shm') && c.text.includes(lock) && c.text.includes(`l_start=${at},`);
const isQueue = (c) => c.name === 'flock' && c.text.includes('-queue') && c.text.includes('LOCK_EX');
const isWal = (c) => c.name === 'pwrite64' && c.text.includes('-wal');

// The tables and indexes that a transaction writes; `trees` is page -> name.
const treesOf = (tx, trees) =>
  new Set(tx.flatMap((c) => (frame(c) === undefined ? [] : [trees.get(frame(c).page)])));

// The transactions of the store thread that commit what `writes` names, and maybe more: what
// the process does by itself is not among them.
function transactions(calls, { trees, writes }) {
  const starts = calls.flatMap((c, i) => (isQueue(c) ? [i] : []));
  return starts
    .map((start, k) => calls.slice(start, starts[k + 1]))
    .filter(
      (tx) =>
        tx.some((c) => frame(c)?.isCommit) &&
        writes.every((name) => treesOf(tx, trees).has(name)),
    );
}

// In a transaction: which call. `when` is where the effects are: 'before' their commit or 'after'.
const storePoints = [
  { name: 'before it stands in the queue', when: 'before', is: isQueue },
  { name: 'in the queue, without a snapshot', when: 'before', is: shm('F_RDLCK', 12) , loose: true },
  { name: 'before the write lock', when: 'before', is: shm('F_WRLCK', 120) },
  { name: 'before the first frame', when: 'before', is: isWal },
  {
    name: 'in the middle of the first frame',
    when: 'before',
    is: (c, tx) => isWal(c) && tx.filter(isWal).indexOf(c) === 1,
  },
  {
    name: 'in the middle of the last frame',
    when: 'before',
    is: (c, tx) => isWal(c) && frame(tx[tx.indexOf(c) - 1] ?? c)?.isCommit === true && frame(c) === undefined,
  },
  { name: 'committed, with the write lock', when: 'after', is: shm('F_UNLCK', 120) },
  { name: 'committed, with its snapshot', when: 'after', is: shm('F_UNLCK', 12), loose: true },
  {
    name: 'before the result is handed back',
    when: 'after',
    is: (c) => c.name === 'write' && c.text.includes('eventfd'),
  },
  {
    name: 'before it leaves the queue',
    when: 'after',
    is: (c) => c.name === 'flock' && c.text.includes('LOCK_UN'),
  },
].map((point) => ({ ...point, thread: 'store' }));
// A reader's lock is one of five bytes.
for (const point of storePoints.filter((p) => p.loose)) {
  const lock = point.when === 'before' ? 'F_RDLCK' : 'F_UNLCK';
  point.is = (c) => [123, 124, 125, 126, 127].some((at) => shm(lock, at)(c));
}

const request_ = {
  name: 'before it reads the message',
  thread: 'loop',
  when: 'before',
  is: (c) => c.name === 'recvfrom',
};
const send = {
  name: 'before it sends the answer',
  thread: 'loop',
  when: 'after',
  is: (c) => c.name === 'sendto',
};
const sent = { ...send, name: 'as soon as it has sent the answer', isDelayed: true };

// Which call of a trace is the point; undefined: none.
function find(point, step, trace, trees) {
  const calls = trace.calls(point.thread);
  if (point.thread === 'loop') return calls.find((c) => point.is(c, calls));
  const tx = transactions(calls, { trees, writes: step.writes })[0];
  const committed = tx?.findIndex((c) => frame(c)?.isCommit);
  return tx?.find(
    (c, i) => (point.when === 'before' || i > committed) && point.is(c, tx),
  );
}

// Did the process die at the point? The last call of its trace is what killed it.
function isHit(point, step, trace, trees) {
  const calls = trace.calls(point.thread);
  const last = calls.at(-1);
  if (last === undefined) return false;
  if (point.thread === 'loop') return point.is(last, calls);
  const start = calls.findLastIndex(isQueue);
  const tx = calls.slice(Math.max(0, start));
  if (!point.is(last, tx)) return false;
  const txs = transactions(calls, { trees, writes: step.writes });
  if (step.follows && transactions(calls, { trees, writes: step.follows }).length === 0)
    return false;
  if (tx.some((c) => frame(c)?.isCommit))
    return txs.length === 1 && txs[0].at(-1) === last;
  return point.when === 'before' && txs.length === 0;
}

// ---- the world of a group ----

const tickOf = (name) => `42["cast",{"via":"io","to":["all"]},"tick","${name}"]`;
// Resolves with {value} or {error}, never late.
const outcome = (promise) =>
  promise.then(
    (value) => ({ value }),
    (error) => ({ error }),
  );

class World {
  constructor(server, victims, observer) {
    Object.assign(this, { server, victims, observer, n: 0, alive: [], later: [], nHit: 0, nMissed: 0, neverHit: [] });
  }

  get inLog() {
    return this.server
      .sql('SELECT body FROM points_log ORDER BY seq')
      .then((rows) => rows.map((row) => JSON.parse(row.body)[1]));
  }

  // Somebody else sends a tick; it is in the log.
  async tick(name) {
    const id = (this.observer.lastAck = (this.observer.lastAck ?? 0) + 1);
    await this.observer.send(`2${id}${tickOf(name).slice(2)}`);
    await until('the tick to be in the log', async () => (await this.inLog).includes(name));
  }

  // A polling session in the room, all of it at the entry `i`.
  async session(i) {
    const session = await Polling.connect(this.server.entries[i]);
    this.alive.push(session);
    assert.deepEqual(await session.call('join', 'all'), []);
    return session;
  }

  // The session goes on at the entry: it gets the ticks `due`, each once, and its rooms are these.
  async goesOn(session, i, due, rooms = ['all']) {
    const end = `end-${++this.n}`;
    session.urls = [this.server.entries[i]];
    await this.tick(end);
    const got = await within(
      5000,
      `the session to go on with ${due} and ${end}`,
      session.receive((packets) => packets.some((p) => p.includes(`"${end}"`))),
    );
    const ticks = got
      .filter((p) => p.startsWith('42["tick",'))
      .map((p) => JSON.parse(p.slice(2))[1]);
    assert.deepEqual(ticks, [...due, end]);
    const [seen] = await session.call('rooms');
    assert.deepEqual(seen.filter((room) => room !== session.sioId).sort(), rooms.toSorted());
  }

  async isInLog(name, n) {
    const seen = (await this.inLog).filter((tick) => tick === name);
    assert.equal(seen.length, n, `times that ${name} is in the log`);
  }

  // Its socket has gone, with a reason, and is in no room.
  endsWithReason(sioId, what) {
    this.later.push(
      until(
        `the end of the socket, ${what}`,
        async () => {
          const [row] = await this.server.sql(
            `SELECT reason, (SELECT count(*) FROM member WHERE socket = '${sioId}') AS n_rooms
             FROM disconnect WHERE socket = '${sioId}'`,
          );
          assert.ok(row?.reason, `reason ${row?.reason}`);
          assert.equal(row.n_rooms, 0);
          return true;
        },
        8000,
      ),
    );
    this.later.at(-1).catch(() => {});
  }

  // Everybody runs, the dead are buried, and lighttpd knows the new ones.
  async ready() {
    const { server } = this;
    await until('the dead processes to be buried, and all to answer', async () => {
      for (const program of this.victims) {
        if (!program.isRunning) await program.start();
      }
      const pids = (await server.sql('SELECT os_pid FROM process ORDER BY 1')).map((r) => r.os_pid);
      assert.deepEqual(pids, [...server.fcgi, ...server.ws].map((p) => p.pid).sort((a, b) => a - b));
      for (const url of server.entries) assert.equal((await request(url)).status, 400);
      return true;
    }, 10_000);
    for (const program of this.victims) program.isWanted = true;
  }

  async rehearse(step) {
    await this.ready();
    const pid = this.victims[0].pid;
    const state = await step.prepare(this, 0, `rehearsal-${++this.n}`);
    const trace = await Trace.start(pid, path.join(this.server.folder, 'rehearsal.trace'));
    const seen = outcome(step.trigger(this, state, 0));
    // A poll is claimed when it has been parked for 0.2 s.
    await Promise.race([seen, pause((step.isSilent ? 500 : 150) * slowness)]);
    await pause(100 * slowness);
    await trace.stop();
    await step.end?.(this, state);
    return trace;
  }

  // Which tree a page belongs to, as of now.
  async trees() {
    const rows = await this.server.sql('SELECT pageno, name FROM dbstat');
    return new Map(rows.map((row) => [row.pageno, row.name]));
  }

  // One attempt; true, or {trace, isDead}: the process died somewhere else, or not at all.
  async attempt(step, point, call, i) {
    await this.ready();
    const program = this.victims[i];
    const name = `tick-${++this.n}`;
    const state = await step.prepare(this, i, name);
    program.isWanted = false;
    const what = point.isDelayed ? 'delay_exit=20000000' : 'signal=KILL';
    const trace = await Trace.start(
      program.pid,
      path.join(this.server.folder, `${name}.trace`),
      { thread: point.thread, inject: `${call.name}:${what}:when=${call.nth}` },
    );
    const isEarly = !program.isRunning;
    const seen = outcome(step.trigger(this, state, i));
    if (point.isDelayed) {
      const got = await Promise.race([seen, pause(1500 * slowness)]);
      if (program.isRunning) program.signal('SIGKILL');
      trace.child.kill('SIGKILL'); // or it keeps the dead process until the delay is over
      if (got?.error !== undefined) throw got.error;
    }
    const died = await Promise.race([
      program.ended.then(() => true),
      step.isSilent ? pause(500 * slowness) : seen.then(() => pause(150 * slowness)),
      pause(1000 * slowness),
    ]);
    if (died !== true) {
      await trace.stop();
      // It may have come to the call just now, and die yet.
      await step.end?.(this, state);
      return { trace, isDead: !program.isRunning };
    }
    await within(5000, 'the end of strace', trace.ended);
    // The client notices; who waits for an answer that nobody promised does not.
    const result = await Promise.race([seen, pause(3000 * slowness).then(() => ({ error: new Error('no answer') }))]);
    const isAt = point.isDelayed || (!isEarly && isHit(point, step, trace, await this.trees()));
    if (!isAt) {
      await step.end?.(this, state);
      return { trace, isDead: true };
    }
    try {
      const isCommitted = point.when === 'after';
      if (result.error === undefined && !step.isSilent)
        assert.ok(isCommitted, `told ${JSON.stringify(result.value)} before the commit`);
      if (point.isDelayed) assert.equal(result.error, undefined);
      await step.check(this, state, 1 - i, name, isCommitted, result);
    } catch (error) {
      error.message += `\n${program.name} died ${point.name}; its last calls:\n${trace
        .calls(point.thread)
        .slice(-8)
        .map((c) => c.text)
        .join('\n')}`;
      throw error;
    }
    return true;
  }

  // False: it was never hit.
  async run(step, point, rehearsal) {
    let call = find(point, step, rehearsal, await this.trees());
    assert.ok(call, `no call in the rehearsal is ${point.name}`);
    for (let k = 0; k < 10; k++) {
      const seen = await this.attempt(step, point, call, this.turn++ % 2);
      if (seen === true) {
        this.nHit++;
        return true;
      }
      // What the process does by itself shifts the number.
      this.nMissed++;
      const next = find(point, step, seen.trace, await this.trees());
      call = { ...call, nth: next?.nth ?? call.nth + (seen.isDead ? 1 : 0) };
    }
    return false;
  }
}

// ---- steps ----

async function endOf(session) {
  await session?.post('1').catch(() => {});
}

async function newSessions(world, { since }) {
  return world.server.sql(`SELECT session_id, state FROM session WHERE session_id > ${since}`);
}
const lastSession = async (world) => ({
  since: (await world.server.value('SELECT max(session_id) FROM session')) ?? 0,
});

// A session whose poll is parked at that process, and claimed by it.
async function parkedAt(world, i) {
  const session = await world.session(1 - i);
  session.urls = [world.server.entries[i]];
  session.parked = outcome(polled(session));
  await until('the poll to be parked', async () =>
    world.server.value(
      `SELECT process_id FROM session JOIN socket USING (session_id) WHERE socket = '${session.sioId}'`,
    ),
  );
  return session;
}

const pollingSteps = [
  {
    name: 'handshake',
    writes: ['t_session'],
    points: [request_, ...storePoints, send, sent],
    prepare: (world) => lastSession(world),
    trigger: (world, state, i) => Polling.open(world.server.entries[i]),
    async check(world, state, other, name, isCommitted, { value }) {
      assert.equal((await newSessions(world, state)).length, isCommitted ? 1 : 0);
      if (value === undefined) return; // the sweeper ends it
      value.urls = [world.server.entries[other]];
      world.alive.push(value);
      await value.join();
      assert.deepEqual(await value.call('message-with-ack', 'alive'), ['alive']);
    },
  },
  {
    name: 'CONNECT by POST',
    writes: ['t_socket'],
    points: [request_, ...storePoints.slice(5, 7), storePoints[8], send, sent],
    async prepare(world, i) {
      const session = await Polling.open(world.server.entries[1 - i]);
      world.alive.push(session);
      return session;
    },
    trigger(world, session, i) {
      session.urls = [world.server.entries[i]];
      return session.send('40');
    },
    async check(world, session, other, name, isCommitted) {
      session.urls = [world.server.entries[other]];
      if (!isCommitted) {
        await session.join();
      } else {
        const got = await session.receive((packets) => packets.length >= 2);
        assert.match(got[0], /^40\{"sid":/);
        assert.match(got[1], /^42\["auth",/);
        assert.equal(got.length, 2);
      }
      assert.deepEqual(await session.call('message-with-ack', 'alive'), ['alive']);
    },
    end: (world, session) => endOf(session),
  },
  {
    name: 'claim of a poll',
    writes: ['i_lease_owner'],
    points: [request_, ...storePoints],
    isSilent: true,
    prepare: (world, i) => world.session(1 - i),
    trigger(world, session, i) {
      session.urls = [world.server.entries[i]];
      return session.poll();
    },
    async check(world, session, other, name, isCommitted, { value }) {
      assert.ok(value === undefined || value.status >= 500, `the poll was answered ${value?.status} ${value?.body}`);
      await world.tick(name);
      await world.goesOn(session, other, [name]);
    },
    end: (world, session) => endOf(session),
  },
  {
    name: 'answer to a parked poll',
    writes: ['i_lease_keep', 't_lease'],
    points: [...storePoints, send, sent],
    prepare: (world, i) => parkedAt(world, i),
    async trigger(world, session) {
      const id = (world.observer.lastAck = (world.observer.lastAck ?? 0) + 1);
      session.name = `tick-${world.n}`;
      await world.observer.send(`2${id}${tickOf(session.name).slice(2)}`);
      const { value, error } = await session.parked;
      if (error !== undefined) throw error;
      return value;
    },
    async check(world, session, other, name, isCommitted, { value }) {
      await gotOnce(world, session, other, name, isCommitted, value);
    },
    end: (world, session) => endOf(session),
  },
  {
    // The event's own commit is that of the answer to its sender's poll.
    name: 'POST with the answer to a parked poll',
    writes: ['t_packet', 'i_lease_keep'],
    points: [request_, ...storePoints, send, sent],
    async prepare(world, i, name) {
      const session = await parkedAt(world, i);
      session.name = name;
      return session;
    },
    trigger: (world, session) => session.send(`4277${tickOf(session.name).slice(2)}`),
    async check(world, session, other, name, isCommitted) {
      const { value } = await session.parked;
      if (value !== undefined) assert.deepEqual(value, [`42["tick","${name}"]`, '4377[]']);
      await world.isInLog(name, isCommitted ? 1 : 0);
      await world.goesOn(session, other, []);
    },
    end: (world, session) => endOf(session),
  },
  {
    name: 'poll with something due',
    writes: ['i_lease_keep', 't_lease'],
    points: [request_, ...storePoints.slice(5, 7), storePoints[8], send, sent],
    async prepare(world, i, name) {
      const session = await world.session(1 - i);
      await world.tick(name);
      return session;
    },
    trigger(world, session, i) {
      session.urls = [world.server.entries[i]];
      return polled(session);
    },
    async check(world, session, other, name, isCommitted, { value }) {
      await gotOnce(world, session, other, name, isCommitted, value);
    },
    end: (world, session) => endOf(session),
  },
  {
    name: 'POST',
    writes: ['t_packet', 't_member'],
    points: [request_, ...storePoints, send, sent],
    async prepare(world, i, name) {
      const session = await world.session(1 - i);
      session.name = name;
      return session;
    },
    trigger(world, session, i) {
      session.urls = [world.server.entries[i]];
      return session.send(`42["join","${session.name}"]`, tickOf(session.name));
    },
    async check(world, session, other, name, isCommitted) {
      await world.isInLog(name, isCommitted ? 1 : 0);
      await world.goesOn(
        session,
        other,
        isCommitted ? [name] : [],
        isCommitted ? ['all', name] : ['all'],
      );
    },
    end: (world, session) => endOf(session),
  },
  {
    name: 'close packet by POST',
    writes: ['t_socket'],
    points: [request_, ...storePoints.slice(5, 7), storePoints[8], send, sent],
    prepare: (world, i) => world.session(1 - i),
    trigger(world, session, i) {
      session.urls = [world.server.entries[i]];
      return session.send('1');
    },
    async check(world, session, other, name, isCommitted) {
      if (!isCommitted) return world.goesOn(session, other, []);
      const [row] = await world.server.sql(
        `SELECT reason FROM disconnect WHERE socket = '${session.sioId}'`,
      );
      assert.deepEqual(row, { reason: 'transport close' });
      session.urls = [world.server.entries[other]];
      assert.equal((await session.poll()).status, 400);
      return undefined;
    },
  },
];

// The packets of a poll that succeeds.
async function polled(session) {
  const answer = await session.poll();
  assert.equal(answer.status, 200);
  return packetsOf(answer.body);
}

// Before the cursor has moved it is still due; afterwards it is only in the answer, if that left.
async function gotOnce(world, session, other, name, isCommitted, packets) {
  if (packets !== undefined) assert.deepEqual(packets, [`42["tick","${name}"]`]);
  await world.goesOn(session, other, isCommitted ? [] : [name]);
  await world.isInLog(name, 1);
}

// What the server answers on a WebSocket: the message that passes, or an error when it ends.
const answered = (socket, test) => socket.find('the answer', test, 3000);

const webSocketSteps = [
  {
    name: 'handshake',
    writes: ['t_session'],
    points: [request_, ...storePoints.slice(5, 7), storePoints[8], storePoints[9]],
    prepare: (world) => lastSession(world),
    trigger: (world, state, i) => Socket.open(world.server.sidecars[i]),
    async check(world, state, other, name, isCommitted) {
      assert.equal((await newSessions(world, state)).length, isCommitted ? 1 : 0);
      if (isCommitted)
        world.later.push(
          until('the end of a session that never joined', async () =>
            (await newSessions(world, state)).every((s) => s.state === 'closed'),
          ),
        );
    },
  },
  {
    name: 'event with ack',
    writes: ['t_packet'],
    points: [request_, ...storePoints, send, sent],
    async prepare(world, i, name) {
      const socket = await Socket.connect(world.server.sidecars[i]);
      assert.deepEqual(await socket.call('join', 'all'), []);
      await pause(30); // a row of the log may still be under way to it
      return { socket, name };
    },
    trigger(world, { socket, name }) {
      socket.send(`4277${tickOf(name).slice(2)}`);
      return answered(socket, (m) => m.startsWith('4377['));
    },
    async check(world, { socket }, other, name, isCommitted) {
      await world.isInLog(name, isCommitted ? 1 : 0);
      await within(5000, 'the end of the WebSocket', socket.closed);
      world.endsWithReason(socket.sioId, name);
    },
    end: (world, { socket }) => socket.terminate(),
  },
  {
    name: '2probe',
    writes: ['t_packet'],
    points: [request_, ...storePoints, send, sent],
    async prepare(world, i) {
      const session = await world.session(1 - i);
      const socket = new Socket(world.server.sidecars[i], { query: { sid: session.sid } });
      await within(5000, 'the WebSocket to open', socket.opened);
      return { session, socket };
    },
    trigger(world, { socket }) {
      socket.send('2probe');
      return answered(socket, (m) => m === '3probe');
    },
    check: (world, { session }, other, name) => pollsAndUpgrades(world, session, other, name),
    end: (world, { session, socket }) => (socket.terminate(), endOf(session)),
  },
  ...[
    { name: '5', writes: ['i_lease_owner'], points: [request_, ...storePoints] },
    {
      name: '5, catching up',
      writes: ['i_lease_keep'],
      follows: ['i_lease_owner'],
      points: storePoints,
    },
  ].map((step) => ({
    ...step,
    isSilent: true,
    async prepare(world, i) {
      const session = await world.session(1 - i);
      return { session, socket: await probe(session, world.server.sidecars[i]) };
    },
    trigger(world, { socket }) {
      socket.send('5');
      return answered(socket, () => false);
    },
    async check(world, { session, socket }, other, name, isCommitted) {
      await within(5000, 'the end of the WebSocket', socket.closed);
      if (!isCommitted && step.follows === undefined)
        return pollsAndUpgrades(world, session, other, name);
      world.endsWithReason(session.sioId, name);
      await world.later.at(-1);
      session.urls = [world.server.entries[other]];
      assert.equal((await session.poll()).status, 400);
      return undefined;
    },
    end: (world, { session, socket }) => (socket.terminate(), endOf(session)),
  })),
];

// Polling goes on, and another upgrade succeeds; what is due comes once.
async function pollsAndUpgrades(world, session, other, name) {
  await world.tick(name);
  await world.goesOn(session, other, [name]);
  const socket = await upgrade(session, world.server.sidecars[other]);
  assert.deepEqual(await socket.call('message-with-ack', 'upgraded'), ['upgraded']);
  assert.deepEqual((await socket.call('rooms'))[0].filter((r) => r !== session.sioId), ['all']);
  await socket.close();
}

// ---- the suite ----

// On a server whose processes of one front are the victims; the observer is at the other front.
async function group(t, steps, front) {
  const server = await startServer({
    preset: 'main',
    set: { ping_interval: '4s', ping_timeout: '2s', connect_timeout: '3s', upgrade_timeout: '3s', aborted_poll: 'lenient' },
  });
  try {
    await server.sql(`CREATE TABLE points_log (seq INTEGER PRIMARY KEY, body TEXT);
      CREATE TRIGGER points_copy AFTER INSERT ON t_packet WHEN new.kind = 2 AND new.body LIKE '["tick",%'
        BEGIN INSERT INTO points_log VALUES (new.seq, new.body); END`);
    const observer =
      front === 'fcgi'
        ? await Peer.connect('websocket', server.sidecars[0])
        : await Peer.connect('polling', server.entries);
    await observer.call('join', 'all');
    const world = new World(server, server[front], observer);
    world.turn = 0;
    for (const step of steps) {
      await t.test(step.name, async (t) => {
        const rehearsal = await world.rehearse(step);
        for (const point of step.points) {
          const start = Date.now();
          await t.test(point.name, async (t) => {
            if (!(await world.run(step, point, rehearsal))) {
              world.neverHit.push(`${step.name}, ${point.name}`);
              t.skip('the process died elsewhere in ten attempts');
            }
          });
          if (process.env.SIOLITE_POINTS_TIMES) t.diagnostic(`${point.name}: ${Date.now() - start} ms`);
        }
      });
    }
    await world.ready();
    await Promise.all(world.later);
    await Promise.all(world.alive.map(endOf));
    const log = await world.inLog;
    await until('the observer to have seen the log, each row once', () => {
      const seen = observer.inbox.log
        .filter((p) => String(p).startsWith('2["tick",'))
        .map((p) => JSON.parse(p.slice(1))[1]);
      assert.deepEqual(seen, log);
      return true;
    });
    await observer.close();
    for (const what of [`session WHERE state = 'open'`, 'socket', 'member', 'room', 't_job', 't_ask']) {
      await until(
        `nothing left of ${what}`,
        async () => {
          assert.deepEqual(await server.sql(`SELECT * FROM ${what}`), []);
          return true;
        },
        9000,
      );
    }
    assert.equal(await server.value('SELECT count(*) FROM disconnect WHERE reason IS NULL'), 0);
    assert.equal(await server.value('SELECT count(*) FROM pragma_foreign_key_check'), 0);
    assert.ok(world.neverHit.length <= world.nHit / 20, `points never hit: ${world.neverHit}`);
    t.diagnostic(`${world.nHit} points hit, ${world.nMissed} attempts that missed`);
  } finally {
    await server.stop(); // PRAGMA integrity_check, and nobody logged an error
  }
}

const skip = needsOwn || needsTrace();

describe('death at a named point', { skip, concurrency: true }, () => {
  it('of siolite.fcgi', (t) => group(t, pollingSteps, 'fcgi'));
  it('of siolite-ws', (t) => group(t, webSocketSteps, 'ws'));
});
