// SPDX-License-Identifier: MIT
//
// A new release with 200 clients connected, under traffic: each program is replaced by another file and started again, the
// web server last. Nobody misses an event, none comes twice; what is kept as a copy of the database can be put back.

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { build, root } from './lib/npm.mjs';
import { call, client } from './lib/official.mjs';
import { client as oldClient } from './lib/old.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { until, within } from './lib/wait.mjs';

describe('a new release', { skip: needsOwn }, () => {
  let server;
  const crowd = []; // {socket, seen}
  let n = 0; // events told so far
  before(async () => {
    server = await startServer({ set: { recovery: '60s', ping_interval: '5s', ping_timeout: '5s' } });
    const again = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 200 };
    const kinds = [...Array(60).fill('polling'), ...Array(60).fill('websocket'), ...Array(60).fill('upgrade')]
      .map((mode) => () => client(server.url, mode, again));
    // They know no recovery: a session by polling goes on all the same.
    for (const version of ['1.7.4', '2.5.0']) kinds.push(...Array(10).fill(() => oldClient(version, server.url, 'polling')));
    for (const make of kinds) {
      const member = { socket: make(), seen: [] };
      member.ends = [];
      member.socket.on('tick', (i) => member.seen.push(i));
      member.socket.on('disconnect', (reason) => member.ends.push(reason));
      crowd.push(member);
    }
    await within(30_000, '200 clients to connect', Promise.all(crowd.map(({ socket }) => socket.ready)));
  });
  after(() => server?.stop());

  // One event for all, by another program; one after the other, so that their order is known.
  const tick = () => server.sql(`INSERT INTO emit (event, args) VALUES ('tick', '[${n++}]')`);
  // lighttpd, which found a program away, looks again at it about once a second: until then it must not miss another one.
  const trusted = () => until('lighttpd to have found all programs again', () => {
    const log = fs.readFileSync(path.join(server.folder, 'lighttpd-error.log'), 'utf8');
    const targets = [...server.fcgi, ...server.ws].map(({ target }) => (typeof target === 'number' ? `tcp:127.0.0.1:${target}` : `unix:${target}`));
    return targets.every((at) => log.lastIndexOf(`connection failed: socket: ${at}:`) <= log.lastIndexOf(`re-enabled: ${at} `));
  }, 15_000);
  async function duringTraffic(act) {
    let isOver = false;
    const traffic = (async () => { while (!isOver) await tick(); })();
    try {
      await act();
    } finally {
      isOver = true;
      await traffic;
    }
    await tick();
  }
  const assertComplete = async (members) => {
    await until('all to have what was told', () => members.every(({ seen }) => seen.length >= n), 20_000).catch(() => {});
    const wrong = members.filter(({ seen }) => seen.length !== n || seen.some((i, at) => i !== at));
    assert.deepEqual(wrong.map(({ socket, seen, ends }) => ({ transports: socket.io.opts.transports.join(), id: socket.id, n: seen.length, last: seen.at(-1), ends })), []);
  };

  it('of every program of ours', async () => {
    const next = path.join(server.folder, 'next');
    fs.mkdirSync(next);
    for (const name of ['siolite.fcgi', 'siolite-ws']) fs.copyFileSync(path.join(build, name), path.join(next, name));
    await duringTraffic(async () => {
      for (const program of [...server.fcgi, ...server.ws]) {
        program.command[0] = path.join(next, path.basename(program.command[0]));
        assert.equal(await program.kill('SIGTERM'), 0);
        await program.start();
        await trusted();
        const told = n;
        await until('more to be told', () => n > told + 1);
      }
    });
    await assertComplete(crowd);
  });

  it('of the web server', async () => {
    const members = crowd.slice(0, 180); // a poll that is refused ends an old client's session
    await duringTraffic(async () => {
      await server.lighttpd.kill('SIGTERM');
      await server.lighttpd.start();
    });
    await assertComplete(members);
    for (const { socket } of members.filter((_, i) => i % 20 === 0)) assert.equal(await call(socket, 'message-with-ack', 'well'), 'well');
  });

  // The commands of docs/admin.md, for the places and the user of this test; instead of systemctl it ends and starts.
  const page = fs.readFileSync(path.join(root, 'docs/admin.md'), 'utf8');
  const [backUp, putBack] = [...page.split('## Back it up')[1].split('\n## ')[0].matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, text]) => text
    .replaceAll(' -o siolite -g siolite', '').replaceAll('siolite restored', '"$SIOLITE" --database "$DB" restored')
    .replaceAll('/var/lib/siolite/siolite.db', '$DB').replaceAll('/var/lib/siolite', '$FOLDER').replaceAll('/var/backups', '$COPIES')
    .replaceAll('siolite.db', '${DB##*/}'));
  const shell = (text) => promisify(execFile)('sh', ['-euc', text], { env: { ...process.env, SIOLITE: path.resolve(root, build, 'siolite'), DB: server.db,
    FOLDER: path.dirname(server.db), COPIES: path.join(server.folder, 'copies') } });

  it('with a copy of the database that was made meanwhile, which is put back, as docs/admin.md says', async () => {
    const copy = path.join(server.folder, 'copies', path.basename(server.db));
    fs.mkdirSync(path.dirname(copy));
    await duringTraffic(async () => {
      await shell(backUp);
      await shell(`sqlite3 "$DB" "VACUUM INTO '$COPIES/other.db'" && "$SIOLITE" --database "$COPIES/other.db" restored`);
    });
    await assertComplete(crowd.slice(0, 180));
    for (const { socket } of crowd) socket.close();
    assert.equal(execFileSync('sqlite3', [copy, 'PRAGMA integrity_check']).toString().trim(), 'ok');
    const [stop, ...commands] = putBack.trim().split('\n');
    const start = commands.pop();
    assert.match(stop, /^systemctl stop .*siolite-fcgi .*siolite-ws$/);
    await Promise.all([...server.fcgi, ...server.ws].map((program) => program.kill('SIGTERM')));
    assert.match((await shell(commands.join('\n'))).stdout, /siolite.*: epoch \d+\n$/);
    assert.match(start, /^systemctl start .*siolite-fcgi .*siolite-ws$/);
    await Promise.all([...server.fcgi, ...server.ws].map((program) => program.start()));
    await trusted();
    const socket = client(server.url, 'polling');
    await within(5000, 'a client to connect', socket.ready);
    assert.equal(await call(socket, 'message-with-ack', 'restored'), 'restored');
    socket.close();
  });
});
