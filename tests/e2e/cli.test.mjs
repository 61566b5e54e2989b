// SPDX-License-Identifier: MIT
//
// The command line: what it does reaches clients, what it shows is true, while servers run and while none does.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { siolite, sioliteRows } from './lib/cli.mjs';
import { build, root } from './lib/npm.mjs';
import { call, group, plain, received as receivedUntil } from './lib/official.mjs';
import { quoted } from './lib/outsider.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { Inbox, until, within } from './lib/wait.mjs';

const modes = ['polling', 'websocket', 'upgrade'];
let server;
const cli = (...args) => siolite(server.db, args);
const rows = (...args) => sioliteRows(server.db, args);
async function ok(...args) {
  const result = await cli(...args);
  assert.deepEqual([result.code, result.stderr], [0, ''], args.join(' '));
  return result.stdout;
}
async function refused(args, code, text) {
  const result = await cli(...args);
  assert.deepEqual([result.code, result.stdout], [code, ''], args.join(' '));
  assert.match(result.stderr, text);
}
const received = (sockets) =>
  receivedUntil(sockets, (name) => server.sql(`INSERT INTO emit (nsp, event) VALUES (${quoted(sockets.nsp)}, '${name}')`));

describe('siolite', { skip: needsOwn }, () => {
  before(async () => {
    if (!needsOwn) server = await startServer();
  });
  after(() => server?.stop());

  it('emit reaches whom the options name, over every transport', async () => {
    const sockets = await group(server, modes);
    const to = (...args) => ok('emit', '--nsp', sockets.nsp, ...args);
    await call(sockets[0], 'join', ['x', 'y']);
    await call(sockets[1], 'join', 'y');
    await ok('socket-user', sockets[2].id, 'ann');
    await to('all', '1', '"two"', '{"three": [null]}', '12345678901234567890');
    await to('room', '--room', 'x');
    await to('rooms', '--room', 'x', '--room', sockets[2].id, '--except', 'y');
    await to('but', '--except', 'x', '--except', sockets[2].id);
    await to('user', '--user=ann');
    await to('text', '--text', '1', 'it is "so"', '--plain', '--room', 'y');
    assert.equal(await to('nobody', '--room', 'none', '--json'), '{"seq":null}\n');
    assert.match(await to('bare', '--json'), /^\{"seq":\d+\}\n$/);
    const all = ['all', 1, 'two', { three: [null] }, 12345678901234567890];
    assert.deepEqual(await received(sockets), [
      [all, ['room'], ['text', '1', 'it is "so"'], ['bare']],
      [all, ['but'], ['text', '1', 'it is "so"'], ['bare']],
      [all, ['rooms'], ['user'], ['bare']],
    ]);
    sockets.close();
  });

  it('emit sends files', async (t) => {
    const sockets = await group(server, modes);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'siolite-cli-'));
    t.after(() => fs.rmSync(folder, { recursive: true }));
    const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, i) => i & 255));
    fs.writeFileSync(path.join(folder, 'a'), bytes);
    fs.writeFileSync(path.join(folder, 'b'), '');
    const files = ['--attachment', path.join(folder, 'a'), '--attachment', path.join(folder, 'b')];
    await ok('emit', '--nsp', sockets.nsp, 'behind', '"name"', ...files);
    await ok('emit', '--nsp', sockets.nsp, 'within', '{"file": {"_placeholder": true, "num": 1}}', '{"_placeholder": true, "num": 0}', ...files);
    for (const list of await received(sockets)) {
      assert.deepEqual(list.map(plain), [
        ['behind', 'name', bytes, Buffer.alloc(0)].map(plain),
        ['within', { file: Buffer.alloc(0) }, bytes].map(plain),
      ]);
    }
    await refused(['emit', 'x', '--attachment', path.join(folder, 'none')], 1, /--attachment: .*none: No such file/);
    await refused(['emit', 'x', '{"_placeholder": true, "num": 3}', ...files], 2, /emit\.args: must have a/);
    sockets.close();
  });

  it('emit --ack asks; the answers are collected by others, while they come and afterwards', async () => {
    const sockets = await group(server, modes);
    for (const socket of sockets.slice(0, 2)) socket.on('vote', (question, answer) => answer(`${question} yes`, 2));
    let later;
    sockets[2].on('vote', (question, answer) => { later = answer; });
    const name = (await ok('emit', '--ack', '--timeout', '60000', '--nsp', sockets.nsp, 'vote', '"so?"')).trim();
    await until('two answers', async () => (await server.value(`SELECT n_answered FROM ask WHERE name = ${quoted(name)}`)) === 2);
    const waiting = cli('answers', name, '--wait');
    const seen = await rows('answers', name);
    assert.deepEqual(
      Object.fromEntries(seen.map((row) => [row.socket, [row.is_answered, row.args]])),
      { [sockets[0].id]: [1, ['so? yes', 2]], [sockets[1].id]: [1, ['so? yes', 2]], [sockets[2].id]: [0, null] });
    later(Buffer.from([1, 2]));
    const { code, stdout } = await within(5000, 'the end of the question', waiting);
    assert.equal(code, 0);
    assert.match(stdout, new RegExp(`${sockets[2].id} +1 +3 +\\[\\{"_placeholder":true,"num":0\\}\\] +000000020102\n`));
    assert.equal((await rows('show', 'ask', `name=${name}`))[0].state, 'done');
    await refused(['answers', 'no such name'], 1, /no such name: there is no such question/);
    await refused(['answers', '--wait', '--cancel', name], 2, /--wait: goes without --cancel only/);
    await ok('answers', '--cancel', name);
    await refused(['answers', name], 1, /there is no such question/);
    sockets.close();
  });

  it('emit --ack --wait prints the answers', async () => {
    const sockets = await group(server, modes);
    for (const socket of sockets) socket.on('vote', (answer) => answer(socket.id));
    const result = await siolite(server.db, ['emit', '--ack', '--wait', '--nsp', sockets.nsp, 'vote', '--json']);
    assert.equal(result.code, 0);
    const answers = result.stdout.trim().split('\n').map(JSON.parse);
    assert.deepEqual(answers.map((a) => [a.socket, a.args]).sort(), sockets.map((s) => [s.id, [s.id]]).sort());
    sockets.close();
  });

  it('emit --ack --wait exits 1 after a time-out, with the answers that came', async () => {
    const sockets = await group(server, modes);
    sockets[1].on('vote', (answer) => answer('me'));
    const { code, stdout, stderr } = await cli('emit', '--ack', '--wait', '--timeout=1500', '--name', `late ${sockets.nsp}`, '--nsp', sockets.nsp, 'vote');
    assert.equal(code, 1);
    assert.match(stderr, /^siolite emit: late .*: the time is over; 1 of 3 have answered\n$/);
    assert.match(stdout, /^name +socket +is_answered/);
    assert.match(stdout, new RegExp(`${sockets[1].id} +1 +1 +\\["me"\\]`));
    assert.match(stdout, new RegExp(`${sockets[0].id} +0`));
    await until('what is owed to be forgiven', async () =>
      (await server.value(`SELECT count(*) FROM answer WHERE name = 'late ${sockets.nsp}' AND n = 0`)) === 2);
    await refused(['emit', '--ack', '--name', `late ${sockets.nsp}`, 'vote'], 2, /ask\.name: there is a question of that name/);
    sockets.close();
  });

  it('emit --ack --wait is over at once where nobody is', async () => {
    assert.equal(await ok('emit', '--ack', '--wait', '--room', 'nowhere', 'vote'), '');
  });

  it('ack answers an event of a client, a while after it came', async () => {
    const sockets = await group(server, modes);
    for (const socket of sockets) {
      const answer = new Promise((resolve) => socket.emit('nobody answers this', resolve));
      await call(socket, 'who');
      await ok('ack', `${socket.id}:0`, '"done"');
      assert.equal(await within(5000, 'the ack', answer), 'done');
    }
    await ok('ack', 'nobody:1');
    await refused(['ack', 'nobody'], 2, /ack\.event_id: must be/);
    sockets.close();
  });

  it('join, leave and kick take one or many', async () => {
    const sockets = await group(server, modes);
    const { nsp } = sockets;
    const members = async (room) => (await rows('members', '--nsp', nsp, '--room', room)).map((row) => row.socket).sort();
    const ids = (...list) => list.map((i) => sockets[i].id).sort();
    await ok('join', 'r', '--socket', sockets[0].id);
    await ok('join', 's', '--all', '--nsp', nsp);
    await ok('join', 't', '--in-room', 'r', '--nsp', nsp);
    await ok('socket-user', sockets[1].id, 'bob');
    await ok('join', 't', '--user', 'bob', '--nsp', nsp);
    assert.deepEqual(await members('r'), ids(0));
    assert.deepEqual(await members('s'), ids(0, 1, 2));
    assert.deepEqual(await members('t'), ids(0, 1));
    assert.deepEqual(await call(sockets[1], 'rooms'), ['s', 't']);
    await ok('leave', 's', '--in-room', 't', '--nsp', nsp);
    assert.deepEqual(await members('s'), ids(2));
    await ok('kick', '--in-room', 't', '--nsp', nsp);
    for (const i of [0, 1]) assert.equal(await within(5000, 'the kick', sockets[i].ended), 'io server disconnect');
    assert.equal(sockets[2].connected, true);
    await ok('kick', '--socket', sockets[2].id, '--close');
    await within(5000, 'the end', sockets[2].ended);
    await refused(['join', 'r'], 2, /exactly one of --socket, --in-room, --user and --all/);
    await refused(['join', 'r', '--socket', 'nobody'], 2, /room_join\.socket: must be the id of an open socket/);
    await refused(['kick', '--all', '--nsp', '/none'], 2, /kick\.nsp: no such namespace/);
    sockets.close();
  });

  it('shows who is there, as a table and as JSON', async () => {
    const sockets = await group(server, modes);
    const { nsp } = sockets;
    await ok('socket-data', sockets[0].id, '{"name": "\\u001b[31m\u00e4", "n": 12345678901234567890}');
    await ok('socket-user', sockets[0].id, 'a\u001b[31mb');
    await call(sockets[0], 'join', 'x');
    const [first] = await rows('sockets', '--nsp', nsp, '--user', 'a\u001b[31mb');
    assert.equal(first.socket, sockets[0].id);
    assert.equal(first.data.name, '\u001b[31m\u00e4');
    const table = await ok('sockets', '--nsp', nsp);
    assert.match(table, /^socket +nsp +user +data +session_id +is_recovered\n/);
    assert.equal(table.trimEnd().split('\n').length, 4);
    assert.match(table, /a\\x1b\[31mb/);
    assert.equal(table.includes('\u001b'), false, 'a terminal obeys nothing of it');
    assert.deepEqual(await rows('rooms', '--nsp', nsp), [{ nsp, room: 'x', n_members: 1 }]);
    assert.deepEqual((await rows('members', '--socket', sockets[0].id)).map((row) => row.room), ['x']);
    assert.equal((await rows('nsps')).find((row) => row.nsp === nsp).n_sockets, 3);
    assert.deepEqual((await rows('show', 'process')).map((row) => row.front).sort(), ['ctl', 'fcgi', 'fcgi', 'ws', 'ws']);
    assert.equal((await rows('show', 'session', 'state=open', 'transport=websocket', '--limit', '2')).length, 2);
    await ok('socket-user', sockets[0].id);
    assert.equal((await rows('sockets', '--nsp', nsp, '--user', 'a\u001b[31mb')).length, 0);
    await refused(['show', 't_session'], 2, /t_session: no such view; allowed: emit, /);
    await refused(['show', 'room', 'colour=red'], 2, /room\.colour: no such field; allowed: nsp, room, n_members/);
    await refused(['show', 'room', 'colour'], 2, /colour: must be COLUMN=VALUE/);
    sockets.close();
  });

  it('outbox keeps an event for a user, and shows who has not got it', async () => {
    const sockets = await group(server, ['polling']);
    const user = `user of ${sockets.nsp}`;
    const of = (...args) => rows('outbox', '--user', user, ...args);
    await ok('outbox', '--user', user, '--nsp', sockets.nsp, '--expires', '3600', 'invoice', '17');
    assert.deepEqual((await of()).map((row) => [row.event, row.args, row.state]), [['invoice', [17], 'waiting']]);
    const got = new Promise((resolve) => sockets[0].on('invoice', (number, answer) => { answer('seen'); resolve(number); }));
    await ok('socket-user', sockets[0].id, user);
    assert.equal(await within(5000, 'the invoice', got), 17);
    await until('its ack', async () => (await of()).length === 0);
    assert.deepEqual((await of('--all')).map((row) => [row.state, row.answer]), [['acked', ['seen']]]);
    assert.deepEqual((await rows('users', '--user', user)).map((row) => [row.nsp, row.is_online, row.n_sockets]), [[sockets.nsp, 1, 1]]);
    for (const event of ['one', 'two', 'three']) await ok('outbox', '--user', `${user}'s`, event);
    const theirs = async () => (await rows('outbox', '--user', `${user}'s`)).map((row) => row.event);
    await ok('outbox', '--cancel', '--user', `${user}'s`, 'two');
    assert.deepEqual(await theirs(), ['one', 'three']);
    await ok('outbox', '--cancel', '--id', String((await rows('outbox', '--user', `${user}'s`))[0].id));
    assert.deepEqual(await theirs(), ['three']);
    await ok('outbox', '--cancel', '--user', `${user}'s`);
    assert.deepEqual(await theirs(), []);
    await refused(['outbox', '--cancel'], 2, /--cancel: --user or --id must be given/);
    await refused(['outbox', '--cancel', '--id', 'x'], 2, /--id/);
    await refused(['outbox', '--cancel', '--all', '--user', user], 2, /--cancel: goes with one EVENT/);
    await refused(['outbox', '--cancel', '--text', '--user', user], 2, /--text: goes with an EVENT only/);
    await refused(['outbox', '--id', '1'], 2, /--id: goes with --cancel only/);
    await refused(['outbox', 'invoice'], 2, /outbox\.user: must be text/);
    await refused(['outbox', '--expires', '5'], 2, /--expires: goes with an EVENT only/);
    await refused(['outbox', '--all', '--user', user, 'x'], 2, /--all: goes with a list only/);
    sockets.close();
  });

  it('app-check finds what is wrong in an application in SQL', async (t) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'siolite-cli-'));
    t.after(() => fs.rmSync(folder, { recursive: true }));
    const file = path.join(folder, 'app.sql');
    const chat = path.join(root, 'docs/examples/chat.sql');
    assert.equal(await ok('app-check', chat), `${chat}: ok\n`);
    assert.deepEqual(JSON.parse(await ok('app-check', chat, '--json')), { file: chat, is_ok: true, errors: [] });
    fs.writeFileSync(file, `CREATE TRIGGER a INSTEAD OF INSERT ON event BEGIN\n  INSERT INTO nowhere VALUES (1);\nEND;\n`);
    await refused(['app-check', file], 1, /app\.sql:\d+: .*nowhere/);
    const { code, stdout } = await cli('app-check', file, '--json');
    assert.deepEqual([code, JSON.parse(stdout).is_ok, JSON.parse(stdout).errors.length], [1, false, 1]);
    await refused(['app-check'], 2, /no FILE is given/);
    await refused(['app-check', path.join(folder, 'none.sql')], 1, /none\.sql: No such file/);
  });

  it('tail follows the log', async () => {
    const sockets = await group(server, ['websocket']);
    await ok('emit', '--nsp', sockets.nsp, 'before', '1');
    const tail = spawn(`${build}/siolite`, ['tail', '--json', '--nsp', sockets.nsp, '--database', server.db]);
    const lines = new Inbox();
    let text = '';
    tail.stdout.on('data', (data) => {
      const list = (text + data).split('\n');
      text = list.pop();
      for (const line of list) lines.push(JSON.parse(line));
    });
    const row = (what, test) => lines.find(what, test);
    await row('what was there', (r) => r.event === 'before' && r.args[0] === 1);
    await ok('emit', '--nsp', sockets.nsp, '--room', sockets[0].id, 'after', '{"a": 2}');
    const seen = await row('what came', (r) => r.event === 'after');
    assert.deepEqual([seen.kind, seen.target, seen.args], ['event', sockets[0].id, [{ a: 2 }]]);
    await ok('join', 'z', '--socket', sockets[0].id);
    assert.equal((await row('the join', (r) => r.kind === 'join')).room, 'z');
    const gone = sockets[0].id;
    sockets.close();
    const end = await row('the end', (r) => r.kind === 'gone' || r.kind === 'lost');
    assert.deepEqual([end.target, end.reason], [gone, 'client namespace disconnect']);
    const over = new Promise((resolve) => tail.on('exit', resolve));
    tail.kill('SIGINT');
    assert.equal(await within(5000, 'the end of tail', over), 0);
    assert.equal(await server.value("SELECT count(*) FROM process WHERE front = 'ctl'"), 0);
    const plainTail = spawn(`${build}/siolite`, ['tail', '--lines', '1000', '--events', '--database', server.db]);
    plainTail.stdout.setEncoding('utf8');
    let out = '';
    plainTail.stdout.on('data', (data) => { out += data; });
    await until('the line', () => /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} event seq=\d+ nsp=\/\S+ event=before args=\[1\]$/m.test(out));
    assert.equal(/ (join|gone) seq/.test(out), false);
    plainTail.kill();
  });

  it('names the argument that is not JSON, and the option that is wrong', async () => {
    await refused(['emit', 'x', '1', 'hello'], 2, /ARG 2: hello: is not JSON; allowed: .*--text/);
    await refused(['emit', 'x', '1,2'], 2, /ARG 1: 1,2: is not JSON/);
    await refused(['emit', 'disconnect'], 2, /emit\.event: must not be one of the reserved names/);
    await refused(['emit', '--nsp', '/none', 'x'], 2, /emit\.nsp: no such namespace/);
    await refused(['emit', '--wait', 'x'], 2, /--wait: goes with --ack only/);
    await refused(['emit', '--ack', '--timeout', '0', 'x'], 2, /--timeout: 0: must be a number; allowed: 1 to 86400000/);
    await refused(['emit'], 2, /an argument is missing/);
    await refused(['socket-data', 'nobody', '{}'], 2, /socket_data\.socket: must be the id of an open socket/);
    await refused(['socket-user', 'nobody'], 2, /socket_user\.socket/);
    await refused(['server-emit', 'x', '--nsp', '/none'], 2, /server_emit\.nsp/);
    const none = await siolite(path.join(os.tmpdir(), 'siolite-none.db'), ['sockets']);
    assert.deepEqual([none.code, none.stdout], [1, '']);
    assert.match(none.stderr, /siolite-none\.db: No such file.*siolite init/);
    assert.equal(fs.existsSync(path.join(os.tmpdir(), 'siolite-none.db')), false);
  });

  it('is described in its manual page, every option of it', async () => {
    const page = fs.readFileSync(path.join(root, 'docs/man/siolite.1'), 'utf8');
    const section = (text, title) => text.split(`\n${title}`)[1]?.split('\n\n')[0] ?? '';
    const names = (text) => [...text.matchAll(/^ {2}(\S+)/gm)].map((m) => m[1]);
    const commands = names(section(await ok('--help'), 'Commands:'));
    assert.ok(commands.length > 15);
    for (const command of commands) {
      const at = page.search(new RegExp(`^\\.It Cm ${command}\\b(?!-)`, 'm'));
      assert.ok(at >= 0, command);
      for (const option of names(section(await ok(command, '--help'), 'Options:'))) {
        assert.ok(page.includes(`Fl -${option.slice(2)}`), `${command} ${option}`);
      }
    }
  });

  it('bash completes commands and options', async () => {
    const complete = (line) => new Promise((resolve, reject) => {
      const words = line.split(' ');
      const child = spawn('bash', ['-c', `source <("$0" completion); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _siolite; printf '%s\\n' "\${COMPREPLY[@]}"`,
        `${build}/siolite`, ...words]);
      let out = '';
      child.stdout.on('data', (data) => { out += data; });
      child.on('error', reject);
      child.on('close', () => resolve(out.trim().split('\n').sort()));
    });
    assert.deepEqual(await complete('siolite so'), ['socket-data', 'socket-user', 'sockets']);
    assert.deepEqual(await complete('siolite --database x.db emit --a'), ['--ack', '--attachment']);
    assert.deepEqual(await complete('siolite kick --c'), ['--close', '--config']);
    assert.ok((await complete('siolite ')).includes('emit'));
  });
});

describe('siolite while no server runs', { skip: needsOwn }, () => {
  it('does all the same', async (t) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'siolite-cli-'));
    t.after(() => fs.rmSync(folder, { recursive: true }));
    const db = path.join(folder, 'siolite.db');
    const alone = (...args) => siolite(db, args);
    assert.equal((await alone('sockets')).code, 1);
    assert.deepEqual(await alone('init'), { code: 0, stdout: `${db}: made\n`, stderr: '' });
    assert.deepEqual(await alone('emit', 'x', '[1]'), { code: 0, stdout: '', stderr: '' });
    assert.deepEqual((await sioliteRows(db, ['show', 'emit'])).map((row) => [row.event, row.args]), [['x', [[1]]]]);
    assert.deepEqual(await alone('emit', '--ack', '--wait', 'x'), { code: 0, stdout: '', stderr: '' });
    assert.deepEqual(await alone('sockets'), { code: 0, stdout: '', stderr: '' });
    assert.deepEqual(await alone('kick', '--all'), { code: 0, stdout: '', stderr: '' });
    assert.deepEqual(await sioliteRows(db, ['nsps']), [{ nsp: '/', is_static: 1, n_sockets: 0 }]);
    assert.deepEqual(await alone('restored', '--json'), { code: 0, stdout: '{"epoch":2}\n', stderr: '' });
    assert.deepEqual((await sioliteRows(db, ['show', 'process'])).map((row) => row.front), ['ctl']);
  });
});
