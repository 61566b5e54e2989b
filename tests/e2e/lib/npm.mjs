// SPDX-License-Identifier: MIT
//
// The npm packages of build/npm, which tests/setup.sh installs, and the folders of the tree.

import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../../', import.meta.url));
export const build = process.env.SIOLITE_BUILD ?? `${root}build/release`;
export const require = createRequire(`${root}build/npm/package.json`);
