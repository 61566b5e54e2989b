// SPDX-License-Identifier: MIT
//
// Origins: the CORS headers of every answer and of preflights, foreign origins refused or
// let in, also over WebSocket, the cookie with its attributes, and headers of one's own.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { assertRefused } from './lib/claims.mjs';
import { isExternal, needsOwn, presets, startServer } from './lib/server.mjs';
import { Polling, request, Socket } from './lib/wire.mjs';

const servers = [];
const start = async (set) => {
  const server = await startServer({ fcgi: 1, ws: 1, set });
  servers.push(server);
  return server;
};
after(async () => {
  for (const server of servers) await server.stop();
});

const ALLOWED = 'http://allowed.example';
const OTHER = 'http://other.example';
const query = { EIO: '4', transport: 'polling' };
const get = (server, Origin, options = {}) =>
  request(server.url, {
    query,
    ...options,
    headers: { ...(Origin === undefined ? {} : { Origin }), ...options.headers },
  });
const preflight = (server, Origin, headers = {}) =>
  get(server, Origin, {
    method: 'OPTIONS',
    headers: { 'Access-Control-Request-Method': 'POST', ...headers },
  });

// The CORS headers of an answer, and Vary as a sorted list.
function cors(answer) {
  const seen = {};
  for (const [name, value] of Object.entries(answer.headers))
    if (name.startsWith('access-control-'))
      seen[name.slice('access-control-'.length)] = value;
  const vary = (answer.headers.vary ?? '').split(/\s*,\s*/).filter((v) => v !== '');
  if (vary.length > 0) seen.vary = vary.sort();
  return seen;
}

async function refusedSocket(server, Origin, options = {}) {
  const socket = new Socket(server.url, { headers: { Origin }, ...options });
  const answer = await socket.answered;
  return [answer.status, answer.body];
}

describe('one allowed origin, with credentials', { concurrency: 8 }, () => {
  let server;
  before(async () => (server = isExternal ? await startServer() : await start({})));
  const allowed = { 'allow-origin': ALLOWED, 'allow-credentials': 'true' };

  // EIO-CORS
  it('is permitted, by every kind of answer', async () => {
    const session = await Polling.open(server.entries, {
      headers: { Origin: ALLOWED },
    });
    assert.deepEqual(cors(session.handshake), { ...allowed, vary: ['Origin'] });
    const post = await session.post('40');
    assert.deepEqual([post.status, cors(post)], [200, { ...allowed, vary: ['Origin'] }]);
    const poll = await session.poll();
    assert.deepEqual([poll.status, cors(poll)], [200, { ...allowed, vary: ['Origin'] }]);
    const big = await session.post('4'.repeat(1_000_001));
    assert.deepEqual([big.status, cors(big)], [413, { ...allowed, vary: ['Origin'] }]);
    for (const options of [
      { query: { EIO: '4' } },
      { query: { ...query, sid: 'none' } },
      { method: 'POST', body: '' },
    ]) {
      const refused = await get(server, ALLOWED, options);
      assert.equal(refused.status, 400);
      assert.deepEqual(cors(refused), { ...allowed, vary: ['Origin'] });
    }
  });

  it('is the only one that is permitted, but all are answered', async () => {
    for (const origin of [
      OTHER,
      'null',
      `${ALLOWED}.evil.example`,
      `${ALLOWED}:8080`,
      'https://allowed.example',
      'http://ALLOWED.example',
      `${ALLOWED}/`,
    ]) {
      const session = await Polling.open(server.url, { headers: { Origin: origin } });
      const permitted = session.handshake.headers['access-control-allow-origin'];
      assert.notEqual(permitted, origin);
      if (!isExternal)
        assert.deepEqual(cors(session.handshake), { vary: ['Origin'] }, origin);
      await session.post('1');
    }
  });

  it('needs no permission where there is no origin', async () => {
    const answer = await get(server, undefined);
    assert.equal(answer.status, 200);
    if (!isExternal) assert.deepEqual(cors(answer), { vary: ['Origin'] });
  });

  it('has its preflights answered', async () => {
    const plain = await preflight(server, ALLOWED);
    const methods = 'GET,HEAD,PUT,PATCH,POST,DELETE';
    assert.deepEqual([plain.status, plain.body], [204, '']);
    assert.deepEqual(cors(plain), {
      ...allowed,
      'allow-methods': methods,
      vary: ['Access-Control-Request-Headers', 'Origin'],
    });
    const asked = await preflight(server, ALLOWED, {
      'Access-Control-Request-Headers': 'content-type, x-kitchen',
    });
    assert.deepEqual(cors(asked), {
      ...allowed,
      'allow-methods': methods,
      'allow-headers': 'content-type, x-kitchen',
      vary: ['Access-Control-Request-Headers', 'Origin'],
    });
    assert.equal(asked.status, 204);
  });

  it('has preflights of a session answered, which lives on', async () => {
    const session = await Polling.connect(server.entries, {
      headers: { Origin: ALLOWED },
    });
    const answer = await preflight(server, ALLOWED, {});
    assert.equal(answer.status, 204);
    const inside = await session.request({ method: 'OPTIONS' });
    assert.equal(inside.status, 204);
    assert.deepEqual(await session.call('message-with-ack', 1), [1]);
  });

  it('gives other origins a preflight without permission', async () => {
    const answer = await preflight(server, OTHER, {
      'Access-Control-Request-Headers': 'content-type',
    });
    assert.equal(answer.status, 204);
    assert.notEqual(answer.headers['access-control-allow-origin'], OTHER);
  });

  it('does not hinder a WebSocket of any origin', async () => {
    for (const origin of [ALLOWED, OTHER]) {
      const socket = await Socket.connect(server.url, { headers: { Origin: origin } });
      assert.deepEqual(await socket.call('message-with-ack', origin), [origin]);
      await socket.close();
    }
  });

  it('puts the session id into a cookie, in the answer of the handshake only', async () => {
    const session = await Polling.open(server.url);
    assert.deepEqual(session.handshake.headers['set-cookie'], [
      `io=${session.sid}; Path=/; HttpOnly; SameSite=Lax`,
    ]);
    const post = await session.post('40');
    assert.equal(post.headers['set-cookie'], undefined);
    const poll = await session.poll();
    assert.equal(poll.headers['set-cookie'], undefined);
    const socket = new Socket(server.url);
    const answer = await socket.answered;
    await socket.next('the open packet');
    if (!isExternal) assert.equal(answer.headers['set-cookie'], undefined);
    await socket.close();
  });

  it('is refused for bytes that no origin has', { skip: isExternal }, async () => {
    const answer = await get(server, 'http://a\u0080\u00ffb');
    assert.ok([200, 400].includes(answer.status));
    assert.equal(answer.headers['access-control-allow-origin'], undefined);
  });
});

describe('a list of origins', { skip: needsOwn, concurrency: 8 }, () => {
  let server;
  before(
    async () =>
      (server = await start({
        cors_origin: `${ALLOWED} https://second.example:8443`,
        cors_credentials: 'off',
        cors_methods: 'GET,POST',
        cors_allowed_headers: 'content-type,x-mine',
        cors_exposed_headers: 'x-seen,x-more',
        cors_max_age: '600',
        cookie: '',
      })),
  );

  it('has each of them reflected, without credentials', async () => {
    for (const origin of [ALLOWED, 'https://second.example:8443']) {
      const answer = await get(server, origin);
      assert.deepEqual(cors(answer), {
        'allow-origin': origin,
        'expose-headers': 'x-seen,x-more',
        vary: ['Origin'],
      });
    }
    assert.deepEqual(cors(await get(server, OTHER)), { vary: ['Origin'] });
  });

  // EIO-PREFLIGHT
  it('answers a preflight as configured', async () => {
    const answer = await preflight(server, ALLOWED, {
      'Access-Control-Request-Headers': 'x-other',
    });
    assert.equal(answer.status, 204);
    assert.deepEqual(cors(answer), {
      'allow-origin': ALLOWED,
      'allow-methods': 'GET,POST',
      'allow-headers': 'content-type,x-mine',
      'max-age': '600',
      'expose-headers': 'x-seen,x-more',
      vary: ['Origin'],
    });
  });

  it('sets no cookie unless told to', async () => {
    assert.equal((await get(server, ALLOWED)).headers['set-cookie'], undefined);
  });
});

describe('every origin', { skip: needsOwn, concurrency: 8 }, () => {
  let server;
  let trusting;
  before(async () => {
    server = await start({
      cors_origin: '*',
      cors_credentials: 'off',
      foreign_origin: 'refuse',
    });
    trusting = await start({
      cors_origin: '*',
      cors_credentials: 'on',
      foreign_origin: 'refuse',
    });
  });

  it('is permitted by a star, and none is foreign', async () => {
    for (const origin of [ALLOWED, OTHER, undefined])
      assert.deepEqual(cors(await get(server, origin)), { 'allow-origin': '*' });
    const socket = await Socket.connect(server.url, { headers: { Origin: OTHER } });
    await socket.close();
  });

  it('has its preflights answered', async () => {
    const answer = await preflight(server, OTHER, {
      'Access-Control-Request-Headers': 'x-a',
    });
    assert.equal(answer.status, 204);
    assert.deepEqual(cors(answer), {
      'allow-origin': '*',
      'allow-methods': 'GET,HEAD,PUT,PATCH,POST,DELETE',
      'allow-headers': 'x-a',
      vary: ['Access-Control-Request-Headers'],
    });
  });

  // A star is not valid with credentials, so the origin is named, and caches must know.
  it('is named where credentials are allowed', async () => {
    for (const origin of [ALLOWED, OTHER])
      assert.deepEqual(cors(await get(trusting, origin)), {
        'allow-origin': origin,
        'allow-credentials': 'true',
        vary: ['Origin'],
      });
  });
});

describe('without CORS', { skip: needsOwn, concurrency: 8 }, () => {
  let open;
  let closed;
  let brought;
  before(async () => {
    open = await start({
      cors_origin: '',
      cors_credentials: 'off',
      foreign_origin: 'allow',
      cookie: 'sid; Domain=a.example; Path=/x; Max-Age=60; Secure; SameSite=None',
      'header(X-One)': '1',
      'header(X-Two)': 'zwei, drei',
    });
    closed = await start({
      cors_origin: '',
      cors_credentials: 'off',
      foreign_origin: 'refuse',
      cookie: 'io',
    });
    brought = await start({
      cors_origin: ALLOWED,
      cors_credentials: 'off',
      foreign_origin: 'refuse',
    });
  });

  it('answers have no CORS headers, and preflights are bad handshakes', async () => {
    const answer = await get(open, OTHER);
    assert.deepEqual([answer.status, cors(answer)], [200, {}]);
    const options = await preflight(open, OTHER);
    assertRefused(options, 2);
    assert.deepEqual(cors(options), {});
  });

  // EIO-ORIGIN-FOREIGN
  it('a foreign origin is refused by default', async () => {
    const { hostname } = new URL(closed.url);
    for (const origin of [OTHER, 'null', `http://${hostname}.evil.example`, 'http://']) {
      const answer = await get(closed, origin);
      assert.deepEqual(
        [answer.status, answer.body],
        [403, '{"code":4,"message":"Forbidden"}'],
        origin,
      );
      assert.deepEqual(await refusedSocket(closed, origin), [400, 'Forbidden']);
    }
  });

  it('its own origin is not foreign, nor is a request without one', async () => {
    const { host, hostname } = new URL(closed.url);
    for (const origin of [`http://${host}`, `https://${hostname}`, undefined]) {
      assert.equal((await get(closed, origin)).status, 200);
      const socket = await Socket.connect(closed.url, {
        headers: origin === undefined ? {} : { Origin: origin },
      });
      await socket.close();
    }
  });

  it('a name is compared without regard to its case', async () => {
    const headers = { Host: 'Example.ORG:8080', Origin: 'http://example.org' };
    assert.equal((await request(closed.url, { query, headers })).status, 200);
    headers.Origin = 'http://example.com';
    assert.equal((await request(closed.url, { query, headers })).status, 403);
  });

  it('a foreign origin that CORS lists is let in', async () => {
    assert.equal((await get(brought, ALLOWED)).status, 200);
    assert.equal((await get(brought, OTHER)).status, 403);
    const socket = await Socket.connect(brought.url, { headers: { Origin: ALLOWED } });
    await socket.close();
    assert.deepEqual(await refusedSocket(brought, OTHER), [400, 'Forbidden']);
  });

  it('a foreign origin does not get into a session that is there', async () => {
    const session = await Polling.connect(closed.url);
    assert.deepEqual(
      await refusedSocket(closed, OTHER, { query: { sid: session.sid } }),
      [400, 'Forbidden'],
    );
    assert.deepEqual(await session.call('message-with-ack', 1), [1]);
  });

  it('the cookie has the attributes that it was given', async () => {
    const session = await Polling.open(open.url);
    assert.deepEqual(session.handshake.headers['set-cookie'], [
      `sid=${session.sid}; Domain=a.example; Path=/x; Max-Age=60; Secure; SameSite=None`,
    ]);
    const plain = await Polling.open(closed.url);
    assert.deepEqual(plain.handshake.headers['set-cookie'], [
      `io=${plain.sid}; Path=/; HttpOnly; SameSite=Lax`,
    ]);
  });

  it('every answer has the headers that were configured', async () => {
    const session = await Polling.open(open.url);
    for (const answer of [
      session.handshake,
      await session.post('40'),
      await session.poll(),
      await get(open, undefined, { query: { EIO: '4' } }),
    ])
      assert.deepEqual(
        [answer.headers['x-one'], answer.headers['x-two']],
        ['1', 'zwei, drei'],
      );
  });

  it('no answer may be kept by a cache', async () => {
    const session = await Polling.open(open.url);
    for (const answer of [
      session.handshake,
      await session.post('40'),
      await session.poll(),
      await session.post('1'),
    ])
      assert.equal(answer.headers['cache-control'], 'no-store');
  });

  it('old Internet Explorers are told to leave answers alone', async () => {
    for (const [agent, value] of [
      ['Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko', '0'],
      ['Mozilla/4.0 (compatible;MSIE 8.0; Windows NT 6.0)', '0'],
      ['Mozilla/5.0 Firefox/120.0', undefined],
    ]) {
      const answer = await get(open, undefined, { headers: { 'User-Agent': agent } });
      assert.equal(answer.headers['x-xss-protection'], value);
    }
  });
});

assert.equal(presets.main.cors_origin, ALLOWED, 'what the first part expects');
