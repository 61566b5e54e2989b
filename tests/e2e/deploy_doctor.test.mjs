// SPDX-License-Identifier: MIT
//
// `siolite doctor` on installations that are broken on purpose: each must be found, with what to change in the words of
// the web server. That it finds nothing where nothing is wrong is tests/e2e/deploy_servers.test.mjs.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { apache, caddy, Installation, isRoot, lighttpd, nginx, run } from './lib/deploy.mjs';
import { root } from './lib/npm.mjs';
import { freePorts, needsOwn } from './lib/server.mjs';

const NOBODY = 65534;
// Who has no privileges: we, or nobody if the tests run as root.
const me = isRoot ? 'nobody' : execFileSync('id', ['-un'], { encoding: 'utf8' }).trim();

// Exit status and findings, by their name: { level, text, fix } each, and all of them.
async function doctor(at, args = [], { asRoot = false, env, wrap = [], conf = at.conf } = {}) {
  const uid = isRoot && !asRoot ? NOBODY : undefined;
  const { code, stdout, stderr } = await run([...wrap, at.siolite, 'doctor', '--json', '--config', conf, ...args], { env, uid });
  const all = stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  return { code, stderr, all, of: (check) => all.filter((f) => f.check === check), wrong: all.filter((f) => /warn|fail/.test(f.level)) };
}

function expect(found, check, level, text, fix) {
  const [first] = found.of(check).filter((f) => f.level === level);
  assert.ok(first, `${check} is no ${level}: ${JSON.stringify(found.all, null, 1)} ${found.stderr}`);
  assert.match(first.text, text);
  if (fix) assert.match(first.fix ?? '', fix);
  assert.equal(found.code, found.all.some((f) => f.level === 'fail') ? 1 : 0);
}

describe('the place of the database', { skip: needsOwn, concurrency: true }, () => {
  const installations = [];
  const installation = (settings) => {
    installations.push(new Installation(settings));
    return installations.at(-1);
  };
  after(() => Promise.all(installations.map((at) => at.stop())));

  it('nothing to mend, but that nothing runs', async () => {
    const at = installation();
    const found = await doctor(at);
    assert.deepEqual(found.wrong.map((f) => f.check), ['host.sidecar'], JSON.stringify(found.all));
    expect(found, 'place.wal', 'ok', /WAL mode, locks and shared memory work/);
    expect(found, 'place.database', 'note', /is not there yet/);
    expect(found, 'host.version', 'ok', /^siolite \d.*SQLite 3\..*libcurl/);
    expect(found, 'host.sidecar', 'fail', /127\.0\.0\.1:8090: .*(refused|connect)/i, /start siolite-ws/);
    assert.deepEqual(fs.readdirSync(at.at('var/lib/siolite')), [], 'it leaves nothing behind');
  });

  it('folders and files that somebody cannot write', async () => {
    const at = installation();
    const dir = at.at('var/lib/siolite');
    fs.writeFileSync(at.db, '');
    if (isRoot) fs.chownSync(at.db, NOBODY, NOBODY);
    fs.chmodSync(at.db, 0o440);
    expect(await doctor(at), 'place.file', 'fail', new RegExp(`siolite\\.db: ${me} can't write there .*mode 0440`), /chmod 0660 .*siolite\.db/);
    fs.chmodSync(at.db, 0o664);
    expect(await doctor(at), 'place.secret', 'warn', /can be read by every user/, /chmod o-rwx/);
    fs.chmodSync(dir, 0o550);
    expect(await doctor(at), 'place.folder', 'fail', /siolite: .* can't write there .*SQLite must make files/, /chmod 2770 /);
    fs.chmodSync(dir, 0o2770);
    fs.chmodSync(at.at('var'), isRoot ? 0o700 : 0o600);
    const closed = await doctor(at, ['--user', me], { asRoot: isRoot });
    fs.chmodSync(at.at('var'), 0o755);
    expect(closed, 'place.way', 'fail', new RegExp(`/var is closed for ${me}`), /chmod o\+x .*\/var/);
  });

  it('users of whom only mode and groups are known', async () => {
    const at = installation();
    fs.writeFileSync(at.db, '');
    if (isRoot) fs.chownSync(at.db, NOBODY, NOBODY);
    fs.chmodSync(at.db, 0o660);
    const found = await doctor(at, ['--user', 'daemon', '--user', me]);
    expect(found, 'place.folder', 'fail', /daemon can't write there/, /usermod -aG \S+ daemon .*\nchmod 2770/);
    expect(found, 'place.users', 'ok', new RegExp(`^${me} can write`));
    fs.chmodSync(at.at('var/lib/siolite'), 0o777);
    fs.chmodSync(at.db, 0o666);
    const open = await doctor(at, ['--user', 'daemon', '--user', me]);
    expect(open, 'place.users', 'ok', new RegExp(`^daemon, ${me} can write`));
    expect(open, 'place.setgid', 'warn', /no setgid bit/, /chmod g\+s/);
    const { code, stderr } = await doctor(at, ['--user', 'no-such-user']);
    assert.deepEqual([code, /no-such-user: there is no such user/.test(stderr)], [2, true]);
  });

  it('as root, what another user can do is tried as that user', { skip: !isRoot && 'needs root' }, async () => {
    const at = installation();
    fs.chownSync(at.at('var/lib/siolite'), 1, 1);
    const found = await doctor(at, ['--user', 'daemon', '--user', 'nobody'], { asRoot: true });
    expect(found, 'place.users', 'ok', /^daemon can write/);
    expect(found, 'place.folder', 'fail', /nobody can't write there \(owner 1, group daemon, mode 2770\)/, /usermod -aG daemon nobody/);
    // A web server that is found running: it need write there only where it starts siolite by itself.
    fs.copyFileSync('/bin/sleep', at.at('run/caddy'));
    fs.chmodSync(at.at('run/caddy'), 0o755);
    fs.chownSync(at.at('var/lib/siolite'), 0, 0);
    const server = spawn(at.at('run/caddy'), ['300'], { uid: 2, gid: 2, stdio: 'ignore' });
    try {
      const name = execFileSync('id', ['-un', '2'], { encoding: 'utf8' }).trim();
      // Other web servers of this machine may be among them.
      const about = async (args) => (await doctor(at, args, { asRoot: true })).of('place.folder').find(({ text }) => text.includes(`: ${name} can't write there`));
      const spawned = await about([]);
      assert.deepEqual([spawned.level, /chmod 2770/.test(spawned.fix)], ['fail', true]);
      const service = await about(['--set', `fcgi_listen=${at.at('run/x.sock')}`]);
      assert.equal(service.level, 'note');
      assert.match(service.text, /; that matters only if PHP there, or a program that the web server starts/);
    } finally {
      server.kill();
    }
  });

  it('files that are no database of ours', async () => {
    const at = installation();
    const give = () => isRoot && fs.chownSync(at.db, NOBODY, NOBODY);
    fs.writeFileSync(at.db, 'hello'.repeat(100));
    give();
    expect(await doctor(at), 'place.database', 'fail', /siolite\.db is not a database of siolite/, /another file/);
    fs.rmSync(at.db);
    execFileSync('sqlite3', [at.db, 'PRAGMA application_id = 7; CREATE TABLE theirs (x)']);
    give();
    expect(await doctor(at), 'place.database', 'fail', /is not a database of siolite/);
    execFileSync('sqlite3', [at.db, 'PRAGMA application_id = 1397312335; PRAGMA user_version = 9999']);
    expect(await doctor(at), 'place.database', 'fail', /made by a newer siolite \(schema 9999\)/, /install that siolite/);
    fs.rmSync(at.db);
    fs.rmdirSync(at.at('var/lib/siolite'));
    expect(await doctor(at), 'place.folder', 'fail', /is not a folder/, /mkdir -p/);
  });

  // There is no NFS to be mounted here: statfs(2) says so instead.
  it('NFS is refused, by doctor and by the programs', async () => {
    const at = installation();
    const lib = at.at('run/nfs.so');
    fs.writeFileSync(at.at('run/nfs.c'), '#include <string.h>\n#include <sys/vfs.h>\nint statfs(const char *p, struct statfs *s) { (void)p; memset(s, 0, sizeof *s); s->f_type = 0x6969; return 0; }\n');
    execFileSync('gcc', ['-shared', '-fPIC', '-o', lib, at.at('run/nfs.c')]);
    const env = { LD_PRELOAD: lib, ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:verify_asan_link_order=0` };
    expect(await doctor(at, [], { env }), 'place.file_system', 'fail', /lies on NFS, where the processes would not see each other/, /disk of this machine/);
    for (const [program, listen] of [['bin/siolite-ws', 'ws_listen=127.0.0.1:0'], ['lib/siolite/siolite.fcgi', `fcgi_listen=${at.at('run/x.sock')}`]]) {
      const { code, stderr } = await run([at.at('usr/local', program), '--config', at.conf, '--set', listen], { env });
      assert.equal(code, 1);
      assert.match(stderr, /siolite\.db: lies on NFS, where .*; allowed: a file system of this machine's own disk/);
    }
    assert.deepEqual(fs.readdirSync(at.at('var/lib/siolite')), [], 'nothing was made there');
  });

  // Each program as nobody, and what each says of a database that it can read but not write.
  const programs = (at, wrap, expected) => Promise.all([
    [['lib/siolite/siolite.fcgi', '--set', `fcgi_listen=${at.at('run/x.sock')}`]],
    [['bin/siolite-ws', '--set', 'ws_listen=127.0.0.1:0']],
    [['lib/siolite/siolite.cgi'], { GATEWAY_INTERFACE: 'CGI/1.1', REQUEST_METHOD: 'GET', REQUEST_URI: '/socket.io/?EIO=4&transport=polling' }],
    ...['init', 'sockets', 'emit news', 'doctor'].map((command) => [['bin/siolite', ...command.split(' ')]]),
  ].map(async ([[program, ...args], env]) => {
    const command = [...wrap, at.at('usr/local', program), ...args, '--config', at.conf];
    const { code, stdout, stderr } = await run(command, { env, uid: isRoot && wrap.length === 0 ? NOBODY : undefined });
    assert.deepEqual([code, args[0] === 'doctor' ? '' : stdout], [1, ''], `${command.join(' ')} ${stderr}`);
    assert.match(args[0] === 'doctor' ? stdout : stderr, args[0] === 'doctor' ? expected.doctor : expected.program);
  }));
  const bytes = (at) => ['', '-wal'].map((suffix) => fs.readFileSync(`${at.db}${suffix}`).toString('base64'));
  const made = async () => {
    const at = installation();
    assert.equal((await run([at.siolite, 'init', '--config', at.conf], { uid: isRoot ? NOBODY : undefined })).code, 0);
    return { at, dir: at.at('var/lib/siolite'), before: bytes(at) };
  };

  it('a file, a file beside it, or a folder that cannot be written, is refused by doctor and by the programs', async () => {
    const { at, dir, before } = await made();
    const denied = (name) => ({ program: new RegExp(`/${name}: Permission denied: user \\d+ can't write it; allowed: .*siolite doctor`),
      doctor: new RegExp(`^FAIL .*${name}: ${me} can't write there`, 'm') });
    for (const suffix of ['', '-wal', '-shm', '-live']) {
      fs.chmodSync(`${at.db}${suffix}`, 0o440);
      await programs(at, [], denied(`siolite\\.db${suffix}`));
      fs.chmodSync(`${at.db}${suffix}`, 0o660);
    }
    for (const suffix of ['-live', '-queue', '-checkpoint']) fs.rmSync(`${at.db}${suffix}`);
    fs.chmodSync(dir, 0o550);
    await programs(at, [], { ...denied('siolite\\.db-live'), doctor: denied('siolite').doctor });
    fs.chmodSync(dir, 0o2770);
    assert.deepEqual(bytes(at), before, 'nothing was written');
    assert.equal((await run([at.siolite, 'sockets', '--config', at.conf], { uid: isRoot ? NOBODY : undefined })).code, 0, 'it was only the permission');
  });

  it('a file system that is mounted read-only is refused by doctor and by the programs', async () => {
    const { at, dir, before } = await made();
    const script = `mount --bind ${dir} ${dir} && mount -o remount,ro,bind ${dir} && exec "$@"`;
    const wrap = ['unshare', ...(isRoot ? ['--mount'] : ['-Urm']), 'sh', '-c', script, 'sh', ...(isRoot ? ['setpriv', '--reuid=nobody', '--clear-groups'] : [])];
    if (!isRoot && (await run([...wrap, 'true'])).code !== 0) return; // not in every container
    await programs(at, wrap, { program: /siolite\.db: Read-only file system; allowed: one that is mounted for writing/,
      doctor: /^FAIL +place\.space +the file system of .*siolite is mounted read-only\n +-> mount it writable/m });
    assert.deepEqual(bytes(at), before, 'nothing was written');
  });

  it('limits of the machine', async () => {
    const at = installation();
    expect(await doctor(at, [], { wrap: ['prlimit', '--nofile=1000:1000', '--nproc=900'] }), 'host.descriptors', 'warn', /^1000 descriptors are allowed/, /LimitNOFILE/);
    // No more than that: the control group may permit fewer.
    expect(await doctor(at, [], { wrap: ['prlimit', '--nproc=900'] }), 'host.processes', 'note', /^\d{1,3} processes and threads are allowed here; .* max_held = auto holds \d+$/);
    // Also where not one more can be had: it then says what fails by that.
    for (const n of [30, 1]) {
      const found = await doctor(at, [], { wrap: ['prlimit', `--nproc=${n}`] });
      expect(found, 'host.processes', 'warn',
        new RegExp(`^${n} processes and threads are allowed here; .* max_held = auto holds ${n === 30 ? 7 : 1}$`), /limits\.conf or TasksMax/);
      if (n === 1 && found.of('place.wal')[0].level !== 'ok') expect(found, 'place.wal', 'fail', /no thread can be started: the limit of processes/);
    }
    const few = ['unshare', '-Ur', 'sh', '-c', 'echo 0 >/proc/sys/user/max_inotify_instances && exec "$@"', 'sh'];
    if ((await run([...few, 'true'], { uid: isRoot ? NOBODY : undefined })).code !== 0) return; // not in every container
    expect(await doctor(at, ['--user', 'root'], { wrap: few }), 'host.inotify', 'warn', /inotify does not work for \S+: .*look every 20 ms/, /max_user_instances/);
  });

  it('configuration and application that cannot be read, programs that do not belong together', async () => {
    const at = installation({ app: '/nowhere/app.so' });
    fs.writeFileSync(at.at('usr/local/bin/siolite-ws'), '#!/bin/sh\necho siolite-ws 0.0.1\n', { mode: 0o755 });
    fs.rmSync(at.at('usr/local/lib/siolite/siolite.fcgi'));
    const found = await doctor(at);
    expect(found, 'app', 'fail', /\/nowhere\/app\.so: .* can't read it: No such file/);
    const programs = found.of('host.program').map((f) => f.text).join('\n');
    assert.match(programs, /siolite\.fcgi is not there/);
    assert.match(programs, /siolite-ws is siolite-ws 0\.0\.1, this is siolite/);
  });

  it('what is wrong on the command line', async () => {
    const at = installation();
    for (const [args, text] of [[['--server', 'iis'], /--server: iis: is not known; allowed: apache/], [['gopher://x/'], /gopher:\/\/x\/: is no URL; allowed/], [['a', 'b'], /too many arguments/]]) {
      const { code, stderr } = await doctor(at, args);
      assert.equal(code, 2);
      assert.match(stderr, text);
    }
  });
});

describe('through the URL', { skip: needsOwn, concurrency: true }, () => {
  let at;
  let other; // an installation without a sidecar
  const port = {};
  const url = (site, host = '127.0.0.1') => `http://${host}:${port[site]}/`;
  const look = (site, args = [], options) => doctor(at, ['--url-only', ...args, url(site)], options);

  // What `siolite conf nginx` prints, with one thing changed.
  const BROKEN = {
    good: [],
    cut: [[/fastcgi_read_timeout \d+s;/, 'fastcgi_read_timeout 1s;']],
    plain: [[/ {2}error_page 418[^]*?\n {2}}\n/, '']],
    idle: [[/proxy_read_timeout \d+s;/, 'proxy_read_timeout 1s;']],
    noSidecar: [[/proxy_pass http:[^;]*;/, 'proxy_pass http://127.0.0.1:1;']],
    elsewhere: [[/proxy_pass http:[^;]*;/, () => `proxy_pass http://127.0.0.1:${port.wsElsewhere};`]],
    noHost: [[/proxy_set_header Host \$host;/, 'proxy_set_header Host elsewhere.example;']],
    body: [[/client_max_body_size \d+m;/, 'client_max_body_size 100k;']],
    gzip: [[/gzip off;/, 'gzip on; gzip_types *; gzip_min_length 1;']],
    cached: [[/gzip off;/, 'gzip off; add_header Age 7; fastcgi_hide_header Cache-Control;']],
    auth: [[/gzip off;/, 'gzip off; fastcgi_param HTTP_AUTHORIZATION "";']],
    cors: [[/gzip off;/, 'gzip off; add_header Access-Control-Allow-Origin *;']],
    corsAll: [[/gzip off;/, 'gzip off; fastcgi_hide_header Access-Control-Allow-Origin; add_header Access-Control-Allow-Origin * always;']],
    options: [[/gzip off;/, 'gzip off; if ($request_method = OPTIONS) { return 204; }']],
    optionsOpen: [[/gzip off;/, 'gzip off; if ($request_method = OPTIONS) { add_header Access-Control-Allow-Origin *; return 204; }']],
    optionsTwice: [[/gzip off;/, 'gzip off; set $more ""; if ($request_method = OPTIONS) { set $more $http_origin; } add_header Access-Control-Allow-Origin $more;']],
    optionsDenied: [[/gzip off;/, 'gzip off; limit_except GET POST { deny all; }']],
    abort: [[/gzip off;/, 'gzip off; fastcgi_ignore_client_abort on;']],
    down: [[/fastcgi_pass [^;]*;/, 'fastcgi_pass 127.0.0.1:1;']],
    away: [[/location \^~ \/socket\.io\//, 'location ^~ /elsewhere/']],
    sample: [[/ {2}error_page 418[^]*?\n {2}}\n/, ''], [/client_max_body_size \d+m;/, 'client_max_body_size 100k;'],
      [/fastcgi_pass [^;]*;/, () => `fastcgi_pass 127.0.0.1:${port.usual};`]],
    moved: [[/location \^~ \/socket\.io\/ \{/, 'location ^~ /socket.io/ { return 301 https://www.example.org$request_uri; }\nlocation ^~ /old/ {']],
  };

  function broken(name, file) {
    let text = fs.readFileSync(file, 'utf8');
    for (const [what, by] of BROKEN[name]) {
      assert.match(text, what);
      text = text.replace(what, by);
    }
    return at.write(`${name}.conf`, text);
  }

  before(async () => {
    at = new Installation({ ping_interval: '2s', ping_timeout: '5s', cors_origin: 'https://app.example.org' });
    other = new Installation({ ping_interval: '2s' });
    fs.copyFileSync('/etc/nginx/fastcgi_params', at.at('etc/fastcgi_params'));
    const names = [...Object.keys(BROKEN), 'ws', 'wsElsewhere', 'usual', 'apache', 'caddy', 'lighttpd', 'alone'];
    (await freePorts(names.length)).forEach((number, i) => (port[names[i]] = number));
    // Two programs of different configurations; the first with few descriptors.
    const few = async (o) => {
      const program = o.at('usr/local/lib/siolite/siolite.fcgi');
      await o.start('fcgi', ['prlimit', '--nofile=100:100', program, '--config', o.conf, '--set', `fcgi_listen=${o.at('run/fcgi.sock')}`], o.at('run/fcgi.sock'));
      await o.start('second', [program, '--config', o.configure('second.conf', { max_rooms: 7 }), '--set', `fcgi_listen=${o.at('run/second.sock')}`], o.at('run/second.sock'));
    };
    const [fcgi, ws] = [at.at('run/fcgi.sock'), `127.0.0.1:${port.ws}`];
    const args = ['--set', `fcgi_listen=${fcgi}`, '--set', `ws_listen=${ws}`];
    await Promise.all([at.fcgi('fcgi', fcgi), at.fcgi('usual', `127.0.0.1:${port.usual}`, ['--set', 'ping_interval=25s']), at.ws('ws', ws),
      at.ws('ws-elsewhere', `127.0.0.1:${port.wsElsewhere}`, ['--set', `database=${at.at('run/elsewhere.db')}`]), few(other)]);
    const printed = at.print('nginx', args);
    const strip = (file, what, by) => {
      const text = fs.readFileSync(file, 'utf8');
      assert.match(text, what);
      fs.writeFileSync(file, text.replace(what, by));
      return file;
    };
    // And OPTIONS is kept by each.
    const more = (file, before, after = '') => {
      fs.writeFileSync(file, `${before}\n${fs.readFileSync(file, 'utf8')}\n${after}\n`);
      return file;
    };
    await Promise.all([
      nginx(at, 'nginx', Object.keys(BROKEN).map((name) => ({ port: port[name], file: broken(name, printed) }))),
      apache(at, 'apache', [{ port: port.apache, file: more(strip(at.print('apache', args), /CGIPassAuth On/, ''), '',
        '<Location "/socket.io/">\n<LimitExcept GET POST>\nRequire all denied\n</LimitExcept>\n</Location>') }], ['proxy', 'proxy_fcgi', 'proxy_http', 'proxy_wstunnel']),
      lighttpd(at, 'lighttpd', [{ port: port.lighttpd, file: more(strip(at.print('lighttpd', args), /proxy\.header = .*/, ''),
        'server.modules += ( "mod_access" )', '$HTTP["request-method"] == "OPTIONS" { url.access-deny = ( "" ) }') }]),
      caddy(at, 'caddy', [{ port: port.caddy, file: more(at.print('caddy', args), '@options method OPTIONS\nhandle @options {\n respond 204\n}') }]),
      lighttpd(other, 'alone', [{ port: port.alone, file: other.print('lighttpd', ['--fcgi', other.at('run/fcgi.sock')]) }]),
    ]);
  });
  after(async () => {
    await at?.stop();
    await other?.stop();
  });

  it('all is well', async () => {
    const found = await doctor(at, [url('good'), '--set', `ws_listen=127.0.0.1:${port.ws}`, '--set', `fcgi_listen=${at.at('run/fcgi.sock')}`, '--user', me]);
    assert.deepEqual([found.code, found.wrong], [0, []], JSON.stringify(found.all));
    for (const check of ['host.running', 'host.sidecar', 'host.socket', 'url.server', 'url.handshake', 'url.compression', 'url.database', 'url.authorization',
      'url.message', 'url.body', 'url.cors', 'url.preflight', 'url.abort', 'url.upgrade', 'url.idle', 'url.hold']) {
      expect(found, check, 'ok', /./);
    }
    expect(found, 'url.hold', 'ok', /a poll is held for [12]\.\d s, until the ping/);
    expect(found, 'url.body', 'ok', /1000000 bytes pass/);
  });

  it('the output that docs/deploy/README.md shows', async () => {
    const page = fs.readFileSync(path.join(root, 'docs/deploy/README.md'), 'utf8');
    const [, shown] = /^\$ siolite doctor [^\n]*\n([^]*?)```$/m.exec(page);
    const { stdout } = await run([at.siolite, 'doctor', '--url-only', '--quick', '--config', at.conf, url('sample')]);
    const even = (text) => text.replace(/http:\/\/(?:127\.0\.0\.1:\d+|www\.example\.org)/g, 'URL').replace(/\d+ ms/g, 'N ms');
    assert.equal(even(shown), even(stdout));
  });
  it('a proxy that cuts polls', async () => {
    expect(await look('cut', ['--quick']), 'url.hold', 'fail', /a held poll is cut after [12]\.\d s \(status 504\)/, /fastcgi_read_timeout 60s;/);
  });
  it('no upgrade through the proxy', async () => {
    expect(await look('plain', ['--quick']), 'url.upgrade', 'fail', /goes to siolite\.fcgi instead of siolite-ws \(status 400\)/, /location @siolite_ws/);
    expect(await look('lighttpd', ['--quick']), 'url.upgrade', 'fail', /clients stay on polling/, /proxy\.header = \( "upgrade" => "enable" \)/);
  });
  it('a proxy that cuts idle WebSockets', async () => {
    expect(await look('idle'), 'url.idle', 'fail', /an idle WebSocket is cut after [12]\.\d s, a ping comes after 2 s/, /proxy_read_timeout/);
  });
  it('the sidecar is not where the proxy looks', async () => {
    expect(await look('noSidecar', ['--quick']), 'url.upgrade', 'fail', /does not get through to siolite-ws \(status 502\)/, /proxy_pass/);
  });
  it('the sidecar works with another database', async () => {
    expect(await look('elsewhere', ['--quick']), 'url.upgrade', 'fail', /siolite-ws does not know the session/, /the same siolite\.conf/);
  });
  it('no sidecar runs at all, and the other program has few descriptors', async () => {
    const found = await doctor(other, ['--quick', url('alone'), '--set', 'ws_listen=127.0.0.1:1', '--user', me]);
    expect(found, 'host.descriptors', 'warn', /process \d+ \(fcgi\) may have 100 descriptors/, /LimitNOFILE/);
    expect(found, 'host.config', 'warn', /has read another configuration/);
    expect(found, 'host.running', 'warn', /no siolite-ws runs/, /siolite conf systemd/);
    expect(found, 'host.sidecar', 'fail', /127\.0\.0\.1:1: /);
    expect(found, 'url.upgrade', 'warn', /no WebSocket is on offer/, /start siolite-ws/);
  });
  it('Host is not passed on', async () => {
    expect(await look('noHost', ['--quick']), 'url.upgrade', 'fail', /refuses the origin of its own site \(status 400\)/, /proxy_set_header Host \$host;/);
  });
  it('a small limit for bodies', async () => {
    expect(await look('body', ['--quick']), 'url.body', 'fail', /a body of 131073 bytes is refused: status 413/, /client_max_body_size must allow max_payload/);
  });
  it('compression by the proxy', async () => {
    expect(await look('gzip', ['--quick']), 'url.compression', 'warn', /compresses small answers \(gzip\)/, /gzip off;/);
  });
  it('caches', async () => {
    const found = await look('cached', ['--quick']);
    expect(found, 'url.cache', 'fail', /from a cache \(Age: 7\)/);
    expect(found, 'url.cache', 'warn', /without no-store/);
  });
  it('Authorization that does not arrive, under nginx and Apache', async () => {
    const args = ['--quick', '--user', me, '--set', `ws_listen=127.0.0.1:${port.ws}`];
    expect(await doctor(at, [...args, url('auth')]), 'url.authorization', 'warn', /does not arrive/, /auth_basic|Authorization/);
    expect(await doctor(at, [...args, url('apache')]), 'url.authorization', 'warn', /does not arrive/, /CGIPassAuth On/);
  });
  it('CORS headers twice', async () => {
    expect(await look('cors', ['--quick']), 'url.cors', 'fail', /is there 2 times/, /remove add_header Access-Control/);
  });
  it('CORS headers of the web server let everybody in', async () => {
    expect(await look('corsAll', ['--quick']), 'url.cors', 'warn', /any origin is let in \(GET\): Access-Control-Allow-Origin: \*, which is not from cors_origin/, /remove add_header Access-Control/);
  });
  it('preflights that the web server answers, or does not pass on', async () => {
    const kept = (status) => new RegExp(`keeps preflights \\(OPTIONS, status ${status}\\) for itself: pages of https://app\\.example\\.org can't send headers such as authorization`);
    for (const [site, status, fix] of [['options', 204, /if \(\$request_method = OPTIONS\)/], ['optionsDenied', 403, /limit_except/], ['apache', 403, /no <LimitExcept>/],
      ['lighttpd', 403, /no url\.access-deny/], ['caddy', 204, /no `respond`/]]) {
      const found = await look(site, ['--quick']);
      expect(found, 'url.preflight', 'fail', kept(status), fix);
      expect(found, 'url.cors', 'ok', /pages of https:\/\/app\.example\.org may connect/);
    }
  });
  it('preflights with headers of the web server', async () => {
    const open = await look('optionsOpen', ['--quick']);
    expect(open, 'url.preflight', 'fail', /Access-Control-Allow-Headers is there 0 times \(\) for a preflight that asks for authorization/, /remove add_header Access-Control/);
    expect(open, 'url.cors', 'warn', /any origin is let in \(OPTIONS\)/);
    expect(await look('optionsTwice', ['--quick']), 'url.preflight', 'fail', /Access-Control-Allow-Origin is there 2 times/, /remove add_header Access-Control/);
  });
  it('CORS as the programs have it, and another siolite.conf', async () => {
    const one = (settings) => look('good', ['--quick'], { conf: at.configure('other.conf', settings) });
    expect(await one({ cors_origin: 'https://new.example.org' }), 'url.cors', 'fail', /no Access-Control-Allow-Origin for https:\/\/new\.example\.org/, /is cors_origin in the file/);
    expect(await one({ cors_credentials: 'on' }), 'url.cors', 'fail', /cors_credentials is on, but .* Access-Control-Allow-Credentials 0 times/);
    expect(await one({ cors_origin: '' }), 'url.cors', 'ok', /foreign origins are refused/);
  });
  it('a proxy that does not tell of aborts', async () => {
    expect(await look('abort', ['--quick']), 'url.abort', 'note', /nginx does not tell that a browser has left/, /fastcgi_ignore_client_abort off;/);
  });
  it('siolite.fcgi is not reached; another site; a redirection; nobody there', async () => {
    expect(await look('down'), 'url.handshake', 'fail', /does not get through to siolite: status 502/, /error\.log/);
    expect(await look('away'), 'url.handshake', 'fail', /it is not siolite that answers: status 404/, /siolite conf nginx/);
    expect(await look('moved'), 'url.handshake', 'fail', /redirects \(status 301\)/, /URL that is redirected to/);
    expect(await doctor(at, ['--url-only', 'http://127.0.0.1:1/']), 'url.handshake', 'fail', /no answer: .*connect/i, /is the web server running/);
    expect(await look('away', ['--server', 'caddy']), 'url.handshake', 'fail', /404/, /siolite conf caddy/);
  });
  it('no WebSocket, as it is meant', async () => {
    const conf = other.configure('polling.conf', { transports: 'polling' });
    expect(await doctor(other, ['--url-only', '--quick', url('alone')], { conf }), 'url.upgrade', 'ok', /polling alone, as transports in siolite\.conf says/);
  });
  it('another database answers', async () => {
    const found = await doctor(other, ['--quick', '--user', me, url('good'), '--set', 'ws_listen=127.0.0.1:1']);
    expect(found, 'url.database', 'fail', /works with another database than .*siolite\.db/, /--config/);
  });
});
