// SPDX-License-Identifier: MIT
//
// `siolite conf`: what it makes of a configuration, and what it refuses. That the web servers take it, and that it works
// there, is tests/e2e/deploy_servers.test.mjs.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const build = process.env.SIOLITE_BUILD ?? fileURLToPath(new URL('../../build/release', import.meta.url));
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'siolite-conf-'));
after(() => fs.rmSync(dir, { recursive: true, force: true }));

// Of a configuration with these settings.
function conf(kind, settings = {}, args = []) {
  const file = path.join(dir, 'siolite.conf');
  fs.writeFileSync(file, Object.entries({ database: '/var/lib/siolite/siolite.db', ...settings }).map(([k, v]) => `${k} = ${v}\n`).join(''));
  return new Promise((resolve) => execFile(path.join(build, 'siolite'), ['conf', ...(kind ? [kind] : []), '--config', file, ...args], { timeout: 10_000 },
    (error, stdout, stderr) => resolve({ code: error ? error.code : 0, stdout, stderr })));
}
const printed = async (...args) => {
  const { code, stdout, stderr } = await conf(...args);
  assert.deepEqual([code, stderr], [0, '']);
  return stdout;
};
const servers = ['lighttpd', 'apache', 'apache-fcgid', 'nginx', 'caddy'];

test('what is wrong is named, with what is allowed', async () => {
  for (const [args, text] of [
    [['iis'], /iis: no such configuration; allowed: .*apache, .*systemd/],
    [['_service'], /_service: no such configuration/],
    [[''], /an argument is missing/],
    [['nginx', { fcgi_listen: '9000' }], /fcgi_listen: 9000: is no address that others can find; allowed: HOST:PORT, or a path/],
    [['nginx', { ws_listen: '127.0.0.1:0' }], /ws_listen: 127\.0\.0\.1:0: is no address/],
    [['nginx', {}, ['--ws', 'x']], /ws: x: is no address/],
    [['nginx', { path: '/a;b' }], /path: \/a;b: can't be written .*allowed: letters, digits/],
    [['apache', { database: '/srv/my site/x.db' }], /database_dir: \/srv\/my site: can't be written/],
    [['nginx', {}, ['--fcgi', '/a', '--fcgi', '/b']], /nginx: one --fcgi and one --ws; lighttpd and caddy take more/],
    [['systemd', {}, ['--user', 'a b']], /user: a b: can't be written/],
    [['caddy', {}, Array.from({ length: 17 }, (_, i) => ['--ws', `127.0.0.1:${i + 1}`]).flat()], /ws: more than 16 addresses/],
  ]) {
    const { code, stdout, stderr } = await conf(...args);
    assert.deepEqual([code, stdout], [2, ''], stderr);
    assert.match(stderr, text);
  }
});

test('without a configuration it says what it assumes', async () => {
  const { code, stdout, stderr } = await new Promise((resolve) => execFile(path.join(build, 'siolite'), ['conf', 'nginx'], { cwd: '/' },
    (error, out, err) => resolve({ code: error?.code ?? 0, stdout: out, stderr: err })));
  assert.equal(code, 0);
  assert.match(stdout, /fastcgi_pass unix:\/run\/siolite\/fcgi\.sock;/);
  assert.match(stderr, /^siolite conf: no configuration was found: assumed is \/etc\/siolite\/siolite\.conf, with the defaults\n$/);
});

test('only the transports on offer are in it', async () => {
  for (const kind of servers) {
    const polling = await printed(kind, { transports: 'polling' });
    assert.doesNotMatch(polling, /8090|wstunnel_module|upgrade=|siolite_ws/, kind);
    if (kind === 'apache-fcgid') continue;
    const websocket = await printed(kind, { transports: 'websocket' });
    assert.match(websocket, /8090/, kind);
    assert.doesNotMatch(websocket, /fcgi\.sock|siolite\.fcgi|stream-request|CGIPassAuth/, kind);
  }
  assert.doesNotMatch(await printed('systemd', { transports: 'polling' }), /siolite-ws/);
  assert.doesNotMatch(await printed('systemd', { transports: 'websocket' }), /fcgi/);
});

test('a sidecar that speaks TLS is not behind the web server', async () => {
  const tls = { ws_listen: '*:8443', ws_tls_cert: '/etc/ssl/a.crt', ws_tls_key: '/etc/ssl/a.key' };
  for (const kind of servers) assert.doesNotMatch(await printed(kind, tls), /8443|wstunnel_module|upgrade=|siolite_ws/, kind);
  const units = await printed('systemd', tls);
  assert.match(units, /^ListenStream=8443$/m);
  assert.match(units, /systemctl reload siolite-ws/);
});

test('the hint about trusted_proxy is there as long as it is needed', async () => {
  for (const kind of servers) {
    assert.match(await printed(kind), /trusted_proxy = 127\.0\.0\.1/, kind);
    assert.match(await printed(kind, { trusted_proxy: '10.127.0.0.1 127.0.0.10' }), /trusted_proxy/, kind);
    assert.doesNotMatch(await printed(kind, { trusted_proxy: '10.0.0.1 127.0.0.1' }), /trusted_proxy/, kind);
    assert.doesNotMatch(await printed(kind, { ws_listen: '/run/siolite/ws.sock' }), /trusted_proxy/, kind);
    assert.match(await printed(kind, { ws_listen: '[::1]:8090' }), /trusted_proxy = ::1/, kind);
  }
});

test('addresses that mean every interface are connected to at this machine', async () => {
  for (const [listen, target] of [['*:81', '127.0.0.1:81'], ['0.0.0.0:81', '127.0.0.1:81'], [':81', '127.0.0.1:81'], ['[::]:81', '[::1]:81'],
    ['[2001:db8::1]:81', '[2001:db8::1]:81'], ['localhost:81', '127.0.0.1:81'], ['ws.example:81', 'ws.example:81']]) {
    assert.ok((await printed('nginx', { ws_listen: listen })).includes(`proxy_pass http://${target};`), listen);
  }
  assert.match(await printed('lighttpd', { ws_listen: '[::]:81' }), /"host" => "::1", "port" => 81/);
  assert.match(await printed('systemd', { ws_listen: '0.0.0.0:81' }), /^ListenStream=0\.0\.0\.0:81|^ListenStream=127\.0\.0\.1:81/m);
});

test('time-outs and sizes follow the configuration', async () => {
  const nginx = await printed('nginx', { ping_interval: '2m', ping_timeout: '30s', max_payload: '5M' });
  assert.match(nginx, /fastcgi_read_timeout 165s;/);
  assert.match(nginx, /proxy_read_timeout 165s;/);
  assert.match(nginx, /client_max_body_size 6m;/);
  assert.match(await printed('lighttpd', { ping_interval: '2m' }), /server\.max-read-idle = 155/);
  assert.doesNotMatch(await printed('lighttpd'), /max-read-idle/);
});

test('lighttpd looks again at once at a program that was away', async () => {
  for (const addresses of [[], ['--fcgi', '/a', '--fcgi', '127.0.0.1:1', '--ws', '/c', '--ws', '127.0.0.1:2']]) {
    const text = await printed('lighttpd', {}, addresses);
    const backends = text.match(/"(socket|host)" => /g).length;
    assert.equal(text.match(/"disable-time" => 0 \)/g).length, backends, text);
  }
});

test('lighttpd starts the program unless it is told where it listens', async () => {
  assert.match(await printed('lighttpd'), /"bin-path" => "\/\S+\/siolite\.fcgi --config \/\S+siolite\.conf",/);
  assert.match(await printed('lighttpd'), /"socket" => "\/var\/lib\/siolite\/fcgi\.sock"/);
  assert.doesNotMatch(await printed('lighttpd', { fcgi_listen: '127.0.0.1:9000' }), /bin-path/);
  const several = await printed('lighttpd', {}, ['--fcgi', '/a', '--fcgi', '/b', '--ws', '/c']);
  assert.doesNotMatch(several, /bin-path/);
  assert.match(several, /"socket" => "\/a",[^]*\),\n[^]*"socket" => "\/b",[^]*\)\n/);
});

test('units fit the place of the database, and the user', async () => {
  const units = await printed('systemd', {}, ['--user', 'nobody', '--web-group', 'daemon']);
  for (const line of ['User=nobody', 'Group=nogroup', 'SocketGroup=daemon', 'StateDirectory=siolite', 'ProtectHome=yes'])
    assert.match(units, new RegExp(`^${line}$`, 'm'));
  const home = await printed('systemd', { database: '/home/me/siolite/x.db' }, ['--group', 'users']);
  assert.doesNotMatch(home, /ProtectHome|StateDirectory/);
  assert.match(home, /^ReadWritePaths=\/home\/me\/siolite$/m);
  assert.match(home, /^Group=users$/m);
});
