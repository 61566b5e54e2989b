// SPDX-License-Identifier: MIT
//
// kill -9 and SIGSTOP of every process at random moments under the traffic of mixed clients.
//
// Every writer counts: a "tick" to a room with its name and a number, never sent twice. A
// trigger copies each event of the log, in the transaction that appends it, so that pruning
// hides nothing. What must hold:
// 1. What was acknowledged (ack received, POST answered ok, INSERT committed) is in the log,
//    and nothing is in it twice.
// 2. What a client got while one connection lived is a run of the log without a gap, and
//    reaches to the end of the log for those that are still there.
// 3. The other processes go on within a second of each kill.
// 4. In the end no session, socket, membership or job is left that nobody ends, and the file
//    is sound.
//
// SIOLITE_CRASH_KILLS (50), SIOLITE_CRASH_SECONDS (150) and SIOLITE_CRASH_SEED change a run.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { client } from '../e2e/lib/official.mjs';
import { SqliteShell } from '../e2e/lib/outsider.mjs';
import { needsOwn, startServer } from '../e2e/lib/server.mjs';
import { pause, slowness, until, within } from '../e2e/lib/wait.mjs';
import { packetsOf, Peer, Polling } from '../e2e/lib/wire.mjs';

const nKills = Number(process.env.SIOLITE_CRASH_KILLS ?? 50);
const nSeconds = Number(process.env.SIOLITE_CRASH_SECONDS ?? 150);
const seed = Number(process.env.SIOLITE_CRASH_SEED ?? Date.now() % 1e6);

// mulberry32
let state = seed;
function random() {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const between = (low, high) => low + random() * (high - low);
const pick = (list) => list[Math.floor(random() * list.length)];

// To a room that every reader is in, or to everybody.
const cast = (name, i) => [
  'cast',
  i % 2 === 0 ? { via: 'io', to: ['all'] } : { via: 'io' },
  'tick',
  name,
  i,
];
const times = {
  ping_interval: '1s',
  ping_timeout: '2s',
  upgrade_timeout: '2s',
  connect_timeout: '3s',
};
const deathMs = 3000; // ping_interval and ping_timeout

// Writes until the run is over; `acked` holds the numbers of which it knows that they count.
class Writer {
  constructor(run, name) {
    Object.assign(this, { run, name, n: 0, acked: [], segments: [] });
  }

  async write() {
    while (!this.run.isOver) {
      const i = this.n++;
      if (await this.tick(i).catch(() => false)) this.acked.push(i);
      await pause(between(5, 40));
    }
  }

  // What comes over one connection of a reader, from its join on.
  newSegment() {
    this.segment = [];
    this.segments.push(this.segment);
  }
}

class OfficialWriter extends Writer {
  constructor(run, name, mode, url) {
    super(run, name);
    this.socket = client(url, mode, {
      reconnection: true,
      reconnectionDelay: 30,
      reconnectionDelayMax: 200,
      randomizationFactor: 0.5,
      timeout: 3000,
    });
    this.socket.on('connect', () => {
      this.segment = undefined;
      this.socket.emit('join', 'all', () => this.newSegment());
    });
    this.socket.on('tick', (name, i) => this.segment?.push(`${name} ${i}`));
    this.reasons = [];
    this.socket.on('disconnect', (reason) => {
      this.reasons.push(reason);
      this.segment = undefined;
    });
  }

  state() {
    const { connected, id, io } = this.socket;
    return `connected: ${connected} ${id} over ${io.engine?.transport?.name}, disconnections: ${this.reasons.slice(-3)}`;
  }

  async tick(i) {
    await until(
      `${this.name} to be connected`,
      () => this.socket.connected || this.run.isOver,
      20_000,
    );
    if (!this.socket.connected) return false;
    await this.socket.timeout(4000).emitWithAck(...cast(this.name, i));
    return true;
  }

  get ids() {
    return this.socket.connected ? [this.socket.id] : [];
  }

  close() {
    this.socket.io.reconnection(false);
    this.socket.close();
  }
}

// Polls and posts by hand, each request at another entry; a request that fails is no reason
// to give up the session.
class RawWriter extends Writer {
  async open() {
    this.session = await until(
      `${this.name} to connect`,
      () => Polling.connect(this.run.server.entries),
      10_000,
    );
    this.poll(this.session);
    const { session } = this;
    await until(`${this.name} to join`, async () => {
      if (session === this.session) await session.send('421["join","all"]');
      return true;
    });
  }

  async poll(session) {
    while (!this.isClosed && session === this.session) {
      const answer = await session
        .poll()
        .catch((error) => ({ status: 0, body: error.message }));
      if (answer.status === 400) return this.lost(session, answer.body);
      if (answer.status !== 200) {
        // What that answer should have carried may be lost, a ping too.
        if (this.segment) this.newSegment();
        await pause(20);
        await session.send('3').catch(() => {});
        continue;
      }
      for (const packet of packetsOf(answer.body)) {
        if (packet === '2') session.send('3').catch(() => {});
        else if (packet === '1') return this.lost(session, 'a close packet');
        else if (packet === '431[]') this.newSegment();
        else if (packet.startsWith('42["tick",'))
          this.segment?.push(JSON.parse(packet.slice(2)).slice(1).join(' '));
      }
    }
    return undefined;
  }

  async lost(session, how) {
    if (session !== this.session || this.isClosed) return undefined;
    const at = Date.now();
    const reason = await this.run.server.value(
      `SELECT reason FROM disconnect WHERE socket = '${session.sioId}'`,
    );
    this.run.lost.push({ name: this.name, how, at, reason });
    this.segment = undefined;
    this.session = undefined;
    return this.open();
  }

  async tick(i) {
    const { session } = this;
    if (session === undefined) return false;
    await session.send(`42${JSON.stringify(cast(this.name, i))}`);
    return true;
  }

  state() {
    return `session ${this.session?.sioId}, lost: ${this.run.lost.filter((l) => l.name === this.name).length}`;
  }

  get ids() {
    return this.session === undefined ? [] : [this.session.sioId];
  }

  async close() {
    this.isClosed = true;
    await this.session?.post('1').catch(() => {});
  }
}

class SqlWriter extends Writer {
  ids = [];

  async tick(i) {
    this.shell ??= new SqliteShell(this.run.server.db);
    const { shell } = this;
    try {
      await shell.run(`BEGIN IMMEDIATE; INSERT INTO emit(event, args)
        VALUES ('tick', '["${this.name}",${i}]'); COMMIT`);
      return true;
    } catch (error) {
      if (this.shell === shell) this.shell = undefined;
      throw error;
    }
  }

  close() {
    return this.shell?.close();
  }
}

// One client at each process, to see that the process goes on.
class Canary {
  constructor(run, transport, url) {
    Object.assign(this, { run, transport, url });
  }

  async call(ms) {
    const end = Date.now() + ms;
    if (this.peer === undefined || this.peer.isClosed) {
      this.peer = await within(
        ms,
        `a new client at ${this.url}`,
        Peer.connect(this.transport, this.url),
      );
    }
    return within(
      Math.max(1, end - Date.now()),
      `an ack over ${this.transport} at ${this.url}`,
      this.peer.call('message-with-ack', 'alive'),
      () => this.peer.inbox.log.slice(-5),
    );
  }

  // Its process has slept: the connection may be over, but a new one must work.
  async comeBack(ms) {
    await this.call(ms).catch(() => this.peer?.close());
    await this.call(ms);
  }
}

// Does anybody hold the write lock, or the place in the queue for it, at this moment?
async function isLocked(server) {
  const can = (command, args) =>
    new Promise((resolve) => execFile(command, args, (error) => resolve(!error)));
  return (
    !(await can('flock', ['-n', `${server.db}-queue`, 'true'])) ||
    !(await can('sqlite3', [server.db, 'BEGIN IMMEDIATE; ROLLBACK;']))
  );
}

class Run {
  constructor(server) {
    Object.assign(this, {
      server,
      writers: [],
      lost: [],
      stops: [],
      slowest: 0,
      counts: {},
      isOver: false,
    });
  }

  async start() {
    const { server } = this;
    await server.sql(`CREATE TABLE crash_log (seq INTEGER PRIMARY KEY, body TEXT);
      CREATE TRIGGER crash_copy AFTER INSERT ON t_packet WHEN new.kind = 2 AND new.body LIKE '["tick",%'
        BEGIN INSERT INTO crash_log VALUES (new.seq, new.body); END`);
    this.canaries = [
      ...server.fcgi.map((_, i) => new Canary(this, 'polling', server.entries[i])),
      ...server.ws.map((_, i) => new Canary(this, 'websocket', server.sidecars[i])),
    ];
    for (const canary of this.canaries) await canary.call(5000);
    ['polling', 'websocket', 'upgrade', 'polling', 'websocket', 'upgrade'].forEach(
      (mode, i) =>
        this.writers.push(new OfficialWriter(this, `${mode}-${i}`, mode, server.url)),
    );
    for (const name of ['raw-0', 'raw-1', 'raw-2']) {
      const writer = new RawWriter(this, name);
      await writer.open();
      this.writers.push(writer);
    }
    this.writers.push((this.sql = new SqlWriter(this, 'sql')));
    this.writing = this.writers.map((writer) => writer.write());
  }

  // Where this process itself is held up for long, its clients miss their pings.
  watchOurselves() {
    let last = Date.now();
    return setInterval(() => {
      if (Date.now() - last > 1000) this.stops.push(last, Date.now());
      last = Date.now();
    }, 100);
  }

  canariesOf(victims) {
    const programs = [...this.server.fcgi, ...this.server.ws];
    return this.canaries.filter((_, i) => victims.includes(programs[i]));
  }

  // The programs that are not among the victims answer, on old and on new connections.
  async othersGoOn(victims) {
    const start = Date.now();
    const asleep = this.canariesOf(victims);
    const others = this.canaries.filter((canary) => !asleep.includes(canary));
    try {
      await Promise.all(others.map((canary) => canary.call(1000)));
    } catch (error) {
      error.message += `, after the end or stop of ${victims.map((v) => v.name)}`;
      throw error;
    }
    this.slowest = Math.max(this.slowest, Date.now() - start);
  }

  // True: who was stopped had the lock in its hand, and so stopped everybody.
  async stopped(victims, ms) {
    for (const victim of victims) victim.signal('SIGSTOP');
    this.stops.push(Date.now());
    const isHeld = await isLocked(this.server);
    if (isHeld) this.count('stops with the lock held');
    else await this.othersGoOn(victims);
    await pause(ms);
    return isHeld;
  }

  count(what) {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  // One round: a moment of traffic, somebody dies or sleeps, and is back.
  async round(i) {
    const { fcgi, ws } = this.server;
    await this.server.ready();
    await pause(between(50, 400));
    const all = [...fcgi, ...ws];
    const kind = i % 10;
    let victims = [all[i % all.length]];
    if (kind === 4) victims = [pick(fcgi), pick(ws)];
    if (kind === 9) victims = all;
    if (kind === 2) {
      this.count('SIGSTOP and SIGCONT');
      const isHeld = await this.stopped(victims, i % 20 === 2 ? deathMs + 1500 : between(100, 900));
      victims.forEach((victim) => victim.signal('SIGCONT'));
      this.stops.push(Date.now());
      if (!isHeld) await this.othersGoOn(victims);
      for (const canary of isHeld ? this.canaries : this.canariesOf(victims))
        await canary.comeBack(deathMs);
      return 0;
    }
    if (kind === 6) {
      this.count('SIGSTOP and SIGKILL');
      await this.stopped(victims, between(50, 500));
    }
    if (kind === 7 && this.sql.shell) {
      this.count('SIGKILL of sqlite3');
      await this.sql.shell.kill();
    }
    await Promise.all(victims.map((victim) => victim.kill('SIGKILL')));
    victims.forEach((victim) => this.count(`SIGKILL of ${victim.name}`));
    await this.othersGoOn(victims);
    for (const victim of victims) await victim.start();
    return victims.length;
  }

  async finish() {
    this.isOver = true;
    await within(30_000, 'the writers to end', Promise.all(this.writing));
    await this.server.ready();
    for (const writer of this.writers) {
      if (writer !== this.sql)
        await until(`${writer.name} to be back`, () => writer.segment, 10_000);
    }
    // The last tick of all: who is there must get it.
    const last = new SqlWriter(this, 'last');
    await until('the last tick', () => last.tick(0));
    await last.close();
    for (const writer of this.writers.filter((w) => w !== this.sql)) {
      await until(
        `the last tick to reach ${writer.name}`,
        async () => {
          if (writer.segments.at(-1)?.at(-1) === 'last 0') return true;
          const rows = await this.server
            .sql(`SELECT transport, state, process_id, (SELECT count(*) FROM member m
          WHERE m.socket = s.socket) AS n_rooms FROM socket s JOIN session USING (session_id) WHERE socket = '${writer.ids[0]}'`);
          throw new Error(
            `${writer.state()}, ${JSON.stringify(rows)}, last of ${writer.segments.length} connections: ${writer.segment?.slice(
              -3,
            )}`,
          );
        },
        10_000,
      );
    }
  }
}

describe('kill -9 and SIGSTOP under traffic', { skip: needsOwn }, () => {
  // EIO-KILLED
  it('loses, doubles and leaves behind nothing', async (t) => {
    t.diagnostic(`SIOLITE_CRASH_SEED=${seed}`);
    const server = await startServer({
      preset: 'short',
      set: { ...times, aborted_poll: 'lenient', max_payload: 100000 },
    });
    const run = new Run(server);
    const watch = run.watchOurselves();
    try {
      await check(t, server, run);
    } finally {
      clearInterval(watch);
      run.isOver = true;
      await Promise.allSettled(run.writers.map((writer) => writer.close()));
      await server.stop();
    }
  });
});

async function check(t, server, run) {
  await run.start();
  const end = Date.now() + nSeconds * 1000;
  let kills = 0;
  let rounds = 0;
  while (kills < nKills && Date.now() < end) kills += await run.round(rounds++);
  await run.finish();
  t.diagnostic(`${kills} kills in ${rounds} rounds: ${JSON.stringify(run.counts)}`);
  t.diagnostic(`slowest of the others after a kill: ${run.slowest} ms`);
  assert.ok(kills >= nKills, `${kills} of ${nKills} kills in ${nSeconds} s`);

  // 1
  const log = (await server.sql('SELECT body FROM crash_log ORDER BY seq')).map(
    ({ body }) => JSON.parse(body).slice(1).join(' '),
  );
  const place = new Map(log.map((tick, i) => [tick, i]));
  const doubled = log.filter((tick, i) => place.get(tick) !== i);
  assert.deepEqual(doubled, [], 'ticks that are in the log twice');
  let nAcked = 0;
  for (const writer of run.writers) {
    const missing = writer.acked.filter((i) => !place.has(`${writer.name} ${i}`));
    assert.deepEqual(
      missing,
      [],
      `acknowledged ticks of ${writer.name} that are not in the log`,
    );
    nAcked += writer.acked.length;
    assert.ok(
      writer.acked.length > 20 * slowness ** -1,
      `${writer.name} had ${writer.acked.length} acks`,
    );
  }

  // 2
  let nDelivered = 0;
  for (const writer of run.writers) {
    for (const [k, segment] of writer.segments.entries()) {
      nDelivered += segment.length;
      const places = segment.map(
        (tick) =>
          place.get(tick) ??
          assert.fail(`${writer.name} got ${tick}, which is not in the log`),
      );
      const wrong = places.findIndex((p, i) => i > 0 && p !== places[i - 1] + 1);
      assert.equal(
        wrong,
        -1,
        `connection ${k} of ${writer.name}, after ${segment[wrong - 1]} (${places[wrong - 1]}) came ` +
          `${segment[wrong]} (${places[wrong]}); between them in the log: ${log.slice(places[wrong - 1] + 1, places[wrong]).slice(0, 10)}`,
      );
    }
  }
  t.diagnostic(
    `${log.length} events in the log, ${nAcked} acknowledged, ${nDelivered} deliveries`,
  );

  // A session by hand survives whatever dies; it ends only if somebody slept for too long.
  const innocent = run.lost.filter(
    ({ at }) => !run.stops.some((stop) => at > stop && at < stop + 2 * deathMs),
  );
  assert.deepEqual(
    innocent,
    [],
    'polling sessions that ended without a process being stopped',
  );

  // 4. A client may still come back meanwhile: what it is now counts.
  const canaries = () =>
    run.canaries.filter(({ peer }) => !peer.isClosed).map(({ peer }) => peer.sioId);
  const writers = () => run.writers.flatMap((writer) => writer.ids);
  const sorted = async (sql) =>
    (await server.sql(sql)).map((row) => Object.values(row)[0]).sort();
  const holds = (what, assertion) =>
    until(
      what,
      async () => {
        await assertion();
        return true;
      },
      deathMs + 4000,
    );
  await holds('exactly the sockets of the clients to be there', async () => {
    const there = await sorted('SELECT socket FROM socket');
    assert.deepEqual(there, [...writers(), ...canaries()].sort());
  });
  await holds('exactly their sessions to be open', async () => {
    const n = await server.value(`SELECT count(*) FROM session WHERE state = 'open'`);
    assert.equal(n, writers().length + canaries().length);
  });
  await holds('exactly the writers to be in their room', async () => {
    const there = await sorted(`SELECT socket FROM member WHERE room = 'all'`);
    assert.deepEqual(there, writers().sort());
  });
  await holds('the processes of the view to be those that run', async () => {
    const running = [...server.fcgi, ...server.ws].map((program) => program.pid);
    assert.deepEqual(await sorted('SELECT os_pid FROM process'), running.sort());
  });
  assert.equal(
    await server.value('SELECT count(*) FROM disconnect WHERE reason IS NULL'),
    0,
    'disconnections without a reason',
  );
  await Promise.all(
    [...run.writers, ...run.canaries.map((canary) => canary.peer)].map((one) =>
      one.close(),
    ),
  );
  for (const what of [
    `session WHERE state = 'open'`,
    'socket',
    'member',
    'room',
    't_job',
  ]) {
    await holds(`nothing left of ${what}`, async () => {
      assert.equal(await server.value(`SELECT count(*) FROM ${what}`), 0);
    });
  }
  assert.equal(await server.value('PRAGMA integrity_check'), 'ok');
  assert.equal(await server.value('SELECT count(*) FROM pragma_foreign_key_check'), 0);
}
