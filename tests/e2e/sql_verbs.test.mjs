// SPDX-License-Identifier: MIT
//
// What SQL can say beyond text: binary data and questions, with clients of every generation; and a question that outlives
// the servers that asked it.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { siolite, sioliteRows } from './lib/cli.mjs';
import { connect as connectAny, generations } from './lib/old.mjs';
import { freshNsp, group, plain } from './lib/official.mjs';
import { quoted } from './lib/outsider.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { until, within } from './lib/wait.mjs';

let server;
before(async () => {
  if (!needsOwn) server = await startServer();
});
after(() => server?.stop());

async function everyGeneration() {
  const nsp = freshNsp();
  const kinds = Object.keys(generations).flatMap((version) => ['polling', 'websocket'].map((mode) => [version, mode]));
  const sockets = await Promise.all(kinds.map(([version, mode], i) => connectAny(version, server.entries[i % 2], mode, { nsp })));
  return Object.assign(sockets, { nsp, kinds, close: () => sockets.forEach((socket) => socket.close()) });
}
const place = (num) => ({ _placeholder: true, num });

describe('SQL with clients of every generation', { skip: needsOwn }, () => {
  it('sends binary data', async () => {
    const sockets = await everyGeneration();
    await server.sql(`INSERT INTO emit (nsp, event, args, attachment) VALUES ('${sockets.nsp}', 'one', '["name"]', x'00ff')`);
    await server.sql(`INSERT INTO emit (nsp, event, args, attachments)
      VALUES ('${sockets.nsp}', 'two', '${JSON.stringify([{ deep: [place(1)] }, 5, place(0)])}', x'00000001070000000200ff')`);
    await server.sql(`INSERT INTO emit (nsp, event, args) VALUES ('${sockets.nsp}', 'text', '${JSON.stringify([place(0)])}')`);
    for (const [i, socket] of sockets.entries()) {
      const next = async (what) => plain(await socket.events.next(`${what} of ${sockets.kinds[i]}`));
      assert.deepEqual(await next('one'), ['one', 'name', { bytes: [0, 255] }], `${sockets.kinds[i]}`);
      assert.deepEqual(await next('two'), ['two', { deep: [{ bytes: [0, 255] }] }, 5, { bytes: [7] }], `${sockets.kinds[i]}`);
      assert.deepEqual(await next('text'), ['text', place(0)], `${sockets.kinds[i]}`);
    }
    sockets.close();
  });

  it('asks, and has the answers', async () => {
    const sockets = await everyGeneration();
    for (const [i, socket] of sockets.entries()) socket.on('vote', (question, ack) => ack(`${question} ${i}`, Buffer.from([i])));
    await server.sql(`INSERT INTO ask (name, nsp, event, args) VALUES ('all', '${sockets.nsp}', 'vote', '["?"]')`);
    await until('all answers', async () => (await server.value("SELECT state FROM ask WHERE name = 'all'")) === 'done');
    const rows = await server.sql("SELECT socket, n, args, hex(attachments) AS hex FROM answer WHERE name = 'all' ORDER BY n");
    assert.deepEqual(rows.map((row) => row.n), sockets.map((_, i) => i + 1));
    const expected = sockets.map((_, i) => [[`? ${i}`, place(0)], `00000001${String(i).padStart(2, '0')}`]);
    assert.deepEqual(rows.map((row) => [JSON.parse(row.args), row.hex]).sort(), expected.sort());
    sockets.close();
  });
});

describe('a question', { skip: needsOwn }, () => {
  it('outlives the servers: what was answered is there while none runs, and another one ends it', async () => {
    const sockets = await group(server, ['websocket', 'polling', 'websocket']);
    const [first, ...others] = sockets.map((socket) => socket.id); // a client forgets its id
    sockets[0].on('vote', (ack) => ack('early'));
    await server.sql(`INSERT INTO ask (name, nsp, event, timeout_ms) VALUES ('long', ${quoted(sockets.nsp)}, 'vote', 3000)`);
    await until('one answer', async () => (await server.value("SELECT n_answered FROM ask WHERE name = 'long'")) === 1);
    const programs = [...server.fcgi, ...server.ws];
    for (const program of programs) await program.kill('SIGKILL');
    const rows = await sioliteRows(server.db, ['answers', 'long']);
    assert.deepEqual(Object.fromEntries(rows.map((row) => [row.socket, row.args])),
      { [first]: ['early'], [others[0]]: null, [others[1]]: null });
    const waiting = siolite(server.db, ['answers', 'long', '--wait']);
    for (const program of programs) await program.start();
    await server.ready();
    const { code, stdout, stderr } = await within(10_000, 'the end of the question', waiting);
    assert.equal(code, 1);
    assert.match(stderr, /long: the time is over; 1 of 3 have answered/);
    assert.match(stdout, /\["early"\]/);
    // The job that ends it is done by whoever is there now: who has not answered owes nothing any more.
    await until('its end', async () => (await server.value("SELECT count(*) FROM answer WHERE name = 'long' AND n = 0")) === 2);
    sockets.close();
  });
});
