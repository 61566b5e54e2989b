// SPDX-License-Identifier: MIT
//
// Socket.IO 5 packet by packet, over polling and over WebSocket: connecting to namespaces,
// events, acks, attachments, disconnecting, and everything that the parser must refuse.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { reasonOf } from './lib/claims.mjs';
import { isExternal, startServer } from './lib/server.mjs';
import { pause } from './lib/wait.mjs';
import { Peer } from './lib/wire.mjs';

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

const SID = '[A-Za-z0-9_-]{20}';
const placeholder = (num) => `{"_placeholder":true,"num":${num}}`;

for (const transport of ['polling', 'websocket']) {
  const open = (options) => Peer.open(transport, main.entries, options);
  const connect = (options) => Peer.connect(transport, main.entries, options);

  describe(`connecting over ${transport}`, { concurrency: 8 }, () => {
    it('joins the main namespace', async () => {
      const peer = await open();
      await peer.send('0');
      const reply = await peer.next('the CONNECT reply');
      assert.match(reply, new RegExp(`^0{"sid":"${SID}"}$`));
      assert.notEqual(JSON.parse(reply.slice(1)).sid, peer.sid);
      await peer.expect('2["auth",{}]');
      await peer.expectNothing();
      await peer.close();
    });

    it('takes an auth payload', async () => {
      const peer = await open();
      await peer.send('0{"token":"123","more":[1,null,{"a":"\u00e4"}]}');
      assert.match(await peer.next(), new RegExp(`^0{"sid":"${SID}"}$`));
      assert.deepEqual(JSON.parse((await peer.next()).slice(1)), [
        'auth',
        { token: '123', more: [1, null, { a: '\u00e4' }] },
      ]);
      await peer.close();
    });

    it('joins other namespaces, with and without a comma', async () => {
      for (const name of ['/custom,', '/custom']) {
        const peer = await open();
        await peer.send(`0${name}`);
        assert.match(await peer.next(), new RegExp(`^0/custom,{"sid":"${SID}"}$`));
        await peer.expect('2/custom,["auth",{}]');
        await peer.close();
      }
    });

    it('takes an auth payload for another namespace', async () => {
      const peer = await open();
      await peer.send('0/custom,{"abc":1}');
      assert.match(await peer.next(), new RegExp(`^0/custom,{"sid":"${SID}"}$`));
      await peer.expect('2/custom,["auth",{"abc":1}]');
      await peer.close();
    });

    // SIO-CONNECT
    it('joins several namespaces on one connection, with an id each', async () => {
      const peer = await connect();
      const ids = [
        peer.sioId,
        await peer.join('/custom'),
        await peer.join('/dyn-1'),
        await peer.join('/dyn-2'),
      ];
      assert.equal(new Set(ids).size, 4);
      await peer.send('2/custom,["echo",1]', '2["echo",2]', '2/dyn-2,["echo",3]');
      await peer.expect('2/custom,["echo",1]', '2["echo",2]', '2/dyn-2,["echo",3]');
      await peer.close();
    });

    // SIO-NSP-INVALID, SIO-NSP-DYNAMIC
    it('refuses an unknown namespace and keeps the connection', async () => {
      const peer = await connect();
      for (const name of [
        '/random',
        '/Custom',
        '/custom/',
        '/custom?a=1',
        '/dyn-',
        '/dyn-1x',
        '/xdyn-1',
        '/\u00e4',
      ]) {
        await peer.send(`0${name},`);
        await peer.expect(`4${name},{"message":"Invalid namespace"}`);
      }
      await peer.expectNothing();
      await peer.close();
    });

    it('refuses by a middleware, with a message', async () => {
      const peer = await connect();
      await peer.send('0/token,{"token":"wrong"}');
      await peer.expect('4/token,{"message":"invalid token"}');
      await peer.send('0/token,');
      await peer.expect('4/token,{"message":"invalid token"}');
      await peer.join('/token', { token: 'secret' });
      await peer.close();
    });

    // SIO-MIDDLEWARE
    it('refuses by a middleware, with data', async () => {
      const peer = await connect();
      await peer.send('0/refused,');
      const refusal = await peer.next();
      assert.match(refusal, /^4\/refused,/);
      assert.deepEqual(JSON.parse(refusal.slice('4/refused,'.length)), {
        message: 'refused',
        data: { code: 4001, detail: ['a', 1] },
      });
      await peer.expectNothing();
      await peer.close();
    });

    // SIO-MIDDLEWARE-HELD
    it('waits for a slow middleware, and serves other namespaces meanwhile', async () => {
      const peer = await connect();
      const start = Date.now();
      await peer.send('0/slow,', '2["echo",1]');
      await peer.expect('2["echo",1]');
      assert.match(await peer.next(), new RegExp(`^0/slow,{"sid":"${SID}"}$`));
      const ms = Date.now() - start;
      assert.ok(ms >= 290, `joined after ${ms} ms`);
      await peer.expect('2/slow,["auth",{}]');
      await peer.close();
    });

    it('survives a client that leaves during a slow middleware', async () => {
      const peer = await open();
      await peer.send('0/slow,');
      await peer.close();
      const other = await connect();
      await pause(350);
      assert.deepEqual(await other.call('sockets', { in: 'none', op: 'list' }), [[]]);
      await other.close();
    });

    it('leaves and joins a namespace again under a new id', async () => {
      const peer = await connect();
      const first = await peer.join('/custom');
      await peer.send('1/custom,');
      await peer.expectNothing();
      const second = await peer.join('/custom');
      assert.notEqual(first, second);
      assert.equal(await reasonOf(main, first), 'client namespace disconnect');
      await peer.expectNothing();
      await peer.close();
    });

    for (const [what, packet] of Object.entries({
      'a second CONNECT': '0',
      'an event for a namespace not joined': '2/custom,["echo",1]',
      'an ack for a namespace not joined': '3/custom,1["a"]',
      'a DISCONNECT of a namespace not joined': '1/custom,',
      'an event for an unknown namespace': '2/random,["echo",1]',
      'a CONNECT_ERROR': '4{"message":"a"}',
    })) {
      // SIO-CONNECT-TWICE, SIO-NSP-UNKNOWN
      it(`closes for ${what}`, async () => {
        const peer = await connect();
        await peer.sendBad(packet);
        await peer.expectClosed();
        // The reference says `forced close` over WebSocket and into a parked poll, else
        // `forced server close`.
        const reason = await reasonOf(main, peer.sioId);
        assert.match(reason, isExternal ? /^forced (server )?close$/ : /^forced server close$/);
      });
    }

    for (const packet of ['2["echo",1]', '1', '31["a"]', '4', '2/custom,["a"]']) {
      it(`closes for ${packet} before a CONNECT`, async () => {
        const peer = await open();
        await peer.sendBad(packet);
        await peer.expectClosed();
      });
    }

    for (const packet of [
      '0"abc"',
      '0[]',
      '0null',
      '0{',
      '0{"a":1}x',
      '0/custom,"abc"',
      '0/custom,[1]',
    ]) {
      it(`closes for the CONNECT ${packet}`, async () => {
        const peer = await open();
        await peer.sendBad(packet);
        await peer.expectClosed();
      });
    }
  });

  describe(`events over ${transport}`, { concurrency: 8 }, () => {
    const values = [
      1,
      0.5,
      -1,
      '2',
      true,
      false,
      null,
      '',
      [],
      {},
      { a: [{ b: 'c' }] },
      'a"b\\c\n\u2028\u00e4\u20ac\u{1f600}',
      1e21,
      1e-7,
      9007199254740991,
    ];

    it('sends arguments back as they came', async () => {
      const peer = await connect();
      for (const value of values) {
        await peer.send(`2${JSON.stringify(['message', value])}`);
        assert.deepEqual(JSON.parse((await peer.next()).slice(1)), [
          'message-back',
          value,
        ]);
      }
      await peer.send(`2${JSON.stringify(['message', ...values])}`);
      assert.deepEqual(JSON.parse((await peer.next()).slice(1)), [
        'message-back',
        ...values,
      ]);
      await peer.send('2["message"]');
      await peer.expect('2["message-back"]');
      await peer.close();
    });

    it('answers in the namespace of the event', async () => {
      const peer = await connect({ nsp: '/custom' });
      await peer.send('2/custom,["message",1]', '2/custom,456["message-with-ack",1,"2"]');
      await peer.expect('2/custom,["message-back",1]', '3/custom,456[1,"2"]');
      await peer.close();
    });

    // SIO-ACK
    it('acks with the id of the client', async () => {
      const peer = await connect();
      for (const id of [0, 1, 456, 9007199254740991]) {
        await peer.send(`2${id}["message-with-ack",1,"2",{"3":[true]}]`);
        await peer.expect(`3${id}[1,"2",{"3":[true]}]`);
      }
      await peer.send('2789["message-with-ack"]');
      await peer.expect('3789[]');
      await peer.close();
    });

    // SIO-ORDER
    it('keeps the order of events and acks', async () => {
      const peer = await connect();
      const n = 300;
      await peer.send(
        ...Array.from({ length: n }, (_, i) =>
          i % 3 === 0 ? `2${i}["message-with-ack",${i}]` : `2["echo",${i}]`,
        ),
      );
      for (let i = 0; i < n; i++)
        await peer.expect(i % 3 === 0 ? `3${i}[${i}]` : `2["echo",${i}]`);
      await peer.close();
    });

    // SIO-UNHANDLED
    it('ignores events that nobody handles, and never acks them', async () => {
      const peer = await connect();
      await peer.send(
        '2["nobody",1]',
        '21["nobody"]',
        '2[123,1]',
        '22[7]',
        '2["",1]',
        '2["__proto__"]',
        '2["toString"]',
        '2',
      );
      await peer.expectNothing();
      await peer.close();
    });

    it('ignores events with other arguments than it knows, and never acks them', async () => {
      const peer = await connect();
      await peer.send(
        '21["join"]',
        '22["join",1]',
        '23["join",{"a":1}]',
        '24["join",["a",1]]',
        '25["leave",null]',
        '26["cast"]',
        '27["cast",1,"a"]',
        '28["cast",{"via":"self"},1]',
        '29["ack-room",{"to":"a"}]',
        '211["sockets",null]',
        '212["make-binary","x"]',
        '213["big",{}]',
        '214["digest",1]',
        '2["ack-me-within","x"]',
        '215["reason-of",1]',
      );
      await peer.expectNothing();
      assert.deepEqual(await peer.call('rooms'), [[]]);
      await peer.close();
    });

    // SIO-PACKET
    it('takes what is odd but no error', async () => {
      const peer = await connect();
      for (const [packet, answer] of [
        ['2/,["echo",1]', '2["echo",1]'],
        ['200007["message-with-ack",1]', '37[1]'],
        ['2["echo",1]  \t', '2["echo",1]'],
        ['2[ "echo" , 1 ]', '2["echo",1]'],
        [`2["echo",${placeholder(0)}]`, `2["echo",${placeholder(0)}]`],
      ]) {
        await peer.send(packet);
        const got = await peer.next();
        const [, head, body] = got.match(/^(\d+)(.*)$/s);
        assert.deepEqual(
          [head, JSON.parse(body)],
          [answer.match(/^\d+/)[0], JSON.parse(answer.match(/^\d+(.*)$/s)[1])],
        );
      }
      await peer.close();
    });

    // SIO-ACK-UNKNOWN
    it('ignores acks that nobody asked for', async () => {
      for (const packet of [
        '3',
        '3["x"]',
        '3999["x"]',
        '30[]',
        '399999999999999999999["x"]',
        '3999',
      ]) {
        const peer = await connect();
        await peer.send(packet);
        await peer.expectNothing();
        await peer.close();
      }
    });

    // SIO-JSON
    it('takes JSON that other parsers stumble over', async () => {
      const peer = await connect();
      const bodies = [
        '"\\ud800"',
        '"a\\u0000b"',
        '12345678901234567890',
        '-0',
        '1.0',
        '{"a":1,"a":2}',
        '[[[[[[]]]]]]',
        '1E5',
        '"\\/"',
        '{"":{"":null}}',
        `${'['.repeat(50)}${']'.repeat(50)}`,
      ];
      for (const body of bodies) {
        await peer.send(`2["echo",${body}]`);
        const [, value] = JSON.parse((await peer.next()).slice(1));
        assert.equal(JSON.stringify(value), JSON.stringify(JSON.parse(body)));
      }
      await peer.send('2["echo",1e400]');
      assert.match(await peer.next(), /^2\["echo",/);
      await peer.close();
    });

    it('carries large events', async () => {
      const peer = await connect();
      assert.equal((await peer.call('big', 900_000))[0].length, 900_000);
      const text = 'x'.repeat(990_000);
      const [{ type, bytes }] = await peer.call('digest', text);
      assert.deepEqual([type, bytes], ['string', 990_000]);
      await peer.close();
    });

    for (const packet of [
      '2[]',
      '2{}',
      '2"a"',
      '2null',
      '2["a"',
      '2["a"]]',
      '2abc["message-with-ack",1]',
      '2[null]',
      '2[{"a":1}]',
      '2[["a"]]',
      '2[true]',
      '2-1["a"]',
      '2["connect"]',
      '2["connect_error"]',
      '2["disconnect"]',
      '2["disconnecting"]',
      '2["newListener"]',
      '2["removeListener",1]',
      '3{}',
      '31{}',
      '31"a"',
      '4[1]',
      '4null',
      '4true',
      '1"a"',
      '1{}',
      '7',
      '9',
      'a',
      '-1',
      '2["a",\u0001]',
      "2['a']",
      '2["a",undefined]',
      '2["a",01]',
      '2["a\\x"]',
    ]) {
      // SIO-PARSE
      it(`closes for ${JSON.stringify(packet)}: forced close`, async () => {
        const peer = await connect();
        await peer.sendBad(packet);
        await peer.expectClosed();
        assert.equal(await reasonOf(main, peer.sioId), 'forced close');
      });
    }
  });

  describe(`attachments over ${transport}`, { concurrency: 8 }, () => {
    const bytes = (...list) => Buffer.from(list);

    it('sends them back, nested and in order', async () => {
      const peer = await connect();
      await peer.send(
        `53-["message",${placeholder(0)},{"a":[${placeholder(1)}]},"x",${placeholder(2)}]`,
        bytes(1, 2, 3),
        bytes(),
        bytes(0, 255),
      );
      await peer.expect(
        `53-["message-back",${placeholder(0)},{"a":[${placeholder(1)}]},"x",${placeholder(2)}]`,
        bytes(1, 2, 3),
        bytes(),
        bytes(0, 255),
      );
      await peer.close();
    });

    it('acks with them', async () => {
      const peer = await connect();
      await peer.send(
        `52-789["message-with-ack",${placeholder(0)},${placeholder(1)}]`,
        bytes(1, 2),
        bytes(3, 4),
      );
      await peer.expect(
        `62-789[${placeholder(0)},${placeholder(1)}]`,
        bytes(1, 2),
        bytes(3, 4),
      );
      await peer.send('2790["make-binary",3]');
      await peer.expect(`61-790[{"n":3,"data":${placeholder(0)}}]`, bytes(0, 1, 2));
      await peer.close();
    });

    it('takes them in another namespace', async () => {
      const peer = await connect({ nsp: '/custom' });
      await peer.send(`51-/custom,7["message-with-ack",${placeholder(0)}]`, bytes(9));
      await peer.expect(`61-/custom,7[${placeholder(0)}]`, bytes(9));
      await peer.close();
    });

    it('takes an answer with them', async () => {
      const peer = await connect();
      await peer.send('2["ack-me",1]');
      const id = (await peer.next()).match(/^2(\d+)\["ack-request",1\]$/)[1];
      await peer.send(`61-${id}["a",${placeholder(0)}]`, bytes(5, 6));
      await peer.expect(`51-["ack-result","a",${placeholder(0)}]`, bytes(5, 6));
      await peer.close();
    });

    it('waits for attachments that come one by one', async () => {
      const peer = await connect();
      await peer.send(`53-["echo",${[0, 1, 2].map(placeholder).join(',')}]`);
      for (const n of [1, 2, 3]) await peer.send(bytes(n));
      await peer.expect(
        `53-["echo",${[0, 1, 2].map(placeholder).join(',')}]`,
        bytes(1),
        bytes(2),
        bytes(3),
      );
      await peer.expectNothing();
      await peer.close();
    });

    // SIO-ATTACHMENTS
    it('takes up to ten', async () => {
      const peer = await connect();
      const list = Array.from({ length: 10 }, (_, i) => i);
      await peer.send(
        `510-["echo",${list.map(placeholder).join(',')}]`,
        ...list.map((i) => bytes(i)),
      );
      await peer.expect(
        `510-["echo",${list.map(placeholder).join(',')}]`,
        ...list.map((i) => bytes(i)),
      );
      await peer.close();
    });

    it('takes large ones', async () => {
      const peer = await connect();
      const data = Buffer.alloc(700_000, 7);
      await peer.send(`51-["echo",${placeholder(0)}]`, data);
      await peer.expect(`51-["echo",${placeholder(0)}]`, data);
      await peer.close();
    });

    for (const [what, packets] of Object.entries({
      'eleven attachments': [`511-["echo",${placeholder(0)}]`],
      'no number of attachments': [`5["echo",${placeholder(0)}]`],
      'a number that is none': [`5x-["echo",${placeholder(0)}]`],
      'a negative number': [`5-1-["echo",${placeholder(0)}]`],
      'a fraction': [`51.5-["echo",${placeholder(0)}]`],
      'a placeholder out of range': [`51-["echo",${placeholder(1)}]`, Buffer.from([1])],
      'a negative placeholder': [`51-["echo",${placeholder(-1)}]`, Buffer.from([1])],
      'a placeholder that is no number': [
        '51-["echo",{"_placeholder":true,"num":"0"}]',
        Buffer.from([1]),
      ],
      'text while attachments are owed': [`51-["echo",${placeholder(0)}]`, '2["echo",1]'],
      'an attachment that nobody announced': [Buffer.from([1])],
      'an attachment too many': [
        `51-["echo",${placeholder(0)}]`,
        Buffer.from([1]),
        Buffer.from([2]),
      ],
      'a reserved name': [`51-["disconnect",${placeholder(0)}]`],
      'an ack that is no list': [`61-1${placeholder(0)}`],
    })) {
      // SIO-TEXT-WHILE-OWED, SIO-BINARY-NOT-OWED, SIO-PLACEHOLDER
      it(`closes for ${what}: forced close`, async () => {
        const peer = await connect();
        await peer.sendBad(...packets);
        await peer.expectClosed();
        assert.equal(await reasonOf(main, peer.sioId), 'forced close');
      });
    }

    // SIO-PARSE
    it('ends every namespace of the connection for what cannot be read: forced close', async () => {
      const peer = await connect();
      const id = await peer.join('/custom');
      await peer.sendBad('2/custom,{}');
      await peer.expectClosed();
      for (const one of [peer.sioId, id]) assert.equal(await reasonOf(main, one), 'forced close');
    });

    it('forgets a half-received event with its connection', async () => {
      const peer = await connect();
      await peer.send(`51-["bcast",${placeholder(0)}]`);
      await peer.close();
      assert.equal(await reasonOf(main, peer.sioId), 'transport close');
    });
  });

  describe(`questions of the server over ${transport}`, { concurrency: 8 }, () => {
    async function ask(peer, event, ...args) {
      await peer.send(`2${JSON.stringify([event, ...args])}`);
      const question = await peer.next('the question');
      const [, id, body] =
        question.match(/^2(\d+)(\[.*\])$/) ??
        assert.fail(`no question with an id: ${question}`);
      return { id, args: JSON.parse(body) };
    }

    // SIO-ASK
    it('takes the answer', async () => {
      const peer = await connect();
      const { id, args } = await ask(peer, 'ack-me', 'a', 1);
      assert.deepEqual(args, ['ack-request', 'a', 1]);
      await peer.send(`3${id}["b",2,null]`);
      await peer.expect('2["ack-result","b",2,null]');
      const empty = await ask(peer, 'ack-me');
      await peer.send(`3${empty.id}[]`);
      await peer.expect('2["ack-result"]');
      await peer.close();
    });

    it('takes it once', async () => {
      const peer = await connect();
      const { id } = await ask(peer, 'ack-me');
      await peer.send(`3${id}[1]`, `3${id}[2]`);
      await peer.expect('2["ack-result",1]');
      await peer.send(`3${id}[3]`);
      await peer.expectNothing();
      await peer.close();
    });

    it('takes answers in another order than it asked', async () => {
      const peer = await connect();
      for (let round = 0; round < 10; round++) {
        const ids = [];
        for (let i = 0; i < 4; i++) ids.push((await ask(peer, 'ack-me', i)).id);
        assert.equal(new Set(ids).size, 4);
        const order = round % 2 === 0 ? [3, 1, 0, 2] : [2, 3, 1, 0];
        await peer.send(...order.map((i) => `3${ids[i]}[${i}]`));
        await peer.expect(...order.map((i) => `2["ack-result",${i}]`));
      }
      await peer.close();
    });

    // SIO-ACK-UNKNOWN
    it('takes no answer from another client, nor in another namespace', async () => {
      const peer = await connect();
      const other = await connect();
      await peer.join('/custom');
      const { id } = await ask(peer, 'ack-me');
      await other.send(`3${id}["stranger"]`);
      await other.expectNothing();
      await peer.send(`3/custom,${id}["wrong namespace"]`);
      await peer.expectNothing();
      await peer.send(`3${id}["right"]`);
      await peer.expect('2["ack-result","right"]');
      await peer.close();
      await other.close();
    });

    // SIO-ASK-TIMEOUT
    it('waits no longer than it said', async () => {
      const peer = await connect();
      const start = Date.now();
      const { id } = await ask(peer, 'ack-me-within', 200, 'x');
      await peer.expect('2["ack-result-within",true]');
      const ms = Date.now() - start;
      assert.ok(ms >= 190, `given up after ${ms} ms`);
      await peer.send(`3${id}["late"]`);
      await peer.expectNothing();
      await peer.close();
    });

    it('does not report a time-out after an answer', async () => {
      const peer = await connect();
      const { id, args } = await ask(peer, 'ack-me-within', 300, 'x');
      assert.deepEqual(args, ['ack-request', 'x']);
      await peer.send(`3${id}["a",1]`);
      await peer.expect('2["ack-result-within",false,"a",1]');
      await pause(400);
      await peer.expectNothing();
      await peer.close();
    });
  });

  describe(`disconnecting over ${transport}`, { concurrency: 8 }, () => {
    // SIO-DISCONNECT
    it('leaves one namespace and stays in the others', async () => {
      const peer = await connect();
      const id = await peer.join('/custom');
      await peer.send('1/custom,', '2["echo",1]');
      await peer.expect('2["echo",1]');
      assert.equal(await reasonOf(main, id), 'client namespace disconnect');
      assert.deepEqual(await peer.call('reason-of', peer.sioId), [null]);
      await peer.close();
    });

    it('is told when the server ends the namespace, and stays in the others', async () => {
      const peer = await connect();
      const id = await peer.join('/custom');
      await peer.send('2/custom,["disconnect-me",false]');
      await peer.expect('1/custom,');
      await peer.expectNothing();
      assert.equal(await reasonOf(main, id), 'server namespace disconnect');
      await peer.close();
    });

    // SIO-DISCONNECT-SERVER
    it('is told when the server closes the connection', async () => {
      const peer = await connect();
      const id = await peer.join('/custom');
      await peer.send('2["disconnect-me",true]');
      await peer.expectClosed();
      const got = peer.inbox.take().sort();
      assert.deepEqual(got, ['1', '1/custom,']);
      assert.deepEqual(
        [await reasonOf(main, id), await reasonOf(main, peer.sioId)],
        ['server namespace disconnect', 'server namespace disconnect'],
      );
    });

    it('ends every namespace with the connection', async () => {
      const peer = await connect();
      const id = await peer.join('/custom');
      await peer.close();
      assert.deepEqual(
        [await reasonOf(main, id), await reasonOf(main, peer.sioId)],
        ['transport close', 'transport close'],
      );
    });

    // SIO-EMPTY
    it('keeps a connection without any namespace', async () => {
      const peer = await Peer.connect(transport, short.url);
      await peer.send('1');
      const how = await Promise.race([peer.closed, pause(2300)]);
      assert.equal(how, undefined);
      await peer.join('/custom');
      await peer.close();
    });
  });

  describe(`bad input over ${transport}`, { concurrency: 4 }, () => {
    it('disturbs nobody else', async () => {
      const witness = await connect();
      const deep = `2["echo",${'['.repeat(10_000)}${']'.repeat(10_000)}]`;
      const deepObject = `2["echo",${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}]`;
      // The reference overflows its stack at these two.
      const bad = [
        ...(isExternal ? [] : [deep, deepObject]),
        `2["echo",${'9'.repeat(5000)}]`,
        `2["${'x'.repeat(100_000)}",1]`,
        `0/${'n'.repeat(100_000)},`,
        `2${'9'.repeat(1000)}["message-with-ack"]`,
        '2["echo","\u0000"]',
        '\u0000',
        '2\u0000["echo"]',
        `5${'9'.repeat(400)}-["echo"]`,
        '2/custom',
        `2["join",${JSON.stringify(['a'.repeat(50_000)])}]`,
        '2["set-data",1e999]',
        '2["cast",{"via":"io","repeat":-1},"a"]',
        '2["big",-1]',
        '2["make-binary",1.5]',
      ];
      const peers = await Promise.all(bad.map(() => connect()));
      await Promise.all(peers.map((peer, i) => peer.sendBad(bad[i])));
      // Answered, ignored or closed: all are fine, as long as the others go on.
      for (let i = 0; i < 20; i++)
        assert.deepEqual(await witness.call('message-with-ack', i), [i]);
      await Promise.all(peers.map((peer) => peer.close()));
      await witness.close();
    });
  });
}
