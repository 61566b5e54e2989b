// SPDX-License-Identifier: MIT
//
// Engine.IO 4 by hand, the second half: sessions over WebSocket alone, and the upgrade of a
// polling session to it.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { assertAlive, assertGone, assertRefused, reasonOf } from './lib/claims.mjs';
import { startServer } from './lib/server.mjs';
import { deadline, slowness, until, within } from './lib/wait.mjs';
import { openPacket, Polling, probe, Socket, upgrade } from './lib/wire.mjs';

let main;
let short;
before(async () => {
  main = await startServer();
  short = await startServer({ preset: 'short' });
});
after(async () => {
  await main?.stop();
  await short?.stop();
});

describe('WebSocket only', { concurrency: 8 }, () => {
  // EIO-WS-OPEN
  it('opens with a handshake that offers no upgrade', async () => {
    for (const url of [main.url, ...main.entries, ...main.sidecars]) {
      const socket = new Socket(url);
      const text = await socket.next('the open packet');
      const open = openPacket(text);
      assert.match(open.sid, /^[A-Za-z0-9_-]{20}$/);
      assert.equal(
        text,
        `0${JSON.stringify({
          sid: open.sid,
          upgrades: [],
          pingInterval: 3000,
          pingTimeout: 3000,
          maxPayload: 1000000,
        })}`,
      );
      await socket.close();
    }
  });

  // EIO-WS-MESSAGE
  it('carries text and binary messages', async () => {
    const socket = await Socket.connect(main.url);
    socket.send('42["echo","h\u00e4\u{1f600}"]');
    assert.equal(await socket.next(), '42["echo","h\u00e4\u{1f600}"]');
    socket.send(
      '451-["echo",{"_placeholder":true,"num":0}]',
      Buffer.from([0, 1, 254, 255]),
    );
    assert.equal(await socket.next(), '451-["echo",{"_placeholder":true,"num":0}]');
    assert.deepEqual(await socket.next(), Buffer.from([0, 1, 254, 255]));
    await socket.close();
    assert.equal(await reasonOf(main, socket.sioId), 'transport close');
  });

  it('carries large messages, whole and in fragments', async () => {
    const socket = await Socket.connect(main.url);
    const text = `42["echo","${'x'.repeat(999_000)}"]`;
    socket.send(text);
    assert.equal((await socket.next()).length, text.length);
    for (const [part, fin] of [
      ['42["e', false],
      ['cho","frag', false],
      ['ments"]', true],
    ])
      socket.ws.send(part, { fin });
    assert.equal(await socket.next(), '42["echo","fragments"]');
    await socket.close();
  });

  it('answers a WebSocket ping', async () => {
    const socket = await Socket.connect(main.url);
    const pong = new Promise((resolve) =>
      socket.ws.on('pong', (data) => resolve(data.toString())),
    );
    socket.ws.ping('abc');
    assert.equal(await within(2000, 'a pong frame', pong), 'abc');
    await socket.close();
  });

  it('keeps order under load, and packets behind each other', async () => {
    const socket = await Socket.connect(main.url);
    const n = 2000;
    for (let i = 0; i < n; i++) socket.send(`42["echo",${i}]`);
    for (let i = 0; i < n; i++) {
      const message = await socket.find('an echo', (m) => m.startsWith('42'));
      assert.equal(message, `42["echo",${i}]`);
    }
    await socket.close();
  });

  it('refuses an unknown transport before the 101', async () => {
    for (const query of ['EIO=4&transport=abc', 'EIO=4']) {
      const answer = await new Socket(main.url, { query }).answered;
      assert.deepEqual([answer.status, answer.body], [400, 'Transport unknown']);
    }
  });

  // EIO-WS-REFUSED
  it('refuses an unknown sid before the 101', async () => {
    for (const sid of ['abc', 'AAAAAAAAAAAAAAAAAAAA', '"']) {
      const answer = await new Socket(main.url, { query: { sid } }).answered;
      assert.deepEqual([answer.status, answer.body], [400, 'Session ID unknown']);
      assert.match(answer.headers['content-type'], /^text\/html/);
      const other = await new Socket(main.url, { query: { sid, transport: 'polling' } }).answered;
      assert.deepEqual([other.status, other.body], [400, 'Session ID unknown']);
    }
  });

  it('refuses other protocol versions', async () => {
    for (const EIO of ['3', 'abc', '5', '']) {
      const socket = new Socket(short.url, { query: { EIO } });
      await within(3000, 'the end of the WebSocket', socket.closed);
      assert.deepEqual(socket.inbox.take(), []);
    }
  });

  // EIO-TRANSPORT-MISMATCH
  it('does not open for transport=polling', async () => {
    const socket = new Socket(main.url, { query: { transport: 'polling' } });
    await within(3000, 'the end of the WebSocket', socket.closed);
    assert.deepEqual(socket.inbox.take(), []);
  });

  // EIO-WS-LIMIT
  it('closes for a message over the limit with code 1009', async () => {
    const socket = await Socket.connect(short.url);
    const fit = `430["${'x'.repeat(10000 - 7)}"]`;
    socket.send(fit);
    assert.deepEqual(await socket.call('message-with-ack', 1), [1]);
    socket.send(`${fit} `);
    assert.equal(await within(3000, 'the end of the WebSocket', socket.closed), 1009);
    assert.equal(await reasonOf(short, socket.sioId), 'transport error');
  });

  it('closes for fragments that together are over the limit with code 1009', async () => {
    const socket = await Socket.connect(short.url);
    for (let i = 0; i < 11; i++) socket.ws.send('x'.repeat(1000), { fin: false });
    assert.equal(await within(3000, 'the end of the WebSocket', socket.closed), 1009);
  });

  for (const bad of ['abc', '9', '', '2', 'b', '7abc']) {
    // EIO-WS-MESSAGE
    it(`closes for the message ${JSON.stringify(bad)}`, async () => {
      const socket = await Socket.connect(main.url);
      socket.send(bad);
      await within(3000, 'the end of the WebSocket', socket.closed);
      // A "b" is an empty binary message, which the Socket.IO parser refuses.
      const reasons = { 2: /^transport error$/, b: /^(forced close|parse error)$/ };
      assert.match(await reasonOf(main, socket.sioId), reasons[bad] ?? /^parse error$/);
    });
  }

  // EIO-WS-UTF8
  it('closes for text that is no UTF-8, with code 1007', async () => {
    const socket = await Socket.connect(main.url);
    socket.ws.send(Buffer.from('342["echo","\xff\xfe"]', 'latin1').subarray(1), {
      binary: false,
    });
    assert.equal(await within(3000, 'the end of the WebSocket', socket.closed), 1007);
  });

  // EIO-WS-END
  it('notices the end of the connection', async () => {
    const socket = await Socket.connect(main.url);
    socket.terminate();
    assert.equal(await reasonOf(main, socket.sioId), 'transport close');
  });

  it('closes a session that joins no namespace in time', async () => {
    const start = Date.now();
    const socket = await Socket.open(short.url);
    assert.equal(await socket.next('a ping'), '2');
    socket.send('3');
    await within(5000, 'the end of the WebSocket', socket.closed);
    const ms = Date.now() - start;
    assert.ok(
      ms > 1350 && ms < 1500 + 1000 * slowness,
      `closed after ${ms} ms instead of 1500`,
    );
  });

  it('closes when the server closes', async () => {
    const socket = await Socket.connect(main.url);
    socket.send('42["echo",1]', '42["disconnect-me",true]');
    assert.equal(await socket.next(), '42["echo",1]');
    assert.equal(await socket.next(), '41');
    await within(3000, 'the end of the WebSocket', socket.closed);
    assert.equal(await reasonOf(main, socket.sioId), 'server namespace disconnect');
  });
});

describe('upgrade', { concurrency: 8 }, () => {
  // EIO-UPGRADE
  it('answers the probe, frees the parked poll, and switches', async () => {
    const session = await Polling.connect(main.url);
    const poll = session.poll();
    await poll.sent;
    const socket = new Socket(main.url, { query: { sid: session.sid } });
    await socket.opened;
    socket.send('2probe');
    assert.equal(await socket.next(), '3probe');
    const answer = await within(1500, 'the parked poll to be freed', poll);
    assert.deepEqual([answer.status, answer.body], [200, '6']);
    socket.send('5');
    assert.equal((await socket.call('who'))[0].transport, 'websocket');
    assert.equal((await socket.call('who'))[0].id, session.sioId);
    await socket.close();
    assert.equal(await reasonOf(main, session.sioId), 'transport close');
  });

  it('works at every entry', async () => {
    for (const [i, url] of main.entries.entries()) {
      const session = await Polling.connect(main.entries[(i + 1) % main.entries.length]);
      const socket = await upgrade(session, url);
      assert.deepEqual(await socket.call('message-with-ack', i), [i]);
      await socket.close();
    }
  });

  // EIO-UPGRADE-ORDER
  it('sends what waited to the WebSocket, once and in order', async () => {
    const session = await Polling.connect(main.url);
    await session.send('42["echo",1]', '42["echo",2]');
    const socket = await probe(session);
    await session.send('42["echo",3]');
    socket.send('5', '42["echo",4]');
    for (let i = 1; i <= 4; i++) assert.equal(await socket.next(), `42["echo",${i}]`);
    await socket.close();
  });

  it('goes on with polling between probe and switch', async () => {
    const session = await Polling.connect(main.url);
    const socket = await probe(session);
    for (let i = 0; i < 3; i++) {
      const start = Date.now();
      const answer = await session.poll();
      assert.equal(answer.body, '6');
      assert.ok(
        Date.now() - start < 400 * slowness,
        `a poll was held for ${Date.now() - start} ms`,
      );
    }
    await session.send('42["echo",1]');
    assert.deepEqual(await session.receive(), ['42["echo",1]']);
    socket.send('5');
    assert.deepEqual(await socket.call('message-with-ack', 2), [2]);
    await socket.close();
  });

  it('answers a poll that is parked at the switch without data', async () => {
    const session = await Polling.connect(main.url);
    const socket = await probe(session);
    const poll = session.poll();
    await poll.sent;
    socket.send('5', '42["echo",1]');
    const answer = await within(3000, 'the parked poll to end', poll);
    assert.ok(
      answer.status === 400 || /^[16]$/.test(answer.body),
      `saw ${answer.status} ${answer.body}`,
    );
    assert.equal(await socket.next(), '42["echo",1]');
    await socket.close();
  });

  // EIO-POLL-UPGRADED
  it('is done soon where the client does not wait for the probe: a poll right behind is refused, a second WebSocket closed', async () => {
    for (let round = 0; round < 10; round++) {
      const session = await Polling.connect(main.url);
      const socket = new Socket(main.url, { query: { sid: session.sid } });
      await socket.opened;
      socket.send('2probe', '5');
      const start = Date.now();
      const second = new Socket(main.url, { query: { sid: session.sid } });
      assertRefused(await session.poll(), 3);
      await within(2000, 'the second WebSocket to be closed', second.closed);
      assert.ok(Date.now() - start < 1000 * slowness, `${Date.now() - start} ms`);
      assert.equal(await socket.next(), '3probe');
      assert.deepEqual(await socket.call('message-with-ack', round), [round]);
      await socket.close();
    }
  });

  it('refuses polls and posts after the switch, and the WebSocket stays', async () => {
    const session = await Polling.connect(main.url);
    const socket = await upgrade(session);
    assert.deepEqual(await socket.call('message-with-ack', 1), [1]);
    assertRefused(await session.poll(), 3);
    assertRefused(await session.post('42["echo",1]'), 3);
    assert.deepEqual(await socket.call('message-with-ack', 2), [2]);
    assert.deepEqual(socket.inbox.take(), []);
    await socket.close();
  });

  for (const moment of ['while another upgrade goes on', 'after an upgrade']) {
    // EIO-UPGRADE-TWICE
    it(`ignores a WebSocket with the same sid ${moment}`, async () => {
      const session = await Polling.connect(main.entries);
      const socket = await probe(session);
      if (moment === 'after an upgrade') {
        socket.send('5');
        assert.deepEqual(await socket.call('message-with-ack', 1), [1]);
      }
      for (const url of main.entries) {
        const second = new Socket(url, { query: { sid: session.sid } });
        await second.answered
          .then(
            () => second.send('2probe'),
            () => {},
          )
          .catch(() => {});
        await within(3000, 'the second WebSocket to be closed', second.closed);
        assert.deepEqual(second.inbox.take(), []);
      }
      if (moment !== 'after an upgrade') socket.send('5');
      assert.deepEqual(await socket.call('message-with-ack', 2), [2]);
      await socket.close();
    });
  }

  for (const bad of ['2', '42["echo",1]', 'abc', '2probes', '40']) {
    // EIO-UPGRADE-OTHER
    it(`closes the new WebSocket for ${JSON.stringify(bad)} and leaves polling alone`, async () => {
      const session = await Polling.connect(main.url);
      const socket = new Socket(main.url, { query: { sid: session.sid } });
      await socket.opened;
      socket.send(bad);
      await within(3000, 'the end of the WebSocket', socket.closed);
      await assertAlive(session);
      const again = await upgrade(session);
      assert.deepEqual(await again.call('message-with-ack', 2), [2]);
      await again.close();
    });
  }

  // EIO-UPGRADE-TIMEOUT
  it('closes an upgrade that is not finished in time and leaves polling alone', async () => {
    const session = await Polling.connect(short.url);
    const socket = await probe(session);
    const start = Date.now();
    let isOver = false;
    socket.closed.then(() => (isOver = true));
    const check = deadline(5000, 'the upgrade to be given up');
    while (!isOver) {
      check();
      const answer = await session.poll();
      assert.equal(answer.status, 200);
      if (answer.body === '2') await session.send('3');
    }
    const ms = Date.now() - start;
    assert.ok(
      ms > 1300 && ms < 1500 + 1200 * slowness,
      `closed after ${ms} ms instead of 1500`,
    );
    await assertAlive(session);
    const again = await upgrade(session);
    assert.deepEqual(await again.call('message-with-ack', 2), [2]);
    await again.close();
  });

  it('leaves polling alone when the new WebSocket goes away', async () => {
    const session = await Polling.connect(main.url);
    const socket = await probe(session);
    socket.terminate();
    await assertAlive(session);
    const again = await until('another upgrade', () => upgrade(session));
    assert.deepEqual(await again.call('message-with-ack', 2), [2]);
    await again.close();
  });

  it('goes on with the heartbeat after the switch', async () => {
    const session = await Polling.connect(short.url);
    const socket = await upgrade(session);
    for (let i = 0; i < 2; i++) {
      assert.equal(await socket.next('a ping'), '2');
      socket.send('3');
    }
    assert.equal(await socket.next('a ping'), '2');
    await within(3000, 'the end of the WebSocket', socket.closed);
    assert.equal(await reasonOf(short, session.sioId), 'ping timeout');
  });

  it('closes the new WebSocket when the session ends before the switch', async () => {
    const session = await Polling.connect(main.url);
    const socket = await probe(session);
    await session.send('1');
    await within(3000, 'the end of the WebSocket', socket.closed);
    await assertGone(session);
  });
});
