// SPDX-License-Identifier: MIT
//
// Connection state recovery: what a client missed comes once and in order, and its id, rooms
// and data are kept, whichever process it comes back to and whatever ended meanwhile; and
// `recovered` is never said when something may be missing.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { reasonOf } from './lib/claims.mjs';
import { onEnd } from './lib/npm.mjs';
import { call, client, freshNsp, next, plain, upgraded } from './lib/official.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { until, within } from './lib/wait.mjs';
import { Peer, Polling, Socket } from './lib/wire.mjs';

const WINDOW_MS = 4000;
const PID = '[A-Za-z0-9_-]{20}';
let server;
before(async () => {
  if (!needsOwn)
    server = await startServer({
      set: {
        recovery: `${WINDOW_MS}ms`,
        ping_interval: '1s',
        ping_timeout: '1s',
        upgrade_timeout: '1500ms',
      },
    });
});
after(() => server?.stop());

// A client that comes back when it is told to.
async function connect(url, mode, options) {
  const socket = client(url, mode, options);
  await within(5000, `${mode} client to connect`, socket.ready);
  await next(socket, 'auth');
  if (mode === 'upgrade') await upgraded(socket);
  return socket;
}

// The client gives up, as after a broken network: the server is not told, and the old
// connection stays.
function lose(socket) {
  const { engine } = socket.io;
  const isOver = new Promise((resolve) => socket.once('disconnect', resolve));
  const { ws } = engine.transport;
  engine.transport.doClose = () => {};
  if (ws) onEnd(() => ws.terminate());
  engine._onClose('transport error');
  return within(2000, 'the loss to be noticed by the client', isOver);
}

// The server is told: the connection is closed by the book.
async function leave(socket) {
  const { id } = socket;
  const isOver = new Promise((resolve) => socket.once('disconnect', resolve));
  socket.io.engine.close();
  await within(2000, 'the end of the connection', isOver);
  return id;
}

// Comes back, to another entry if told so; the events that it missed are in its Inbox.
async function comeBack(socket, { url, mode } = {}) {
  if (url !== undefined) socket.io.uri = url;
  const isBack = new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', reject);
  });
  socket.connect();
  await within(6000, 'the client to come back', isBack);
  if (mode === 'upgrade') await upgraded(socket);
}

// Everything up to the `auth` event of the new connection, without offsets.
async function missed(socket) {
  const list = [];
  for (;;) {
    const event = await socket.events.next('the auth event');
    if (event[0] === 'auth') return list;
    list.push(event);
  }
}
const withoutOffset = (list) => list.map((event) => plain(event.slice(0, -1)));
// An official client in the namespace, that emits casts and waits until they are done.
const witness = (nsp, i = 1) => connect(server.entries[i], 'websocket', { nsp });
const emit = (socket, opt, ...event) => call(socket, 'cast', opt, ...event);

// The same by a raw peer in a namespace; the result is the list of the ack's arguments.
async function callIn(peer, nsp, event, ...args) {
  const id = (peer.lastAck = (peer.lastAck ?? 0) + 1);
  await peer.send(`2${nsp},${id}${JSON.stringify([event, ...args])}`);
  const start = `3${nsp},${id}[`;
  const answer = await peer.inbox.find(`the ack of ${event}`, (p) =>
    String(p).startsWith(start),
  );
  return JSON.parse(answer.slice(start.length - 1));
}

const modes = ['polling', 'websocket', 'upgrade'];
const elsewhere = [0, 1].flatMap((from) => [0, 1].map((to) => [from, to]));

describe('recovery on the wire', { skip: needsOwn, concurrency: 8 }, () => {
  for (const transport of ['polling', 'websocket']) {
    // SIO-RECOVERY-OFFSET
    it(`gives a pid and offsets over ${transport}`, async () => {
      const peer = await Peer.open(transport, server.entries);
      await peer.send('0');
      const reply = await peer.next();
      assert.match(reply, new RegExp(`^0{"sid":"${PID}","pid":"${PID}"}$`));
      const { sid, pid } = JSON.parse(reply.slice(1));
      assert.notEqual(sid, pid);
      assert.match(await peer.next(), /^2\["auth",\{\},"\d+\.\d+"\]$/);
      await peer.send('2["echo","a"]', '2["echo"]');
      assert.match(await peer.next(), /^2\["echo","a","\d+\.\d+"\]$/);
      assert.match(await peer.next(), /^2\["echo","\d+\.\d+"\]$/);
      await peer.send('2["ack-me",1]');
      assert.match(await peer.next(), /^2\d+\["ack-request",1\]$/);
      if (transport === 'websocket') {
        // Over polling it is dropped while no GET is there.
        await peer.send('2["cast",{"via":"self","volatile":true},"tick",1]');
        assert.equal(await peer.next(), '2["tick",1]');
      }
      await peer.send('27["who"]');
      assert.match(await peer.next(), /^37\[\{.*\}\]$/);
      await peer.send('51-["message",{"_placeholder":true,"num":0}]', Buffer.from([7]));
      assert.match(
        await peer.next(),
        /^51-\["message-back",\{"_placeholder":true,"num":0\},"\d+\.\d+"\]$/,
      );
      assert.deepEqual(await peer.next(), Buffer.from([7]));
      await peer.close();
    });
  }

  it('gives neither to Engine.IO 3', async () => {
    const socket = await Socket.open(server.url, { query: { EIO: '3' } });
    assert.equal(await socket.next(), '40');
    assert.equal(await socket.next(), '42["auth",{}]');
    await socket.close();
  });

  // A raw session that is lost after one event, and what it is owed.
  async function lost(nsp) {
    const peer = await Peer.open('websocket', server.entries[0]);
    await peer.send(`0${nsp},`);
    const { sid, pid } = JSON.parse((await peer.next()).slice(nsp.length + 2));
    const auth = await peer.next();
    const offset = JSON.parse(auth.slice(nsp.length + 2)).at(-1);
    peer.socket.terminate();
    const other = await Peer.connect('websocket', server.entries[1], { nsp });
    await until(
      'the end to be known',
      async () => (await callIn(other, nsp, 'reason-of', sid))[0],
    );
    for (const i of [1, 2, 3]) await callIn(other, nsp, 'cast', { via: 'socket' }, 'tick', i);
    await other.close();
    return { sid, pid, offset };
  }

  // SIO-RECOVERY-ORDER
  it('sends what was missed before the CONNECT reply over polling', async () => {
    const nsp = freshNsp();
    const { sid, pid, offset } = await lost(nsp);
    const session = await Polling.open(server.entries);
    await session.send(`40${nsp},${JSON.stringify({ pid, offset })}`);
    const got = await session.receive((p) => p.some((s) => s.includes('"auth"')));
    assert.deepEqual(
      got.map((p) => p.replace(/"\d+\.\d+"\]$/, 'O]')),
      [
        `42${nsp},["tick",1,O]`,
        `42${nsp},["tick",2,O]`,
        `42${nsp},["tick",3,O]`,
        `40${nsp},${JSON.stringify({ sid, pid })}`,
        `42${nsp},["auth",${JSON.stringify({ pid, offset })},O]`,
      ],
    );
  });

  // SIO-RECOVERY-ORDER
  it('sends what was missed after the CONNECT reply over WebSocket', async () => {
    const nsp = freshNsp();
    const { sid, pid, offset } = await lost(nsp);
    const socket = await Socket.open(server.entries[1]);
    socket.send(`40${nsp},${JSON.stringify({ pid, offset })}`);
    const got = [];
    while (got.length < 5) got.push(await socket.next());
    assert.deepEqual(
      got.map((p) => p.replace(/"\d+\.\d+"\]$/, 'O]')),
      [
        `40${nsp},${JSON.stringify({ sid, pid })}`,
        `42${nsp},["tick",1,O]`,
        `42${nsp},["tick",2,O]`,
        `42${nsp},["tick",3,O]`,
        `42${nsp},["auth",${JSON.stringify({ pid, offset })},O]`,
      ],
    );
    await socket.close();
  });

  it('goes on from the offset that the client names', async () => {
    const nsp = freshNsp();
    const { sid, pid, offset } = await lost(nsp);
    const first = await Polling.open(server.entries);
    await first.send(`40${nsp},${JSON.stringify({ pid, offset })}`);
    const got = await first.receive((p) => p.some((s) => s.includes('"auth"')));
    const second = JSON.parse(got[1].slice(nsp.length + 3)).at(-1);
    await first.post('1');
    const session = await Polling.open(server.entries);
    await session.send(`40${nsp},${JSON.stringify({ pid, offset: second })}`);
    const again = await session.receive(
      (p) => p.filter((s) => s.includes('"auth"')).length >= 2,
    );
    assert.match(again[0], /"tick",3,/);
    assert.ok(again.some((p) => p === `40${nsp},${JSON.stringify({ sid, pid })}`));
    assert.ok(!again.some((p) => /"tick",[12],/.test(p)));
  });

  for (const [what, change] of [
    ['an unknown pid', ({ offset }) => ({ pid: 'A'.repeat(20), offset })],
    ['a pid that is no string', ({ offset }) => ({ pid: 7, offset })],
    ['an empty pid', ({ offset }) => ({ pid: '', offset })],
    ['an offset of another epoch', ({ pid, offset }) => ({ pid, offset: `1${offset}` })],
    ['an offset of the future', ({ pid, offset }) => ({ pid, offset: `${offset}999` })],
    ['an offset of the reference', ({ pid }) => ({ pid, offset: 'Q7wg1eL' })],
    ['a negative offset', ({ pid, offset }) => ({ pid, offset: offset.replace('.', '.-') })],
    ['half an offset', ({ pid, offset }) => ({ pid, offset: offset.split('.')[0] })],
  ]) {
    // SIO-RECOVERY-WHOLE
    it(`starts a fresh session for ${what}`, async () => {
      const nsp = freshNsp();
      const known = await lost(nsp);
      for (const transport of ['polling', 'websocket']) {
        const peer = await Peer.open(transport, server.entries);
        await peer.send(`0${nsp},${JSON.stringify(change(known))}`);
        const reply = await peer.next();
        assert.match(reply, new RegExp(`^0${nsp},{"sid":"${PID}","pid":"${PID}"}$`));
        const { sid, pid } = JSON.parse(reply.slice(nsp.length + 2));
        assert.notEqual(sid, known.sid);
        assert.notEqual(pid, known.pid);
        assert.match(await peer.next(), /"auth"/);
        const [who] = await callIn(peer, nsp, 'who');
        assert.deepEqual([who.id, who.recovered], [sid, false]);
        await peer.close();
      }
    });
  }

  it('does not take a pid into another namespace', async () => {
    const { sid, pid, offset } = await lost(freshNsp());
    const nsp = freshNsp();
    const peer = await Peer.open('websocket', server.entries[0]);
    await peer.send(`0${nsp},${JSON.stringify({ pid, offset })}`);
    const reply = JSON.parse((await peer.next()).slice(nsp.length + 2));
    assert.notEqual(reply.sid, sid);
    await peer.close();
  });
});

for (const mode of modes) {
  describe(`a client that comes back over ${mode}`, { skip: needsOwn, concurrency: 4 }, () => {
    for (const [from, to] of elsewhere)
      // SIO-RECOVERY
      it(`gets what it missed once and in order (entry ${from} to ${to})`, async () => {
        const nsp = freshNsp();
        const socket = await connect(server.entries[from], mode, { nsp });
        const other = await witness(nsp, 1 - from);
        await call(socket, 'join', ['in', 'both']);
        await call(other, 'join', ['both']);
        await call(socket, 'set-data', { a: [1, 'ä'] });
        await emit(other, { via: 'io' }, 'before', 0);
        assert.equal((await next(socket, 'before'))[0], 0);
        const { id } = socket;
        await leave(socket);
        assert.equal(await reasonOf(server, id), 'transport close');

        await emit(other, { via: 'io', to: [id] }, 'direct', 1);
        await emit(other, { via: 'io', to: ['in'] }, 'room', 2);
        await emit(other, { via: 'io', to: ['in', 'both', id] }, 'once', 3);
        await emit(other, { via: 'io' }, 'all', 4);
        await emit(other, { via: 'io', except: ['both'] }, 'not for it', 5);
        await emit(other, { via: 'io', to: ['nobody'] }, 'not for it', 6);
        await emit(other, { via: 'io', volatile: true }, 'not for it', 7);
        await emit(other, { via: 'socket', to: ['in'] }, 'binary', 8, Buffer.from([1, 2]), {
          b: Buffer.from([3]),
        });
        const asked = await call(other, 'ack-room', { to: 'in', timeout: 50 }, 'asked', 9);
        assert.deepEqual(asked.responses, []);
        await emit(other, { via: 'io', to: ['in'], repeat: 100 }, 'many', 'x');

        await comeBack(socket, { url: server.entries[to], mode });
        assert.equal(socket.recovered, true);
        assert.equal(socket.id, id);
        const list = withoutOffset(await missed(socket));
        assert.deepEqual(
          list,
          plain([
            ['direct', 1],
            ['room', 2],
            ['once', 3],
            ['all', 4],
            ['binary', 8, Buffer.from([1, 2]), { b: Buffer.from([3]) }],
            ...Array.from({ length: 100 }, (_, i) => ['many', i, 'x']),
          ]),
        );
        const who = await call(socket, 'who');
        assert.deepEqual(
          [who.id, who.recovered, who.data],
          [id, true, { a: [1, 'ä'] }],
        );
        assert.deepEqual(await call(socket, 'rooms'), ['both', 'in']);
        assert.equal(await call(other, 'reason-of', id), null);
        await emit(other, { via: 'io', to: ['in'] }, 'after', 10);
        assert.equal((await next(socket, 'after'))[0], 10);
        await emit(other, { via: 'io', to: [id] }, 'after', 11);
        assert.equal((await next(socket, 'after'))[0], 11);
        socket.close();
        other.close();
      });

    // SIO-RECOVERY-BEFORE
    it('comes back before the server has noticed the loss', async () => {
      const nsp = freshNsp();
      const socket = await connect(server.entries[0], mode, { nsp });
      const other = await witness(nsp);
      await call(socket, 'join', 'in');
      const { id } = socket;
      await lose(socket);
      await emit(other, { via: 'io', to: ['in'] }, 'tick', 1);
      await comeBack(socket, { url: server.entries[1], mode });
      assert.deepEqual([socket.recovered, socket.id], [true, id]);
      assert.deepEqual(withoutOffset(await missed(socket)), [['tick', 1]]);
      await emit(other, { via: 'io', to: ['in'] }, 'tick', 2);
      assert.equal((await next(socket, 'tick'))[0], 2);
      socket.close();
      other.close();
    });

    // SIO-RECOVERY-BEFORE
    it('comes back before it has seen any event', async () => {
      const nsp = freshNsp();
      const socket = await connect(server.entries[0], mode, { nsp });
      const other = await witness(nsp);
      const { id } = socket;
      delete socket._lastOffset;
      await leave(socket);
      await emit(other, { via: 'io' }, 'tick', 1);
      await comeBack(socket, { url: server.entries[1], mode });
      assert.deepEqual([socket.recovered, socket.id], [true, id]);
      const seen = [];
      while (seen.filter((e) => e[0] === 'auth').length < 2)
        seen.push(await socket.events.next());
      assert.deepEqual(
        seen.map((e) => e[0]),
        ['auth', 'tick', 'auth'],
        'also the event that it might have seen',
      );
      socket.close();
      other.close();
    });

    it('comes back again and again', async () => {
      const nsp = freshNsp();
      const socket = await connect(server.entries[0], mode, { nsp });
      const other = await witness(nsp);
      const { id } = socket;
      await call(socket, 'join', 'in');
      for (let i = 0; i < 4; i++) {
        await (i % 2 ? lose(socket) : leave(socket));
        await emit(other, { via: 'io', to: ['in'] }, 'tick', i);
        await comeBack(socket, { url: server.entries[i % 2], mode });
        assert.deepEqual([socket.recovered, socket.id], [true, id], `return ${i}`);
        assert.deepEqual(withoutOffset(await missed(socket)), [['tick', i]]);
      }
      socket.close();
      other.close();
    });

    // SIO-RECOVERY-MIDDLEWARE
    it('skips the middlewares that it has passed', async () => {
      const options = { nsp: '/token', auth: { token: 'secret' } };
      const socket = await connect(server.entries[0], mode, options);
      const { id } = socket;
      socket.auth = { token: 'not any more' };
      await leave(socket);
      await comeBack(socket, { mode });
      assert.deepEqual([socket.recovered, socket.id], [true, id]);
      socket.close();
    });

    it('recovers each namespace of its connection', async () => {
      const nsps = [freshNsp(), freshNsp()];
      const first = await connect(server.entries[0], mode, { nsp: nsps[0] });
      const second = first.io.socket(nsps[1]);
      const seen = [];
      second.onAny((...event) => seen.push(event));
      await until('the second namespace', () => seen.some((e) => e[0] === 'auth'));
      const ids = [first.id, second.id];
      const others = await Promise.all(nsps.map((nsp) => witness(nsp)));
      seen.length = 0;
      await leave(first);
      await emit(others[0], { via: 'io' }, 'tick', 'first');
      await emit(others[1], { via: 'io' }, 'tick', 'second');
      second.connect();
      await comeBack(first, { url: server.entries[1], mode });
      await until('both to be back', () => second.connected);
      assert.deepEqual([first.recovered, second.recovered], [true, true]);
      assert.deepEqual([first.id, second.id], ids);
      assert.deepEqual(withoutOffset(await missed(first)), [['tick', 'first']]);
      await until('the second auth event', () => seen.some((e) => e[0] === 'auth'));
      assert.deepEqual(
        withoutOffset(seen).map((e) => e.slice(0, 2)),
        [
          ['tick', 'second'],
          ['auth', seen[1][1]],
        ],
      );
      [first, ...others].forEach((socket) => socket.close());
    });

    it('does not recover what was left on purpose', async () => {
      for (const how of [
        (socket) => socket.disconnect(),
        (socket) => socket.emit('disconnect-me', false),
        (socket) => socket.emit('disconnect-me', true),
      ]) {
        const socket = await connect(server.entries[0], mode, { nsp: freshNsp() });
        const { id } = socket;
        const isOver = new Promise((resolve) => socket.once('disconnect', resolve));
        how(socket);
        await within(5000, 'the disconnection', isOver);
        await reasonOf(server, id);
        await comeBack(socket, { mode });
        assert.ok(!socket.recovered);
        assert.notEqual(socket.id, id);
        await next(socket, 'auth');
        assert.equal((await call(socket, 'who')).recovered, false);
        socket.close();
      }
    });

    it('starts anew when the time is over', async () => {
      const nsp = freshNsp();
      const socket = await connect(server.entries[0], mode, { nsp });
      const other = await witness(nsp);
      await call(socket, 'join', 'in');
      await call(socket, 'set-data', 1);
      const { id } = socket;
      await leave(socket);
      await reasonOf(server, id);
      await emit(other, { via: 'io' }, 'tick', 1);
      await until(
        'the socket to be forgotten',
        async () =>
          (await server.value(
            `SELECT count(*) FROM t_socket WHERE sio_id = '${id}' AND state = 1`,
          )) === 0,
        3 * WINDOW_MS,
      );
      await comeBack(socket, { mode });
      assert.ok(!socket.recovered);
      assert.notEqual(socket.id, id);
      assert.deepEqual(await missed(socket), []);
      const who = await call(socket, 'who');
      assert.deepEqual([who.id, who.recovered, who.data], [socket.id, false, null]);
      assert.deepEqual(await call(socket, 'rooms'), []);
      socket.close();
      other.close();
    });
  });
}

describe('processes that end', { skip: needsOwn }, () => {
  // Whatever a failed test has left behind.
  beforeEach(async () => {
    for (const program of [...server.fcgi, ...server.ws])
      if (!program.isRunning) await program.start();
  });

  // Clients of all kinds at both entries, in one namespace and its room.
  async function crowd() {
    const nsp = freshNsp();
    const sockets = await Promise.all(
      modes.flatMap((mode) =>
        server.entries.map((url) => connect(url, mode, { nsp })),
      ),
    );
    await Promise.all(
      sockets.map(async (socket, k) => {
        await call(socket, 'join', 'in');
        await call(socket, 'set-data', k);
      }),
    );
    return { nsp, sockets, ids: sockets.map((socket) => socket.id) };
  }

  async function assertRecovered({ sockets, ids }, events) {
    for (const [k, socket] of sockets.entries()) {
      assert.deepEqual(
        [socket.id, socket.recovered],
        [ids[k], true],
        `client ${k} of ${modes[k >> 1]}`,
      );
      assert.deepEqual(withoutOffset(await missed(socket)), events);
      const who = await call(socket, 'who');
      assert.deepEqual([who.data, who.recovered], [k, true]);
      assert.deepEqual(await call(socket, 'rooms'), ['in']);
    }
    await emit(sockets[0], { via: 'io', to: ['in'] }, 'after', 'all');
    for (const socket of sockets) assert.equal((await next(socket, 'after'))[0], 'all');
    sockets.forEach((socket) => socket.close());
  }

  // SIO-RECOVERY-BEFORE
  it('lose nobody when all are killed and started again', async () => {
    const all = await crowd();
    await Promise.all([...server.fcgi, ...server.ws].map((program) => program.kill()));
    await Promise.all(all.sockets.map((socket) => socket.connected && lose(socket)));
    for (const program of [...server.fcgi, ...server.ws]) await program.start();
    await server.ready();
    await server.sql(
      `INSERT INTO emit(nsp, room, event, args) VALUES ('${all.nsp}', 'in', 'tick', '[1]')`,
    );
    await Promise.all(
      all.sockets.map((socket, k) =>
        comeBack(socket, { url: server.entries[k % 2], mode: modes[k >> 1] }),
      ),
    );
    await assertRecovered(all, [['tick', 1]]);
  });

  it('lose nobody when a sidecar is told to end', async () => {
    const nsp = freshNsp();
    const sockets = await Promise.all(
      ['websocket', 'upgrade'].map((mode) =>
        connect(server.entries[0], mode, { nsp }),
      ),
    );
    const other = await witness(nsp, 1);
    const ids = sockets.map((socket) => socket.id);
    await Promise.all(sockets.map((socket) => call(socket, 'join', 'in')));
    const ends = Promise.all(
      sockets.map(
        (socket) =>
          new Promise((resolve) =>
            socket.once('disconnect', (reason, details) =>
              resolve([reason, details?.description?.code]),
            ),
          ),
      ),
    );
    const ended = server.ws[0].kill('SIGTERM');
    for (const [reason] of await within(5000, 'the disconnections', ends))
      assert.equal(reason, 'transport close');
    assert.equal(await ended, 0);
    await emit(other, { via: 'io', to: ['in'] }, 'tick', 1);
    await server.ws[0].start();
    await server.ready();
    await Promise.all(
      sockets.map((socket, k) => comeBack(socket, { url: server.entries[1 - k] })),
    );
    for (const [k, socket] of sockets.entries()) {
      assert.deepEqual([socket.id, socket.recovered], [ids[k], true]);
      assert.deepEqual(withoutOffset(await missed(socket)), [['tick', 1]]);
      assert.deepEqual(await call(socket, 'rooms'), ['in']);
      socket.close();
    }
    other.close();
  });

  it('lose nobody who comes back by itself, under traffic', async () => {
    const nsp = freshNsp();
    const sockets = await Promise.all(
      modes.map((mode) =>
        connect(server.url, mode, {
          nsp,
          reconnection: true,
          reconnectionDelay: 20,
          reconnectionDelayMax: 100,
        }),
      ),
    );
    const sender = await Peer.connect('polling', server.entries[1], { nsp });
    await Promise.all(sockets.map((socket) => call(socket, 'join', 'in')));
    const ids = sockets.map((socket) => socket.id);
    const n = 300;
    const sent = callIn(sender, nsp,
      'cast',
      { via: 'io', to: ['in'], repeat: n, every: 10 },
      'tick',
    );
    await until('some of it', () => sockets.every((s) => s.events.size > 20));
    await server.ws[0].kill();
    await server.ws[0].start();
    await until('more of it', () => sockets.every((s) => s.events.size > 120), 10_000);
    await server.ws[1].kill();
    await server.ws[1].start();
    await sent;
    await callIn(sender, nsp, 'cast', { via: 'io', to: ['in'] }, 'end');
    for (const [k, socket] of sockets.entries()) {
      const ticks = [];
      for (;;) {
        const [name, i] = await socket.events.next('the end', 10_000);
        if (name === 'end') break;
        if (name === 'tick') ticks.push(i);
      }
      assert.deepEqual(
        ticks,
        Array.from({ length: n }, (_, i) => i),
        `what ${modes[k]} saw`,
      );
      assert.equal(socket.id, ids[k]);
      socket.close();
    }
    await sender.close();
  });
});
