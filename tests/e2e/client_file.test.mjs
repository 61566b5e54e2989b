// SPDX-License-Identifier: MIT
//
// The files of the JavaScript client below the path (serve_client, client_dir): what they
// are, how they may be cached, and what is there without them.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import vm from 'node:vm';
import zlib from 'node:zlib';
import { after, before, describe, it } from 'node:test';
import { needsOwn, startServer } from './lib/server.mjs';
import { root } from './lib/npm.mjs';
import { request } from './lib/wire.mjs';

const modules = path.join(root, 'build/npm/node_modules');
const dist = path.join(modules, 'socket.io-client/dist');
const { version } = JSON.parse(
  fs.readFileSync(path.join(modules, 'socket.io-client/package.json'), 'utf8'),
);
const names = ['', '.min', '.esm.min', '.msgpack.min'].flatMap((kind) => [
  `socket.io${kind}.js`,
  `socket.io${kind}.js.map`,
]);

const get = (server, name, options) =>
  request(server.url, { path: `/socket.io/${name}`, ...options });
const text = (name) => fs.readFileSync(path.join(dist, name));
const noTransport = '{"code":0,"message":"Transport unknown"}';

describe('client files', { skip: needsOwn }, () => {
  let server;
  before(async () => {
    server = await startServer({
      set: { serve_client: 'on', client_dir: dist, foreign_origin: 'refuse' },
      ws: 1,
    });
  });
  after(() => server?.stop());

  // EIO-CLIENT-FILE
  it('are the eight of the package, with type, ETag and Cache-Control', async () => {
    for (const name of names) {
      const answer = await get(server, name);
      assert.equal(answer.status, 200, name);
      assert.ok(answer.bytes.equals(text(name)), name);
      // lighttpd makes text/javascript of application/javascript (RFC 9239).
      const type = name.endsWith('.map') ? /^application\/json/ : /^\w+\/javascript/;
      assert.match(answer.headers['content-type'], type);
      assert.equal(answer.headers.etag, `"${version}"`);
      assert.equal(answer.headers['cache-control'], 'public, max-age=0');
      assert.equal(answer.headers['content-encoding'], undefined);
    }
  });

  it('are a client that a page can run', async () => {
    const { body } = await get(server, 'socket.io.min.js', { query: { v: '1' } });
    const page = { setTimeout, clearTimeout, console };
    page.self = page;
    vm.runInNewContext(body, page);
    assert.equal(typeof page.io, 'function');
    assert.equal(typeof page.io.Manager, 'function');
  });

  it('are not sent again to who has them', async () => {
    const etag = `"${version}"`;
    for (const tags of [etag, `W/${etag}`, `"x", ${etag}`, '*']) {
      const answer = await get(server, 'socket.io.js', {
        headers: { 'If-None-Match': tags },
      });
      assert.deepEqual([answer.status, answer.body], [304, ''], tags);
      assert.equal(answer.headers.etag, etag);
    }
    const other = await get(server, 'socket.io.js', {
      headers: { 'If-None-Match': '"4.0.0"' },
    });
    assert.equal(other.status, 200);
  });

  it('are compressed for who can read it', async () => {
    for (const [coding, decode, accept = coding] of [
      ['gzip', zlib.gunzipSync],
      ['deflate', zlib.inflateSync],
      ['br', zlib.brotliDecompressSync, 'gzip, deflate, br, zstd'],
      ['gzip', zlib.gunzipSync, 'gzip;q=0.5, br;q=0'],
    ]) {
      const answer = await get(server, 'socket.io.js', {
        headers: { 'Accept-Encoding': accept },
      });
      assert.equal(answer.headers['content-encoding'], coding);
      assert.match(answer.headers.vary, /Accept-Encoding/);
      assert.ok(answer.bytes.length < text('socket.io.js').length / 2);
      assert.ok(decode(answer.bytes).equals(text('socket.io.js')));
    }
  });

  it('are not sent in a brotli form that is older than they are', async () => {
    const folder = fs.mkdtempSync(path.join(root, 'build/client-'));
    for (const name of ['socket.io.js', 'socket.io.min.js']) {
      fs.copyFileSync(path.join(dist, name), path.join(folder, name));
      fs.copyFileSync(path.join(dist, `${name}.br`), path.join(folder, `${name}.br`));
    }
    fs.utimesSync(path.join(folder, 'socket.io.js.br'), 1, 1);
    const other = await startServer({
      set: { serve_client: 'on', client_dir: folder },
      fcgi: 1,
      ws: 0,
    });
    const headers = { 'Accept-Encoding': 'br' };
    for (const [name, coding] of [['socket.io.js', undefined], ['socket.io.min.js', 'br']]) {
      const answer = await get(other, name, { headers });
      assert.equal(answer.headers['content-encoding'], coding, name);
    }
    await other.stop();
    fs.rmSync(folder, { recursive: true });
  });

  it('are told by HEAD', async () => {
    const answer = await get(server, 'socket.io.min.js', { method: 'HEAD' });
    assert.deepEqual([answer.status, answer.bytes.length], [200, 0]);
    assert.equal(
      answer.headers['content-length'],
      String(text('socket.io.min.js').length),
    );
  });

  it('are for pages of other origins too; their connections are another matter', async () => {
    const headers = { Origin: 'http://elsewhere.example' };
    assert.equal((await get(server, 'socket.io.js', { headers })).status, 200);
    const query = { EIO: '4', transport: 'polling' };
    assert.equal((await request(server.url, { query, headers })).status, 403);
  });

  it('are nothing else: other names and methods are Engine.IO requests', async () => {
    for (const name of [
      'socket.io.esm.js',
      'socket.io.slim.js',
      'socket.io.js.gz',
      'Socket.IO.js',
      'socket.io.js/',
      'x/socket.io.js',
    ]) {
      const answer = await get(server, name);
      assert.deepEqual([answer.status, answer.body], [400, noTransport], name);
    }
    const post = await get(server, 'socket.io.js', { method: 'POST', body: 'x' });
    assert.deepEqual([post.status, post.body], [400, noTransport]);
    // A session's requests may have any path below ours.
    const poll = await get(server, 'socket.io', {
      query: { EIO: '4', transport: 'polling' },
    });
    assert.equal(poll.status, 200);
  });
});

describe('client files that are not there', { skip: needsOwn }, () => {
  for (const [what, set] of [
    ['serve_client = off', { serve_client: 'off', client_dir: dist }],
    ['a missing client_dir', { serve_client: 'on', client_dir: '/nonexistent' }],
  ]) {
    it(`${what}: an Engine.IO request without transport`, async () => {
      const server = await startServer({ set, fcgi: 1, ws: 0 });
      const answer = await get(server, 'socket.io.js');
      assert.deepEqual([answer.status, answer.body], [400, noTransport]);
      const told = server
        .logs()
        .some(({ text: log }) => / info .*client\.absent/.test(log));
      assert.equal(told, set.serve_client === 'on');
      await server.stop();
    });
  }

  it('http_compression = off: never compressed; no package.json: the ETag is a hash', async () => {
    const folder = fs.mkdtempSync(path.join(root, 'build/client-'));
    fs.writeFileSync(path.join(folder, 'socket.io.js'), '// nothing\n'.repeat(500));
    const server = await startServer({
      set: { serve_client: 'on', client_dir: folder, http_compression: 'off' },
      fcgi: 2,
      ws: 0,
    });
    const headers = { 'Accept-Encoding': 'gzip' };
    const [one, two] = [
      await get(server, 'socket.io.js', { headers }),
      await get(server, 'socket.io.js', { headers }),
    ];
    assert.equal(one.headers['content-encoding'], undefined);
    assert.match(one.headers.etag, /^"[0-9a-f]{16}"$/);
    assert.equal(two.headers.etag, one.headers.etag, 'the same from each process');
    assert.equal((await get(server, 'socket.io.min.js')).status, 400, 'is not there');
    await server.stop();
    fs.rmSync(folder, { recursive: true });
  });
});
