// SPDX-License-Identifier: MIT
//
// A disk that is full: what there is stays whole, new work is refused so that the client sees it, and when there is room
// again everything goes on by itself: over WebSocket, over polling, and with a CGI program for each request. The database
// lies on a file system of a few MB in a machine of its own.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { root, build } from '../e2e/lib/npm.mjs';
import { call, client, connect } from '../e2e/lib/official.mjs';
import { freePorts, isListening } from '../e2e/lib/server.mjs';
import { until, within } from '../e2e/lib/wait.mjs';
import { Polling } from '../e2e/lib/wire.mjs';
import { Machine, needsRoot } from './lib_machine.mjs';

const CONF = `database = /data/siolite/siolite.db
app = /share/apps/conformance.so
recovery = 60s
ping_interval = 1s
`;

const lighttpdConf = (port, modules, rest) => `
server.document-root = "/tmp/site"
server.bind = "127.0.0.1"
server.port = ${port}
server.errorlog = "/tmp/lighttpd.log"
server.breakagelog = "/tmp/programs.log"
server.modules += ( ${modules} )
${rest}
`;

describe('a full disk', { skip: needsRoot }, () => {
  let machine;
  const logs = { ws: '', fcgi: '' };
  const urls = {}; // by way
  before(async () => {
    machine = await Machine.start({ share: path.resolve(root, build) });
    await machine.ok('mkdir -p /data && mount -t tmpfs -o size=4M none /data && install -d -o nobody /data/siolite && mkdir -p /tmp/site/socket.io');
    await machine.ok('cp -L /share/siolite.cgi /tmp/site/socket.io/ && chmod -R go+rX /tmp/site && touch /tmp/lighttpd.log /tmp/programs.log && chmod 666 /tmp/*.log');
    const [ws, fcgi, polling, cgi] = await freePorts(4);
    const write = (file, text) => machine.ok(`cat >${file} <<'END'\n${text}END`);
    await write('/tmp/site/socket.io/siolite.conf', CONF);
    await write('/tmp/polling.conf', lighttpdConf(polling, '"mod_fastcgi"',
      `fastcgi.server = ( "/socket.io" => (( "host" => "127.0.0.1", "port" => ${fcgi}, "check-local" => "disable", "disable-time" => 0 )) )`));
    await write('/tmp/cgi.conf', lighttpdConf(cgi, '"mod_rewrite", "mod_cgi"',
      'url.rewrite-once = ( "^/socket\\.io/\\?(.*)$" => "/socket.io/siolite.cgi?$1" )\ncgi.assign = ( ".cgi" => "" )'));
    const conf = ['--config', '/tmp/site/socket.io/siolite.conf'];
    for (const [name, command] of [['ws', ['/share/siolite-ws', ...conf, '--set', `ws_listen=127.0.0.1:${ws}`]],
      ['fcgi', ['/share/siolite.fcgi', ...conf, '--set', `fcgi_listen=127.0.0.1:${fcgi}`]]]) {
      machine.start(command, { user: 'nobody' }).stderr.on('data', (chunk) => { logs[name] += chunk; });
    }
    for (const name of ['polling', 'cgi']) machine.start(['lighttpd', '-D', '-f', `/tmp/${name}.conf`], { user: 'nobody' });
    for (const port of [ws, fcgi, polling, cgi]) await until(`port ${port} to be there`, () => isListening(port));
    Object.assign(urls, { websocket: `http://127.0.0.1:${ws}`, polling: `http://127.0.0.1:${polling}`, cgi: `http://127.0.0.1:${cgi}` });
  });
  after(() => machine?.stop());

  // Until nothing more fits; root's files count like everybody's on this file system.
  const fill = () => machine.run('dd if=/dev/zero of=/data/full bs=4k');
  const room = () => machine.ok('rm /data/full');
  const sql = async (text) => (await machine.ok(`sqlite3 -cmd '.timeout 5000' /data/siolite/siolite.db "${text}"`)).trim();
  const WAYS = ['websocket', 'polling', 'cgi'];
  const mode = (way) => (way === 'websocket' ? 'websocket' : 'polling');

  it('refuses what is new, and the client sees it, whichever way it came', async () => {
    const sockets = {};
    for (const way of WAYS) {
      sockets[way] = await connect(urls[way], mode(way));
      assert.deepEqual(await call(sockets[way], 'message-with-ack', 'kept'), 'kept');
      await call(sockets[way], 'join', `room of ${way}`);
    }
    const raw = { polling: await Polling.connect(urls.polling), cgi: await Polling.connect(urls.cgi) };
    await fill();
    // The WAL has pages that it can use again; then none.
    const refused = WAYS.map((way) => within(20_000, `the end of who wants more than fits, by ${way}`, sockets[way].ended));
    const more = setInterval(() => Object.values(sockets).forEach((socket) => socket.emit('message', 'x'.repeat(50_000))), 5);
    try {
      for (const reason of await Promise.all(refused)) assert.match(reason, /^(transport (close|error)|ping timeout)$/);
    } finally {
      clearInterval(more);
    }
    for (const way of WAYS) {
      const late = client(urls[way], mode(way), { timeout: 2000 });
      // A session may be begun still, and its CONNECT be what does not fit.
      const seen = Promise.race([late.ready, late.ended.then((reason) => Promise.reject(new Error(reason)))]);
      await assert.rejects(within(10_000, `a refusal by ${way}`, seen), /websocket error|timeout|xhr|transport (close|error)/);
    }
    // No 200 for what is not kept.
    assert.equal((await raw.polling.post('42["message","lost"]')).status, 503);
    assert.equal((await raw.cgi.post('42["message","lost"]')).status, 500);
    for (const text of Object.values(logs)) assert.match(text, / error .*(full|disk)/);
    assert.match(await machine.ok('cat /tmp/programs.log'), / error siolite\.fcgi .*(full|disk)/);
    assert.equal(await sql('PRAGMA integrity_check'), 'ok');
    assert.equal(await sql("SELECT count(*) FROM t_room WHERE name LIKE 'room of %'"), '3');
  });

  it('goes on by itself when there is room', async () => {
    await room();
    for (const way of WAYS) {
      const socket = await until(`a client to get in by ${way}`, async () => {
        try {
          return await connect(urls[way], mode(way));
        } catch {
          return undefined;
        }
      }, 15_000);
      for (let i = 0; i < 20; i++) assert.equal((await call(socket, 'message-with-ack', 'y'.repeat(10_000))).length, 10_000);
      socket.close();
    }
    assert.equal(await sql('PRAGMA integrity_check'), 'ok');
  });
});
