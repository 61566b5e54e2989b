// SPDX-License-Identifier: MIT
//
// Applications that fail at the commit: only the effects of that event are dropped, the view
// app_error tells of it, and the server goes on. In C (tests/apps/faulty.c).

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { needsOwn, startServer } from './lib/server.mjs';
import { build } from './lib/npm.mjs';
import { call, client, connect, next } from './lib/official.mjs';
import { Polling } from './lib/wire.mjs';
import { within } from './lib/wait.mjs';

const UNIQUE = 'UNIQUE constraint failed: kept.text';

// SIO-UNIT-PART
describe('a statement that fails', { skip: needsOwn }, () => {
  let server;
  before(async () => {
    server = await startServer({ app: path.join(build, 'apps/faulty.so') });
  });
  after(() => server?.stop({ allowErrors: true }));

  const errors = async (id) =>
    (
      await server.sql(`SELECT what, nsp, event, error FROM app_error
        WHERE socket = '${id}' ORDER BY error_id`)
    ).map((row) => Object.values(row));

  it('leaves the other events of its POST', async () => {
    const session = await Polling.connect(server.entries);
    const sent = ['a', 'a', 'rollback', 'endless', 'b'];
    await session.send(
      ...sent.map((text, i) => `42${i}${JSON.stringify(['keep', text])}`),
      '429["rooms"]',
    );
    const got = await session.receive((packets) => packets.some((p) => p.startsWith('439')));
    assert.deepEqual(got, ['42["kept","a"]', '430[null]', '42["kept","b"]', '434[null]',
      '439[["kept"]]']);
    assert.deepEqual(await server.sql('SELECT text FROM kept'), [{ text: 'a' }, { text: 'b' }]);
    assert.deepEqual(await errors(session.sioId), [
      ['event', '/', 'keep', `statement "keep": ${UNIQUE}`],
      ['event', '/', 'keep', 'statement "keep": not this'],
      ['event', '/', 'keep', 'statement "keep": takes longer than 50 ms'],
    ]);
    assert.equal(
      server.errors().filter((line) => line.includes('app effects.dropped what=event nsp=/ '
        + 'event=keep error="statement \\"keep\\": ')).length,
      3,
      String(server.errors()),
    );
  });

  for (const mode of ['polling', 'websocket']) {
    it(`gives no ack, and the connection goes on: ${mode}`, async () => {
      const socket = await connect(server.url, mode);
      let isAcked = false;
      socket.emit('keep', 'rollback', () => {
        isAcked = true;
      });
      assert.equal(await call(socket, 'keep', `kept ${mode}`), null);
      assert.deepEqual(await next(socket, 'kept'), [`kept ${mode}`]);
      assert.equal((await errors(socket.id)).length, 1);
      assert.equal(isAcked, false);
      socket.close();
    });

    it(`in a middleware refuses the connection: ${mode}`, async () => {
      const kept = await connect(server.url, mode, { auth: { keep: `once ${mode}` } });
      const late = client(server.url, mode, { auth: { keep: `once ${mode}` } });
      const error = await within(5000, 'an answer', late.ready.catch((e) => e));
      assert.equal(error?.message, 'Internal error');
      assert.equal(await server.value('SELECT count(*) FROM socket'), 2);
      assert.deepEqual(
        await server.sql(`SELECT what, error FROM app_error ORDER BY error_id DESC LIMIT 1`),
        [{ what: 'connection', error: `statement "keep": ${UNIQUE}` }],
      );
      assert.deepEqual(await call(kept, 'rooms'), []);
      kept.close();
      late.close();
    });
  }
});
