// SPDX-License-Identifier: MIT
//
// Rooms, broadcasts, questions to a room and operations on sockets, always with clients of
// all three kinds, at different entries, in one namespace.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { parked } from './lib/claims.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import {
  call,
  connect,
  freshNsp,
  group,
  next,
  plain,
  received,
} from './lib/official.mjs';
import { pause, until, within } from './lib/wait.mjs';

let server;
before(async () => {
  server = await startServer();
});
after(() => server?.stop());

const modes = ['polling', 'websocket', 'upgrade'];
const emoji = '\u00e4\u20ac\u{1f600}';

const answering = (socket, event, answer) =>
  socket.on(event, (...args) => args.pop()(answer));

describe('rooms', { concurrency: 8 }, () => {
  it('are joined and left, one or several at once', async () => {
    const sockets = await group(server, modes);
    for (const socket of sockets) {
      assert.deepEqual(await call(socket, 'rooms'), []);
      await call(socket, 'join', 'b');
      await call(socket, 'join', ['a', 'c', emoji, '']);
      await call(socket, 'join', 'b');
      assert.deepEqual(await call(socket, 'rooms'), ['', 'a', 'b', 'c', emoji]);
      await call(socket, 'leave', 'a');
      await call(socket, 'leave', 'never joined');
      assert.deepEqual(await call(socket, 'rooms'), ['', 'b', 'c', emoji]);
    }
    sockets.close();
  });

  // SIO-MEMBER
  it('take a join or leave into effect before the ack, everywhere', async () => {
    const sockets = await group(server, [
      'polling',
      'websocket',
      'upgrade',
      'polling',
      'websocket',
    ]);
    const [sender, ...others] = sockets;
    for (let round = 0; round < 10; round++) {
      for (const socket of others) {
        await call(socket, 'join', 'room');
        assert.equal(await call(sender, 'sockets', { in: 'room' }), 1);
        await call(sender, 'cast', { via: 'io', to: ['room'] }, 'in', round);
        await call(socket, 'leave', 'room');
        await call(sender, 'cast', { via: 'io', to: ['room'] }, 'out', round);
      }
    }
    const got = await received(sockets);
    assert.deepEqual(got, [
      [],
      ...others.map(() => Array.from({ length: 10 }, (_, i) => ['in', i])),
    ]);
    sockets.close();
  });

  it('do not reach into another namespace', async () => {
    const here = await group(server, modes);
    const there = await group(server, modes);
    for (const socket of [...here, ...there]) await call(socket, 'join', 'room');
    await call(here[0], 'cast', { via: 'io', to: ['room'] }, 'hello');
    assert.deepEqual(
      await received(here),
      here.map(() => [['hello']]),
    );
    assert.deepEqual(
      await received(there),
      there.map(() => []),
    );
    assert.equal(await call(there[0], 'sockets', { in: 'room' }), 3);
    assert.equal(await call(there[0], 'sockets', { in: here[0].id }), 0);
    here.close();
    there.close();
  });

  it('may have the name of a socket: who names it means both', async () => {
    const sockets = await group(server, modes);
    const [a, b, c] = sockets;
    await call(a, 'join', b.id);
    await call(c, 'cast', { via: 'io', to: [b.id] }, 'both');
    await call(c, 'cast', { via: 'io', except: [b.id] }, 'neither');
    await call(a, 'cast', { via: 'socket', to: [b.id] }, 'b only');
    assert.deepEqual(await call(a, 'rooms'), [b.id]);
    assert.equal(await call(c, 'sockets', { in: b.id }), 2);
    await call(a, 'leave', b.id);
    await call(c, 'cast', { via: 'io', to: [b.id] }, 'b again');
    assert.deepEqual(await received(sockets), [
      [['both']],
      [['both'], ['b only'], ['b again']],
      [['neither']],
    ]);
    sockets.close();
  });

  // SIO-ROOM
  it('are left with the connection', async () => {
    const [gone, stays] = await group(server, ['polling', 'websocket']);
    await call(gone, 'join', 'room');
    const { id } = gone;
    assert.equal(await call(stays, 'sockets', { in: ['room', id] }), 1);
    gone.disconnect();
    await until(
      'the room to be empty',
      async () => (await call(stays, 'sockets', { in: ['room', id] })) === 0,
    );
    stays.close();
  });

  it('hold thousands for one socket', async () => {
    const [socket] = await group(server, ['websocket']);
    const names = Array.from({ length: 5000 }, (_, i) => `room ${i}`);
    await call(socket, 'join', names);
    assert.equal((await call(socket, 'rooms')).length, 5000);
    await call(socket, 'cast', { via: 'io', to: names }, 'once');
    assert.deepEqual(await received([socket]), [[['once']]]);
    socket.close();
  });
});

describe('cast', { concurrency: 8 }, () => {
  // a and b in room x, b and c in room y, d in none; all kinds of clients.
  async function stage() {
    const sockets = await group(server, ['polling', 'websocket', 'upgrade', 'polling']);
    const [a, b, c] = sockets;
    await call(a, 'join', 'x');
    await call(b, 'join', ['x', 'y']);
    await call(c, 'join', 'y');
    return sockets;
  }

  // Who gets an event that is cast by a, b, c, d in turn.
  const table = [
    [{ via: 'self' }, ['a', 'b', 'c', 'd']],
    [{ via: 'socket' }, ['bcd', 'acd', 'abd', 'abc']],
    [{ via: 'io' }, ['abcd', 'abcd', 'abcd', 'abcd']],
    [{ via: 'io', to: [] }, ['abcd', 'abcd', 'abcd', 'abcd']],
    [{ via: 'io', to: ['x'] }, ['ab', 'ab', 'ab', 'ab']],
    [{ via: 'socket', to: ['x'] }, ['b', 'a', 'ab', 'ab']],
    [{ via: 'io', to: ['x', 'y'] }, ['abc', 'abc', 'abc', 'abc']],
    [{ via: 'socket', to: ['x', 'y'] }, ['bc', 'ac', 'ab', 'abc']],
    [{ via: 'io', except: ['x'] }, ['cd', 'cd', 'cd', 'cd']],
    [{ via: 'socket', except: ['x'] }, ['cd', 'cd', 'd', 'c']],
    [{ via: 'io', to: ['x'], except: ['y'] }, ['a', 'a', 'a', 'a']],
    [{ via: 'socket', to: ['x'], except: ['y'] }, ['', 'a', 'a', 'a']],
    [{ via: 'io', to: ['x', 'y'], except: ['x', 'y'] }, ['', '', '', '']],
    [{ via: 'io', to: ['nobody'] }, ['', '', '', '']],
    [{ via: 'io', except: ['nobody'] }, ['abcd', 'abcd', 'abcd', 'abcd']],
    [{ via: 'io', to: ['x', 'nobody'] }, ['ab', 'ab', 'ab', 'ab']],
  ];

  // SIO-TARGET
  it('reaches whom it names, once each, from every kind of client', async () => {
    const sockets = await stage();
    const names = 'abcd';
    for (const [opt, expected] of table) {
      for (const [i, sender] of sockets.entries()) {
        await call(sender, 'cast', opt, 'news', names[i]);
        const got = await received(sockets, (name) =>
          call(sender, 'cast', { via: 'io' }, name),
        );
        const who = names
          .split('')
          .filter((_, k) => got[k].length > 0)
          .join('');
        assert.equal(who, expected[i], `${JSON.stringify(opt)} by ${names[i]}`);
        assert.ok(
          got.every((list) => list.length <= 1),
          `doubled: ${JSON.stringify(got)}`,
        );
      }
    }
    sockets.close();
  });

  it('takes a socket id for a room', async () => {
    const sockets = await stage();
    const [a, b, c, d] = sockets;
    await call(a, 'cast', { via: 'io', to: [c.id] }, 'to c');
    await call(a, 'cast', { via: 'socket', to: [a.id, d.id] }, 'to a and d');
    await call(a, 'cast', { via: 'io', except: [b.id] }, 'not b');
    await call(a, 'cast', { via: 'io', to: ['x', d.id], except: [a.id] }, 'b and d');
    assert.deepEqual(await received(sockets), [
      [['not b']],
      [['b and d']],
      [['to c'], ['not b']],
      [['to a and d'], ['not b'], ['b and d']],
    ]);
    sockets.close();
  });

  it('keeps the arguments, attachments too, and the order', async () => {
    const sockets = await stage();
    const args = [1, emoji, { a: [Buffer.from([1, 2, 3])] }, null];
    await call(sockets[0], 'cast', { via: 'io' }, 'full', ...args);
    await call(sockets[0], 'cast', { via: 'io' }, 'bare');
    for (const list of await received(sockets)) {
      assert.deepEqual(plain(list), plain([['full', ...args], ['bare']]));
    }
    sockets.close();
  });

  it('repeats with a counter, at once', async () => {
    const sockets = await stage();
    await call(
      sockets[0],
      'cast',
      { via: 'io', to: ['x', 'y'], repeat: 100 },
      'tick',
      'more',
    );
    const ticks = Array.from({ length: 100 }, (_, i) => ['tick', i, 'more']);
    assert.deepEqual(await received(sockets), [ticks, ticks, ticks, []]);
    await call(sockets[0], 'cast', { via: 'io', repeat: 0 }, 'never');
    assert.deepEqual(await received(sockets), [[], [], [], []]);
    sockets.close();
  });

  it('repeats in intervals, while other events are handled, and acks at the end', async () => {
    const sockets = await stage();
    const start = Date.now();
    const done = call(
      sockets[1],
      'cast',
      { via: 'socket', repeat: 5, every: 60 },
      'tick',
    );
    assert.equal(await call(sockets[1], 'message-with-ack', 'meanwhile'), 'meanwhile');
    assert.ok(Date.now() - start < 290, `held up for ${Date.now() - start} ms`);
    await done;
    const ms = Date.now() - start;
    assert.ok(ms >= 290, `done after ${ms} ms`);
    const ticks = Array.from({ length: 5 }, (_, i) => ['tick', i]);
    assert.deepEqual(await received(sockets), [ticks, [], ticks, ticks]);
    sockets.close();
  });

  it('goes on repeating when the sender is gone', async () => {
    const [a, ...others] = await stage();
    a.emit('cast', { via: 'io', repeat: 6, every: 50 }, 'tick');
    await next(others[0], 'tick');
    a.disconnect();
    for (const socket of others) {
      const seen = socket === others[0] ? [0] : [];
      while (seen.length < 6) seen.push((await next(socket, 'tick'))[0]);
      assert.deepEqual(seen, [0, 1, 2, 3, 4, 5]);
      socket.close();
    }
  });

  it('emits to the sender itself before the ack', async () => {
    for (const mode of modes) {
      const [socket] = await group(server, [mode]);
      const order = [];
      socket.on('self', (i) => order.push(i));
      socket.emit('cast', { via: 'self', repeat: 5 }, 'self', () => order.push('ack'));
      await until('the ack', () => order.includes('ack'));
      assert.deepEqual(order, [0, 1, 2, 3, 4, 'ack']);
      socket.close();
    }
  });

  // SIO-VOLATILE
  it('drops what is volatile when it cannot be written, and keeps the order of the rest', async () => {
    for (const mode of modes) {
      const sockets = await group(server, [mode, 'websocket']);
      let ticks = [];
      // A ping may have taken the parked poll just before: then none comes.
      for (let k = 0; k < 2 && ticks.length === 0; k++) {
        if (mode === 'polling') await parked(server, sockets[0].io.engine.id);
        await call(
          sockets[1],
          'cast',
          { via: 'socket', volatile: true, repeat: 500 },
          'tick',
        );
        const lists = await received(sockets, (name) => call(sockets[1], 'cast', { via: 'io' }, name));
        ticks = lists[0].map(([, i]) => i);
        assert.deepEqual(lists[1], []);
      }
      assert.ok(ticks.length >= 1 && ticks.length <= 500, `${ticks.length} of 500 came`);
      assert.deepEqual(
        ticks,
        [...new Set(ticks)].sort((p, q) => p - q),
      );
      if (mode === 'polling')
        assert.ok(ticks.length < 500, 'all of 500 came over polling');
      sockets.close();
    }
  });

  // SIO-LOCAL
  it('stays in the process if it is local', { skip: needsOwn }, async () => {
    const nsp = freshNsp();
    const at = (i) => connect(server.sidecars[i], 'websocket', { nsp });
    const sockets = await Promise.all([at(0), at(0), at(1)]);
    await call(sockets[0], 'cast', { via: 'io', local: true }, 'near');
    await call(sockets[2], 'cast', { via: 'io', local: true }, 'far');
    assert.deepEqual(await received(sockets), [[['near']], [['near']], [['far']]]);
    const polling = await connect(server.entries[0], 'polling', { nsp });
    await call(polling, 'cast', { via: 'io', local: true }, 'mine');
    assert.deepEqual(await received([...sockets, polling]), [[], [], [], [['mine']]]);
    [...sockets, polling].forEach((socket) => socket.close());
  });

  it('broadcasts to the whole namespace by bcast', async () => {
    const sockets = await group(server, modes);
    sockets[0].emit('bcast', 1, { a: Buffer.from([1]) });
    await Promise.all(
      sockets.map(async (socket) => {
        assert.deepEqual(
          plain(await next(socket, 'bcast')),
          plain([1, { a: Buffer.from([1]) }]),
        );
      }),
    );
    sockets.close();
  });
});

describe('ack-room', { concurrency: 8 }, () => {
  // SIO-ASK-ROOM
  it('collects an answer of everybody, the sender too', async () => {
    const sockets = await group(server, ['polling', 'websocket', 'upgrade', 'polling']);
    for (const [i, socket] of sockets.entries()) {
      answering(socket, 'question', i);
      if (i < 3) await call(socket, 'join', 'room');
    }
    const result = await call(
      sockets[0],
      'ack-room',
      { to: 'room', timeout: 4000 },
      'question',
      'x',
    );
    assert.deepEqual([result.timedOut, [...result.responses].sort()], [false, [0, 1, 2]]);
    const several = await call(
      sockets[3],
      'ack-room',
      { to: ['room', sockets[3].id], timeout: 4000 },
      'question',
    );
    assert.deepEqual(
      [several.timedOut, [...several.responses].sort()],
      [false, [0, 1, 2, 3]],
    );
    sockets.close();
  });

  it('collects attachments, and only the first argument', async () => {
    const sockets = await group(server, ['polling', 'websocket']);
    for (const socket of sockets)
      socket.on('question', (ack) => ack({ data: Buffer.from([1, 2]) }, 'second'));
    const result = await call(
      sockets[0],
      'ack-room',
      { to: sockets.map((s) => s.id), timeout: 4000 },
      'question',
    );
    assert.deepEqual(
      plain(result),
      plain({
        timedOut: false,
        responses: [{ data: Buffer.from([1, 2]) }, { data: Buffer.from([1, 2]) }],
      }),
    );
    sockets.close();
  });

  it('lists the answers in the order they came', async () => {
    const sockets = await group(server, ['websocket', 'polling', 'websocket']);
    sockets.forEach((socket, i) =>
      socket.on('question', (ack) => setTimeout(ack, 50 + 150 * (2 - i), i)),
    );
    for (const socket of sockets) await call(socket, 'join', 'room');
    const result = await call(
      sockets[0],
      'ack-room',
      { to: 'room', timeout: 4000 },
      'question',
    );
    assert.deepEqual(result, { timedOut: false, responses: [2, 1, 0] });
    sockets.close();
  });

  it('ends at once when nobody is in there', async () => {
    const [socket] = await group(server, ['websocket']);
    const start = Date.now();
    assert.deepEqual(
      await call(socket, 'ack-room', { to: 'nobody', timeout: 3000 }, 'question'),
      {
        timedOut: false,
        responses: [],
      },
    );
    assert.ok(Date.now() - start < 1500, `it took ${Date.now() - start} ms`);
    socket.close();
  });

  it('gives up after the time, with what came', async () => {
    const sockets = await group(server, ['polling', 'websocket', 'upgrade']);
    for (const socket of sockets) await call(socket, 'join', 'room');
    answering(sockets[0], 'question', 'a');
    sockets[1].on('question', (ack) => setTimeout(ack, 800, 'late'));
    const start = Date.now();
    const result = await call(
      sockets[2],
      'ack-room',
      { to: 'room', timeout: 400 },
      'question',
    );
    const ms = Date.now() - start;
    assert.deepEqual(result, { timedOut: true, responses: ['a'] });
    assert.ok(ms >= 390 && ms < 2000, `it took ${ms} ms instead of 400`);
    await pause(600);
    assert.equal(await call(sockets[1], 'message-with-ack', 'alive'), 'alive');
    sockets.close();
  });

  it('waits for those that left without an answer', async () => {
    const sockets = await group(server, ['websocket', 'polling', 'websocket']);
    for (const socket of sockets) await call(socket, 'join', 'room');
    answering(sockets[0], 'question', 'a');
    sockets[1].on('question', () => sockets[1].disconnect());
    answering(sockets[2], 'question', 'c');
    const result = await call(
      sockets[0],
      'ack-room',
      { to: 'room', timeout: 600 },
      'question',
    );
    assert.equal(result.timedOut, true);
    assert.deepEqual(result.responses.sort(), ['a', 'c']);
    sockets.close();
  });

  it('does not hold up other events of the sender', async () => {
    const sockets = await group(server, ['websocket', 'polling']);
    await call(sockets[1], 'join', 'room');
    const pending = call(
      sockets[0],
      'ack-room',
      { to: 'room', timeout: 700 },
      'question',
    );
    const start = Date.now();
    assert.equal(await call(sockets[0], 'message-with-ack', 1), 1);
    assert.ok(Date.now() - start < 600, `held up for ${Date.now() - start} ms`);
    assert.deepEqual(await pending, { timedOut: true, responses: [] });
    sockets.close();
  });
});

describe('operations on sockets', { concurrency: 8 }, () => {
  // SIO-FETCH
  it('list them with rooms and data', async () => {
    const sockets = await group(server, ['polling', 'websocket', 'upgrade']);
    const [a, b, c] = sockets;
    await call(a, 'join', ['room', 'z', 'y']);
    await call(b, 'join', 'room');
    await call(b, 'set-data', { name: emoji });
    const expected = [
      { id: a.id, rooms: ['room', 'y', 'z'], data: null },
      { id: b.id, rooms: ['room'], data: { name: emoji } },
    ];
    const byId = (list) => [...list].sort((p, q) => (p.id < q.id ? -1 : 1));
    for (const socket of sockets) {
      assert.deepEqual(
        await call(socket, 'sockets', { in: 'room', op: 'list' }),
        byId(expected),
      );
    }
    assert.deepEqual(
      await call(a, 'sockets', { in: ['y', c.id], op: 'list' }),
      byId([expected[0], { id: c.id, rooms: [], data: null }]),
    );
    assert.deepEqual(await call(a, 'sockets', { in: 'nobody', op: 'list' }), []);
    assert.equal(await call(a, 'sockets', { in: ['room', 'z'] }), 2);
    sockets.close();
  });

  // SIO-SET
  it('let them join and leave, wherever they are', async () => {
    const sockets = await group(server, ['polling', 'websocket', 'upgrade', 'websocket']);
    const [a, b, c, d] = sockets;
    for (const socket of [a, b, c]) await call(socket, 'join', 'room');
    assert.equal(await call(d, 'sockets', { in: 'room', op: 'join', room: 'new' }), 3);
    await call(d, 'cast', { via: 'io', to: ['new'] }, 'hello');
    assert.deepEqual(await received(sockets), [
      [['hello']],
      [['hello']],
      [['hello']],
      [],
    ]);
    assert.deepEqual(await call(a, 'rooms'), ['new', 'room']);
    assert.equal(
      await call(d, 'sockets', { in: ['new', d.id], op: 'leave', room: 'room' }),
      4,
    );
    assert.equal(await call(d, 'sockets', { in: 'room' }), 0);
    assert.equal(await call(d, 'sockets', { in: a.id, op: 'join', room: 'one' }), 1);
    assert.deepEqual(await call(a, 'rooms'), ['new', 'one']);
    sockets.close();
  });

  it('disconnect them from the namespace', async () => {
    const sockets = await group(server, ['polling', 'websocket', 'upgrade', 'websocket']);
    const [a, b, c, d] = sockets;
    const ids = sockets.map((socket) => socket.id);
    const others = await Promise.all(
      [a, b, c].map(async (socket) => {
        const other = socket.io.socket('/custom');
        await within(
          5000,
          '/custom',
          new Promise((resolve) => other.on('connect', resolve)),
        );
        return other;
      }),
    );
    for (const socket of [a, b, c]) await call(socket, 'join', 'room');
    assert.equal(await call(d, 'sockets', { in: 'room', op: 'disconnect' }), 0);
    for (const socket of [a, b, c]) {
      assert.equal(
        await within(5000, 'the disconnection', socket.ended),
        'io server disconnect',
      );
    }
    for (const other of others) {
      assert.equal(await call(other, 'message-with-ack', 'stays'), 'stays');
      other.disconnect();
    }
    for (const id of ids.slice(0, 3)) {
      assert.equal(
        await until('a reason', () => call(d, 'reason-of', id)),
        'server namespace disconnect',
      );
    }
    sockets.close();
  });

  it('close their connections', async () => {
    const sockets = await group(server, ['polling', 'websocket', 'upgrade', 'polling']);
    const [a, b, c, d] = sockets;
    const engines = [a, b, c].map(
      (socket) => new Promise((resolve) => socket.io.engine.on('close', resolve)),
    );
    for (const socket of [a, b, c]) await call(socket, 'join', 'room');
    assert.equal(
      await call(d, 'sockets', { in: 'room', op: 'disconnect', close: true }),
      0,
    );
    for (const socket of [a, b, c]) {
      assert.equal(
        await within(5000, 'the disconnection', socket.ended),
        'io server disconnect',
      );
    }
    await within(5000, 'the end of the connections', Promise.all(engines));
    sockets.close();
  });
});
