// SPDX-License-Identifier: MIT
//
// Engine.IO 4 by hand: every answer to an HTTP request, polling, closing and the heartbeat.
// WebSocket and upgrade are in engine_websocket.test.mjs. `main` has the options of the
// conformance application's first instance, `short` those of the second.

import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import {
  assertAlive,
  assertEmpty,
  assertGone,
  assertRefused,
  parked,
  reasonOf,
} from './lib/claims.mjs';
import { needsOwn, needsStreaming, startServer } from './lib/server.mjs';
import { deadline, pause, slowness, until, within } from './lib/wait.mjs';
import {
  openPacket,
  packetsOf,
  Peer,
  Polling,
  request,
  SEPARATOR,
  Socket,
} from './lib/wire.mjs';

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

const EIO4 = { EIO: '4', transport: 'polling' };
// What the session gets until it is closed, noops and pings left out.
async function untilClosed(session) {
  const packets = [];
  const check = deadline(15_000, 'a close packet', () => packets);
  while (packets.at(-1) !== '1') {
    check();
    const answer = await session.poll();
    assert.equal(answer.status, 200, `${answer.body} after ${JSON.stringify(packets)}`);
    packets.push(...packetsOf(answer.body).filter((p) => p !== '6' && p !== '2'));
  }
  return packets;
}

describe('handshake over polling', { concurrency: 8 }, () => {
  // EIO-OPEN, EIO-HEADERS
  it('answers with an open packet and the headers of the reference', async () => {
    const answer = await request(main.url, { query: EIO4 });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-type'], 'text/plain; charset=UTF-8');
    assert.equal(answer.headers['content-length'], String(answer.body.length));
    assert.equal(answer.headers['cache-control'], 'no-store');
    const open = openPacket(answer.body);
    assert.match(open.sid, /^[A-Za-z0-9_-]{20}$/);
    assert.equal(
      answer.body,
      `0${JSON.stringify({
        sid: open.sid,
        upgrades: ['websocket'],
        pingInterval: 3000,
        pingTimeout: 3000,
        maxPayload: 1000000,
      })}`,
    );
  });

  it('announces the configured times and limit', async () => {
    const open = openPacket((await request(short.url, { query: EIO4 })).body);
    assert.deepEqual(open, {
      sid: open.sid,
      upgrades: ['websocket'],
      pingInterval: 1000,
      pingTimeout: 1000,
      maxPayload: 10000,
    });
  });

  // EIO-ID
  it('gives every session another id', async () => {
    const bodies = await Promise.all(
      Array.from({ length: 100 }, () => request(main.url, { query: EIO4 })),
    );
    assert.equal(new Set(bodies.map((answer) => openPacket(answer.body).sid)).size, 100);
  });

  // EIO-COOKIE
  it('sends the cookie with the handshake alone', async () => {
    const session = await Polling.open(main.url);
    assert.deepEqual(session.handshake.headers['set-cookie'], [
      `io=${session.sid}; Path=/; HttpOnly; SameSite=Lax`,
    ]);
    const post = await session.post('40');
    const poll = await session.poll();
    assert.deepEqual(
      [post.headers['set-cookie'], poll.headers['set-cookie']],
      [undefined, undefined],
    );
    assert.equal(
      (await request(short.url, { query: EIO4 })).headers['set-cookie'],
      undefined,
    );
  });

  // EIO-QUERY
  it('decodes the query: escapes, unknown names, the last of several values', async () => {
    for (const query of [
      'EIO=4&transport=poll%69ng',
      'EIO=4&transport=polling&t=Pq1&b64=1&x=%c3%a4&&=',
      'EIO=3&transport=none&EIO=4&transport=polling',
      'EIO=4&transport=polling&sid=',
    ]) {
      const answer = await request(main.url, { query });
      assert.equal(answer.status, 200, `${query}: ${answer.status} ${answer.body}`);
      openPacket(answer.body);
    }
  });

  // EIO-TRANSPORT
  it('refuses an unknown or missing transport: code 0', async () => {
    for (const query of [
      'EIO=4',
      'EIO=4&transport=',
      'EIO=4&transport=abc',
      'EIO=4&transport=POLLING',
      'EIO=4&transport=webtransport',
      'EIO=4&transport=__proto__',
      '',
    ]) {
      assertRefused(await request(main.url, { query }), 0);
    }
  });

  it('takes any other file under the path for a request without transport: code 0', async () => {
    for (const path of [
      '/socket.io/none.js',
      '/socket.io/socket.io.js',
      '/socket.io/a/b',
    ]) {
      assertRefused(await request(main.url, { path }), 0);
    }
  });

  // EIO-PATH
  it('does not answer outside of the path', async () => {
    for (const path of ['/socket.io', '/socket.iox/', '/socket.i']) {
      const answer = await request(main.url, { path, query: EIO4 });
      assert.equal(answer.status, 404, `${path}: ${answer.status} ${answer.body}`);
    }
  });

  // EIO-METHOD
  it('refuses methods other than GET: code 2', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      const answer = await request(short.url, {
        method,
        query: EIO4,
        body: method === 'POST' ? '40' : undefined,
      });
      assertRefused(answer, 2);
    }
  });

  // EIO-TRANSPORT-MISMATCH
  it('refuses transport=websocket without an upgrade: code 3', async () => {
    assertRefused(
      await request(main.url, { query: { EIO: '4', transport: 'websocket' } }),
      3,
    );
    const query = { EIO: '4', transport: 'websocket' };
    assertRefused(await request(main.url, { query: { ...query, sid: 'x' } }), 1);
    const session = await Polling.connect(main.url);
    assertRefused(await session.request({ query: { ...session.query, ...query } }), 3);
    await assertAlive(session);
  });

  // EIO-PROTOCOL
  it('refuses other protocol versions: code 5', async () => {
    for (const query of [
      'EIO=3&transport=polling',
      'EIO=abc&transport=polling',
      'transport=polling',
      'EIO=5&transport=polling',
      'EIO=&transport=polling',
      'EIO=44&transport=polling',
    ]) {
      assertRefused(await request(short.url, { query }), 5);
    }
  });

  // EIO-ORIGIN-BYTES
  it('refuses an Origin of illegal bytes with status 400', async () => {
    const url = new URL(main.url);
    const socket = net.connect(Number(url.port), url.hostname);
    socket.end(
      'GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nOrigin: http://\x01\x7f\r\n' +
        'Connection: close\r\n\r\n',
      'latin1',
    );
    const text = await within(
      5000,
      'an answer',
      new Promise((resolve) => {
        let all = '';
        socket.on('data', (data) => (all += data));
        socket.on('close', () => resolve(all));
      }),
    );
    assert.match(text, /^HTTP\/1\.1 400 /);
  });
});

describe('requests to a session', { concurrency: 8 }, () => {
  // EIO-SID
  it('refuses an unknown sid: code 1, whatever its bytes', async () => {
    const sids = [
      'abc',
      'AAAAAAAAAAAAAAAAAAAA',
      '__proto__',
      'constructor',
      `'; DROP TABLE t_session --`,
      '%',
      '\u{1f600}',
      'x'.repeat(3000),
      '"',
      '../..',
      '\xff',
      "a'b",
    ];
    for (const sid of sids) {
      for (const method of ['GET', 'POST']) {
        assertRefused(
          await request(main.url, {
            method,
            query: { ...EIO4, sid },
            body: method === 'POST' ? '40' : undefined,
          }),
          1,
        );
      }
    }
    // What is no text, web servers refuse themselves.
    for (const sid of ['a%00b', '%ff%fe', '%01']) {
      assert.equal(
        (await request(main.url, { query: `EIO=4&transport=polling&sid=${sid}` })).status,
        400,
      );
    }
  });

  it('refuses an unknown transport before an unknown sid: code 0', async () => {
    assertRefused(
      await request(main.url, { query: { EIO: '4', transport: 'abc', sid: 'abc' } }),
      0,
    );
  });

  it('refuses another transport without an upgrade: code 3', async () => {
    const session = await Polling.connect(main.url);
    assertRefused(
      await session.poll({ query: { ...session.query, transport: 'websocket' } }),
      3,
    );
    await assertAlive(session);
  });

  // EIO-PROTOCOL-MISMATCH
  it('refuses another protocol version than that of the handshake: code 3', async () => {
    const session = await Polling.connect(main.url);
    for (const EIO of ['3', ''])
      assertRefused(await session.poll({ query: { ...session.query, EIO } }), 3);
    assertRefused(await session.post('3', { query: { ...session.query, EIO: '3' } }), 3);
    await assertAlive(session);
  });

  // EIO-METHOD-ODD
  it('answers PUT, DELETE, PATCH with 500 and keeps the session', async () => {
    const session = await Polling.connect(short.url);
    for (const method of ['PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      assertEmpty(await session.request({ method }), 500);
    }
    await assertAlive(session);
  });

  it('answers a POST with ok and the headers of the reference', async () => {
    const session = await Polling.open(main.url);
    const answer = await session.post('40');
    assert.deepEqual([answer.status, answer.body], [200, 'ok']);
    assert.equal(answer.headers['content-type'], 'text/html');
    assert.equal(answer.headers['content-length'], '2');
    assert.equal(answer.headers['cache-control'], 'no-store');
  });

  it('answers a poll with the headers of the reference', async () => {
    const session = await Polling.connect(main.url);
    await session.send('42["echo","\u{1f600}"]');
    const answer = await session.poll();
    assert.equal(answer.body, '42["echo","\u{1f600}"]');
    assert.equal(answer.headers['content-type'], 'text/plain; charset=UTF-8');
    assert.equal(
      answer.headers['content-length'],
      String(Buffer.byteLength(answer.body)),
    );
    assert.equal(answer.headers['cache-control'], 'no-store');
    assert.equal(answer.headers['x-xss-protection'], undefined);
  });

  // EIO-HEADERS
  it('turns off the XSS filter of old Internet Explorers', async () => {
    const session = await Polling.open(main.url, {
      headers: {
        'User-Agent': 'Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko',
      },
    });
    assert.equal(session.handshake.headers['x-xss-protection'], '0');
  });

  // EIO-POLL
  it('answers at once when packets wait, and holds the poll when none do', async () => {
    const session = await Polling.connect(main.url);
    await session.send('42["echo",1]');
    assert.equal((await session.poll()).body, '42["echo",1]');
    const poll = session.poll();
    const early = await Promise.race([poll, pause(300)]);
    assert.equal(
      early,
      undefined,
      `the poll was not held: ${JSON.stringify(early?.body)}`,
    );
    await session.send('42["echo",2]');
    assert.equal((await poll).body, '42["echo",2]');
  });

  // EIO-POST
  it('handles all packets of a POST, in order, before its ok', async () => {
    const session = await Polling.connect(main.url);
    const packets = Array.from({ length: 200 }, (_, i) => `42["echo",${i}]`);
    await session.send(...packets);
    const answer = await session.poll();
    assert.deepEqual(packetsOf(answer.body), packets);
  });

  it('joins the packets that wait by 0x1e', async () => {
    const session = await Polling.connect(main.url);
    await session.send('42["echo",1]', '42["echo",2]');
    await session.send('42["echo",3]');
    assert.equal(
      (await session.poll()).body,
      ['42["echo",1]', '42["echo",2]', '42["echo",3]'].join(SEPARATOR),
    );
  });

  it('carries binary packets as base64 in both directions', async () => {
    const session = await Polling.connect(main.url);
    await session.send(
      '451-["echo",{"_placeholder":true,"num":0}]',
      Buffer.from([0, 1, 254, 255]),
    );
    assert.deepEqual(await session.receive((p) => p.length >= 2), [
      '451-["echo",{"_placeholder":true,"num":0}]',
      'bAAH+/w==',
    ]);
  });

  // EIO-IGNORED
  it('ignores noop, upgrade and open packets in a POST', async () => {
    const session = await Polling.connect(main.url);
    for (const packet of ['6', '5', '0', '0{}', '6abc', '3', '3probe'])
      await session.send(packet);
    await assertAlive(session);
  });

  // EIO-HEARTBEAT-DIRECTION
  it('closes the session for a ping of the client', async () => {
    const session = await Polling.connect(main.url);
    await session.post('2').catch(() => {});
    await assertGone(session);
    assert.equal(await reasonOf(main, session.sioId), 'transport error');
  });

  it('takes a body of unknown length', async () => {
    const session = await Polling.connect(main.url);
    const answer = await session.post((req) => {
      req.write('42["echo",');
      setTimeout(() => req.end('"chunked"]'), 50);
    });
    assert.deepEqual([answer.status, answer.body], [200, 'ok']);
    assert.equal((await session.poll()).body, '42["echo","chunked"]');
  });

  it('takes a body of any text type, or of none', async () => {
    const session = await Polling.connect(main.url);
    for (const type of [
      'text/plain;charset=UTF-8',
      'text/plain',
      'application/json',
      'application/x-www-form-urlencoded',
      'x',
    ]) {
      await session.post('42["echo",1]', { headers: { 'Content-Type': type } });
      assert.equal((await session.poll()).body, '42["echo",1]', type);
    }
    assert.equal(
      (await session.request({ method: 'POST', body: '42["echo",2]' })).body,
      'ok',
    );
    assert.equal((await session.poll()).body, '42["echo",2]');
  });

  // EIO-POST-OCTETS
  it('closes the session for a POST of application/octet-stream: 400', async () => {
    const session = await Polling.connect(main.url);
    assertEmpty(
      await session.post(Buffer.from([4, 0]), {
        headers: { 'Content-Type': 'application/octet-stream' },
      }),
      400,
    );
    await assertGone(session);
  });

  // EIO-TOO-LARGE
  it('answers a body over the limit with 413 and keeps the session', async () => {
    const session = await Polling.connect(short.url);
    const fit = `430["${'x'.repeat(10000 - 7)}"]`;
    assert.equal(fit.length, 10000);
    await session.send(fit);
    assertEmpty(await session.post(`${fit} `), 413);
    assertEmpty(
      await session.post((req) => {
        req.write('x'.repeat(6000));
        setTimeout(() => req.end('x'.repeat(6000)), 50);
      }),
      413,
    );
    assertEmpty(await session.post('x'.repeat(50_000)), 413);
    await assertAlive(session);
  });

  it('counts the limit in bytes', async () => {
    const session = await Polling.connect(short.url);
    assertEmpty(await session.post(`430["${'\u20ac'.repeat(3332)}"]`), 413);
    await session.send(`430["${'\u20ac'.repeat(3331)}"]`);
  });

  for (const [what, body] of Object.entries({
    'an unknown type': 'abc',
    'a digit that is no type': '9',
    nothing: '',
    'a separator at the end': `430[]${SEPARATOR}`,
    'a separator at the beginning': `${SEPARATOR}430[]`,
    'two separators': `42["echo",1]${SEPARATOR}${SEPARATOR}42["echo",2]`,
    'a good packet before a bad one': `42["message","x"]${SEPARATOR}x`,
  })) {
    // EIO-PARSE
    it(`closes the session for ${what}: parse error`, async () => {
      const session = await Polling.connect(main.url);
      const answer = await session.post(body);
      assert.ok(
        answer.status === 200 || answer.status === 400,
        `status ${answer.status}`,
      );
      await assertGone(session);
      assert.equal(await reasonOf(main, session.sioId), 'parse error');
    });
  }

  it('ends a parked poll when it closes the session for a bad packet', async () => {
    const session = await Polling.connect(main.url);
    const poll = session.poll();
    await parked(main, session.query.sid);
    await session.post('abc');
    const answer = await poll;
    assert.equal(answer.status, 200);
    assert.equal(answer.body, '1');
    await assertGone(session);
  });
});

describe('overlapping requests', { concurrency: 8 }, () => {
  for (const [where, urls] of [
    ['at the same entry', () => main.entries.slice(0, 1)],
    ['at another entry', () => main.entries],
    ['behind a balancer', () => [main.url]],
  ]) {
    // EIO-POLL-OVERLAP
    it(`closes the session for a second poll ${where}: 400, and 1 for the first`, async () => {
      for (let round = 0; round < 8; round++) {
        const session = await Polling.connect(urls());
        const first = session.poll();
        await first.sent;
        const second = session.poll();
        const answers = await within(
          2500,
          'both polls to be answered',
          Promise.all([first, second]),
        );
        // On two connections the second may be faster.
        answers.sort((a, b) => a.status - b.status);
        assert.deepEqual(
          answers.map((a) => [a.status, a.body]),
          [
            [200, '1'],
            [400, ''],
          ],
        );
        await assertGone(session);
        if (round === 0) {
          assert.equal(await reasonOf(main, session.sioId), 'transport error');
        }
      }
    });
  }

  it('is over for every process when the 400 arrives', async () => {
    for (let round = 0; round < 8; round++) {
      const session = await Polling.connect(main.entries);
      const first = session.poll();
      await first.sent;
      const both = [first, session.poll()];
      const refused = await Promise.any(
        both.map(async (poll) => {
          const answer = await poll;
          return answer.status === 400 ? answer : Promise.reject(new Error(answer.body));
        }),
      );
      assertEmpty(refused, 400);
      for (const url of main.entries)
        assertRefused(await request(url, { query: session.query }), 1);
      await Promise.all(both);
    }
  });

  it(
    // EIO-POST-OVERLAP
    'closes the session for overlapping POSTs: 400 for one of them',
    { skip: needsStreaming },
    async () => {
      const session = await Polling.connect(main.streaming);
      let finish;
      const slow = session.post(
        (req) => {
          req.write('42["ec');
          finish = () => req.end('ho",1]');
        },
        { headers: { 'Content-Length': '42["echo",1]'.length } },
      );
      await slow.sent;
      await pause(100);
      const fast = await session.post('42["echo",2]');
      finish();
      // The reference refuses the second one and resets the connection of the first.
      const answers = [fast, await slow.catch(() => ({ status: 400, body: '' }))];
      const refused = answers.filter((answer) => answer.status === 400);
      assert.equal(
        refused.length > 0,
        true,
        `answered ${JSON.stringify(answers.map((a) => [a.status, a.body]))}`,
      );
      assertEmpty(refused[0], 400);
      await assertGone(session);
    },
  );

  it('takes a poll and a POST at once', async () => {
    const session = await Polling.connect(main.url);
    for (let i = 0; i < 20; i++) {
      const [poll] = await Promise.all([session.poll(), session.send(`42["echo",${i}]`)]);
      assert.equal(poll.body, `42["echo",${i}]`);
    }
  });
});

describe('closing over polling', { concurrency: 8 }, () => {
  // EIO-CLOSE-CLIENT
  it('answers the parked poll with a noop when the client closes', async () => {
    const session = await Polling.connect(main.url);
    const poll = session.poll();
    await parked(main, session.query.sid);
    await session.send('1');
    assert.deepEqual([(await poll).status, (await poll).body], [200, '6']);
    await assertGone(session);
    assert.equal(await reasonOf(main, session.sioId), 'transport close');
  });

  it('ends a session that has no poll parked, when the client closes', async () => {
    const session = await Polling.connect(main.url);
    await session.send('1');
    await assertGone(session);
    assert.equal(await reasonOf(main, session.sioId), 'transport close');
  });

  it('sends 1 into the parked poll when the server closes', async () => {
    const session = await Polling.connect(main.url);
    const rest = untilClosed(session);
    await session.send('42["disconnect-me",true]');
    assert.deepEqual(await rest, ['41', '1']);
    await assertGone(session);
    assert.equal(await reasonOf(main, session.sioId), 'server namespace disconnect');
  });

  // EIO-CLOSE
  it('keeps the close packet for the next poll when none is parked', async () => {
    const session = await Polling.connect(main.url);
    await session.send('42["disconnect-me",true]');
    assert.deepEqual(await untilClosed(session), ['41', '1']);
    await assertGone(session);
  });

  it('delivers what waits before it closes', async () => {
    const session = await Polling.connect(main.url);
    await session.send('42["echo",1]', '42["echo",2]', '42["disconnect-me",true]');
    assert.deepEqual(await untilClosed(session), [
      '42["echo",1]',
      '42["echo",2]',
      '41',
      '1',
    ]);
  });

  // SIO-NSP-ENDED
  it('does not look at what follows in the payload when a handler closes', async () => {
    const session = await Polling.connect(main.url);
    await session.send('42["echo",1]', '42["disconnect-me",true]', '42["echo",2]', 'junk!');
    assert.deepEqual(await untilClosed(session), ['42["echo",1]', '41', '1']);
    assert.equal(await reasonOf(main, session.sioId), 'server namespace disconnect');
  });

  // SIO-NSP-ENDED
  it('ignores what follows for a namespace that has ended in the same payload', async () => {
    for (const end of ['42["disconnect-me",false]', '41']) {
      const session = await Polling.connect(main.url);
      await session.send('40/custom,');
      await session.receive((packets) => packets.some((p) => p.startsWith('42/custom,["auth"')));
      await session.send(end, '42["echo",2]', '421["rooms"]', '42/custom,["echo",3]');
      const got = await session.receive((packets) => packets.includes('42/custom,["echo",3]'));
      assert.deepEqual(got.filter((p) => p !== '41'), ['42/custom,["echo",3]']);
    }
  });

  // SIO-CONNECT-TIMEOUT
  it('closes a session that joins no namespace in time', async () => {
    const start = Date.now();
    const session = await Polling.open(short.url);
    while (Date.now() - start < 1400) {
      // a ping comes first
      const answer = await session.poll();
      assert.equal(answer.status, 200);
      if (answer.body === '1') break;
      assert.equal(answer.body, '2');
      await session.send('3');
    }
    const ms = Date.now() - start;
    await assertGone(session);
    assert.ok(
      ms > 1350 && ms < 1500 + 1000 * slowness,
      `closed after ${ms} ms instead of 1500`,
    );
  });

  // That a web server tells of a client that is gone, and what then happens, is in
  // tests/process/fcgi_poll.test.mjs: lighttpd does not tell in each case.
  it('closes the session when a poll is cancelled and another one comes at once', async () => {
    const session = await Polling.connect(short.url);
    const poll = session.poll();
    poll.catch(() => {});
    await parked(short, session.query.sid); // lighttpd drops one that is given up as it comes
    poll.cancel();
    assert.equal((await session.poll()).status, 400);
    await assertGone(session);
  });
});

describe('a poll that has just come', { skip: needsOwn }, () => {
  // EIO-CLOSE-CLIENT
  it('is answered with a noop when its process hears of the end last of all', async () => {
    const session = await Polling.connect(main.entries[0]);
    const poll = session.poll();
    await poll.sent;
    await assertAlive(await Polling.connect(main.entries[0])); // what came before has been read
    process.kill(main.fcgi[0].pid, 'SIGSTOP');
    session.urls = [main.entries[1]];
    const sent = session.send('1');
    // Stopped in a transaction it would keep the other waiting: then this proves less.
    await Promise.race([sent, pause(2000)]);
    await pause(300); // until its claim is due
    process.kill(main.fcgi[0].pid, 'SIGCONT');
    await sent;
    assert.deepEqual([(await poll).status, (await poll).body], [200, '6']);
  });
});

// Two requests under way at once, each to another process.
describe('requests that meet', { skip: needsOwn }, () => {
  const both = async (session, first, second) => {
    const send = (i, options) =>
      request(main.entries[i], { query: session.query, ...options });
    return Promise.all([send(0, first), send(1, second)]);
  };

  // EIO-CLOSE-CLIENT
  it('a poll and a goodbye', async () => {
    for (let i = 0; i < 10; i++) {
      const session = await Polling.connect(main.entries);
      const answers = await both(session, {}, { method: 'POST', body: '1' });
      assert.deepEqual(answers.map((a) => [a.status, a.body]), [[200, '6'], [200, 'ok']]);
    }
  });

  // EIO-POLL-OVERLAP
  it('two polls', async () => {
    for (let i = 0; i < 5; i++) {
      const session = await Polling.connect(main.entries);
      const answers = await both(session, {}, {});
      answers.sort((a, b) => a.status - b.status);
      assert.deepEqual(answers.map((a) => [a.status, a.body]), [[200, '1'], [400, '']]);
      await assertGone(session);
    }
  });
});

describe('heartbeat', { concurrency: 16 }, () => {
  const isAbout = (ms, expected) => ms > expected - 150 && ms < expected + 900 * slowness;

  // EIO-PING
  it('sends a ping after pingInterval and goes on after the pong, over polling', async () => {
    let start = Date.now();
    const session = await Polling.connect(short.url);
    for (let i = 0; i < 3; i++) {
      const answer = await session.poll();
      assert.equal(answer.body, '2');
      const ms = Date.now() - start;
      assert.ok(isAbout(ms, 1000), `ping after ${ms} ms instead of 1000`);
      start = Date.now();
      await session.send('3');
    }
    await assertAlive(session);
  });

  it('sends a ping after pingInterval and goes on after the pong, over WebSocket', async () => {
    let start = Date.now();
    const socket = await Socket.connect(short.url);
    for (let i = 0; i < 3; i++) {
      assert.equal(await socket.next('a ping'), '2');
      const ms = Date.now() - start;
      assert.ok(isAbout(ms, 1000), `ping after ${ms} ms instead of 1000`);
      start = Date.now();
      socket.send('3');
    }
    assert.deepEqual(await socket.call('message-with-ack', 1), [1]);
    await socket.close();
  });

  // EIO-PING-TIMEOUT
  it('closes a polling session that does not answer a ping', async () => {
    const session = await Polling.connect(short.url);
    assert.equal((await session.poll()).body, '2');
    const start = Date.now();
    const answer = await session.poll();
    const ms = Date.now() - start;
    assert.deepEqual([answer.status, answer.body], [200, '1']);
    assert.ok(isAbout(ms, 1000), `closed after ${ms} ms instead of 1000`);
    await assertGone(session);
    assert.equal(await reasonOf(short, session.sioId), 'ping timeout');
  });

  it('closes a polling session that neither polls nor posts', async () => {
    const session = await Polling.connect(short.url);
    const start = Date.now();
    assert.equal(await reasonOf(short, session.sioId), 'ping timeout');
    const ms = Date.now() - start;
    assert.ok(isAbout(ms, 2000), `closed after ${ms} ms instead of 2000`);
    await assertGone(session);
  });

  it('closes a WebSocket that does not answer a ping', async () => {
    const socket = await Socket.connect(short.url);
    assert.equal(await socket.next('a ping'), '2');
    const start = Date.now();
    await within(3000, 'the end of the WebSocket', socket.closed);
    const ms = Date.now() - start;
    assert.ok(isAbout(ms, 1000), `closed after ${ms} ms instead of 1000`);
    assert.equal(await reasonOf(short, socket.sioId), 'ping timeout');
  });

  for (const transport of ['polling', 'websocket']) {
    // EIO-PING-EXTEND
    it(`extends the wait for a pong once when another packet comes, over ${transport}`, async () => {
      const client = await (transport === 'polling' ? Polling : Socket).connect(
        short.url,
      );
      assert.equal(
        transport === 'polling'
          ? (await client.poll()).body
          : await client.next('a ping'),
        '2',
      );
      const start = Date.now();
      const ended = transport === 'polling' ? client.poll() : client.closed;
      for (const at of [700, 1400]) {
        await pause(start + at - Date.now());
        if (transport === 'polling') await client.send('430[]');
        else client.send('430[]');
      }
      await within(3000, 'the end of the session', ended);
      const ms = Date.now() - start;
      assert.ok(isAbout(ms, 1700), `closed after ${ms} ms instead of 1700`);
      assert.equal(await reasonOf(short, client.sioId), 'ping timeout');
    });
  }

  for (const transport of ['polling', 'websocket']) {
    it(`keeps a ${transport} session as long as pongs come`, async () => {
      const peer = await Peer.connect(transport, short.url);
      const how = await Promise.race([peer.closed, pause(4500)]);
      assert.equal(how, undefined);
      assert.deepEqual(await peer.call('message-with-ack', 1), [1]);
      await peer.close();
    });
  }
});
