// SPDX-License-Identifier: MIT
//
// The command line, as a shell would call it.

import { execFile } from 'node:child_process';
import { build } from './npm.mjs';
// The command line, as a shell would call it: { code, stdout, stderr }.
export const siolite = (db, args, { ms = 20_000, ...options } = {}) =>
  new Promise((resolve) => {
    execFile(
      `${build}/siolite`,
      [`--database=${db}`, ...args],
      { timeout: ms, maxBuffer: 1 << 26, ...options },
      (error, stdout, stderr) => {
        resolve({ code: error ? (error.code ?? error.signal) : 0, stdout, stderr });
      },
    );
  });

// Its rows with --json.
export async function sioliteRows(db, args) {
  const { code, stdout, stderr } = await siolite(db, [...args, '--json']);
  if (code !== 0) throw new Error(`siolite ${args.join(' ')}: ${code}: ${stderr}`);
  return stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line));
}
