// SPDX-License-Identifier: MIT
//
// The Python client, as Debian has it: auth, events, acks, attachments, rooms, namespaces
// and refusals over polling and over WebSocket.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { onEnd } from './lib/npm.mjs';
import { startServer } from './lib/server.mjs';
import { within } from './lib/wait.mjs';

let main;
before(async () => (main = await startServer()));
after(() => main?.stop());

// The system's own Python has the package, whatever else is installed.
const python = fs.existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3';
const script = fileURLToPath(new URL('python_client.py', import.meta.url));
const emoji = '\u00e4\u20ac\u{1f600}';
const bytes = (...list) => ({ bytes: list });

async function run(transport) {
  const child = spawn(python, [script, main.entries[0], main.entries[1], transport], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const forget = onEnd(() => child.kill('SIGKILL'));
  let out = '';
  let err = '';
  child.stdout.on('data', (data) => (out += data));
  child.stderr.on('data', (data) => (err += data));
  const ended = new Promise((resolve) => child.on('close', resolve));
  const code = await within(30_000, 'the end of the client', ended, () => [out, err]);
  forget();
  assert.equal(code, 0, `${out}\n${err}`);
  return out.trim().split('\n').map((line) => JSON.parse(line));
}

describe('the Python client', () => {
  for (const transport of ['polling', 'websocket'])
    it(`does over ${transport} what the others do`, async () => {
      const seen = await run(transport);
      // It may close the connection before its goodbye is out.
      const [, reason] = seen.find(([step]) => step === 'reason');
      assert.match(reason, /^(client namespace disconnect|transport close)$/);
      assert.deepEqual(seen, [
        ['auth', [['auth', { user: emoji }], ['auth', { user: emoji }], ['auth', {}]]],
        ['who', [true, transport, { user: emoji }, 'sink']],
        [
          'message',
          ['message-back', 1, emoji, null, { b: [bytes(0, 255), { c: bytes() }] }],
        ],
        ['ack', [emoji, bytes(1, 2), [true]]],
        ['binary', { n: 5, data: bytes(0, 1, 2, 3, 4) }],
        ['digest', 100_000],
        ['answer', ['ack-result', 'answer', 1, emoji]],
        ['rooms', ['room', emoji]],
        ['room', ['tick', 1, bytes(7)]],
        ['others', ['tock', emoji]],
        ['burst', Array.from({ length: 10 }, (_, i) => ['echo', i])],
        ['namespace', ['echo', 'there']],
        ['refusal', ['refused', { message: 'invalid token' }]],
        ['accepted', ['auth', { token: 'secret' }]],
        ['reason', reason],
        ['end', null],
      ]);
    });
});
