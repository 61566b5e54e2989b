// SPDX-License-Identifier: MIT
//
// siolite.fcgi as a process: where it listens, how it ends, and that it lives with few descriptors.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { until } from '../e2e/lib/wait.mjs';
import { engineUri, handshake, poll, PROGRAM, request, Responder } from './lib_fcgi.mjs';

async function using(options, body) {
  const server = await Responder.start(options);
  try {
    await body(server);
  } finally {
    await server.stop();
  }
}

// Runs the program to its end.
const run = (args, options = {}) => new Promise((resolve) => {
  execFile(PROGRAM, ['--config', '/dev/null', ...args], { timeout: 10000, ...options }, (error, stdout, stderr) => {
    resolve({ code: error ? error.code ?? error.signal : 0, stdout, stderr });
  });
});

const works = async (server) => assert.equal((await server.fetch({ uri: engineUri('') })).status, 200);
const folder = (t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'siolite-fcgi-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
};

// A listening socket that a child can inherit.
async function listening(target) {
  const listener = net.createServer();
  await new Promise((resolve, reject) => listener.on('error', reject).listen(target, resolve));
  return listener;
}

test('an own UNIX socket has mode 0660 and is removed at the end', async () => {
  await using({}, async (server) => {
    await works(server);
    assert.equal(fs.statSync(server.target).mode & 0o777, 0o660);
    assert.equal(await server.signal('SIGTERM'), 0);
    assert.equal(fs.existsSync(server.target), false);
  });
});

test('a socket that a killed process left behind is replaced', async () => {
  await using({}, async (server) => {
    assert.equal(await server.signal('SIGKILL'), 'SIGKILL');
    assert.ok(fs.existsSync(server.target));
    await server.run();
    await works(server);
  });
});

test('a socket at which somebody listens, and what is no socket, is left alone', async (t) => {
  const dir = folder(t);
  await using({}, async (server) => {
    const taken = await run(['--set', `fcgi_listen=${server.target}`, '--set', `database=${dir}/x.db`]);
    assert.equal(taken.code, 1);
    assert.match(taken.stderr, /another process listens there/);
    await works(server);
  });
  const file = path.join(dir, 'file');
  fs.writeFileSync(file, 'precious');
  const wrong = await run(['--set', `fcgi_listen=${file}`, '--set', `database=${dir}/x.db`]);
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /exists and is not a socket/);
  assert.equal(fs.readFileSync(file, 'utf8'), 'precious');
});

test('a path that its successor has taken over is not removed', async () => {
  await using({}, async (server) => {
    fs.unlinkSync(server.target);
    const successor = await listening(server.target);
    assert.equal(await server.signal('SIGTERM'), 0);
    assert.ok(fs.existsSync(server.target));
    await new Promise((resolve) => successor.close(resolve));
  });
});

test('HOST:PORT', async () => {
  const free = await listening({ port: 0, host: '127.0.0.1' });
  const { port } = free.address();
  await new Promise((resolve) => free.close(resolve));
  await using({ target: { port, host: '127.0.0.1' }, set: { fcgi_listen: `127.0.0.1:${port}` } }, works);
});

// As the programs that start others with a listening socket: binds it to the path, makes it descriptor N, then executes.
const activate = `
  use POSIX; use Socket; $^F = 9;
  my ($path, $n, @command) = @ARGV;
  socket(S, PF_UNIX, SOCK_STREAM, 0) && bind(S, pack_sockaddr_un($path)) && listen(S, 64) || die $!;
  POSIX::dup2(fileno(S), $n);
  ($ENV{LISTEN_FDS}, $ENV{LISTEN_PID}) = (1, $$) if $n == 3;
  exec @command;`;

for (const [n, who] of [[0, 'lighttpd, spawn-fcgi and systemd'], [3, 'systemd with LISTEN_FDS']]) {
  test(`a listening socket as descriptor ${n}, as ${who} give it`, async (t) => {
    const target = path.join(folder(t), 'inherited.sock');
    await using({ target, wrap: ['perl', '-e', activate, target, n] }, async (server) => {
      await works(server);
      assert.match(server.log, /process\.start.*inherited\.sock/);
      assert.equal(await server.signal('SIGTERM'), 0);
      assert.ok(fs.existsSync(target)); // it is not ours
    });
  });
}

test('descriptor 3 is not for this process if LISTEN_PID names another one', async (t) => {
  const env = { ...process.env, LISTEN_FDS: '1', LISTEN_PID: '1' };
  const { code } = await run(['--set', `database=${folder(t)}/x.db`], { env });
  assert.equal(code, 2);
});

// EIO-POLL-HOLD
test('under mod_fcgid a poll occupies the process only as long as few others are', async (t) => {
  const target = path.join(folder(t), '6026.0');
  await using({ target, set: { max_held: 2 }, wrap: ['perl', '-e', activate, target, 0] }, async (server) => {
    const first = await server.fetch({ uri: engineUri('') });
    const { sid: id, maxPayload } = JSON.parse(first.body.slice(1));
    assert.equal(maxPayload, 100000);
    const held = await poll(server, id);
    await server.parked(1);
    const next = path.join(folder(t), '6026.1');
    await using({ target: next, set: { database: server.db, max_held: 1 }, wrap: ['perl', '-e', activate, next, 0] }, async (other) => {
      const c = await poll(other, await handshake(other));
      assert.equal((await c.answer()).body, '6', 'the other process is occupied: not held');
      assert.equal(await server.sql("SELECT count(*) FROM process WHERE address = 'mod_fcgid'"), '2');
    });
    await server.signal('SIGTERM');
    assert.equal((await held.answer()).body, '6');
  });
});

test('without a socket it says what is missing, and status 2', async (t) => {
  const { code, stderr } = await run(['--set', `database=${folder(t)}/x.db`]);
  assert.equal(code, 2);
  assert.match(stderr, /no listening socket: set fcgi_listen/);
});

test('a database that cannot be opened is an error', async (t) => {
  const dir = folder(t);
  const { code, stderr } = await run(['--set', `database=${dir}/missing/x.db`, '--set', `fcgi_listen=${dir}/s`]);
  assert.equal(code, 1);
  assert.match(stderr, / error .*process\.fail/);
  assert.equal(fs.existsSync(`${dir}/s`), false);
});

for (const signal of ['SIGTERM', 'SIGINT']) {
  test(`${signal} answers parked polls with a noop`, async () => {
    await using({}, async (server) => {
      const ids = await Promise.all([1, 2, 3].map(() => handshake(server)));
      const polls = await Promise.all(ids.map((id, i) => poll(server, id, { keep: i === 0 })));
      await server.parked(3);
      const ended = server.signal(signal);
      for (const c of polls) {
        assert.equal((await c.answer()).body, '6');
        await c.ended(); // also the one that was to be kept
      }
      assert.equal(await ended, 0);
    });
  });
}

test('a session goes on at the next process', async () => {
  await using({}, async (server) => {
    const id = await handshake(server);
    const c = await poll(server, id);
    await server.parked(1);
    const ended = server.signal('SIGTERM');
    assert.equal((await c.answer()).body, '6');
    await ended;
    await server.run();
    const again = await poll(server, id);
    await server.parked(1);
    assert.equal(again.records.size, 0);
  });
});

test('SIGTERM while a request is incomplete, and while a connection waits, does not hang', async () => {
  await using({}, async (server) => {
    const half = await server.open();
    await half.send(request({ uri: engineUri('') }).subarray(0, 40));
    const kept = await server.open();
    assert.equal((await kept.fetch({ keep: true, uri: engineUri('') })).status, 200);
    const from = performance.now();
    assert.equal(await server.signal('SIGTERM'), 0);
    assert.ok(performance.now() - from < 5000);
  });
});

test('SIGHUP reads the configuration again', async () => {
  await using({}, async (server) => {
    process.kill(server.pid, 'SIGHUP');
    await server.logged(/reload\.done/);
    await works(server);
  });
});

test('without descriptors it waits, and goes on when there are some', async () => {
  await using({ wrap: ['sh', '-c', 'ulimit -n 140 && exec "$@"', 'sh'], set: { hold: '25s' } }, async (server) => {
    const ids = await Promise.all(Array.from({ length: 30 }, () => handshake(server)));
    const polls = await Promise.all(ids.map((id) => poll(server, id)));
    await server.parked(30);
    // Connections that say nothing take the rest.
    const silent = await Promise.all(Array.from({ length: 200 }, () => server.open()));
    await server.logged(/accept\.pause/);
    const waiting = await server.open();
    await waiting.send(request({ uri: engineUri('') }));
    for (const c of silent) c.close();
    assert.equal((await waiting.answer()).status, 200);
    assert.ok(polls.every((c) => c.records.size === 0 && !c.socket.destroyed));
    const ended = server.signal('SIGTERM');
    for (const c of polls) assert.equal((await c.answer()).body, '6');
    assert.equal(await ended, 0);
  });
});

test('EMFILE: accept fails, nothing ends, and it goes on', async () => {
  await using({ set: { hold: '25s' } }, async (server) => {
    const id = await handshake(server);
    const parked = await poll(server, id);
    await server.parked(1);
    // Lowered from outside: below what the process counted on at its start.
    const limit = (n) => new Promise((resolve, reject) => {
      execFile('prlimit', ['--pid', server.pid, `--nofile=${n}:`], (error) => (error ? reject(error) : resolve()));
    });
    const used = fs.readdirSync(`/proc/${server.pid}/fd`).length;
    const before = fs.readFileSync(`/proc/${server.pid}/limits`, 'utf8').match(/Max open files\s+(\d+)/)[1];
    await limit(used);
    const waiting = await server.open();
    await waiting.send(request({ uri: engineUri('') }));
    await server.logged(/accept\.pause reason="?Too many open files/);
    await limit(before);
    assert.equal((await waiting.answer()).status, 200);
    assert.equal(parked.records.size, 0);
  });
});

test('idle it sleeps', async () => {
  await using({}, async (server) => {
    await works(server);
    // Nothing runs every millisecond: the tick is about a second.
    const switches = () => Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${server.pid}/status`, 'utf8'))[1]);
    const from = switches();
    const start = performance.now();
    await until('two seconds', () => performance.now() - start > 2000);
    assert.ok(switches() - from < 100, `${switches() - from} wake-ups in 2 s`);
  });
});

test('--check-config, --help and --version need no socket', async () => {
  for (const arg of ['--help', '--version']) assert.equal((await run([arg])).code, 0, arg);
  assert.equal((await run(['--set', 'hold=never', '--check-config'])).code === 0, false);
});
