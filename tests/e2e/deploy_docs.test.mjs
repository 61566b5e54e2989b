// SPDX-License-Identifier: MIT
//
// docs/deploy/: the configurations in it are exactly what `siolite conf` prints, for docs/examples/siolite.conf where
// `make install` puts everything. SIOLITE_WRITE=1 writes them anew. And the client code in it works.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { build, require, root } from './lib/npm.mjs';
import { freePorts, needsOwn, startServer } from './lib/server.mjs';
import { next } from './lib/official.mjs';
import { Inbox, until, within } from './lib/wait.mjs';

const { io } = require('socket.io-client');
const docs = path.join(root, 'docs/deploy');
const pages = fs.readdirSync(docs).filter((name) => name.endsWith('.md'));
const read = (page) => fs.readFileSync(path.join(docs, page), 'utf8');
const BLOCK = /^`siolite (conf [^`]+)` prints:\n\n```\n([^]*?)```$/gm;

describe('what siolite conf prints', () => {
  let dir;
  before(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'siolite-docs-'));
    for (const folder of ['etc/siolite', 'usr/local/bin', 'usr/local/lib/siolite']) fs.mkdirSync(path.join(dir, folder), { recursive: true });
    fs.copyFileSync(path.join(root, 'docs/examples/siolite.conf'), path.join(dir, 'etc/siolite/siolite.conf'));
    for (const [name, folder] of [['siolite', 'bin'], ['siolite-ws', 'bin'], ['siolite.fcgi', 'lib/siolite']]) {
      fs.copyFileSync(path.join(build, name), path.join(dir, 'usr/local', folder, name));
    }
  });
  after(() => fs.rmSync(dir, { recursive: true, force: true }));

  const printed = (command) => execFileSync(path.join(dir, 'usr/local/bin/siolite'), [...command.split(' '), '--config', path.join(dir, 'etc/siolite/siolite.conf')],
    { encoding: 'utf8' }).replaceAll(fs.realpathSync(dir), '').replaceAll(dir, '');

  for (const page of pages) {
    const blocks = [...read(page).matchAll(BLOCK)];
    for (const [, command] of blocks) {
      it(`${page}: siolite ${command}`, () => {
        const wanted = printed(command);
        if (process.env.SIOLITE_WRITE) {
          fs.writeFileSync(path.join(docs, page), read(page).replace(BLOCK, (all, c) => (c === command ? `\`siolite ${c}\` prints:\n\n\`\`\`\n${wanted}\`\`\`` : all)));
        }
        const [, , shown] = [...read(page).matchAll(BLOCK)].find(([, c]) => c === command);
        assert.equal(shown, wanted);
      });
    }
  }

  it('every configuration has its page', () => {
    const shown = new Set(pages.flatMap((page) => [...read(page).matchAll(BLOCK)].map(([, command]) => command.split(' ')[1])));
    const { stderr } = (() => {
      try {
        return { stderr: execFileSync(path.join(build, 'siolite'), ['conf', 'none'], { encoding: 'utf8', stdio: 'pipe' }) };
      } catch (error) {
        return error;
      }
    })();
    const kinds = /allowed: (.*)\n/.exec(stderr)[1].split(', ');
    assert.deepEqual([...shown].sort(), kinds.sort());
  });

  it('links between the pages lead somewhere', () => {
    for (const page of pages) {
      for (const [, target] of read(page).matchAll(/\]\(([^)#:.]+\.[^)#:]+)(?:#[^)]*)?\)/g)) assert.ok(fs.existsSync(path.join(docs, target)), `${page}: ${target}`);
    }
  });
});

describe('client code of the pages', { skip: needsOwn }, () => {
  let server;
  before(async () => (server = await startServer({ fcgi: 1, ws: 1 })));
  after(() => server?.stop());

  // Runs the first block of JavaScript of a page; the result is its last `socket`.
  function client(page, replace) {
    const [, code] = /^```js\n([^]*?)```$/m.exec(read(page));
    const text = Object.entries(replace).reduce((all, [from, to]) => {
      assert.ok(all.includes(from), from);
      return all.replaceAll(from, to);
    }, code);
    return new Function('io', `${text}; return () => socket;`)(io);
  }

  it('apache-cgi.md: polls with a pause between them', async () => {
    const socket = client('apache-cgi.md', { 'io({ ': `io('${server.url}', { forceNew: true, `, 'setTimeout(poll, 1000)': 'setTimeout(poll, 300)' })();
    socket.events = new Inbox();
    socket.onAny((...event) => socket.events.push(event));
    await within(5000, 'the client to connect', new Promise((resolve) => socket.on('connect', resolve)));
    await next(socket, 'auth');
    const from = performance.now();
    for (let i = 0; i < 3; i++) assert.equal(await socket.timeout(5000).emitWithAck('message-with-ack', i), i);
    assert.ok(performance.now() - from > 500, 'each answer waits for the next poll');
    socket.close();
  });

  it('tls.md: polling through the web server where the port is closed', async () => {
    const [closed] = await freePorts(1);
    const socket = client('tls.md', { 'https://www.example.org:8443': `http://127.0.0.1:${closed}`, 'https://www.example.org': server.url, ':8443': `:${closed}` });
    await until('the client to connect', () => socket().connected);
    assert.equal(socket().io.engine.transport.name, 'polling');
    socket().close();
  });
});
