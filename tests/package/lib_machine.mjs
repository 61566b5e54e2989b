// SPDX-License-Identifier: MIT
//
// A machine of its own for tests that install things: an overlay over the running system in name spaces of its own. What
// happens in it, files, packages, users, processes, ends with it; the system below is not touched. Needs root.

import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { until } from '../e2e/lib/wait.mjs';

export const needsRoot = process.getuid() !== 0 && 'needs root for an overlay of the system';

export class Machine {
  // `hidden`: paths that are not to be there. `share`: a folder that is /share in it.
  static async start({ share, hidden = [] }) {
    const machine = new Machine();
    machine.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'siolite-machine-'));
    const at = machine.folder;
    const script = `
      set -e
      mount --make-rprivate /
      mount -t tmpfs none ${at}
      mkdir ${at}/up ${at}/work ${at}/root
      mount -t overlay overlay -o lowerdir=/,upperdir=${at}/up,workdir=${at}/work ${at}/root
      mount -t proc none ${at}/root/proc
      mount --rbind /dev ${at}/root/dev
      mount -t tmpfs none ${at}/root/tmp
      mount -t tmpfs none ${at}/root/run
      chmod 1777 ${at}/root/tmp
      mkdir -p ${at}/root/share
      mount --bind ${share} ${at}/root/share
      rm -rf ${hidden.map((file) => at + '/root' + file).join(' ')}
      echo ready
      exec sleep infinity`;
    // The first process of the new name space of processes: they all end with it.
    machine.init = spawn('unshare', ['--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    machine.init.stdout.on('data', (chunk) => { said += chunk; });
    await until('the machine to be there', () => {
      assert.equal(machine.init.exitCode, null, 'the overlay could not be mounted');
      return said.includes('ready');
    });
    machine.pid = Number(fs.readFileSync(`/proc/${machine.init.pid}/task/${machine.init.pid}/children`, 'utf8'));
    return machine;
  }

  #arguments(command, user) {
    const as = user ? ['runuser', '-u', user, '--'] : [];
    return ['--mount', '--pid', `--target=${this.pid}`, 'chroot', `${this.folder}/root`, ...as,
      'env', '-i', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'LC_ALL=C', 'DEBIAN_FRONTEND=noninteractive', ...command];
  }

  // Runs a command to its end: {code, out}, stderr in it.
  run(command, { user } = {}) {
    return new Promise((resolve) => {
      execFile('nsenter', this.#arguments(['sh', '-c', `exec 2>&1; ${command}`], user), { timeout: 60_000 },
        (error, out) => resolve({ code: error ? (error.code ?? 255) : 0, out }));
    });
  }

  async ok(command, options) {
    const { code, out } = await this.run(command, options);
    assert.equal(code, 0, `${command}\n${out}`);
    return out;
  }

  // A program that stays; ends with the machine.
  start(command, { user } = {}) {
    return spawn('nsenter', this.#arguments(command, user), { stdio: ['ignore', 'ignore', 'pipe'] });
  }

  stop() {
    this.init.kill('SIGKILL');
    try { process.kill(this.pid, 'SIGKILL'); } catch { /* gone with its parent */ }
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

export const build = (target) =>
  execFileSync('make', [target], { env: { ...process.env, MAKEFLAGS: '', MAKELEVEL: '' }, stdio: ['ignore', 'pipe', 'pipe'], timeout: 300_000 }).toString();
