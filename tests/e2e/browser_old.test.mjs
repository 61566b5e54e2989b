// SPDX-License-Identifier: MIT
//
// The clients 1.7.4 and 2.5.0 in a real browser: a page that loads the client's file, over
// polling (binary by XMLHttpRequest), JSONP (scripts and a form in a frame), WebSocket, and
// with an upgrade.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { require, root } from './lib/npm.mjs';
import { call, connect } from './lib/official.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { until, within } from './lib/wait.mjs';

const { chromium } = require('playwright-core');
const versions = { '1.7.4': 'socket.io-client-1', '2.5.0': 'socket.io-client-2' };
const modes = {
  polling: { transports: ['polling'] },
  jsonp: { transports: ['polling'], forceJSONP: true },
  websocket: { transports: ['websocket'] },
  upgrade: {},
};
const transport = { polling: 'polling', jsonp: 'polling', websocket: 'websocket', upgrade: 'websocket' };
const text = '\u00e9 \u20ac \u{1f600} \u2028 \\n \\\\n "q" \n \x07';

let server;
let browser;
before(async () => {
  if (needsOwn) return;
  server = await startServer({ set: { ping_interval: '500ms', ping_timeout: '2s' } });
  const www = `${server.folder}/www`;
  for (const [version, name] of Object.entries(versions)) {
    fs.writeFileSync(`${www}/${version}.html`, `<!doctype html><script src="${version}.js"></script>`);
    fs.copyFileSync(`${root}build/npm/node_modules/${name}/dist/socket.io.js`, `${www}/${version}.js`);
  }
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

// A page with the client's file; what it asks the network for is in `requests`.
async function open(version) {
  const page = await browser.newPage();
  page.setDefaultTimeout(10_000);
  const mishaps = [];
  page.on('pageerror', (error) => mishaps.push(error.stack));
  const requests = [];
  page.on('requestfinished', async (request) => {
    if (!request.url().includes('/socket.io/')) return;
    const type = (await request.response())?.headers()['content-type'];
    requests.push({ url: request.url(), kind: request.resourceType(), method: request.method(), type });
  });
  await page.goto(`${server.url}/${version}.html`);
  return Object.assign(page, { mishaps, requests });
}

// In the page: connects, says things, and tells what it got back; binary as lists of bytes.
const talk = async ({ options, text }) => {
  const plain = (value) =>
    value instanceof ArrayBuffer
      ? { bytes: [...new Uint8Array(value)] }
      : Array.isArray(value) ? value.map(plain) : value;
  const socket = (window.socket = window.io('/', { reconnection: false, forceNew: true, ...options }));
  window.got = [];
  socket.on('news', (...args) => window.got.push(plain(args)));
  socket.on('disconnect', (reason) => (window.end = reason));
  await new Promise((resolve, reject) => {
    socket.on('connect', resolve);
    for (const name of ['error', 'connect_error']) socket.on(name, (error) => reject(new Error(`${name} ${error}`)));
  });
  const { engine } = socket.io;
  if (options.transports === undefined && engine.transport.name !== 'websocket')
    await new Promise((resolve) => engine.once('upgrade', resolve));
  const ask = (...args) => new Promise((resolve) => socket.emit(...args, (...list) => resolve(plain(list))));
  const bytes = new Uint8Array([0, 1, 127, 128, 255]).buffer;
  return {
    id: socket.id,
    transport: engine.transport.name,
    texts: await ask('message-with-ack', text, { a: [text] }),
    binary: await ask('message-with-ack', bytes, { b: 1 }, bytes),
    big: (await ask('big', 60000))[0].length,
    who: (await ask('who'))[0],
  };
};

describe('old clients in a browser', { skip: needsOwn, concurrency: true }, () => {
  for (const version of Object.keys(versions))
    for (const mode of Object.keys(modes))
      // EIO-JSONP, EIO-V3-BINARY, EIO-V3-TEXT
      it(`${version} over ${mode}`, async () => {
        const page = await open(version);
        const said = await within(15_000, 'the page to have talked',
          page.evaluate(talk, { options: modes[mode], text }), () => page.requests);
        const bytes = { bytes: [0, 1, 127, 128, 255] };
        assert.deepEqual(said.texts, [text, { a: [text] }]);
        assert.deepEqual(said.binary, [bytes, { b: 1 }, bytes]);
        assert.equal(said.big, 60000); // 1.7.4 can't take much more in one poll
        assert.deepEqual([said.transport, said.who.transport, said.who.protocol], [transport[mode], transport[mode], 3]);
        // From a client of today, and after some heartbeats.
        const other = await connect(server.url, 'polling');
        await page.waitForFunction(() => performance.now() > 1200);
        await call(other, 'cast', { via: 'io', to: [said.id] }, 'news', text, Buffer.from([9, 200]));
        await page.waitForFunction(() => window.got.length === 1);
        assert.deepEqual(await page.evaluate(() => window.got), [[text, { bytes: [9, 200] }]]);
        // The network carried what it should.
        const kinds = new Set(page.requests.map(({ kind }) => kind));
        const octets = page.requests.some(({ type }) => type === 'application/octet-stream');
        if (mode === 'jsonp') {
          assert.ok(kinds.has('script') && !kinds.has('xhr'), [...kinds]);
          assert.ok(page.requests.some(({ method, url }) => method === 'POST' && url.includes('j=')));
          assert.ok(page.requests.every(({ kind, type }) => kind !== 'script' || type.startsWith('text/javascript')));
        } else if (mode === 'polling') {
          assert.ok(kinds.has('xhr') && octets, [...kinds]);
        }
        await page.evaluate(() => window.socket.emit('disconnect-me', true));
        await page.waitForFunction(() => window.end !== undefined);
        assert.equal(await until('the reason', () => call(other, 'reason-of', said.id)), 'server namespace disconnect');
        other.close();
        assert.deepEqual(page.mishaps, []);
        await page.close();
      });
});
