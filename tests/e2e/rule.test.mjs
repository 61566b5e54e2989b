// SPDX-License-Identifier: MIT
//
// Rules of the administrator as rows: bans and limits that take effect at once in all programs, and what was done.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { call, client, connect, freshNsp } from './lib/official.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { until, within } from './lib/wait.mjs';
import { Polling, request } from './lib/wire.mjs';

describe('rules', { skip: needsOwn }, () => {
  let server;
  before(async () => { server = await startServer({ set: { trusted_proxy: '127.0.0.1' } }); });
  after(() => server?.stop());

  const from = (address) => ({ extraHeaders: { 'X-Forwarded-For': address } });
  const refused = async (url, mode, address) => {
    const socket = client(url, mode, from(address));
    await within(5000, 'the refusal', assert.rejects(socket.ready));
  };

  it('ban an address: those who are there go, new ones are refused, others stay', async () => {
    const bad = [await connect(server.url, 'polling', from('198.51.100.7')), await connect(server.sidecars[0], 'websocket', from('198.51.100.9'))];
    const good = await connect(server.url, 'websocket', from('203.0.113.1'));
    const silent = await Polling.open(server.url, { headers: { 'X-Forwarded-For': '198.51.100.8' } });
    await server.sql("INSERT INTO ban (remote, note) VALUES ('198.51.100.*', 'floods')");
    for (const socket of bad) await within(5000, 'the end of the banned', socket.ended);
    for (const url of [...server.entries, ...server.sidecars])
      await until('the ban to be known', async () => {
        const answer = await request(url, { query: { EIO: 4, transport: 'polling' }, headers: { 'X-Forwarded-For': '198.51.100.7' } });
        return answer.status !== 200;
      });
    await refused(server.url, 'polling', '198.51.100.7');
    await refused(server.sidecars[1], 'websocket', '198.51.100.200');
    await silent.post('40'); // its handshake came before the ban
    await until('the one that had not joined to be closed', async () =>
      (await server.value("SELECT count(*) FROM session WHERE state = 'open' AND remote GLOB '198.51.100.*'")) === 0);
    assert.equal(await call(good, 'message-with-ack', 'fine'), 'fine');
    await server.sql("DELETE FROM ban WHERE remote = '198.51.100.*'");
    const again = await until('the ban to be over', async () => {
      try {
        return await connect(server.url, 'polling', from('198.51.100.7'));
      } catch {
        return undefined;
      }
    });
    for (const socket of [good, again]) socket.close();
  });

  it('ban a user, also one who comes later', async () => {
    const nsp = freshNsp();
    const [one, two, other] = [await connect(server.url, 'websocket', { nsp }), await connect(server.url, 'polling'), await connect(server.url, 'websocket')];
    for (const socket of [one, two]) await server.sql(`INSERT INTO socket_user (socket, user) VALUES ('${socket.id}', 'mallory')`);
    await server.sql("INSERT INTO ban (user, until) VALUES ('mallory', datetime('now', '+1 hour'))");
    for (const socket of [one, two]) await within(5000, 'the end of the banned', socket.ended);
    await server.sql(`INSERT INTO socket_user (socket, user) VALUES ('${other.id}', 'mallory')`);
    await within(5000, 'the end of who turned out to be banned', other.ended);
    await server.sql("DELETE FROM ban WHERE user = 'mallory'");
    // One that is over bans nobody.
    await server.sql("INSERT INTO ban (user, until) VALUES ('mallory', datetime('now', '-1 hour'))");
    assert.equal(await server.value('SELECT count(*) FROM ban'), 0);
    const later = await connect(server.url, 'websocket');
    await server.sql(`INSERT INTO socket_user (socket, user) VALUES ('${later.id}', 'mallory')`);
    assert.equal(await call(later, 'message-with-ack', 'still'), 'still');
    later.close();
  });

  it('bound what clients may do, in all programs, until the row goes', async () => {
    const sockets = [await connect(server.entries[0], 'polling'), await connect(server.entries[1], 'polling'), await connect(server.sidecars[1], 'websocket')];
    const roomsOf = async (socket, name) => {
      for (let i = 0; i < 3; i++) socket.emit('join', `${name}${i}`);
      await call(socket, 'message-with-ack', 'all handled');
      return (await call(socket, 'rooms')).filter((room) => room.startsWith(name)).length;
    };
    await server.sql("INSERT INTO bound (name, value, note) VALUES ('max_rooms', 2, 'for a test')");
    for (const [i, socket] of sockets.entries())
      await until('the bound to be known', async () => {
        const n = await roomsOf(socket, `a${i}-${Math.random()}-`);
        return n < 3;
      });
    await server.sql("DELETE FROM bound WHERE name = 'max_rooms'");
    for (const socket of sockets) await until('the bound to be gone', async () => (await roomsOf(socket, `b${Math.random()}-`)) === 3);
    for (const socket of sockets) socket.close();
  });

  it('are audited, with kicks', async () => {
    const socket = await connect(server.url, 'websocket');
    const { id } = socket;
    await server.sql(`INSERT INTO kick (socket, note) VALUES ('${socket.id}', 'eve was here')`);
    await within(5000, 'the kick', socket.ended);
    const rows = await server.sql('SELECT verb, what, note FROM audit ORDER BY audit_id');
    assert.deepEqual(rows[0], { verb: 'ban', what: 'remote 198.51.100.*', note: 'floods' });
    assert.deepEqual(rows.at(-1), { verb: 'kick', what: `socket ${id}`, note: 'eve was here' });
    assert.ok(rows.some((row) => row.verb === 'bound deleted' && row.what === 'max_rooms'));
  });

  it('say what is wrong', async () => {
    const wrong = {
      "INSERT INTO ban (note) VALUES ('x')": /ban: exactly one of remote and user/,
      "INSERT INTO ban (remote, user) VALUES ('a', 'b')": /ban: exactly one of remote and user/,
      "INSERT INTO ban (user, until) VALUES ('a', 'tomorrow')": /ban\.until: /,
      "INSERT INTO ban (user) VALUES ('')": /ban\.user: /,
      "INSERT INTO bound (name, value) VALUES ('max_everything', 1)": /bound\.name: must be max_nsp, /,
      "INSERT INTO bound (name, value) VALUES ('max_nsp', 'many')": /bound\.value: /,
      "INSERT INTO kick (socket, note) VALUES ('x', x'00')": /kick\.note: /,
    };
    for (const [sql, text] of Object.entries(wrong)) await assert.rejects(server.sql(sql), text, sql);
  });
});

describe('a kick of a user', { skip: needsOwn }, () => {
  it('ends all connections in all namespaces, and who was lost does not come back', async () => {
    const server = await startServer({ set: { recovery: '60s' } });
    try {
      const sockets = [await connect(server.url, 'polling'), await connect(server.sidecars[0], 'websocket', { nsp: '/custom' }), await connect(server.sidecars[1], 'websocket')];
      const lost = await connect(server.sidecars[0], 'websocket', { nsp: '/custom' });
      const { id } = lost;
      for (const socket of [...sockets.slice(0, 2), lost]) await server.sql(`INSERT INTO socket_user (socket, user) VALUES ('${socket.id}', 'eve')`);
      lost.io.engine.close();
      const state = () => server.value(`SELECT is_recoverable FROM disconnect WHERE socket = '${id}'`);
      await until('the loss to be noticed', async () => (await state()) === 1);
      await server.sql("INSERT INTO kick (user, is_close) VALUES ('eve', 1)");
      for (const socket of sockets.slice(0, 2)) await within(5000, 'the kick', socket.ended);
      assert.equal(await state(), 0);
      assert.equal(await call(sockets[2], 'message-with-ack', 'somebody else'), 'somebody else');
      sockets[2].close();
    } finally {
      await server.stop();
    }
  });
});
