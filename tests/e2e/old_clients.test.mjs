// SPDX-License-Identifier: MIT
//
// Clients of every generation, alone and in one room, and Engine.IO 3 packet by packet:
// text and binary framing, the double encoding of 1.x, JSONP, heartbeat, implicit `/`.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { assertAlive, assertEmpty, assertRefused, parked, reasonOf } from './lib/claims.mjs';
import { freshNsp, plain } from './lib/official.mjs';
import {
  call,
  client,
  connect,
  encodeOctets,
  encodeText,
  generations,
  isEngine3,
  jsonpForm,
  Polling3,
  runJsonp,
  socket3,
} from './lib/old.mjs';
import { isExternal, startServer } from './lib/server.mjs';
import { deadline, pause, slowness, until, within } from './lib/wait.mjs';
import { Polling, request, Socket } from './lib/wire.mjs';

let main;
let brisk; // dies after `beatMs` of silence
let strict; // without Engine.IO 3
const beatMs = isExternal ? 6000 : 1200;
before(async () => {
  main = await startServer();
  brisk = await startServer({ set: { ping_interval: '600ms', ping_timeout: '600ms' } });
  strict = await startServer({ preset: 'short' });
});
after(async () => {
  await main?.stop();
  await brisk?.stop();
  await strict?.stop();
});

const emoji = 'é\u00e4\u20ac\u{1f600}\u2028';
const count = (n) => Array.from({ length: n }, (_, i) => i);

// The reason of the refusal, as far as that generation is told.
const refusal = (version, error) =>
  isEngine3(version) ? error : { message: error.message, data: error.data };

for (const version of Object.keys(generations)) {
  for (const mode of ['polling', 'websocket', 'upgrade']) {
    const one = (options) => connect(version, main.url, mode, options);

    describe(`client ${version} over ${mode}`, { concurrency: 8 }, () => {
      // EIO-V3-ID
      it('connects and has the id that it thinks it has', async () => {
        const socket = await one({ query: { a: 'b c', d: emoji } });
        const [who] = await call(socket, 'who');
        const engine = socket.io.engine.id;
        assert.equal(who.id, socket.id);
        assert.equal(who.nsp, '/');
        assert.equal(who.protocol, isEngine3(version) ? 3 : 4);
        assert.equal(who.transport, mode === 'polling' ? 'polling' : 'websocket');
        assert.equal(socket.id === engine, isEngine3(version));
        assert.deepEqual([who.query.a, who.query.d], ['b c', emoji]);
        assert.deepEqual(who.auth, {});
        socket.close();
      });

      it('joins a namespace with what it has to say', async () => {
        const nsp = freshNsp();
        const said = { room: '1', more: emoji };
        const socket = await one(
          isEngine3(version) ? { nsp, query: said } : { nsp, auth: said },
        );
        const [who] = await call(socket, 'who');
        assert.deepEqual([who.nsp, who.auth], [nsp, said]);
        assert.equal(
          who.id,
          isEngine3(version) ? `${nsp}#${socket.io.engine.id}` : socket.id,
        );
        socket.close();
      });

      it('is in several namespaces at once and leaves them one by one', async () => {
        const socket = await one();
        const nsp = freshNsp();
        const other = socket.io.socket(nsp);
        await within(
          5000,
          'the second namespace',
          new Promise((resolve) => other.on('connect', resolve)),
        );
        const [{ id, nsp: name }] = await call(other, 'who');
        assert.equal(name, nsp);
        other.close();
        assert.equal(
          await until('a reason', async () => (await call(socket, 'reason-of', id))[0]),
          'client namespace disconnect',
        );
        assert.equal((await call(socket, 'who'))[0].nsp, '/');
        socket.close();
      });

      it('is refused in the form that it understands', async () => {
        for (const [nsp, message, data] of [
          ['/token', 'invalid token', undefined],
          ['/refused', 'refused', { code: 4001, detail: ['a', 1] }],
          ['/none', 'Invalid namespace', undefined],
        ]) {
          const socket = client(version, main.url, mode, { nsp });
          const error = await within(5000, 'a refusal', socket.refused);
          let expected = { message, data };
          if (isEngine3(version))
            expected = nsp === '/none' ? { message } : (data ?? message);
          assert.deepEqual(refusal(version, error), expected, nsp);
          socket.close();
        }
        const said = { token: 'secret' };
        const socket = await one({
          nsp: '/token',
          ...(isEngine3(version) ? { query: said } : { auth: said }),
        });
        assert.deepEqual((await call(socket, 'who'))[0].auth, said);
        socket.close();
      });

      it('gets its text back, whatever it is written in', async () => {
        const socket = await one();
        for (const args of [
          [1, 'a', null, true, { b: [1, { c: 2 }] }, []],
          [emoji],
          ['\u00e9\u00fc'],
          ['\u{1f600}', { [emoji]: emoji }],
          ['"\\ \n \\n \t \u0000 \u007f \u2029', 'x'],
          ['\u4e16\u754c', 'ascii after it'],
        ]) {
          socket.emit('message', ...args);
          assert.deepEqual(await socket.events.next(), ['message-back', ...args]);
          assert.deepEqual(await call(socket, 'message-with-ack', ...args), args);
        }
        const [digest] = await call(socket, 'digest', emoji);
        assert.deepEqual(
          [digest.type, digest.bytes],
          ['string', Buffer.byteLength(emoji)],
        );
        socket.close();
      });

      it('gets attachments back, beside text of any kind', async () => {
        const socket = await one();
        const args = [
          emoji,
          Buffer.from([0, 1, 0xc3, 0xa9, 255]),
          { a: [Buffer.from([9]), { b: Buffer.alloc(20_000, 5) }], c: emoji },
        ];
        socket.emit('message', ...args);
        assert.deepEqual(
          plain(await socket.events.next()),
          plain(['message-back', ...args]),
        );
        assert.deepEqual(
          plain(await call(socket, 'message-with-ack', ...args)),
          plain(args),
        );
        assert.deepEqual(plain(await call(socket, 'make-binary', 300)), [
          { n: 300, data: { bytes: count(300).map((i) => i % 256) } },
        ]);
        socket.close();
      });

      it('answers questions of the server', async () => {
        const socket = await one();
        socket.once('ack-request', (...args) => args.pop()(Buffer.from([7]), ...args));
        socket.emit('ack-me', 1, emoji);
        assert.equal((await socket.events.next())[0], 'ack-request');
        assert.deepEqual(
          plain(await socket.events.next()),
          plain(['ack-result', Buffer.from([7]), 1, emoji]),
        );
        socket.close();
      });

      it('keeps the order of a burst', async () => {
        const socket = await one();
        for (const i of count(300)) socket.emit('echo', i, emoji);
        for (const i of count(300))
          assert.deepEqual(await socket.events.next(), ['echo', i, emoji]);
        socket.close();
      });

      it('uses rooms', async () => {
        const socket = await one({ nsp: freshNsp() });
        await call(socket, 'join', ['b', emoji]);
        assert.deepEqual(await call(socket, 'rooms'), [['b', emoji]]);
        await call(socket, 'cast', { via: 'io', to: [emoji] }, 'tick', emoji);
        assert.deepEqual(await socket.events.next(), ['tick', emoji]);
        await call(socket, 'leave', emoji);
        assert.deepEqual(await call(socket, 'rooms'), [['b']]);
        await call(socket, 'cast', { via: 'io', to: [emoji] }, 'tick');
        const [{ id }] = await call(socket, 'who');
        await call(socket, 'cast', { via: 'io', to: [id] }, 'tock');
        assert.deepEqual(await socket.events.next(), ['tock']);
        socket.close();
      });

      it('leaves, or is sent away, and the reason is known', async () => {
        const reasons = [];
        for (const how of [
          (socket) => socket.close(),
          (socket) => socket.io.engine.close(),
          (socket) => socket.emit('disconnect-me', false),
          (socket) => socket.emit('disconnect-me', true),
        ]) {
          const socket = await one();
          const { id } = socket;
          how(socket);
          await within(5000, 'the disconnection', socket.ended);
          reasons.push(await reasonOf(main, id));
          socket.close();
        }
        assert.deepEqual(reasons, [
          'client namespace disconnect',
          'transport close',
          'server namespace disconnect',
          'server namespace disconnect',
        ]);
      });
    });
  }
}

describe('clients of all generations', () => {
  it('stay while they keep up the heartbeat', async () => {
    const sockets = [];
    for (const version of Object.keys(generations))
      for (const mode of ['polling', 'websocket', 'upgrade'])
        sockets.push(await connect(version, brisk.entries[sockets.length % 2], mode));
    const ends = sockets.map((socket) => socket.ended);
    const how = await Promise.race([...ends, pause(beatMs * 2.5)]);
    assert.equal(how, undefined);
    for (const socket of sockets)
      assert.deepEqual(await call(socket, 'message-with-ack', 1), [1]);
    sockets.forEach((socket) => socket.close());
  });
});

describe('one room', () => {
  it('has clients of all generations and transports, and all see the same', async () => {
    const nsp = freshNsp();
    const sockets = [];
    for (const version of Object.keys(generations))
      for (const mode of ['polling', 'websocket', 'upgrade'])
        sockets.push(
          await connect(version, main.entries[sockets.length % 2], mode, { nsp }),
        );
    const jsonp = await Polling3.open(main.entries, { query: { b64: '1', j: '3' } });
    await jsonp.send(`40${nsp}`);
    await jsonp.receive((p) => p.some((text) => text.startsWith(`42${nsp},["auth"`)));
    await jsonp.send(`42${nsp},0["join","all"]`);
    await jsonp.receive((p) => p.includes(`43${nsp},0[]`));
    await Promise.all(sockets.map((socket) => call(socket, 'join', 'all')));
    await Promise.all(
      sockets.map((socket, k) =>
        call(
          socket,
          'cast',
          { via: 'io', to: ['all'], repeat: 3 },
          'tick',
          k,
          `${emoji}${k}`,
          Buffer.from([k, 255]),
          { plain: true },
        ),
      ),
    );
    await jsonp.send(`42${nsp},1["cast",{"via":"io","to":["all"]},"tick",0,"jsonp"]`);
    await call(sockets[0], 'cast', { via: 'io', to: ['all'] }, 'end');
    const seen = await Promise.all(
      sockets.map(async (socket) => {
        const list = [];
        for (;;) {
          const event = await socket.events.next('the end');
          if (event[0] === 'end') return plain(list);
          list.push(event);
        }
      }),
    );
    assert.equal(seen[0].length, 3 * sockets.length + 1);
    for (const list of seen) assert.deepEqual(list, seen[0]);
    for (const k of sockets.keys())
      assert.deepEqual(
        seen[0].filter((event) => event[2] === k),
        count(3).map((i) =>
          plain(['tick', i, k, `${emoji}${k}`, Buffer.from([k, 255]), { plain: true }]),
        ),
      );
    const raw = await jsonp.receive((p) => p.includes(`42${nsp},["end"]`));
    const events = raw.filter(
      (p) => !Buffer.isBuffer(p) && /^4(2|51-)/.test(p) && !p.endsWith('["end"]'),
    );
    assert.deepEqual(
      events.map((p) => {
        const [, i, k, text] = JSON.parse(p.slice(p.indexOf('[')));
        return [i, k, text].slice(0, k === 'jsonp' ? 2 : 3);
      }),
      seen[0].map((e) => e.slice(1, e[2] === 'jsonp' ? 3 : 4)),
    );
    assert.deepEqual(
      raw.filter(Buffer.isBuffer).map((b) => b[0]),
      seen[0].filter((e) => e[2] !== 'jsonp').map((e) => e[2]),
    );
    sockets.forEach((socket) => socket.close());
  });

  it('asks all generations for an ack', async () => {
    const nsp = freshNsp();
    const sockets = [];
    for (const version of Object.keys(generations)) {
      const mode = ['polling', 'websocket'][sockets.length % 2];
      sockets.push(
        await connect(version, main.entries[sockets.length % 2], mode, { nsp }),
      );
    }
    await Promise.all(sockets.map((socket) => call(socket, 'join', 'all')));
    sockets.forEach((socket, k) => socket.on('question', (x, ack) => ack(`${x}${k}`)));
    const [result] = await call(
      sockets[0],
      'ack-room',
      { to: 'all', timeout: 4000 },
      'question',
      emoji,
    );
    assert.equal(result.timedOut, false);
    assert.deepEqual(
      result.responses.sort(),
      count(sockets.length).map((k) => `${emoji}${k}`),
    );
    sockets.forEach((socket) => socket.close());
  });
});

describe('an Engine.IO 3 session over polling', { concurrency: 8 }, () => {
  // EIO-V3-JOIN
  it('is opened in text framing, and `/` is joined unasked', async () => {
    const session = await Polling3.open(main.entries);
    assert.match(
      session.handshake.body,
      /^\d+:0\{"sid":"[\w-]{20}","upgrades":\["websocket"\],"pingInterval":3000,"pingTimeout":3000/,
    );
    assert.match(session.handshake.headers['content-type'], /^text\/plain/i);
    assert.deepEqual(await session.receive((p) => p.length >= 2), [
      '40',
      '42["auth",{}]',
    ]);
  });

  // EIO-V3-PAYLOAD
  it('counts lengths in UTF-16 code units, both ways', async () => {
    const session = await Polling3.connect(main.entries);
    const event = `42["message","\u20ac\u{1f600}x"]`;
    const answer = await session.post(`${event.length}:${event}`);
    assert.deepEqual([answer.status, answer.body], [200, 'ok']);
    assert.match(answer.headers['content-type'], /^text\/html/);
    const [echo] = await session.receive();
    assert.deepEqual(JSON.parse(echo.slice(2)), ['message-back', '\u20ac\u{1f600}x']);
  });

  // EIO-V3-TEXT
  it('gets ASCII, which all generations read alike', { skip: isExternal }, async () => {
    const session = await Polling3.connect(main.entries);
    await session.send('42["message","\u20ac\u{1f600}\u2028"]');
    const answer = await session.request();
    assert.equal(answer.body, '45:42["message-back","\\u20ac\\ud83d\\ude00\\u2028"]');
  });

  // EIO-V3-TEXT
  it('is understood if it encodes twice, as 1.x does', { skip: isExternal }, async () => {
    const session = await Polling3.connect(main.entries);
    const twice = (text) => Buffer.from(text).toString('latin1');
    for (const text of ['\u20ac', '\u00e9\u20acx', '\u{1f600}']) {
      const packet = twice(`42["message","${text}"]`);
      await session.post(Buffer.from(`${packet.length}:${packet}`));
      const [echo] = await session.receive();
      assert.deepEqual(JSON.parse(echo.slice(2)), ['message-back', text]);
    }
  });

  it('is not mistaken for 1.x once it has shown that it is not', async () => {
    const session = await Polling3.connect(main.entries);
    const mojibake = Buffer.from('\u20ac').toString('latin1');
    await session.send('42["echo","\u20ac"]', `42["message","${mojibake}"]`);
    const [, echo] = await session.receive((p) => p.length >= 2);
    assert.deepEqual(JSON.parse(echo.slice(2)), ['message-back', mojibake]);
    // Not in a later POST either, at another process.
    await session.send(`42["message","${mojibake}"]`);
    const [again] = await session.receive();
    assert.deepEqual(JSON.parse(again.slice(2)), ['message-back', mojibake]);
  });

  // The client library leaves out the comma, and encodes a half of a surrogate pair as three
  // bytes, which are not UTF-8.
  it('is 1.x once it has shown that it is', { skip: isExternal }, async () => {
    const session = await Polling3.connect(main.entries);
    const nsp = freshNsp();
    await session.send(`40${nsp}`);
    await session.receive((p) => p.length >= 2);
    const half = Buffer.from('eda080', 'hex');
    const packet = Buffer.concat([
      Buffer.from(`42${nsp},["message","x`),
      half,
      Buffer.from('"]'),
    ]);
    const twice = Buffer.from(packet.toString('latin1'));
    await session.post(Buffer.concat([Buffer.from(`${packet.length}:`), twice]));
    const [echo] = await session.receive();
    assert.deepEqual(JSON.parse(echo.slice(3 + nsp.length)), ['message-back', `x${'\ufffd'.repeat(3)}`]);
  });

  it('takes several packets, and empty ones, in one payload', async () => {
    const session = await Polling3.connect(main.entries);
    const answer = await session.post('16:42["echo","one"]0:16:42["echo","two"]');
    assert.deepEqual([answer.status, answer.body], [200, 'ok']);
    assert.deepEqual(await session.receive((p) => p.length >= 2), [
      '42["echo","one"]',
      '42["echo","two"]',
    ]);
  });

  // EIO-V3-BINARY
  it('sends and gets attachments in binary framing', async () => {
    const session = await Polling3.connect(main.entries);
    const head = '451-["message",{"_placeholder":true,"num":0},"\u20ac"]';
    const answer = await session.post(
      encodeOctets(head, Buffer.from([0, 4, 0x1e, 255])),
      { 'Content-Type': 'application/octet-stream' },
    );
    assert.deepEqual([answer.status, answer.body], [200, 'ok']);
    const got = await session.request();
    assert.equal(got.headers['content-type'], 'application/octet-stream');
    const packets = session.packetsOf(got);
    assert.match(packets[0], /^451-\["message-back",\{"_placeholder":true,"num":0\},/);
    assert.deepEqual(packets[1], Buffer.from([0, 4, 0x1e, 255]));
    // And text framing again when there is nothing binary.
    await session.send('42["echo",1]');
    assert.equal((await session.request()).body, '12:42["echo",1]');
  });

  it('sends and gets attachments as base64 if it says b64', async () => {
    const session = await Polling3.connect(main.entries, { query: { b64: '1' } });
    await session.send(
      '451-["message",{"_placeholder":true,"num":0}]',
      Buffer.from([1, 2, 3, 4]),
    );
    const answer = await session.request();
    assert.match(answer.headers['content-type'], /^text\/plain/i);
    const head = '451-["message-back",{"_placeholder":true,"num":0}]';
    assert.equal(answer.body, `${head.length}:${head}10:b4AQIDBA==`);
  });

  it('may send an attachment in another request than its event', async () => {
    const session = await Polling3.connect(main.entries);
    await session.send(
      '452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]',
    );
    await session.send(Buffer.from([1]));
    await session.post(encodeOctets(Buffer.from([2])), {
      'Content-Type': 'application/octet-stream',
    });
    const got = await session.receive((p) => p.length >= 3);
    assert.deepEqual(got.slice(1), [Buffer.from([1]), Buffer.from([2])]);
  });

  // EIO-V3-PONG
  it('gets a pong for its ping', async () => {
    const session = await Polling3.connect(main.entries);
    const poll = session.poll();
    const answer = await session.post('1:2');
    assert.deepEqual([answer.status, answer.body], [200, 'ok']);
    assert.deepEqual(await within(1000, 'the pong', poll), ['3']);
  });

  it('ends if it does not ping, and is not pinged', async () => {
    const session = await Polling3.connect(brisk.entries);
    const start = Date.now();
    const seen = [];
    const check = deadline(5 * beatMs, 'the end of the session', () => seen);
    let answer;
    for (; (answer = await session.request()).status === 200; check())
      seen.push(...session.packetsOf(answer));
    const ms = Date.now() - start;
    assertRefused(answer, 1);
    assert.ok(ms > beatMs - 500 && ms < beatMs + 600 * slowness, `it took ${ms} ms`);
    assert.deepEqual(
      seen.filter((p) => p !== '6' && p !== '1'),
      [],
    );
  });

  // EIO-V3-PONG
  it('is not kept by messages, only by pings', async () => {
    const session = await Polling3.connect(brisk.entries);
    const start = Date.now();
    const check = deadline(5 * beatMs, 'the end of the session');
    for (let answer; (answer = await session.request()).status === 200; check()) {
      const posted = await session.post(encodeText('42["echo",1]'));
      if (posted.status !== 200) break;
    }
    const ms = Date.now() - start;
    assert.ok(ms > beatMs - 500 && ms < beatMs + 600 * slowness, `it took ${ms} ms`);
  });

  // EIO-HEARTBEAT-DIRECTION
  it('ends if it sends a pong, which is the other direction', async () => {
    const session = await Polling3.connect(main.entries);
    await session.post('1:3');
    assertRefused(await session.request(), 1);
  });

  // EIO-V3-PAYLOAD
  it('ends with a payload that cannot be read', async () => {
    for (const body of ['', 'abc', '3:4', ':4a', '-1:4a', '1x:4a', '2:ab', '5:4abc']) {
      const session = await Polling3.connect(main.entries);
      const answer = await session.post(body);
      assert.ok([200, 400].includes(answer.status), `${body}: ${answer.status}`);
      assertRefused(await session.request(), 1);
    }
  });

  // The reference waits for more where a frame is cut off.
  it('ends with binary framing that cannot be read', { skip: isExternal }, async () => {
    for (const bytes of [
      [2, 1, 255, 52],
      [0, 1, 52],
      [0, 10, 255, 52],
      [1, 9, 255, 4, 1],
      [0],
    ]) {
      const session = await Polling3.connect(main.entries);
      const answer = await session.post(Buffer.from(bytes), {
        'Content-Type': 'application/octet-stream',
      });
      assert.ok([200, 400].includes(answer.status), `${bytes}: ${answer.status}`);
      assertRefused(await session.request(), 1);
    }
  });

  it('says goodbye, and what follows is not looked at', async () => {
    const session = await Polling3.connect(main.entries);
    const poll = session.request();
    await parked(main, session.sid); // one that comes after the goodbye is refused
    await session.post('1:15:junk!');
    assert.deepEqual((await poll).body, '1:6');
    assertRefused(await session.request(), 1);
  });

  it('ends when it polls twice at once', async () => {
    const session = await Polling3.connect(main.entries);
    const poll = session.request();
    await parked(main, session.sid);
    assertEmpty(await session.request(), 400);
    assert.equal((await poll).body, '1:1');
    assertRefused(await session.request(), 1);
  });

  it('is not one of Engine.IO 4, nor the other way round', async () => {
    const old = await Polling3.connect(main.entries);
    assertRefused(await old.request({ query: { ...old.query, EIO: '4' } }), 3);
    await old.send('42["echo",1]');
    assert.deepEqual(await old.receive(), ['42["echo",1]']);
    const current = await Polling.connect(main.entries);
    assertRefused(await current.request({ query: { ...current.query, EIO: '3' } }), 3);
    await assertAlive(current);
  });

  it('is what every revision but 4 means', async () => {
    for (const EIO of [undefined, 'abc', '2', '5', '44']) {
      const query = { transport: 'polling', ...(EIO === undefined ? {} : { EIO }) };
      const answer = await request(main.url, { query });
      assert.equal(answer.status, 200);
      assert.match(answer.body, /^\d+:0\{/);
    }
  });

  it('leaves only the namespace that it says', async () => {
    const nsp = freshNsp();
    const session = await Polling3.connect(main.entries);
    await session.send(`40${nsp},`);
    assert.deepEqual(await session.receive((p) => p.length >= 2), [
      `40${nsp},`,
      `42${nsp},["auth",{}]`,
    ]);
    await session.send('41');
    await session.send(`42${nsp},["echo",1]`);
    assert.deepEqual(await session.receive(), [`42${nsp},["echo",1]`]);
    assert.equal(await reasonOf(main, session.sid), 'client namespace disconnect');
  });

  it('may ask for `/`, in which it is', { skip: isExternal }, async () => {
    const session = await Polling3.connect(main.entries);
    await session.send('40');
    await session.send('42["echo",1]');
    const got = await session.receive((p) => p.includes('42["echo",1]'));
    assert.ok(got.every((p) => p === '40' || p.startsWith('42')));
  });

  // EIO-V3-NSP
  it('gives the query of the namespace, with and without a comma', async () => {
    for (const comma of [',', '']) {
      const nsp = freshNsp();
      const session = await Polling3.connect(main.entries);
      await session.send(`40${nsp}?room=1&x=y%20z${comma}`);
      assert.deepEqual(await session.receive((p) => p.length >= 2), [
        `40${nsp},`,
        `42${nsp},["auth",{"room":"1","x":"y z"}]`,
      ]);
    }
  });

  // EIO-V3-REFUSAL
  it('is refused with bare data, or the bare message', async () => {
    const session = await Polling3.connect(main.entries);
    for (const [nsp, body] of [
      ['/token', '"invalid token"'],
      ['/refused', '{"code":4001,"detail":["a",1]}'],
      ['/none', '{"message":"Invalid namespace"}'],
    ]) {
      await session.send(`40${nsp},`);
      assert.deepEqual(await session.receive(), [`44${nsp},${body}`]);
    }
    await session.send('42["echo",1]');
    assert.deepEqual(await session.receive(), ['42["echo",1]']);
  });

  it('changes to WebSocket by the book', async () => {
    const session = await Polling3.connect(main.entries);
    const socket = new Socket(main.entries[1], {
      query: { EIO: '3', sid: session.sid },
    });
    await socket.opened;
    socket.send('2probe');
    assert.equal(await socket.next('3probe'), '3probe');
    assert.deepEqual(await within(2000, 'a noop', session.poll()), ['6']);
    socket.send('5');
    socket.send('42["echo","\u20ac"]');
    assert.equal(JSON.parse((await socket.next()).slice(2))[1], '\u20ac');
    assertRefused(await session.request(), 3);
    socket.send('2');
    assert.equal(await socket.next('a pong'), '3');
    await socket.close();
  });

  it('is refused where only Engine.IO 4 is spoken', async () => {
    for (const query of [{ EIO: '3' }, {}])
      assertRefused(
        await request(strict.url, { query: { transport: 'polling', ...query } }),
        5,
      );
    if (isExternal) return; // the reference refuses after the 101, in the stream
    const socket = new Socket(strict.url, { query: { EIO: '3' } });
    const answer = await socket.answered;
    assert.deepEqual([answer.status, answer.body], [400, 'Unsupported protocol version']);
  });
});

describe('an Engine.IO 3 session over WebSocket', { concurrency: 8 }, () => {
  it('is opened without upgrades, and `/` is joined unasked', async () => {
    const socket = await socket3(main.url);
    assert.deepEqual(socket.open.upgrades, []);
    await socket.close();
  });

  it('gets a pong for its ping', async () => {
    const socket = await socket3(main.url);
    socket.send('2');
    assert.equal(await socket.next('a pong'), '3');
    await socket.close();
  });

  it('ends if it does not ping, and is not pinged', async () => {
    const socket = await socket3(brisk.url);
    const start = Date.now();
    await within(8000, 'the end', socket.closed);
    const ms = Date.now() - start;
    assert.ok(ms > beatMs - 500 && ms < beatMs + 600 * slowness, `it took ${ms} ms`);
    assert.deepEqual(
      socket.inbox.take().filter((p) => p !== '1'),
      [],
    );
    assert.equal(await reasonOf(brisk, socket.sid), 'ping timeout');
  });

  it('ends if it sends a pong', async () => {
    const socket = await socket3(main.url);
    socket.send('3');
    await within(2000, 'the end', socket.closed);
  });

  it('has the type in front of binary messages', async () => {
    const socket = await socket3(main.url);
    socket.send(
      '451-["message",{"_placeholder":true,"num":0}]',
      Buffer.from([4, 1, 2, 3]),
    );
    assert.equal(
      await socket.next(),
      '451-["message-back",{"_placeholder":true,"num":0}]',
    );
    assert.deepEqual(await socket.next(), Buffer.from([4, 1, 2, 3]));
    await socket.close();
  });

  it('takes and gets base64 if it says b64', async () => {
    const socket = await socket3(main.url, { query: { b64: '1' } });
    socket.send('451-["message",{"_placeholder":true,"num":0}]', 'b4AQIDBA==');
    assert.equal(
      await socket.next(),
      '451-["message-back",{"_placeholder":true,"num":0}]',
    );
    assert.equal(await socket.next(), 'b4AQIDBA==');
    await socket.close();
  });

  it('has plain UTF-8 in it', async () => {
    const socket = await socket3(main.url);
    const mojibake = Buffer.from('\u20ac').toString('latin1');
    for (const text of ['\u20ac\u{1f600}', mojibake]) {
      socket.send(`42["message","${text}"]`);
      assert.deepEqual(JSON.parse((await socket.next()).slice(2))[1], text);
    }
    await socket.close();
  });
});

describe('a client that has no binary messages', { concurrency: 4 }, () => {
  for (const version of ['2.5.0', '3.1.3', '4.8.4'])
    for (const mode of ['polling', 'websocket', 'upgrade'])
      it(`gets its attachments back all the same (${version}, ${mode})`, async () => {
        const socket = await connect(version, main.url, mode, {
          forceBase64: true,
          query: { b64: '1' },
        });
        const args = [Buffer.from([4, 0, 255]), { a: Buffer.alloc(3000, 7) }, emoji];
        for (let i = 0; i < 3; i++) {
          socket.emit('message', ...args);
          assert.deepEqual(
            plain(await socket.events.next()),
            plain(['message-back', ...args]),
          );
        }
        socket.close();
      });

  // EIO-BASE64
  it('gets text only', async () => {
    const socket = await Socket.connect(main.url, { query: { b64: '1' } });
    socket.send('451-["message",{"_placeholder":true,"num":0}]', 'bAQIDBA==');
    assert.equal(
      await socket.next(),
      '451-["message-back",{"_placeholder":true,"num":0}]',
    );
    assert.equal(await socket.next(), 'bAQIDBA==');
    await socket.close();
  });
});

describe('JSONP', { concurrency: 8 }, () => {
  const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
  for (const EIO of ['3', '4']) {
    const open = (query) =>
      Polling3.open(main.entries, { query: { EIO, b64: '1', j: '0', ...query } });
    const joined = async () => {
      const session = await open();
      if (EIO === '4') await session.send('40');
      await session.receive((p) => p.includes('42["auth",{}]'));
      return session;
    };

    // EIO-JSONP
    it(`carries Engine.IO ${EIO} as a script`, async () => {
      const session = await open({ j: '7' });
      assert.match(session.handshake.body, /^___eio\[7\]\(".*"\);$/);
      if (!isExternal)
        assert.equal(
          session.handshake.headers['content-type'],
          'text/javascript; charset=UTF-8',
        );
      if (EIO === '4') await session.send('40');
      const got = await session.receive((p) => p.length >= 2);
      assert.match(got[0], EIO === '3' ? /^40$/ : /^40\{"sid":/);
      assert.equal(got[1], '42["auth",{}]');
    });

    it(`gets every character through (${EIO})`, async () => {
      const session = await joined();
      for (const text of [
        'a"b\\c/',
        'line\nbreak \\n backslash-n \\\\n two',
        '\u2028\u2029',
        '\u20ac\u{1f600} \u00e9',
        "<\/script>&d=1+1%20';",
        '\u0000\u0007\t',
      ]) {
        await session.send(`42${JSON.stringify(['message', text])}`);
        const answer = await session.request();
        assert.ok(!/[\u2028\u2029]/.test(answer.body), 'line separators are escaped');
        const [packet] = session.packetsOf(answer).filter((p) => p.startsWith('42'));
        assert.deepEqual(JSON.parse(packet.slice(2)), ['message-back', text]);
      }
    });

    it(`has attachments as base64 (${EIO})`, async () => {
      const session = await joined();
      await session.send('421["make-binary",5]');
      const text = await until('the ack', async () => {
        const answer = await session.request();
        return answer.body.includes('AAECAwQ=') && answer.body;
      });
      const payload = runJsonp(text, 0);
      const head = '461-1[{"n":5,"data":{"_placeholder":true,"num":0}}]';
      assert.equal(
        payload,
        EIO === '3' ? `${head.length}:${head}10:b4AAECAwQ=` : `${head}\x1ebAAECAwQ=`,
      );
    });

    it(`takes the form of a textarea (${EIO})`, async () => {
      const session = await joined();
      const packet = '42["message","a\\nb"]';
      const answer = await session.post(
        jsonpForm(EIO === '3' ? encodeText(packet) : packet),
        form,
      );
      assert.deepEqual([answer.status, answer.body], [200, 'ok']);
      assert.match(answer.headers['content-type'], /^text\/html/);
      const [echo] = await session.receive();
      assert.deepEqual(JSON.parse(echo.slice(2)), ['message-back', 'a\nb']);
    });
  }

  it('keeps nothing of the index but its digits', async () => {
    for (const j of ['0);alert(1)//', '<b>', '1']) {
      const answer = await request(main.url, {
        query: { EIO: '3', transport: 'polling', j },
      });
      assert.match(answer.body, /^___eio\[\d*\]\("/);
    }
  });

  it('refuses in JSON, as everybody', async () => {
    assertRefused(
      await request(main.url, {
        query: { EIO: '3', transport: 'polling', j: '0', sid: 'none' },
      }),
      1,
    );
  });
});
