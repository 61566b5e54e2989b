// SPDX-License-Identifier: MIT
//
// The Debian packages: what `make deb` makes is clean for lintian, installs, runs as its units say, is replaced while it
// runs without loss, and goes as it came. In an overlay of this system: nothing is installed on it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { root } from '../e2e/lib/npm.mjs';
import { client } from '../e2e/lib/official.mjs';
import { freePorts, isListening } from '../e2e/lib/server.mjs';
import { until, within } from '../e2e/lib/wait.mjs';
import { build, Machine, needsRoot } from './lib_machine.mjs';

const folder = path.join(root, 'build/deb');
const debs = () => fs.readdirSync(folder).filter((name) => name.endsWith('.deb')).sort();
const CONF = '/etc/siolite/siolite.conf';

// What systemd does with a socket unit and its service: listens, and starts the program as the service's user.
const UNITS = { 'siolite-fcgi': {}, 'siolite-ws': {} }; // each gets a port: the network is that of the host

// The socket of siolite-fcgi.socket, which outlives the program: as systemd it starts the service again when it has ended.
const KEEPER = `import os, socket, sys
s = socket.create_server(('127.0.0.1', int(sys.argv[1])))
while True:
    pid = os.fork()
    if pid == 0:
        os.dup2(s.fileno(), 3)
        os.set_inheritable(3, True)
        os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
        os.execv(sys.argv[2], sys.argv[2:])
    os.waitpid(pid, 0)
`;

describe('the Debian packages', { skip: needsRoot }, () => {
  let machine, webPort;
  const programs = {};
  before(async () => {
    build('deb');
    [UNITS['siolite-fcgi'].port, UNITS['siolite-ws'].port, webPort] = await freePorts(3);
    machine = await Machine.start({ share: folder });
  });
  after(() => machine?.stop());

  const commandOf = async (name) => (await machine.ok(`cat /lib/systemd/system/${name}.service`)).match(/^ExecStart=(.*)$/m)[1].split(' ');
  const startUnit = async (name) => {
    const command = await commandOf(name);
    const { port } = UNITS[name];
    // systemd-socket-activate keeps the socket for itself until the first connection, then becomes the program.
    const program = machine.start(['systemd-socket-activate', `--listen=127.0.0.1:${port}`, ...command], { user: 'siolite' });
    programs[name] = program;
    await until(`${name} to listen`, () => isListening(port));
  };
  const stopUnit = async (name) => {
    const program = programs[name];
    const command = (await machine.ok(`cat /lib/systemd/system/${name}.service`)).match(/^ExecStart=(\S+)/m)[1];
    await machine.ok(`pkill -TERM -x ${path.basename(command).slice(0, 15)}`);
    await until(`${name} to end`, () => program.exitCode !== null);
    assert.equal(program.exitCode, 0);
  };

  it('are clean of errors', () => {
    assert.deepEqual(debs().map((name) => name.split('_')[0]), ['siolite-dev', 'siolite']);
    const said = execFileSync('lintian', ['--no-cfg', '--allow-root', '--fail-on=none', ...debs().map((name) => path.join(folder, name))]).toString();
    assert.doesNotMatch(said, /^E: /m);
  });

  it('install', async () => {
    await machine.ok('dpkg -i /share/*.deb');
    assert.match(await machine.ok('id siolite'), /\(siolite\)/);
    assert.match(await machine.ok('stat -c "%U %G %a" /var/lib/siolite'), /^siolite siolite 2770$/m);
    await machine.ok(`siolite-ws --config ${CONF} --check-config && /usr/lib/siolite/siolite.fcgi --config ${CONF} --check-config`);
    await machine.ok('test -e /usr/share/doc/siolite/deploy/apache.md && ls /usr/share/doc/siolite/examples/chat.sql* /usr/share/doc/siolite/examples/order.php*');
    await machine.ok('man -w siolite siolite.fcgi siolite-ws siolite-hook siolite.conf siolite-sql');
  });

  it('have units that systemd understands, and that confine the programs', async () => {
    const units = (await machine.ok('ls /lib/systemd/system')).split('\n').filter((name) => /^siolite-.*\.(service|socket)$/.test(name));
    assert.equal(units.length, 5);
    assert.equal(await machine.ok(`systemd-analyze verify --man=no ${units.map((name) => `/lib/systemd/system/${name}`).join(' ')}`), '');
    for (const name of units.filter((unit) => unit.endsWith('.service')))
      await machine.ok(`systemd-analyze security --offline=yes --threshold=30 --no-pager /lib/systemd/system/${name}`);
  });

  it('log to files that are rotated, as docs/deploy/systemd.md says', async () => {
    const page = fs.readFileSync(path.join(root, 'docs/deploy/systemd.md'), 'utf8');
    const [, commands] = /```sh\n([^`]*siolite conf logrotate[^`]*)```/.exec(page);
    const [, rule] = /^(# ---- \/etc\/logrotate[^]*?)```/m.exec(page);
    // Of the package, before anybody has done anything.
    assert.equal(await machine.ok('cat /etc/logrotate.d/siolite'), rule.slice(rule.indexOf('\n') + 1));
    assert.match(await machine.ok('stat -c "%U %G %a" /var/log/siolite'), /^root adm 2750$/m);
    await machine.ok(commands.replace(/^systemctl .*\n/gm, ''));
    assert.equal(await machine.ok('systemd-analyze verify --man=no /lib/systemd/system/siolite-ws.service'), '');
    const shown = await machine.ok('cat /etc/systemd/system/siolite-.service.d/log.conf');
    const file = shown.match(/^StandardError=append:(.*)$/m)[1].replace('%N', 'siolite-ws');
    const read = () => machine.ok(`cat ${file}`);
    // systemd opens it as root, for appending, and the program gets it.
    const [port] = await freePorts(1);
    const program = machine.start(['sh', '-c', `umask 007; exec runuser -u siolite -- siolite-ws --config ${CONF} --set ws_listen=127.0.0.1:${port} 2>>${file}`]);
    await until('the sidecar to say that it listens', async () => / ws start /.test(await read()));
    assert.match(await machine.ok(`stat -c "%U %G %a" ${file}`), /^root adm 660$/m);
    await machine.ok('logrotate --force /etc/logrotate.d/siolite');
    assert.equal(await read(), '');
    assert.match(await machine.ok(`cat ${file}.1`), / ws start /);
    await machine.ok('pkill -HUP -x siolite-ws');
    await until('a line in the new file', async () => /^\d.* ws signal /.test(await read()));
    await machine.ok('pkill -TERM -x siolite-ws');
    await until('the sidecar to end', () => program.exitCode !== null);
    assert.match(await read(), / ws stop/);
    await machine.ok('rm -r /etc/systemd/system/siolite-.service.d');
  });

  it('compile an application', async () => {
    await machine.ok(`cd /tmp && gunzip -kf /usr/share/doc/siolite-dev/examples/*.gz 2>/dev/null;
      cp $(ls /usr/share/doc/siolite-dev/examples/counter.c) /tmp/ && cc -shared -fPIC -o /tmp/counter.so counter.c $(pkg-config --cflags siolite)`);
    await machine.ok(`siolite-ws --config ${CONF} --set app=/tmp/counter.so --check-config`);
  });

  it('run as the units say, and lose nothing while they are replaced', async () => {
    await machine.ok('dpkg-deb -R /share/siolite_*.deb /tmp/next && sed -i "s/^Version: .*/Version: 9.9.9-1/" /tmp/next/DEBIAN/control && dpkg-deb -b /tmp/next /tmp/next.deb');
    const { port } = UNITS['siolite-fcgi'];
    await machine.ok(`cat >/tmp/keeper.py <<'END'\n${KEEPER}END`);
    machine.start(['python3', '/tmp/keeper.py', String(port), ...await commandOf('siolite-fcgi')], { user: 'siolite' });
    await startUnit('siolite-ws');
    await machine.ok(`siolite conf lighttpd --fcgi 127.0.0.1:${port} >/tmp/siolite.conf
      printf 'server.document-root = "/tmp"\nserver.bind = "127.0.0.1"\nserver.port = ${webPort}\ninclude "siolite.conf"\n' >/tmp/lighttpd.conf`);
    machine.start(['lighttpd', '-D', '-f', '/tmp/lighttpd.conf'], { user: 'www-data' });
    await until('lighttpd to listen', () => isListening(webPort));
    const url = `http://127.0.0.1:${UNITS['siolite-ws'].port}`;
    const socket = client(url, 'websocket', { reconnection: true });
    const polling = client(`http://127.0.0.1:${webPort}`, 'polling');
    await within(5000, 'the clients to connect', Promise.all([socket.ready, polling.ready]));
    const seen = [];
    const seenByPolls = [];
    socket.on('n', (n) => seen.push(n));
    polling.on('n', (n) => seenByPolls.push(n));
    const { id } = polling;
    const emit = (n) => machine.ok(`python3 -c "import sqlite3
db = sqlite3.connect('/var/lib/siolite/siolite.db', timeout=10)
db.execute('INSERT INTO emit (event, args) VALUES (?, ?)', ('n', '[${n}]'))
db.commit()"`, { user: 'siolite' });
    await emit(1);
    await until('the first event', () => seen.length === 1 && seenByPolls.length === 1);
    await machine.ok('dpkg -i /tmp/next.deb');
    assert.match(await machine.ok('dpkg-query -W siolite'), /9\.9\.9/);
    const before = await machine.ok('pgrep -x siolite.fcgi');
    await machine.ok('pkill -TERM -x siolite.fcgi');
    await until('the new siolite.fcgi', async () => {
      const { code, out } = await machine.run('pgrep -x siolite.fcgi');
      return code === 0 && out !== before;
    });
    await stopUnit('siolite-ws');
    await within(5000, 'the client to notice', socket.ended);
    await emit(2); // nobody is connected
    await startUnit('siolite-ws');
    await until('what was missed', () => seen.length === 2, 15_000);
    assert.ok(socket.recovered);
    assert.deepEqual(seen, [1, 2]);
    await until('the same by polls', () => seenByPolls.length === 2);
    assert.deepEqual([seenByPolls, polling.connected, polling.id], [[1, 2], true, id], 'its session has gone on');
    socket.close();
    polling.close();
    await stopUnit('siolite-ws');
  });

  it('leave the data and the configuration when removed, nothing when purged', async () => {
    await machine.ok('dpkg -r siolite');
    await machine.ok(`test -f /var/lib/siolite/siolite.db && test -f ${CONF} && ! test -e /usr/bin/siolite-ws`);
    await machine.ok('dpkg -P siolite siolite-dev');
    await machine.ok(`! test -e /var/lib/siolite && ! test -e /var/log/siolite && ! test -e /etc/siolite && ! test -e /etc/logrotate.d/siolite && ! test -e /usr/include/siolite`);
  });
});
