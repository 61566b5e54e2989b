// SPDX-License-Identifier: MIT
//
// Every configuration that `siolite conf` prints, in the web server that it is for: polling, WebSocket and upgrade with
// the official client, a poll that is held, one that is given up, bodies of the size that was announced.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { apache, caddy, Installation, lighttpd, nginx, run } from './lib/deploy.mjs';
import { freePorts, needsOwn } from './lib/server.mjs';
import { call, client, connect, freshNsp, next } from './lib/official.mjs';
import { slowness, until, within } from './lib/wait.mjs';
import { Polling, request, Socket } from './lib/wire.mjs';

const PING_MS = 2000;
let at;
const port = {}; // by site

// A folder of the site, as an FTP program leaves it.
function folder(site, kind, args) {
  const home = at.at(site, 'socket.io');
  fs.mkdirSync(home, { recursive: true });
  const program = args.includes('--fcgid') ? 'siolite.fcgi' : 'siolite.cgi';
  fs.copyFileSync(at.at('usr/local/lib/siolite/siolite.fcgi'), path.join(home, program));
  fs.copyFileSync(at.conf, path.join(home, 'siolite.conf'));
  at.print(kind, args, path.join(home, '.htaccess'));
  return at.at(site);
}

// A certificate of its own for localhost, and its key.
async function certify(dir) {
  const { code, stderr } = await run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
    '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', `${dir}/tls.key`, '-out', `${dir}/tls.crt`]);
  assert.equal(code, 0, stderr);
  fs.chmodSync(`${dir}/tls.key`, 0o644); // whoever runs the sidecar
}

before(async () => {
  if (needsOwn) return;
  at = new Installation({ ping_interval: `${PING_MS}ms`, ping_timeout: '5s', max_held: 64 });
  fs.copyFileSync('/etc/nginx/fastcgi_params', at.at('etc/fastcgi_params'));
  const sites = ['lighttpd', 'lighttpd2', 'apache', 'apache2', 'fcgid', 'cgi', 'fcgidir', 'nginx', 'nginx2', 'caddy', 'caddy2', 'fcgiTcp', 'wsTcp', 'wsTls'];
  (await freePorts(sites.length)).forEach((number, i) => (port[sites[i]] = number));
  // Once as printed by default, a path for FastCGI and a port for WebSocket; once the other way round, and with the bare path.
  const one = { fcgi: at.at('run/fcgi.sock'), ws: `127.0.0.1:${port.wsTcp}`, bare: 'on' };
  const two = { fcgi: `127.0.0.1:${port.fcgiTcp}`, ws: at.at('run/ws.sock'), bare: 'off' };
  const args = ({ fcgi, ws, bare }) => ['--set', `fcgi_listen=${fcgi}`, '--set', `ws_listen=${ws}`, '--set', `add_trailing_slash=${bare}`];
  const bare = ['--set', 'add_trailing_slash=off'];
  await Promise.all([at.fcgi('fcgi-1', one.fcgi), at.fcgi('fcgi-2', two.fcgi, bare), at.ws('ws-1', one.ws), at.ws('ws-2', two.ws, bare)]);
  await certify(at.at('etc'));
  await at.ws('ws-tls', `127.0.0.1:${port.wsTls}`, ['--set', `ws_tls_cert=${at.at('etc/tls.crt')}`, '--set', `ws_tls_key=${at.at('etc/tls.key')}`]);
  const both = (kind, name = kind) => [{ port: port[name], file: at.print(kind, args(one)) }, { port: port[`${name}2`], file: at.print(kind, args(two)) }];
  // lighttpd starts siolite.fcgi itself where fcgi_listen is not set.
  const [, second] = both('lighttpd');
  await Promise.all([
    lighttpd(at, 'lighttpd', [{ port: port.lighttpd, file: at.print('lighttpd', ['--ws', one.ws]) }]),
    lighttpd(at, 'lighttpd2', [second]),
    nginx(at, 'nginx', both('nginx')),
    caddy(at, 'caddy', both('caddy')),
    apache(at, 'apache', both('apache'), ['proxy', 'proxy_fcgi', 'proxy_http', 'proxy_wstunnel']),
    // Without mod_proxy_wstunnel: mod_proxy_http does it.
    apache(at, 'fcgid', [
      { port: port.fcgid, file: at.print('apache-fcgid', args(one)) },
      { port: port.cgi, site: folder('cgi', 'htaccess', []) },
      { port: port.fcgidir, site: folder('fcgidir', 'htaccess', ['--fcgid']) },
    ], ['proxy', 'proxy_http', 'fcgid', 'cgid']),
  ]);
});
after(() => at?.stop());

const url = (site) => `http://127.0.0.1:${port[site]}`;

// Is a poll of this session held by a process at this moment?
const isHeld = (session) => at.value(`SELECT count(process_id) FROM session JOIN socket USING (session_id) WHERE socket = '${session.sioId}'`);

// One that is held for sure: a ping may be due before, where processes start slowly.
async function heldPoll(session) {
  for (;;) {
    const poll = session.poll();
    let answer;
    poll.then((a) => (answer = a), () => {});
    await until('the poll to be held', async () => answer ?? (await isHeld(session)));
    if (answer === undefined) return { poll }; // not the promise itself, which would be awaited
    assert.equal(answer.body, '2');
    await session.post('3');
  }
}

// hasWs: passes WebSockets on. tells: by what it notices that a browser has left: '' not at all, 'abort' by a reset,
// 'cancel' by the end of the connection, too. maxPayload: what the client is told.
const KINDS = [
  { name: 'lighttpd, which starts siolite.fcgi', site: 'lighttpd', hasWs: true, tells: 'abort', maxPayload: 1_000_000 },
  { name: 'lighttpd, the other addresses', site: 'lighttpd2', hasWs: true, tells: 'abort', maxPayload: 1_000_000 },
  { name: 'Apache with mod_proxy_fcgi', site: 'apache', hasWs: true, tells: '', maxPayload: 1_000_000 },
  { name: 'Apache with mod_proxy_fcgi, the other addresses', site: 'apache2', hasWs: true, tells: '', maxPayload: 1_000_000 },
  { name: 'Apache with mod_fcgid', site: 'fcgid', hasWs: true, tells: '', maxPayload: 100_000 },
  { name: 'Apache with CGI and .htaccess', site: 'cgi', hasWs: false, tells: '', maxPayload: 1_000_000 },
  { name: 'Apache with mod_fcgid and .htaccess', site: 'fcgidir', hasWs: false, tells: '', maxPayload: 100_000 },
  { name: 'nginx', site: 'nginx', hasWs: true, tells: 'cancel', maxPayload: 1_000_000 },
  { name: 'nginx, the other addresses', site: 'nginx2', hasWs: true, tells: 'cancel', maxPayload: 1_000_000 },
  { name: 'Caddy', site: 'caddy', hasWs: true, tells: '', maxPayload: 1_000_000 },
  { name: 'Caddy, the other addresses', site: 'caddy2', hasWs: true, tells: '', maxPayload: 1_000_000 },
];

async function chat(site, mode, maxPayload) {
  const nsp = freshNsp();
  const socket = await connect(url(site), mode, { nsp });
  assert.equal(await call(socket, 'message-with-ack', 'h\u00e4'), 'h\u00e4');
  const n = maxPayload > 500_000 ? 500_000 : 50_000;
  const digest = await call(socket, 'digest', Buffer.alloc(n, 7));
  assert.deepEqual([digest.type, digest.bytes], ['binary', n]);
  await at.sql(`INSERT INTO emit (nsp, event, args) VALUES ('${nsp}', 'news', '[1]')`);
  assert.deepEqual(await next(socket, 'news'), [1]);
  assert.equal((await call(socket, 'who')).transport, mode === 'polling' ? 'polling' : 'websocket');
  socket.close();
}

describe('siolite conf', { skip: needsOwn, concurrency: 5 }, () => {
  for (const { name, site, hasWs, tells, maxPayload } of KINDS) {
    describe(name, { concurrency: true }, () => {
      it('the official client over polling', () => chat(site, 'polling', maxPayload));

      if (hasWs) {
        it('the official client over WebSocket', () => chat(site, 'websocket', maxPayload));
        it('the official client with an upgrade', () => chat(site, 'upgrade', maxPayload));
      } else {
        it('a client that tries WebSocket stays on polling', async () => {
          const socket = client(url(site), 'upgrade');
          await within(5000, 'the client to connect', socket.ready);
          assert.equal(await call(socket, 'message-with-ack', 1), 1);
          assert.equal((await call(socket, 'who')).transport, 'polling');
          socket.close();
        });
      }

      it('a poll is held until the ping', async () => {
        const from = performance.now();
        const session = await Polling.connect(url(site));
        const connected = performance.now(); // mod_fcgid may have kept each of its requests for a second, until there was a process
        const answer = await session.poll();
        const now = performance.now();
        assert.equal(answer.body, '2');
        assert.ok(now - from > PING_MS - 100 && now - connected < 3 * PING_MS * slowness, `the ping came after ${now - from} ms, ${now - connected} of its poll`);
        assert.equal(answer.headers['cache-control'], 'no-store');
        assert.equal(session.handshake.headers['content-encoding'], undefined);
        await session.post('1');
      });

      it('a poll that is given up costs nothing', async () => {
        const session = await Polling.connect(url(site));
        const { poll } = await heldPoll(session);
        poll[tells || 'cancel']();
        await poll.catch(() => {});
        // Some web servers don't tell: it is held until the ping then.
        await until('the poll to be gone', async () => !(await isHeld(session)), tells ? 1000 : 2 * PING_MS + 1000);
        await at.sql(`INSERT INTO emit (room, event) VALUES ('${session.sioId}', 'afterwards')`);
        assert.deepEqual(await session.receive(), ['42["afterwards"]']);
        await session.post('1');
      });

      it('a body of the announced size passes, a larger one is refused', async () => {
        const session = await Polling.connect(url(site));
        assert.equal(session.open.maxPayload, maxPayload);
        const packet = (n) => `42["message",${JSON.stringify('x'.repeat(n - 16))}]`;
        assert.equal((await session.post(packet(maxPayload))).status, 200);
        const [back] = await session.receive();
        assert.equal(back.length, maxPayload + 5); // "message-back"
        assert.equal((await session.post(packet(maxPayload + 1))).status, 413);
        assert.deepEqual(await session.call('message-with-ack', 'still here'), ['still here']);
        await session.post('1');
      });

      if (site.endsWith('2')) {
        it('add_trailing_slash=off: the path without the slash', async () => {
          const session = new Polling(url(site));
          const answer = await session.request({ path: '/socket.io' });
          assert.equal(answer.status, 200);
          const socket = new Socket(url(site), { path: '/socket.io' });
          assert.equal((await socket.answered).status, 101);
          socket.terminate();
          const other = await request(url(site), { path: '/socket.iox' });
          assert.ok(other.status === 404 || other.body === '', other.body); // Caddy: an empty page
        });
      }

      if (!site.endsWith('2')) it('siolite doctor finds nothing to mend', async () => {
        const { code, stdout, stderr } = await run([at.siolite, 'doctor', '--url-only', '--quick', '--json', '--config', at.conf, url(site)]);
        const wrong = stdout.split('\n').filter((line) => /"level":"(warn|fail)"/.test(line));
        assert.deepEqual([code, stderr, wrong], hasWs ? [0, '', []] : [1, '', wrong], stdout);
        if (!hasWs) assert.match(wrong.join('\n'), /^[^\n]*"check":"url\.upgrade"[^\n]*$/, 'nothing but WebSocket is missing');
        if (tells === 'cancel') assert.match(stdout, /"url\.abort","level":"ok"/);
      });

      it('address, host and authorization of the client arrive', async () => {
        const headers = { Authorization: 'Bearer of news', Origin: `http://127.0.0.1:${port[site]}` };
        const localAddress = '127.0.0.2';
        const seen = async (id) => {
          const { remote, handshake } = (await at.sql(`SELECT remote, handshake FROM t_session WHERE eio_sid = '${id}'`))[0];
          const { headers: got } = JSON.parse(handshake);
          return [remote, got.host.split(':')[0], got.authorization]; // Debian's nginx hides the port
        };
        const expected = ['127.0.0.2', '127.0.0.1', 'Bearer of news'];
        const polling = await Polling.open(url(site), { headers, localAddress });
        assert.deepEqual(await seen(polling.sid), expected);
        await polling.post('1');
        if (!hasWs) return;
        const socket = await Socket.open(url(site), { headers, options: { localAddress } });
        assert.deepEqual(await seen(socket.sid), expected);
        await socket.close();
      });
    });
  }
});

describe('the other ways', { skip: needsOwn, concurrency: true }, () => {
  it('a folder with .htaccess shows nobody its configuration or its database', async () => {
    for (const site of ['cgi', 'fcgidir']) {
      for (const name of ['siolite.conf', 'siolite.db', 'siolite.db-wal', 'app.so', 'app.sql', '.htaccess']) {
        fs.appendFileSync(at.at(site, 'socket.io', name), '');
        assert.equal((await request(url(site), { path: `/socket.io/${name}` })).status, 403, name);
      }
    }
  });

  it('the log of a program that the web server starts is where its page says, also after copytruncate', async () => {
    const log = { lighttpd: 'lighttpd-breakage.log', fcgid: 'fcgid-error.log', cgi: 'fcgid-error.log', fcgidir: 'fcgid-error.log' };
    await Promise.all(Object.entries(log).map(async ([site, name]) => {
      const says = async () => {
        const session = await Polling.connect(url(site));
        const id = await at.value(`SELECT session_id FROM session JOIN socket USING (session_id) WHERE socket = '${session.sioId}'`);
        await until(`${site} to log the session`, () => fs.readFileSync(at.at('log', name), 'utf8').includes(` session.open session=${id} `));
        await session.post('1');
      };
      await says();
      if (site !== 'lighttpd') return;
      fs.truncateSync(at.at('log', name));
      await says();
      assert.ok(!fs.readFileSync(at.at('log', name), 'utf8').includes('\0'), 'it is appended to');
    }));
  });

  it('a sidecar with a certificate, beside the web server', async () => {
    const ca = fs.readFileSync(at.at('etc/tls.crt'));
    const socket = await connect(`https://localhost:${port.wsTls}`, 'websocket', { ca, extraHeaders: { origin: 'https://localhost' } });
    assert.equal((await call(socket, 'who')).transport, 'websocket');
    assert.equal(await call(socket, 'message-with-ack', 1), 1);
    socket.close();
  });

  it('systemd starts the programs at their sockets, by the units that are printed', async () => {
    const text = fs.readFileSync(at.print('systemd', ['--user', 'root', '--group', 'root', '--set', `ws_listen=127.0.0.1:1`]), 'utf8');
    const units = Object.fromEntries(text.split(/^# ---- .*\/(?=siolite)/m).slice(1).map((unit) => {
      const end = unit.indexOf('\n');
      return [unit.slice(0, end), unit.slice(end + 1)];
    }));
    assert.deepEqual(Object.keys(units), ['siolite-fcgi.socket', 'siolite-fcgi.service', 'siolite-ws.socket', 'siolite-ws.service']);
    for (const [name, unit] of Object.entries(units)) fs.writeFileSync(at.at('run', name), unit);
    if (fs.existsSync('/usr/bin/systemd-analyze')) {
      const { code, stderr } = await run(['systemd-analyze', 'verify', '--man=no', ...Object.keys(units).map((name) => at.at('run', name))]);
      const about = stderr.split('\n').filter((line) => line.includes('siolite'));
      assert.deepEqual([code, about], [0, []]);
    }
  });
});
