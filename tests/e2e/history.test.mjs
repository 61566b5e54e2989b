// SPDX-License-Identifier: MIT
//
// History of rooms (docs/users.md): who joins gets what was said before, once, in order, and
// without a gap to what is said from then on, whatever ended or was pruned meanwhile.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { build } from './lib/npm.mjs';
import { call, client, freshNsp, plain, upgraded } from './lib/official.mjs';
import { quoted } from './lib/outsider.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { pause, until, within } from './lib/wait.mjs';
import { Peer, Polling } from './lib/wire.mjs';

let server;
before(async () => {
  if (!needsOwn)
    server = await startServer({
      app: path.join(build, 'apps/users.so'),
      set: { recovery: '4s', log_rows_max: 1500 },
    });
});
after(() => server?.stop());

const modes = ['polling', 'websocket', 'upgrade'];

// A connected client; `got` is what was said, without offsets.
async function connect(i, mode, nsp, auth = {}) {
  const socket = client(server.entries[i], mode, { nsp, auth });
  socket.got = [];
  socket.onAny((...event) => socket.got.push(plain(event.slice(0, -1))));
  await within(5000, `${mode} client to connect`, socket.ready);
  if (mode === 'upgrade') await upgraded(socket);
  return socket;
}
const closeAll = (sockets) => sockets.forEach((socket) => socket.close());
const heard = (socket, n) =>
  until(`${n} events`, () => {
    assert.ok(socket.got.length >= n, `${socket.got.length} events`);
    return true;
  });

describe('a room with a history', { skip: needsOwn, concurrency: 4 }, () => {
  for (const mode of modes) {
    // SIO-HISTORY, SIO-HISTORY-KEEP
    it(`gives its last events to who joins over ${mode}, then what is new`, async () => {
      const nsp = freshNsp();
      const speaker = await connect(0, 'websocket', nsp);
      for (let i = 0; i < 7; i++)
        await call(speaker, 'say', 'lobby', 'said', i, Buffer.from([i]), { ä: [i] });
      await server.sql(
        `INSERT INTO emit (nsp, room, event, args) VALUES ('${nsp}', 'lobby', 'sql', '[8]');
         INSERT INTO emit (nsp, room, event, is_volatile) VALUES ('${nsp}', 'lobby', 'gone', 1);
         INSERT INTO emit (nsp, event) VALUES ('${nsp}', 'everybody')`,
      );
      const socket = await connect(1, mode, nsp);
      await call(socket, 'join-history', 'lobby');
      assert.equal(socket.got.length, 5, 'all of it is there before the ack');
      await call(socket, 'join-history', 'lobby'); // it is in already
      await call(speaker, 'say', 'lobby', 'said', 'new');
      await heard(socket, 6);
      assert.deepEqual(socket.got, [
        ...[3, 4, 5, 6].map((i) => plain(['said', i, Buffer.from([i]), { ä: [i] }])),
        ['sql', 8],
        ['said', 'new'],
      ]);
      const plainJoin = await connect(0, mode, nsp);
      await call(plainJoin, 'join', 'lobby');
      assert.deepEqual(plainJoin.got, []);
      const early = await connect(1, mode, nsp, { lobby: true });
      await heard(early, 5);
      assert.deepEqual(early.got.at(-1), ['said', 'new']);
      closeAll([speaker, socket, plainJoin, early]);
    });
  }

  // SIO-HISTORY
  it('leaves no gap and repeats nothing while everybody talks', async () => {
    const nsp = freshNsp();
    const speakers = await Promise.all(['websocket', 'polling'].map((mode, i) => connect(i, mode, nsp)));
    const first = await connect(0, 'websocket', nsp);
    await call(first, 'join-history', 'talk-1');
    const N = 60;
    const talk = Promise.all(
      speakers.map(async (speaker, k) => {
        for (let i = 0; i < N; i++) await call(speaker, 'say', 'talk-1', 'said', k, i);
      }),
    );
    const listeners = [];
    for (let i = 0; i < 9; i++) {
      await pause(10);
      const socket = await connect(i % 2, modes[i % 3], nsp);
      listeners.push(socket);
      await call(socket, 'join-history', 'talk-1');
    }
    await talk;
    await heard(first, 2 * N);
    for (const socket of listeners) {
      await until('the end', () => {
        assert.deepEqual(socket.got.at(-1), first.got.at(-1));
        return true;
      });
      assert.deepEqual(socket.got, first.got.slice(-socket.got.length));
      assert.ok(socket.got.length >= 100, `${socket.got.length} events`);
    }
    closeAll([...speakers, first, ...listeners]);
  });

  // SIO-HISTORY-BYTES
  it('gives at most max_payload bytes, the newest', async () => {
    const nsp = freshNsp();
    const speaker = await connect(0, 'websocket', nsp);
    for (let i = 0; i < 4; i++)
      await call(speaker, 'say', 'lobby', 'said', i, 'x'.repeat(300_000));
    for (const [i, mode] of modes.entries()) {
      const socket = await connect(i % 2, mode, nsp);
      await call(socket, 'join-history', 'lobby');
      assert.deepEqual(
        socket.got.map((event) => event[1]),
        [1, 2, 3],
      );
      socket.close();
    }
    speaker.close();
  });

  // SIO-HISTORY
  it('is given to a poll that had waited after a history that was none of its own', async () => {
    const nsp = freshNsp();
    const speaker = await connect(0, 'websocket', nsp);
    const session = await Polling.open(server.entries[0]);
    await session.send(`40${nsp},`);
    const [reply] = await session.receive();
    const { sid } = JSON.parse(reply.slice(reply.indexOf('{')));
    await session.send(`42${nsp},7["join","talk-in"]`);
    assert.deepEqual(await session.receive(), [`43${nsp},7[]`]);
    await call(speaker, 'join', 'talk-new');
    for (const room of ['talk-in', 'talk-new']) await call(speaker, 'say', room, 'said', room);
    assert.equal((await session.receive()).length, 1);
    const join = (to, room) =>
      server.sql(`INSERT INTO room_join (nsp, ${to}, room, is_history) VALUES ('${nsp}', ${to === 'socket' ? `'${sid}'` : 1}, '${room}', 1)`);
    await join('is_all', 'talk-in'); // the speaker's
    const parked = session.poll();
    await until('the poll to be parked', () =>
      server.value(`SELECT process_id FROM session JOIN socket USING (session_id) WHERE socket = '${sid}'`));
    await join('socket', 'talk-new');
    const { body } = await parked;
    assert.ok(body.startsWith(`42${nsp},["said","talk-new"`), body);
    await session.post('1');
    speaker.close();
  });

  it('is a verb of SQL too, for one or for many', async () => {
    const nsp = freshNsp();
    const sockets = await Promise.all(modes.map((mode, i) => connect(i % 2, mode, nsp)));
    await call(sockets[0], 'join', 'talk-sql');
    await server.sql(
      `INSERT INTO emit (nsp, room, event) VALUES ('${nsp}', 'talk-sql', 'before');
       INSERT INTO room_join (nsp, is_all, room, is_history) VALUES ('${nsp}', 1, 'talk-sql', 1);
       INSERT INTO emit (nsp, room, event) VALUES ('${nsp}', 'talk-sql', 'after')`,
    );
    for (const socket of sockets) await heard(socket, 2);
    for (const socket of sockets) assert.deepEqual(socket.got, [['before'], ['after']]);
    await call(sockets[1], 'leave', 'talk-sql');
    await server.sql(
      `INSERT INTO room_join (socket, room, is_history) VALUES (${quoted(sockets[1].id)}, 'talk-sql', 1)`,
    );
    await heard(sockets[1], 4);
    assert.deepEqual(sockets[1].got.slice(2), [['before'], ['after']]);
    closeAll(sockets);
  });
});

describe('a client that is lost in the middle of a history', { skip: needsOwn }, () => {
  for (const transport of ['polling', 'websocket']) {
    // SIO-HISTORY-OFFSET
    it(`gets the rest over ${transport}, nothing twice`, async () => {
      const nsp = freshNsp();
      const speaker = await connect(0, 'websocket', nsp);
      for (let i = 0; i < 5; i++) await call(speaker, 'say', 'lobby', 'said', i);
      const peer = await Peer.open('websocket', server.entries[0]);
      await peer.send(`0${nsp},`);
      const { pid } = JSON.parse((await peer.next()).slice(nsp.length + 2));
      await peer.send(`2${nsp},["join-history","lobby"]`);
      const seen = [];
      while (seen.length < 5) seen.push(JSON.parse((await peer.next()).slice(nsp.length + 2)));
      assert.deepEqual(
        seen.map((event) => event.slice(0, 2)),
        [0, 1, 2, 3, 4].map((i) => ['said', i]),
      );
      const offsets = seen.map((event) => event[2]);
      for (const offset of offsets.slice(0, 4)) assert.match(offset, /^\d+\.\d+\.\d+$/);
      assert.match(offsets[4], /^\d+\.\d+$/);
      peer.socket.terminate();
      await until('the loss', async () =>
        (await server.value(`SELECT count(*) FROM disconnect WHERE nsp = '${nsp}'`)) === 1);
      await call(speaker, 'say', 'lobby', 'said', 5);

      const back = await Peer.open(transport, server.entries[1]);
      await back.send(`0${nsp},${JSON.stringify({ pid, offset: offsets[1] })}`);
      const list = [];
      while (list.length < 5) list.push(String(await back.next()));
      const events = list.filter((p) => p[0] === '2').map((p) => JSON.parse(p.slice(nsp.length + 2)));
      assert.deepEqual(
        events.map((event) => event.slice(0, 2)),
        [2, 3, 4, 5].map((i) => ['said', i]),
      );
      await back.close();
      speaker.close();
    });
  }
});

describe('what a room keeps', { skip: needsOwn }, () => {
  it('keeps it when the log is pruned, nobody is in it, and everything was killed', async () => {
    const nsp = freshNsp();
    const speaker = await connect(0, 'websocket', nsp);
    await server.sql(
      `INSERT INTO room_history (nsp, room, n, seconds) VALUES ('${nsp}', 'alone', 3, 3600)`,
    );
    for (let i = 0; i < 4; i++) await call(speaker, 'say', 'alone', 'said', i);
    const rows = await server.sql(
      `SELECT event, args, seq FROM history WHERE nsp = '${nsp}' AND room = 'alone' ORDER BY seq`,
    );
    assert.deepEqual(
      rows.map((row) => [row.event, row.args]),
      [1, 2, 3].map((i) => ['said', `[${i}]`]),
    );
    await server.sql(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
       INSERT INTO t_packet (kind, made_ms) SELECT 21, 0 FROM n`,
    );
    await until('the log to be pruned', async () => {
      const min = await server.value('SELECT min(seq) FROM t_packet');
      return min > rows.at(-1).seq;
    });
    const programs = [...server.fcgi, ...server.ws];
    await Promise.all(programs.map((p) => p.kill()));
    await Promise.all(programs.map((p) => p.start()));
    await server.ready();
    for (const [i, mode] of modes.entries()) {
      const socket = await connect(i % 2, mode, nsp);
      await call(socket, 'join-history', 'alone');
      assert.deepEqual(
        socket.got,
        [1, 2, 3].map((k) => ['said', k]),
      );
      socket.close();
    }
    speaker.close();
  });
});
