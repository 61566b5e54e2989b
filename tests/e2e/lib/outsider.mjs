// SPDX-License-Identifier: MIT
//
// Programs that are not ours and stay open on the database: a sqlite3 shell and a PHP script
// that executes what it is told. Each statement is answered with the time of its end, in
// milliseconds since 1970, taken by that program itself.

import { spawn } from 'node:child_process';
import readline from 'node:readline';
import { Inbox } from './wait.mjs';
import { onEnd } from './npm.mjs';

class Outsider {
  constructor(command, args) {
    this.child = spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.lines = new Inbox();
    readline
      .createInterface({ input: this.child.stdout })
      .on('line', (line) => this.lines.push(line));
    this.errors = '';
    this.child.stderr.on('data', (data) => (this.errors += data));
    this.child.stdin.on('error', () => {});
    this.ended = new Promise((resolve) =>
      this.child.on('exit', (code, signal) => {
        this.lines.finish(`${command} ended with ${signal ?? code}: ${this.errors}`);
        resolve(signal ?? code);
      }),
    );
    onEnd(() => this.child.kill('SIGKILL'));
  }

  close() {
    this.child.stdin.end();
    return this.ended;
  }

  kill() {
    this.child.kill('SIGKILL');
    return this.ended;
  }
}

export class SqliteShell extends Outsider {
  constructor(db) {
    super('sqlite3', ['-bail', '-cmd', '.timeout 10000', db]);
  }

  // Executes the statements; the result is the time of their end.
  async run(sql, ms = 15_000) {
    const mark = `done-${(this.n = (this.n ?? 0) + 1)}`;
    this.child.stdin.write(
      `${sql};\nSELECT '${mark} ' || CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER);\n`,
    );
    const line = await this.lines.find(
      `the end of ${sql}`,
      (text) => text.startsWith(`${mark} `),
      ms,
    );
    return Number(line.split(' ')[1]);
  }
}

const PHP = `
  $db = new PDO('sqlite:' . $argv[1], null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
  $db->exec('PRAGMA busy_timeout = 10000');
  while (($line = fgets(STDIN)) !== false) {
    $db->exec($line);
    echo 'done ', (int) (microtime(true) * 1000), "\\n";
  }`;

export class PhpScript extends Outsider {
  constructor(db) {
    super('php', ['-r', PHP, '--', db]);
  }

  async run(sql, ms = 15_000) {
    this.child.stdin.write(`${sql.replaceAll('\n', ' ')}\n`);
    const line = await this.lines.next(`the end of ${sql}`, ms);
    return Number(line.split(' ')[1]);
  }
}

export const quoted = (text) => `'${String(text).replaceAll("'", "''")}'`;
