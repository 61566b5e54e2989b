// SPDX-License-Identifier: MIT
//
// What several suites assert on raw sessions: refusals by the table of error codes, the end
// of a session and its reason, and that one lives.

import assert from 'node:assert/strict';
import { pause, until } from './wait.mjs';
import { Peer } from './wire.mjs';

const errors = [
  { code: 0, message: 'Transport unknown' },
  { code: 1, message: 'Session ID unknown' },
  { code: 2, message: 'Bad handshake method' },
  { code: 3, message: 'Bad request' },
  { code: 4, message: 'Forbidden' },
  { code: 5, message: 'Unsupported protocol version' },
];

export function assertRefused(answer, code) {
  assert.deepEqual([answer.status, answer.body], [400, JSON.stringify(errors[code])]);
  assert.match(answer.headers['content-type'] ?? '(none)', /^application\/json/);
}

export function assertEmpty(answer, status) {
  assert.deepEqual([answer.status, answer.body], [status, '']);
}

// The session is unknown to every process.
export async function assertGone(session) {
  const answer = await until('the session to be unknown', async () => {
    const seen = await session.poll();
    if (seen.status === 400) return seen;
    throw new Error(`${seen.status} ${JSON.stringify(seen.body)}`);
  });
  assertRefused(answer, 1);
  assertRefused(await session.post('3'), 1);
  assertRefused(await session.poll(), 1);
}

// It answers an event.
export async function assertAlive(session) {
  assert.deepEqual(await session.call('message-with-ack', 'alive'), ['alive']);
}

// The pending GET of the session is parked; a server of somebody else can't be asked.
export async function parked(server, eioSid) {
  if (server.isExternal) return pause(300);
  return until('the poll to be parked', () => server.value(
    `SELECT owner_id IS NOT NULL FROM t_lease JOIN t_session USING (session_id) WHERE eio_sid = '${eioSid}'`));
}

// Asks another client why the socket ended.
export async function reasonOf(server, sioId) {
  const peer = await Peer.connect('websocket', server.url);
  const reason = await until(
    'a reason of the disconnection',
    async () => (await peer.call('reason-of', sioId))[0],
  );
  await peer.close();
  return reason;
}
