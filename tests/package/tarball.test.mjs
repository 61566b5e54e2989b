// SPDX-License-Identifier: MIT
//
// The release tarball on shared hosting: unpacked by a user without rights on a machine without our libraries, behind an
// Apache with AllowOverride All, next to PHP. Plain CGI alone, then the other programs with the libraries that they bring.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { root } from '../e2e/lib/npm.mjs';
import { client } from '../e2e/lib/official.mjs';
import { freePorts, isListening } from '../e2e/lib/server.mjs';
import { until, within } from '../e2e/lib/wait.mjs';
import { request } from '../e2e/lib/wire.mjs';
import { build, Machine, needsRoot } from './lib_machine.mjs';

const LIBRARIES = ['libuv.so*', 'libjansson.so*', 'libwebsockets*', 'libfcgi*'].map((name) => `/usr/lib/x86_64-linux-gnu/${name}`);

// As a provider has it: the user decides by .htaccess.
const apacheConf = (port) => `
ServerRoot /home/site/etc
PidFile apache.pid
ServerName localhost
Listen 127.0.0.1:${port}
ErrorLog error.log
TypesConfig /dev/null
${['mpm_prefork', 'authz_core', 'mime', 'rewrite', 'env', 'dir', 'actions', 'alias', 'cgi']
    .map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`).join('\n')}
ScriptAlias /php-cgi /usr/bin/php-cgi
AddHandler php .php
Action php /php-cgi
DocumentRoot /home/site/public_html
<Directory /usr/bin>
  Require all granted
</Directory>
<Directory /home/site/public_html>
  AllowOverride All
  Options -ExecCGI
  Require all granted
</Directory>
`;

const PAGE = `<?php
$db = new PDO('sqlite:/home/site/public_html/socket.io/siolite.db', null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
$db->exec('PRAGMA busy_timeout = 5000');
$db->prepare('INSERT INTO emit (event, args) VALUES (?, ?)')->execute(['news', json_encode([$_GET['text']])]);
echo 'told';
`;

describe('the release tarball', { skip: needsRoot }, () => {
  let machine, url, wsPort;
  before(async () => {
    build('dist');
    const [port, ws] = await freePorts(2);
    wsPort = ws;
    url = `http://127.0.0.1:${port}`;
    machine = await Machine.start({ share: path.join(root, 'build'), hidden: LIBRARIES });
    const file = fs.readdirSync(path.join(root, 'build')).find((name) => /^siolite-.*\.tar\.gz$/.test(name));
    await machine.ok('useradd --create-home --shell /bin/sh site && chmod 755 /home/site');
    const site = (command) => machine.ok(command, { user: 'site' });
    await site(`cd /home/site && mkdir etc public_html && tar xzf /share/${file} && cp -r siolite-*/socket.io public_html/`);
    await site(`cat >/home/site/public_html/page.php <<'END'\n${PAGE}\nEND`);
    await site(`cat >/home/site/etc/apache.conf <<'END'\n${apacheConf(port)}\nEND`);
    machine.start(['apache2', '-DFOREGROUND', '-f', '/home/site/etc/apache.conf'], { user: 'site' });
    await until('Apache to listen', () => isListening(port));
  });
  after(() => machine?.stop());

  const site = (command) => machine.ok(command, { user: 'site' });
  const program = (name) => `/home/site/siolite-*/bin/${name}`;

  it('finds none of our libraries on this machine', async () => {
    assert.match((await machine.run('ldconfig -p | grep -E "libuv|libjansson|libwebsockets"; ldd /share/release/siolite.fcgi')).out, /not found/);
  });

  it('serves polling by CGI, with no file edited', async () => {
    const socket = client(url, 'polling');
    await within(10_000, 'the client to connect', socket.ready);
    const news = socket.events.find('the news', ([name]) => name === 'news', 10_000);
    assert.equal((await fetch(`${url}/page.php?text=hello`).then((answer) => answer.text())), 'told');
    assert.deepEqual(await news, ['news', 'hello']);
    socket.close();
  });

  it('serves the JavaScript client from the folder beside it, and an application of the examples', async () => {
    await site('cp -r /home/site/siolite-*/client /home/site/siolite-*/examples/chat.sql /home/site/public_html/socket.io/ && sed -i "s/^#app = /app = /" /home/site/public_html/socket.io/siolite.conf');
    const script = await request(url, { path: '/socket.io/socket.io.js' });
    assert.deepEqual([script.status, /Socket\.IO v4/.test(script.body)], [200, true]);
    const socket = client(url, 'polling');
    await within(10_000, 'the client to connect', socket.ready);
    assert.equal(await site('sqlite3 /home/site/public_html/socket.io/siolite.db "SELECT count(*) FROM sqlite_schema WHERE type = \'trigger\' AND sql LIKE \'%ON event%\'" | grep -c "^[1-9]"'), '1\n');
    socket.close();
    await site('sed -i "s/^app = /#app = /" /home/site/public_html/socket.io/siolite.conf');
  });

  it('has the pages that its README names', async () => {
    const folder = (await site('echo /home/site/siolite-*')).trim();
    const page = await site(`cat ${folder}/README.md`);
    const links = [...page.matchAll(/\]\(((?!https?:)[^)#]+)/g)].map(([, target]) => target).filter((target) => target.startsWith('docs/') && !target.startsWith('docs/examples'));
    assert.ok(links.length > 10);
    for (const link of links) await site(`test -e ${folder}/${link}`);
  });

  it('shows nobody the database and the configuration', async () => {
    for (const name of ['siolite.db', 'siolite.db-wal', 'siolite.conf', '.htaccess'])
      assert.equal((await request(url, { path: `/socket.io/${name}` })).status, 403, name);
  });

  it('has programs that bring their libraries, wherever the folder lies', async () => {
    await site('mv /home/site/siolite-* /home/site/elsewhere && ln -s elsewhere /home/site/siolite-here');
    const version = await site(`${program('siolite')} --version`);
    assert.match(version, /^siolite \d/);
    machine.start(['sh', '-c', `exec ${program('siolite-ws')} --config /home/site/public_html/socket.io/siolite.conf --set ws_listen=127.0.0.1:${wsPort}`], { user: 'site' });
    await until('the sidecar to listen', () => isListening(wsPort));
    const polling = client(url, 'polling');
    const websocket = client(`http://127.0.0.1:${wsPort}`, 'websocket');
    for (const socket of [polling, websocket]) await within(10_000, 'the client to connect', socket.ready);
    const seen = [polling, websocket].map((socket) => socket.events.find('the news', ([name]) => name === 'news', 10_000));
    await fetch(`${url}/page.php?text=both`);
    for (const news of seen) assert.deepEqual(await news, ['news', 'both']);
    for (const socket of [polling, websocket]) socket.close();
  });

  it('says that a static program loads no shared object', async () => {
    const { code, out } = await machine.run('cd /home/site && touch app.so && public_html/socket.io/siolite.cgi --set app=app.so --set database=x.db --set fcgi_listen=/home/site/x.sock', { user: 'site' });
    assert.equal(code, 1);
    assert.match(out, /app\.so: this program is statically linked and loads no shared objects; allowed: /);
  });
});
