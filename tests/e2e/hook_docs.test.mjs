// SPDX-License-Identifier: MIT
//
// docs/hook.md: its signature checks, in PHP and in Python, know what siolite-hook signs; its
// table of options is that of the programs.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { build, root } from './lib/npm.mjs';

const page = fs.readFileSync(path.join(root, 'docs/hook.md'), 'utf8');
const block = (language) => page.match(new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\`$`, 'm'))[1];
const key = 'a key of the test';
const body = '{"args":["ä"]}';
const now = String(Math.floor(Date.now() / 1000));
const old = String(Number(now) - 400);
const sign = (time, text, by = key) => `v1=${createHmac('sha256', by).update(`${time}.${text}`).digest('hex')}`;
const cases = [
  [body, now, sign(now, body), true],
  [body, now, sign(now, `${body} `), false],
  [body, now, sign(now, body, 'another key'), false],
  [body, now, sign(old, body), false],
  [body, old, sign(old, body), false],
  [body, now, '', false],
];

describe('docs/hook.md', () => {
  it('checks signatures in PHP', () => {
    const code = `${block('php')}
      foreach (json_decode($argv[1]) as [$body, $time, $signature]) echo (int)is_from_siolite($body, $time, $signature, $argv[2]);`;
    const out = execFileSync('php', ['-r', code, JSON.stringify(cases), key], { encoding: 'utf8' });
    assert.equal(out, cases.map(([, , , isGood]) => Number(isGood)).join(''));
  });

  it('checks signatures in Python', () => {
    const code = `${block('python')}
import json, sys
print("".join(str(int(is_from_siolite(b.encode(), t, s, sys.argv[2].encode()))) for b, t, s, _ in json.loads(sys.argv[1])))`;
    const out = execFileSync('python3', ['-c', code, JSON.stringify(cases), key], { encoding: 'utf8' });
    assert.equal(out.trim(), cases.map(([, , , isGood]) => Number(isGood)).join(''));
  });

  it('has all options with their defaults', () => {
    const help = execFileSync(path.join(build, 'siolite-hook'), ['--help'], { encoding: 'utf8' });
    const options = [...help.matchAll(/^ {2}(hook_\w+)=(\S*)/gm)];
    assert.ok(options.length >= 11);
    for (const [, name, value] of options) {
      assert.ok(page.includes(`\`${name}\``), name);
      if (value) assert.match(page, new RegExp(`\`${name}\`.*\`${value}\``), `${name}=${value}`);
    }
  });
});
