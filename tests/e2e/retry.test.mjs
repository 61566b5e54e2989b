// SPDX-License-Identifier: MIT
//
// Retries of clients (docs/users.md): an event with a retryKey is handled once, whatever was
// lost or killed, and its ack comes to whoever waits for it.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { build } from './lib/npm.mjs';
import { call, client, freshNsp, plain } from './lib/official.mjs';
import { quoted } from './lib/outsider.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { until, within } from './lib/wait.mjs';
import { Peer } from './lib/wire.mjs';

let server;
before(async () => {
  if (!needsOwn) server = await startServer({ app: path.join(build, 'apps/users.so') });
});
after(() => server?.stop({ allowErrors: true })); // of the handler that fails on purpose

const modes = ['polling', 'websocket'];

// An official client that sends again. Of the acks that come, the first `nLost` are lost.
async function connect(i, mode, nsp, { nLost = 0, ...options } = {}) {
  const socket = client(server.entries[i], mode, {
    nsp,
    retries: 20,
    ackTimeout: 250,
    autoConnect: false,
    auth: { clientId: randomUUID() },
    ...options,
  });
  socket.nLost = nLost;
  const { onpacket } = socket;
  socket.onpacket = function (packet) {
    if ((packet.type === 3 || packet.type === 6) && socket.nLost > 0) socket.nLost--;
    else onpacket.call(socket, packet);
  };
  socket.connect();
  await within(5000, `${mode} client to connect`, socket.ready);
  return socket;
}

const send = (socket, event, order) =>
  within(
    10_000,
    `the ack of ${event}`,
    new Promise((resolve, reject) =>
      socket.emit(event, order, (error, ...answer) =>
        error ? reject(error) : resolve(plain(answer)),
      ),
    ),
  );
const nOrders = (item) =>
  server.value(`SELECT count(*) FROM orders WHERE item = ${quoted(item)}`);
let lastItem = 0;
const freshOrder = () => ({ retryKey: randomUUID(), item: `item ${++lastItem}` });

describe('an event that is sent again', { skip: needsOwn, concurrency: 4 }, () => {
  for (const mode of modes) {
    // SIO-RETRY, SIO-RETRY-ACK
    it(`is handled once when its acks are lost over ${mode}`, async () => {
      const nsp = freshNsp();
      const socket = await connect(0, mode, nsp, { nLost: 2 });
      const order = freshOrder();
      assert.deepEqual(await send(socket, 'order', order), plain([order.item, Buffer.from([1, 2])]));
      assert.equal(socket.nLost, 0);
      assert.equal(await nOrders(order.item), 1);
      assert.equal(socket.events.log.filter(([name]) => name === 'noted').length, 1);
      const next = freshOrder();
      assert.deepEqual((await send(socket, 'order', next))[0], next.item);
      socket.close();
    });

    // SIO-RETRY-ACK
    it(`is answered late, at the last try, over ${mode}`, async () => {
      const nsp = freshNsp();
      const socket = await connect(1, mode, nsp);
      const order = { ...freshOrder(), ms: 1000 };
      assert.deepEqual(await send(socket, 'order-later', order), [order.item]);
      assert.equal(await nOrders(order.item), 1);
      socket.close();
    });
  }

  // SIO-RETRY-KEY
  it('is known by its client over connections, else by its socket only', async () => {
    const nsp = freshNsp();
    const auth = { clientId: randomUUID() };
    const order = freshOrder();
    for (const [i, mode] of [...modes, ...modes].entries()) {
      const socket = await connect(i % 2, mode, nsp, { auth });
      assert.deepEqual((await send(socket, 'order', order))[0], order.item);
      socket.close();
    }
    assert.equal(await nOrders(order.item), 1);
    for (const [i, own] of [{ clientId: 'short' }, {}, { clientId: randomUUID() }].entries()) {
      const socket = await connect(0, 'websocket', nsp, { auth: own, nLost: 1 });
      await send(socket, 'order', order);
      assert.equal(await nOrders(order.item), 2 + i);
      socket.close();
    }
    const elsewhere = await connect(0, 'websocket', freshNsp(), { auth });
    await send(elsewhere, 'order', order);
    assert.equal(await nOrders(order.item), 5);
    const { retryKey, ...without } = order;
    await send(elsewhere, 'order', without);
    await send(elsewhere, 'order', { ...without, retryKey: 'x'.repeat(200) });
    await send(elsewhere, 'order', { ...without, retryKey: 7 });
    assert.equal(await nOrders(order.item), 8);
    elsewhere.close();
  });

  // SIO-RETRY
  it('is handled once by two connections at the same time', async () => {
    const nsp = freshNsp();
    const clientId = randomUUID();
    const peers = await Promise.all(
      [0, 1, 0, 1].map((i) => Peer.open(i < 2 && i ? 'polling' : 'websocket', server.entries[i])),
    );
    for (const peer of peers) {
      await peer.send(`0${nsp},${JSON.stringify({ clientId })}`);
      await peer.inbox.find('the CONNECT', (p) => String(p).startsWith(`0${nsp},`));
    }
    for (let n = 1; n <= 20; n++) {
      const order = freshOrder();
      await Promise.all(
        peers.map((peer) => peer.send(`2${nsp},${n}["order-later",${JSON.stringify({ ...order, ms: 0 })}]`)),
      );
      const ack = `3${nsp},${n}["${order.item}"]`;
      await until(`an ack of ${n}`, () => peers.some(({ inbox }) => inbox.log.map(String).includes(ack)));
      assert.equal(await nOrders(order.item), 1);
    }
    for (const peer of peers) await peer.close();
  });

  it('is tried again where its handler failed', async () => {
    const nsp = freshNsp();
    const socket = await connect(0, 'websocket', nsp);
    const order = freshOrder();
    const answer = send(socket, 'order-known', order);
    await until('a failure', async () =>
      (await server.value(
        `SELECT count(*) FROM app_error WHERE nsp = '${nsp}' AND event = 'order-known'`,
      )) >= 2);
    await server.sql(`INSERT INTO item VALUES (${quoted(order.item)})`);
    assert.deepEqual(await answer, [order.item]);
    assert.equal(
      await server.value(`SELECT count(*) FROM known WHERE name = ${quoted(order.item)}`),
      1,
    );
    socket.close();
  });

  // SIO-RETRY-ACK
  it('is answered by SQL, at the last try', async () => {
    const nsp = freshNsp();
    const clientId = randomUUID();
    const order = freshOrder();
    const event = `["order-hold",${JSON.stringify(order)}]`;
    const ids = [];
    const open = async (i, transport) => {
      const peer = await Peer.open(transport, server.entries[i]);
      await peer.send(`0${nsp},${JSON.stringify({ clientId })}`);
      ids.push(JSON.parse((await peer.next()).slice(nsp.length + 2)).sid);
      return peer;
    };
    const first = await open(0, 'websocket');
    await first.send(`2${nsp},7${event}`);
    await until('it to be handled', async () => (await nOrders(order.item)) === 1);
    await first.close();
    const second = await open(1, 'polling');
    await second.send(`2${nsp},9${event}`);
    await server.sql(
      `INSERT INTO ack (event_id, args) VALUES ('${ids[0]}:7', '["by SQL", 1]')`,
    );
    assert.equal(await second.next(), `3${nsp},9["by SQL", 1]`);
    await second.send(`2${nsp},11${event}`);
    assert.equal(await second.next(), `3${nsp},11["by SQL", 1]`);
    await second.close();

    const other = freshOrder(); // nobody is there as it is answered
    const third = await open(0, 'websocket');
    await third.send(`2${nsp},1["order-hold",${JSON.stringify(other)}]`);
    await until('it to be handled', async () => (await nOrders(other.item)) === 1);
    await third.close();
    await until('the end', async () =>
      (await server.value(`SELECT count(*) FROM socket WHERE nsp = '${nsp}'`)) === 0);
    await server.sql(
      `INSERT INTO ack (event_id, args, attachment) VALUES ('${ids[2]}:1', ' [1] ', x'0708')`,
    );
    const fourth = await open(1, 'websocket');
    await fourth.send(`2${nsp},2["order-hold",${JSON.stringify(other)}]`);
    assert.equal(await fourth.next(), `61-${nsp},2[1,{"_placeholder":true,"num":0}]`);
    assert.deepEqual(await fourth.next(), Buffer.from([7, 8]));
    assert.deepEqual(await server.sql(`SELECT event, is_answered FROM retry WHERE nsp = '${nsp}'`), [
      { event: 'order-hold', is_answered: 1 },
      { event: 'order-hold', is_answered: 1 },
    ]);
    await fourth.close();
  });
});

describe('after kill -9 of all processes', { skip: needsOwn }, () => {
  // SIO-RETRY
  it('a client that comes back gets the ack, and nothing was done twice', async () => {
    const nsp = freshNsp();
    const sockets = await Promise.all(
      modes.map((mode, i) =>
        connect(i, mode, nsp, {
          nLost: 1e9,
          ackTimeout: 3000,
          reconnection: true,
          reconnectionDelay: 100,
          reconnectionDelayMax: 200,
        }),
      ),
    );
    const orders = sockets.map(() => freshOrder());
    const answers = sockets.map((socket, i) => send(socket, 'order', orders[i]));
    for (const order of orders)
      await until('it to be handled', async () => (await nOrders(order.item)) === 1);
    const programs = [...server.fcgi, ...server.ws];
    await Promise.all(programs.map((p) => p.kill()));
    for (const socket of sockets) socket.nLost = 0;
    await Promise.all(programs.map((p) => p.start()));
    for (const [i, answer] of answers.entries())
      assert.deepEqual((await answer)[0], orders[i].item);
    for (const order of orders) assert.equal(await nOrders(order.item), 1);
    sockets.forEach((socket) => socket.close());
  });
});

describe('what is remembered', { skip: needsOwn }, () => {
  // SIO-RETRY-KEEP
  it('is bounded for each client; off: what is sent again is handled again', async () => {
    for (const [set, expected] of [[{ max_client_retries: 2 }, [2, 1, 1]], [{ retry_keep: 'off' }, [2, 2, 2]]]) {
      const own = await startServer({ app: path.join(build, 'apps/users.so'), set, fcgi: 1, ws: 1 });
      try {
        const socket = client(own.url, 'websocket', { auth: { clientId: randomUUID() } });
        await within(5000, 'the client to connect', socket.ready);
        const orders = [freshOrder(), freshOrder(), freshOrder()];
        // The last ones again before the first: that makes room for it.
        for (const order of [...orders, orders[2], orders[1], orders[0]])
          assert.equal(await call(socket, 'order', order), order.item);
        const counts = await Promise.all(orders.map(({ item }) =>
          own.value(`SELECT count(*) FROM orders WHERE item = ${quoted(item)}`)));
        assert.deepEqual(counts, expected);
        socket.close();
      } finally {
        await own.stop();
      }
    }
  });
});
