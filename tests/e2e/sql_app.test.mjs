// SPDX-License-Identifier: MIT
//
// An application in SQL (tests/apps/zoo.sql, docs/sql.md) with clients of every kind, over
// two processes of each program.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { require, root } from './lib/npm.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { call, client, connect, next, transports } from './lib/official.mjs';
import * as old from './lib/old.mjs';
import { until, within } from './lib/wait.mjs';
import { Polling, Socket } from './lib/wire.mjs';

const modes = Object.keys(transports);
const parser = require('socket.io-msgpack-parser');

describe('an application in SQL', { skip: needsOwn }, () => {
  let server;
  before(async () => {
    server = await startServer({
      app: path.join(root, 'tests/apps/zoo.sql'),
      set: { nsp: '/chat ~^/dyn-[0-9]+$' },
    });
  });
  after(() => server?.stop({ allowErrors: true }));

  const seen = async () =>
    (await server.sql('SELECT what FROM seen ORDER BY seen_id')).map((row) => row.what);
  const refusal = (socket) =>
    within(5000, 'the refusal', socket.ready.then(() => assert.fail('let in'), (e) => e));

  for (const mode of modes) {
    it(`lets in, with user, data and rooms: ${mode}`, async () => {
      const auth = { user: 'ada', room: 'lobby' };
      const socket = client(server.url, mode, { auth, query: { q: '7' } });
      await within(5000, 'the client to connect', socket.ready);
      assert.deepEqual(await next(socket, 'auth'), [auth]);
      const transport = mode === 'websocket' ? 'websocket' : 'polling';
      const [id, ...rest] = await new Promise((resolve) =>
        socket.emit('who', (...args) => resolve(args)),
      );
      assert.equal(id, socket.id);
      assert.deepEqual(rest, ['/', 'ada', { transport, q: '7' }, 1, ['lobby']]);
      socket.emit('who'); // the ack that nobody wants is none
      socket.close();
    });

    it(`refuses, with message and data: ${mode}`, async () => {
      const data = { code: 7, list: [1] };
      const told = client(server.url, mode, { auth: { refuse: 'not "you"', data } });
      const error = await refusal(told);
      assert.deepEqual([error.message, error.data], ['not "you"', data]);
      const bare = await refusal(client(server.url, mode, { auth: { refuse: '' } }));
      assert.deepEqual([bare.message, bare.data], ['', undefined]);
      const failed = await refusal(client(server.url, mode, { auth: { fail: 1 } }));
      assert.deepEqual([failed.message, failed.data], ['Internal error', undefined]);
      assert.deepEqual(
        await server.sql(`SELECT what, nsp, error FROM app_error ORDER BY error_id DESC LIMIT 1`),
        [{ what: 'connection', nsp: '/', error: 'not today' }],
      );
      assert.equal(await server.value(`SELECT count(*) FROM t_connecting`), 0);
      told.close();
    });

    it(`relays and acknowledges, binary too: ${mode}`, async () => {
      const socket = await connect(server.url, mode);
      const args = [1, 'zwei \u{1f600}', { n: [1.5, null, true] }, Buffer.from([0, 1, 255])];
      const acked = await new Promise((resolve) =>
        socket.emit('echo', ...args, (...got) => resolve(got)),
      );
      assert.deepEqual(acked, args);
      assert.deepEqual(await next(socket, 'echo'), args);
      const two = [Buffer.from('a'), { b: Buffer.alloc(300, 'b') }];
      socket.emit('echo', ...two);
      assert.deepEqual(await next(socket, 'echo'), two);
      socket.emit('echo');
      assert.deepEqual(await next(socket, 'echo'), []);
      socket.close();
    });
  }

  it('refused sockets never existed', async () => {
    await until('those of other tests to be gone', async () =>
      (await server.value('SELECT count(*) FROM socket')) === 0);
    await server.sql('DELETE FROM seen');
    const n = await server.value('SELECT count(*) FROM disconnect');
    await refusal(client(server.url, 'websocket', { auth: { refuse: 'no', room: 'x' } }));
    const session = await Polling.open(server.entries);
    // what comes behind the CONNECT in its POST concerns nobody
    await session.send('40{"refuse":"no"}', '42["note","of nobody"]');
    const got = await session.receive();
    assert.deepEqual(got, ['44{"message":"no"}']);
    await session.send('40{"user":"late"}', '420["note","of somebody"]');
    const packets = await session.receive((all) => all.some((p) => p.startsWith('430')));
    assert.match(packets[0], /^40\{"sid"/);
    assert.deepEqual(packets.slice(1), ['42["auth",{"user":"late"}]', '430["kept"]']);
    assert.deepEqual(await seen(), ['of somebody']);
    assert.equal(await server.value('SELECT count(*) FROM disconnect'), n);
    assert.equal(await server.value(`SELECT count(*) FROM socket WHERE user IS NULL`), 0);
    await session.post('1');
  });

  it('rooms reach over processes; a disconnect has its rooms and reason', async () => {
    const sockets = await Promise.all(
      [
        [server.entries[0], 'polling'],
        [server.entries[1], 'polling'],
        [server.sidecars[0], 'websocket'],
        [server.sidecars[1], 'websocket'],
      ].map(([url, mode], i) => connect(url, mode, { auth: { user: `u${i}` }, nsp: '/chat' })),
    );
    for (const socket of sockets) await call(socket, 'join', 'a');
    await call(sockets[3], 'join', 'b');
    sockets[0].emit('say', 'a', { text: 'hi' });
    for (const socket of sockets.slice(1)) {
      assert.deepEqual(await next(socket, 'said'), ['u0', { text: 'hi' }]);
    }
    await call(sockets[1], 'leave', 'a');
    sockets[3].emit('say', 'a', 2);
    assert.deepEqual(await next(sockets[0], 'said'), ['u3', 2]);
    assert.deepEqual(await next(sockets[2], 'said'), ['u3', 2]);
    await server.sql('DELETE FROM seen');
    const ids = sockets.map((socket) => socket.id);
    sockets[3].io.engine.close();
    await until('the end to be seen', async () => (await seen()).length === 1);
    sockets[0].emit('kick');
    assert.equal(await within(5000, 'the kick', sockets[0].ended), 'io server disconnect');
    sockets[1].disconnect();
    await until('all three ends to be seen', async () => (await seen()).length === 3);
    assert.deepEqual((await seen()).map(JSON.parse), [
      [ids[3], '/chat', 'u3', 'transport close', ['a', 'b']],
      [ids[0], '/chat', 'u0', 'server namespace disconnect', ['a']],
      [ids[1], '/chat', 'u1', 'client namespace disconnect', []],
    ]);
    sockets[2].close();
  });

  it('namespaces are those of the option', async () => {
    const socket = await connect(server.url, 'websocket', { nsp: '/dyn-12' });
    assert.equal(await call(socket, 'who'), socket.id);
    const other = client(server.url, 'websocket', { nsp: '/dyn-x' });
    assert.equal((await refusal(other)).message, 'Invalid namespace');
    socket.close();
  });

  it('answers to a question come one by one, and its end', async () => {
    const voters = [await connect(server.url, 'polling'), await connect(server.url, 'websocket')];
    const watcher = await connect(server.sidecars[1], 'websocket', { nsp: '/chat' });
    voters[0].emit('vote', 'one');
    const asked = voters.map(
      (socket) => new Promise((resolve) => socket.on('vote?', resolve)),
    );
    (await within(5000, 'the question', asked[1]))('yes');
    assert.deepEqual(await next(voters[0], 'vote?').then(() => next(voters[0], 'voted')), [
      'one', voters[1].id, 1, 1, ['yes'],
    ]);
    (await asked[0])('no', 2);
    assert.deepEqual(await next(voters[0], 'voted'), ['one', voters[0].id, 2, 1, ['no', 2]]);
    assert.deepEqual(await next(voters[0], 'result'), ['one', null, 2, 1, null]);
    watcher.close();
    voters[1].close();
    await until('one to be left', async () =>
      (await server.value(`SELECT count(*) FROM socket WHERE nsp = '/'`)) === 1);
    voters[0].removeAllListeners('vote?');
    voters[0].emit('vote', 'two'); // nobody answers
    assert.equal((await next(voters[0], 'vote?')).length, 1);
    assert.deepEqual(await next(voters[0], 'result'), ['two', null, 0, 0, null]);
    voters[0].close();
  });

  for (const version of ['1.7.4', '2.5.0']) {
    for (const mode of ['polling', 'websocket']) {
      it(`serves clients ${version}: ${mode}`, async () => {
        const socket = await old.connect(version, server.url, mode);
        const acked = new Promise((resolve) => socket.emit('echo', 'a', [2], resolve));
        assert.equal(await within(5000, 'the ack', acked), 'a');
        assert.deepEqual(await socket.events.next('the echo'), ['echo', 'a', [2]]);
        const chat = old.client(version, server.url, mode, { nsp: '/chat?refuse=no' });
        assert.equal(await within(5000, 'the refusal', chat.refused), 'no');
        const inside = old.client(version, server.url, mode, { nsp: '/chat' });
        await within(5000, '/chat', inside.ready);
        const who = new Promise((resolve) => inside.emit('who', resolve));
        // 1.x says its id without the namespace
        assert.ok((await within(5000, 'the ack in /chat', who)).endsWith(inside.id));
        for (const one of [socket, chat, inside]) one.close();
      });
    }
  }

  it('serves the MessagePack parser', async () => {
    const socket = await connect(server.url, 'websocket', { parser });
    const args = ['x', Buffer.from([1, 2])];
    socket.emit('echo', ...args);
    assert.deepEqual(await next(socket, 'echo'), args);
    socket.close();
  });

  const FAULTS = {
    abort: 'as it was asked to',
    fail: 'as it was asked to',
    rollback: 'as it was asked to',
    missing: 'trigger zoo_missing: no such table: main.nowhere',
    runaway: 'takes longer than 50 ms',
    endless: 'takes longer than 50 ms',
    verb: 'emit.nsp: no such namespace; allowed: one that the application has, or NULL for /',
  };
  for (const [event, error] of Object.entries(FAULTS)) {
    it(`${event} harms only its own event`, async () => {
      const polling = await Polling.connect(server.entries);
      const peers = [polling, await Socket.connect(server.sidecars[0])];
      for (const peer of peers) {
        await server.sql('DELETE FROM seen');
        const before = await server.value('SELECT count(*) FROM app_error');
        await peer.send('421["note","a"]', `422["${event}"]`, '423["note","b"]');
        for (const id of [1, 3]) {
          const ack = `43${id}["kept"]`;
          if (peer === polling) continue;
          await peer.find(ack, (m) => m === ack);
        }
        if (peer === polling) {
          const got = await peer.receive((all) => all.includes('433["kept"]'));
          assert.deepEqual(got, ['431["kept"]', '433["kept"]']);
        }
        assert.deepEqual(await seen(), ['a', 'b']);
        assert.equal(await server.value('SELECT count(*) FROM app_error'), before + 1);
        assert.deepEqual(
          await server.sql(`SELECT what, nsp, socket, event, error FROM app_error
            ORDER BY error_id DESC LIMIT 1`),
          [{ what: 'event', nsp: '/', socket: peer.sioId, event, error }],
        );
      }
      await polling.post('1');
      await peers[1].close();
    });
  }

  it('many slow events of one message do not hold up others for long', async () => {
    const text = 'not run: the SQL of the same message has taken 250 ms';
    const told = () => server.sql("SELECT error, count(*) AS n FROM app_error WHERE event = 'slow' GROUP BY error");
    const logged = () => server.errors().filter((line) => line.includes(text)).length;
    const peer = await Polling.connect(server.entries);
    await server.sql('DELETE FROM seen');
    assert.deepEqual([await told(), logged()], [[], 0]);
    await peer.send(...Array(600).fill('42["slow"]'));
    const done = (await seen()).length;
    assert.ok(done > 5 && done < 600, `${done} were done`);
    const errors = await told(); // on a busy machine one of them may have been alone too slow
    assert.equal(errors.reduce((sum, { n }) => sum + n, 0), 600 - done);
    assert.ok(errors.some(({ error, n }) => error === text && n > 1), JSON.stringify(errors));
    assert.equal(logged(), 1);
    await peer.send('42["slow"]', '421["note","in the next message"]');
    assert.deepEqual(await peer.receive((all) => all.includes('431["kept"]')), ['431["kept"]']);
    assert.deepEqual((await seen()).slice(done), ['slow 10000', 'in the next message']);
    await peer.post('1');
  });

  it('triggers do not fire themselves', async () => {
    const socket = await connect(server.url, 'websocket');
    await server.sql('DELETE FROM seen');
    socket.emit('again');
    assert.equal(await call(socket, 'note', 'behind'), 'kept');
    assert.deepEqual(await seen(), ['again', 'behind']);
    socket.close();
  });

  it('logged what was wrong, a line each, and nothing else', () => {
    const lines = server.errors();
    assert.ok(lines.some((line) => /app trigger\.broken .*zoo\.sql:\d+: trigger zoo_missing: no such table/.test(line)));
    for (const line of lines) assert.match(line, / app (trigger\.broken|effects\.dropped) /);
  });
});

describe('the file', { skip: needsOwn }, () => {
  it('is applied by SIGHUP where it has changed, once for all processes', async () => {
    const folder = fs.mkdtempSync(path.join(root, 'build/sql-app-'));
    const app = path.join(folder, 'app.sql');
    const write = (version, more = '') => fs.writeFileSync(app, `${more}
      CREATE TRIGGER greet INSTEAD OF INSERT ON connection BEGIN
        INSERT INTO emit (room, event, args) VALUES (new.socket, 'auth', '[${version}]'); END;
      -- always
      INSERT INTO runs VALUES (${version});\n`);
    write(1, '-- version 1\nCREATE TABLE runs (version);\n');
    const server = await startServer({ app });
    const logs = () => [...server.fcgi, ...server.ws].map((p) => fs.readFileSync(p.log, 'utf8'));
    try {
      // They listen before they have opened the database.
      await until('all to have read it', async () => (await server.value('SELECT count(*) FROM process')) === 4);
      const first = client(server.url, 'websocket');
      assert.deepEqual(await next(first, 'auth'), [1]);
      write(2, '-- version 1\nCREATE TABLE runs (version);\n');
      for (const program of [...server.fcgi, ...server.ws]) program.signal('SIGHUP');
      await until('all to have read it', () => logs().every((text) => text.includes('reload.done')));
      const second = client(server.url, 'websocket');
      assert.deepEqual(await next(second, 'auth'), [2]);
      fs.writeFileSync(app, '\n\nSELEC 1;');
      for (const program of [...server.fcgi, ...server.ws]) program.signal('SIGHUP');
      await until('all to refuse it', () =>
        logs().every((text) => /reload\.failed .*app\.sql:3: near \\"SELEC\\": syntax error/.test(text)));
      const third = client(server.url, 'websocket');
      assert.deepEqual(await next(third, 'auth'), [2]);
      assert.deepEqual(await server.sql('SELECT version FROM runs'), [{ version: 1 }, { version: 2 }]);
      for (const socket of [first, second, third]) socket.close();
    } finally {
      await server.stop({ allowErrors: true });
      fs.rmSync(folder, { recursive: true });
    }
  });
});
