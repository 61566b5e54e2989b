// SPDX-License-Identifier: MIT
//
// No sticky sessions: every request of a session goes to another process than the one
// before, the upgrade included, while rooms are busy. Each sender counts; each receiver must
// see all counters of all senders once and in order, and all receivers of a room must see
// the same order of everything.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startServer } from './lib/server.mjs';
import { call, connect } from './lib/official.mjs';
import { pause, within } from './lib/wait.mjs';
import { Peer, Polling, probe } from './lib/wire.mjs';

let server;
before(async () => {
  server = await startServer({ fcgi: 3, ws: 2 });
});
after(() => server?.stop());

const nsps = (() => {
  let last = Date.now() % 1e9;
  return () => `/dyn-${++last}`;
})();

// The urls in an order that begins with the i-th.
const rotated = (i) =>
  server.entries.map((_, k) => server.entries[(i + k) % server.entries.length]);

// A member of rooms: `send(packet)`, and `ticks(room)`, the list of "sender:counter".
class Member {
  constructor(name, nsp) {
    Object.assign(this, { name, nsp, seen: {}, strays: [], waiting: [] });
  }

  on(event, room, sender, i) {
    if (event === 'auth') return;
    if (event === 'tick') (this.seen[room] ??= []).push(`${sender}:${i}`);
    else if (event === 'end') this.isAtEnd = true;
    else this.strays.push([event, room, sender, i]);
    this.waiting.splice(0).forEach((resolve) => resolve());
  }

  async atEnd() {
    while (!this.isAtEnd) {
      await within(
        15_000,
        `the last event to reach ${this.name}`,
        new Promise((resolve) => this.waiting.push(resolve)),
        () =>
          Object.fromEntries(
            Object.entries(this.seen).map(([room, list]) => [room, list.length]),
          ),
      );
    }
  }
}

// By hand, over polling with rotating requests or over WebSocket at one entry.
async function rawMember(name, transport, i, nsp) {
  const member = new Member(name, nsp);
  const peer = await Peer.connect(transport, rotated(i), { nsp });
  member.peer = peer;
  member.call = async (event, ...args) => {
    const id = (member.lastAck = (member.lastAck ?? 0) + 1);
    const answer = new Promise((resolve) => ((member.acks ??= {})[id] = resolve));
    await peer.send(`2${nsp},${id}${JSON.stringify([event, ...args])}`);
    return within(10_000, `the ack of ${event} for ${name}`, answer);
  };
  member.emit = (...event) => peer.send(`2${nsp},${JSON.stringify(event)}`);
  member.emitAll = (list) =>
    peer.send(...list.map((event) => `2${nsp},${JSON.stringify(event)}`));
  member.close = () => peer.close();
  (async () => {
    for (;;) {
      const packet = await peer.next('', 3600_000);
      const [, type, id, body] = packet.match(/^(\d)[^,]*,(\d*)(.*)$/s);
      if (type === '3') member.acks[id](JSON.parse(body));
      else member.on(...JSON.parse(body));
    }
  })().catch((error) => (member.end = error.message));
  return member;
}

async function officialMember(name, mode, i, nsp) {
  const member = new Member(name, nsp);
  const socket = await connect(server.entries[i % server.entries.length], mode, { nsp });
  socket.onAny((...event) => member.on(...event));
  member.call = async (...args) => [await call(socket, ...args)];
  member.emit = async (...event) => socket.emit(...event);
  member.emitAll = async (list) => list.forEach((event) => socket.emit(...event));
  member.close = () => socket.close();
  return member;
}

const tick = (room, name, i) => [
  'cast',
  { via: 'io', to: [room] },
  'tick',
  room,
  name,
  i,
];

function assertSame(members, rooms, senders, n) {
  for (const room of rooms) {
    const lists = members
      .filter((m) => m.rooms.includes(room))
      .map((m) => m.seen[room] ?? []);
    for (const [k, list] of lists.entries()) {
      const { name } = members.filter((m) => m.rooms.includes(room))[k];
      for (const sender of senders) {
        const counters = list
          .filter((entry) => entry.startsWith(`${sender}:`))
          .map((e) => Number(e.split(':')[1]));
        assert.deepEqual(
          counters,
          Array.from({ length: n }, (_, i) => i),
          `what ${name} saw of ${sender} in ${room}`,
        );
      }
      assert.equal(list.length, n * senders.length, `${name} in ${room}`);
      assert.deepEqual(
        list,
        lists[0],
        `${name} saw another order in ${room} than the first member`,
      );
    }
  }
  for (const member of members)
    assert.deepEqual(member.strays, [], `strays at ${member.name}`);
}

describe('no sticky sessions', () => {
  // EIO-ANYWHERE
  it('mixed clients in busy rooms', async () => {
    const nsp = nsps();
    const members = await Promise.all([
      ...[0, 1, 2, 3, 4, 5].map((i) => rawMember(`polling-${i}`, 'polling', i, nsp)),
      ...[0, 1, 2].map((i) => rawMember(`websocket-${i}`, 'websocket', i, nsp)),
      officialMember('official-polling', 'polling', 0, nsp),
      officialMember('official-websocket', 'websocket', 1, nsp),
      officialMember('official-upgrade', 'upgrade', 2, nsp),
    ]);
    const rooms = ['red', 'blue'];
    for (const [i, member] of members.entries()) {
      member.rooms = i % 3 === 0 ? ['red'] : i % 3 === 1 ? ['blue'] : rooms;
      await member.call('join', member.rooms);
    }
    const n = 60;
    await Promise.all(
      members.map(async (member, k) => {
        for (let i = 0; i < n;) {
          // One event for each room at a time, or several in one POST.
          const batch = k % 2 === 0 ? 1 : 1 + (i % 5);
          const list = [];
          for (let j = 0; j < batch && i < n; j++, i++)
            for (const room of rooms) list.push(tick(room, member.name, i));
          await member.emitAll(list);
          if (k % 4 === 3) await pause(2);
        }
        await member.call('rooms'); // everything before it is done
      }),
    );
    await members[0].call('cast', { via: 'io' }, 'end');
    await Promise.all(members.map((member) => member.atEnd()));
    assertSame(
      members,
      rooms,
      members.map((m) => m.name),
      n,
    );
    await Promise.all(members.map((member) => member.close()));
  });

  it('upgrades in the middle of the traffic', async () => {
    const nsp = nsps();
    const n = 150;
    const sender = await rawMember('sender', 'polling', 0, nsp);
    sender.rooms = [];
    const members = await Promise.all(
      [0, 1, 2, 3, 4, 5].map(async (i) => {
        const member = await rawMember(`upgrading-${i}`, 'polling', i, nsp);
        member.rooms = ['red'];
        await member.call('join', 'red');
        return member;
      }),
    );
    const traffic = (async () => {
      for (let i = 0; i < n; i++) await sender.emit(...tick('red', 'sender', i));
    })();
    await Promise.all(
      members.map(async (member, k) => {
        await pause(40 * k);
        const { peer } = member;
        const socket = await probe(peer.session, rotated(k + 1)[0]);
        await peer.switchTo(socket);
      }),
    );
    await traffic;
    await sender.call('cast', { via: 'io' }, 'end');
    await Promise.all(members.map((member) => member.atEnd()));
    assertSame(members, ['red'], ['sender'], n);
    for (const member of members)
      assert.equal((await member.call('who'))[0].transport, 'websocket');
    await Promise.all([sender, ...members].map((member) => member.close()));
  });

  // SIO-ATTACHMENTS
  it('attachments that arrive at different processes', async () => {
    const session = await Polling.connect(server.entries);
    for (let round = 0; round < 6; round++) {
      const data = [0, 1, 2].map((k) => Buffer.from([round, k, 255 - round]));
      await session.send(
        `453-["message",${round},${[0, 1, 2].map((k) => `{"_placeholder":true,"num":${k}}`).join(',')}]`,
      );
      for (const part of data) await session.send(part);
      const got = await session.receive((packets) => packets.length >= 4);
      assert.deepEqual(got, [
        `453-["message-back",${round},${[0, 1, 2].map((k) => `{"_placeholder":true,"num":${k}}`).join(',')}]`,
        ...data.map((part) => `b${part.toString('base64')}`),
      ]);
    }
  });

  it('answers to questions of the server, given to another process', async () => {
    const session = await Polling.connect(server.entries);
    for (let round = 0; round < 6; round++) {
      await session.send(`42["ack-me",${round}]`);
      const [question] = await session.receive();
      const [, id] =
        question.match(/^42(\d+)\["ack-request",\d+\]$/) ?? assert.fail(question);
      await session.send(`43${id}["answer",${round}]`);
      assert.deepEqual(await session.receive(), [`42["ack-result","answer",${round}]`]);
    }
  });

  it('an ack-room over all processes', async () => {
    const nsp = nsps();
    const sockets = await Promise.all(
      ['polling', 'websocket', 'upgrade', 'polling', 'websocket', 'polling'].map(
        (mode, i) => connect(server.entries[i % server.entries.length], mode, { nsp }),
      ),
    );
    for (const [i, socket] of sockets.entries()) {
      socket.on('question', (x, ack) => ack(x * 10 + i));
      await call(socket, 'join', 'all');
    }
    for (const [i, socket] of sockets.entries()) {
      const { timedOut, responses } = await call(
        socket,
        'ack-room',
        { to: 'all', timeout: 4000 },
        'question',
        i,
      );
      assert.deepEqual(
        [timedOut, [...responses].sort((a, b) => a - b)],
        [false, sockets.map((_, k) => i * 10 + k)],
      );
    }
    sockets.forEach((socket) => socket.close());
  });

  it('nobody gets an own ack before what another had seen acknowledged', async () => {
    const nsp = nsps();
    for (const [first, second] of [
      ['websocket', 'websocket'],
      ['websocket', 'polling'],
      ['polling', 'websocket'],
      ['polling', 'polling'],
    ]) {
      const a = await rawMember('a', first, 0, nsp);
      const b = await rawMember('b', second, 1, nsp);
      for (let i = 0; i < 25; i++) {
        await a.call('cast', { via: 'io', to: [] }, 'tick', 'all', 'a', i);
        await b.call('rooms');
        const seen = (b.seen.all ?? []).length;
        assert.equal(
          seen,
          i + 1,
          `b (${second}) had its ack before the broadcast ${i} of a (${first})`,
        );
      }
      await a.close();
      await b.close();
    }
  });

  // SIO-UNIT
  it('an ack means that the effects are visible at every process', async () => {
    const nsp = nsps();
    const a = await rawMember('a', 'polling', 0, nsp);
    const b = await rawMember('b', 'websocket', 1, nsp);
    const id = (await a.call('who'))[0].id;
    for (let i = 0; i < 30; i++) {
      await a.call('set-data', i);
      const [[entry]] = await b.call('sockets', { in: id, op: 'list' });
      assert.deepEqual(entry, { id, rooms: i === 0 ? [] : [`room-${i - 1}`], data: i });
      if (i > 0) await b.call('sockets', { in: id, op: 'leave', room: `room-${i - 1}` });
      await b.call('sockets', { in: id, op: 'join', room: `room-${i}` });
      assert.deepEqual(await a.call('rooms'), [[`room-${i}`]]);
    }
    await a.close();
    await b.close();
  });
});
