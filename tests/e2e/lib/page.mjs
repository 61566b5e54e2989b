// SPDX-License-Identifier: MIT
//
// The SQL in a page of docs/: blocks ```sql, each with the ```text block that follows it, if one does before the next
// heading or ```sql.

import fs from 'node:fs';
import path from 'node:path';
import { root } from './npm.mjs';

export function sqlBlocks(name) {
  const page = fs.readFileSync(path.join(root, 'docs', name), 'utf8');
  const fences = [...page.matchAll(/^```(\w+)\n([^]*?)^```$/gm)];
  return fences.flatMap((fence, i) => {
    if (fence[1] !== 'sql') return [];
    const output = fences[i + 1];
    const isIts =
      output?.[1] === 'text' &&
      !/^#/m.test(page.slice(fence.index + fence[0].length, output.index));
    return { sql: fence[2].trim(), output: isIts ? output[2].trimEnd() : undefined };
  });
}

export const columnsOf = (output) => output.split('\n')[0].trim().split(/\s{2,}/);
