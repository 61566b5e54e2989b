// SPDX-License-Identifier: MIT
//
// The npm packages of build/npm, which tests/setup.sh installs; the folders of the tree; and
// the connections of this process, so that a test that failed does not leave any open.

import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../../', import.meta.url));
export const build = process.env.SIOLITE_BUILD ?? `${root}build/release`;
export const require = createRequire(`${root}build/npm/package.json`);

const connections = new Set();

// `close` ends the connection, whatever its state.
export function onEnd(close) {
  connections.add(close);
  return () => connections.delete(close);
}

export function closeConnections() {
  for (const close of connections) close();
  connections.clear();
}
