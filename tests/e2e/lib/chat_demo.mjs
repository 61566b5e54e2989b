// SPDX-License-Identifier: MIT
//
// The demo as a visitor sees it: www/serve.sh as `make run` starts it, and Debian's Chromium
// with several windows. Assertions look at what the page shows. Screenshots go to
// build/screenshots/. Each form of the application has a test file that calls chatDemo().

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { build, require, root } from './npm.mjs';
import { until, within } from './wait.mjs';

const { chromium } = require('playwright-core');

const folder = `${root}build/browser/${process.pid}`;
let shots;
const desktop = { width: 1180, height: 760 };
let demo;
let url;
let browser;
let ada; // polling only
let grace; // upgrades to WebSocket
const mishaps = []; // exceptions in a page, whatever the window

function isFree(port) {
  return new Promise((resolve) => {
    const server = net.createServer().on('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

// A port that is free with its next twenty, below those that the system gives to clients.
async function findPort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const near = await Promise.all(Array.from({ length: 21 }, (_, i) => isFree(port + i)));
    if (near.every(Boolean)) return port;
  }
}

// serve.sh writes into run/ beside its own folder: a tree of links gives it one of its own,
// so that a `make run` in the real one may go on.
async function startDemo(app) {
  fs.mkdirSync(folder, { recursive: true });
  for (const name of ['www', 'build', 'docs']) fs.symlinkSync(`${root}${name}`, `${folder}/${name}`);
  const port = await findPort();
  url = `http://127.0.0.1:${port}/`;
  demo = spawn('setpriv', ['--pdeathsig', 'TERM', `${folder}/www/serve.sh`, build],
    { detached: true, env: { ...process.env, PORT: port, APP: app },
      stdio: ['ignore', 'pipe', 'pipe'] });
  demo.ended = new Promise((resolve) => demo.on('exit', (code, signal) => resolve(signal ?? code)));
  let said = '';
  await within(20_000, 'the demo to say that it runs', new Promise((resolve, reject) => {
    const hear = (text) => {
      said += text;
      if (said.includes('siolite runs.')) resolve();
    };
    for (const out of [demo.stdout, demo.stderr]) out.on('data', hear);
    demo.ended.then((how) => reject(new Error(`www/serve.sh ended (${how}): ${said}`)));
  }));
}

// Process ids of one of the demo's programs.
function pidsOf(program) {
  return fs.readFileSync(`${folder}/run/pids`, 'utf8').split('\n').map((line) => line.split(' '))
    .filter((words) => words[1] === program).map((words) => Number(words[0]));
}

function sqlite(text) {
  const args = ['-cmd', '.timeout 5000', `${folder}/run/siolite.db`, text];
  return execFileSync('sqlite3', args, { encoding: 'utf8' }).trim();
}

// A window of a browser profile of its own.
async function open(query, options = {}) {
  const context = await browser.newContext({ viewport: desktop, colorScheme: 'light', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  page.on('pageerror', (error) => mishaps.push(error.stack));
  await page.goto(url + query);
  return page;
}

const shows = (page, selector, text) =>
  page.locator(selector, { hasText: new RegExp(`^${text}$`) }).waitFor();
const transport = (page, name) => shows(page, '#transport', name);
const people = (page, text) => shows(page, '#people-count', text);
const line = (page, text) => page.locator('.bubble', { hasText: text });
const shoot = (page, name) =>
  page.screenshot({ path: `${shots}/${name}.png`, animations: 'disabled' });

async function say(page, text) {
  await page.fill('#text', text);
  await page.press('#text', 'Enter');
}

// A picture that ends in one colour; dots make it large: {name, mimeType, buffer}.
async function picture(page, width, height, colour, nDots) {
  const base64 = await page.evaluate(async ([w, h, c, n]) => {
    const canvas = Object.assign(document.createElement('canvas'), { width: w, height: h });
    const context = canvas.getContext('2d');
    const sky = context.createLinearGradient(0, 0, 0, h);
    sky.addColorStop(0, '#23395d');
    sky.addColorStop(0.6, '#e8985e');
    sky.addColorStop(0.61, c);
    context.fillStyle = sky;
    context.fillRect(0, 0, w, h);
    for (let i = 0; i < n; i++) {
      context.fillStyle = `hsl(${Math.random() * 360} 60% 50%)`;
      context.fillRect(Math.random() * w, Math.random() * h * 0.4, 1, 1);
    }
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
    const bytes = new Uint8Array(await blob.arrayBuffer());
    let text = '';
    for (const byte of bytes) text += String.fromCharCode(byte);
    return btoa(text);
  }, [width, height, colour, nDots]);
  return { name: 'picture.png', mimeType: 'image/png', buffer: Buffer.from(base64, 'base64') };
}

// The newest picture in a window as the eye sees it: its size, and the colour near its foot.
async function lastPicture(page, nBefore) {
  await until('one picture more', async () => await page.locator('.bubble img').count() > nBefore);
  return page.locator('.bubble img').last().evaluate(async (image) => {
    await image.decode();
    const { naturalWidth: width, naturalHeight: height } = image;
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    const [r, g, b] = context.getImageData(width / 2, height - 2, 1, 1).data;
    return { width, height, r, g, b };
  });
}

// `app`: as in `make run APP=…`, empty: its default.
export function chatDemo(app) {
  shots = `${root}build/screenshots/${app.split('.').at(-1)}`;
  before(async () => {
    fs.mkdirSync(shots, { recursive: true });
    await startDemo(app);
    browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
        '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    });
    ada = await open('?name=Ada&transport=polling');
    grace = await open('?name=Grace');
  });

  after(async () => {
    await browser?.close();
    if (demo?.pid && demo.exitCode === null) {
      process.kill(-demo.pid, 'SIGINT');
      await within(10_000, 'the demo to end', demo.ended).catch((error) => {
        process.kill(-demo.pid, 'SIGKILL');
        throw error;
      });
    }
    fs.rmSync(folder, { recursive: true, force: true });
  });

  test('one window polls, the other upgrades to WebSocket, and both show it', async () => {
    await transport(ada, 'polling');
    await transport(grace, 'websocket');
    await people(ada, '2 people');
    await people(grace, '2 people');
    assert.equal(sqlite(`SELECT user, transport FROM socket JOIN session USING (session_id)
      ORDER BY user`), 'Ada|polling\nGrace|websocket');
  });

  test('texts go both ways', async () => {
    await say(ada, 'Good morning! I poll, through FastCGI.');
    await line(grace, 'Good morning! I poll, through FastCGI.').waitFor();
    await say(grace, 'And this came over a WebSocket.\nIn two lines.');
    await line(ada, 'And this came over a WebSocket.').waitFor();
    await line(ada, 'Good morning!').waitFor();
    await line(grace, 'In two lines.').waitFor();
    assert.equal(await ada.locator('.line.own').count(), 1);
    assert.equal(await ada.locator('.line:not(.own) .meta b').last().textContent(), 'Grace');
  });

  test('markup in a name or a text is shown, not obeyed', async () => {
    const eve = await open(`?name=${encodeURIComponent('<i>Eve</i>')}&transport=websocket`);
    await people(eve, '3 people');
    await say(eve, '<img src=x onerror="document.title=1"><b>bold</b>');
    await line(ada, '<b>bold</b>').waitFor();
    assert.equal(await ada.locator('.line:not(.own) .meta b').last().textContent(), '<i>Eve</i>');
    assert.equal(await ada.locator('.bubble b, .bubble img').count(), 0);
    await eve.context().close();
    await people(ada, '2 people');
    await people(grace, '2 people');
    await ada.locator('.event', { hasText: '<i>Eve</i> left' }).waitFor();
  });

  test('a large picture is made smaller before it is sent', async () => {
    const file = await picture(grace, 2400, 1500, 'rgb(24, 60, 80)', 300_000);
    assert.ok(file.buffer.length > 500_000, `${file.buffer.length} bytes are not large`);
    await grace.setInputFiles('#file', file);
    const seen = await lastPicture(ada, 0);
    assert.ok(seen.width <= 1600 && seen.width > 200, `${seen.width} wide`);
    assert.ok(Math.abs(seen.width / seen.height - 1.6) < 0.02, 'its shape stayed');
    assert.ok(Math.abs(seen.r - 24) < 12 && Math.abs(seen.b - 80) < 12, 'its colour stayed');
  });

  test('a small picture arrives as it is, both ways', async () => {
    await ada.setInputFiles('#file', await picture(ada, 320, 200, 'rgb(80, 60, 100)', 0));
    const seen = await lastPicture(grace, 1);
    assert.deepEqual([seen.width, seen.height, seen.r, seen.g, seen.b], [320, 200, 80, 60, 100]);
    await lastPicture(ada, 1);
    await grace.setInputFiles('#file', await picture(grace, 400, 240, 'rgb(30, 90, 110)', 0));
    const back = await lastPicture(ada, 2);
    assert.deepEqual([back.width, back.height, back.r, back.g, back.b], [400, 240, 30, 90, 110]);
  });

  test('who types is shown to the others', async () => {
    await ada.locator('#text').pressSequentially('well');
    await grace.locator('#typing', { hasText: 'Ada is typing' }).waitFor();
    await ada.fill('#text', '');
    await grace.locator('#typing', { hasText: /^$/ }).waitFor({ state: 'attached' });
  });

  test('a private message is seen by its two people only', async () => {
    const third = await open('?name=Linus&transport=websocket');
    await people(ada, '3 people');
    await ada.locator('#people button', { hasText: 'Grace' }).click();
    await say(ada, 'Between the two of us.');
    await line(ada, 'Between the two of us.').waitFor();
    const fromAda = grace.locator('#privates button', { hasText: 'Ada' });
    await fromAda.locator('.badge', { hasText: '1' }).waitFor();
    await fromAda.click();
    await line(grace, 'Between the two of us.').waitFor();
    await say(grace, 'I tell nobody.');
    await line(ada, 'I tell nobody.').waitFor();
    await ada.locator('#rooms button', { hasText: 'lobby' }).click();
    await say(ada, 'Back in the lobby.');
    await line(third, 'Back in the lobby.').waitFor();
    assert.equal(await third.locator('#privates button').count(), 0);
    await grace.locator('#rooms button', { hasText: 'lobby' }).click();
    await third.context().close();
    await people(ada, '2 people');
  });

  test('a newcomer to a room gets its last 20 lines', async () => {
    await ada.fill('#room-name', 'library');
    await ada.press('#room-name', 'Enter');
    await people(ada, '1 person');
    for (let i = 1; i <= 23; i++) {
      await say(ada, `line ${i}.`);
      await line(ada, `line ${i}.`).last().waitFor();
    }
    await grace.locator('#rooms button', { hasText: 'library' }).click();
    await people(ada, '2 people');
    await line(grace, 'line 23.').waitFor();
    await people(grace, '2 people');
    assert.deepEqual(await grace.locator('.bubble').allTextContents(),
      Array.from({ length: 20 }, (_, i) => `line ${i + 4}.`));
    for (const page of [ada, grace]) {
      await page.click('#leave');
      await people(page, '2 people');
    }
    await ada.locator('#rooms li', { hasText: 'library' }).waitFor({ state: 'detached' });
  });

  test('a row in the view emit is a headline in both windows', async () => {
    await say(grace, 'Which of us polls, by the way?');
    await line(ada, 'Which of us polls, by the way?').waitFor();
    await say(ada, 'I do. Did you notice?');
    await line(grace, 'I do. Did you notice?').waitFor();
    sqlite(`INSERT INTO emit(nsp, room, event, args)
      VALUES ('/', 'lobby', 'headline', '["hello from the sqlite3 shell"]')`);
    for (const page of [ada, grace]) {
      await page.locator('#headline', { hasText: 'hello from the sqlite3 shell' }).waitFor();
    }
    await shoot(ada, 'polling');
    await shoot(grace, 'websocket');
    for (const page of [ada, grace]) {
      await page.click('#headline-close');
      await page.locator('#headline').waitFor({ state: 'hidden' });
    }
  });

  // SIO-RECOVERY
  test('a lost connection is shown, and regained without a gap', async () => {
    const pids = pidsOf('siolite-ws');
    assert.equal(pids.length, 2);
    const lost = grace.locator('#notice', { hasText: 'connection is lost' }).waitFor();
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await lost;
    await shoot(grace, 'lost');
    await say(ada, 'Said while Grace was away.');
    await line(ada, 'Said while Grace was away.').waitFor();
    await grace.locator('#notice', { hasText: 'Connected again' }).waitFor();
    await transport(grace, 'websocket');
    await line(grace, 'Said while Grace was away.').waitFor();
    await people(ada, '2 people');
    await people(grace, '2 people');
    await say(grace, 'I am back.');
    await line(ada, 'I am back.').waitFor();
    assert.equal(await line(grace, 'Said while Grace was away.').count(), 1);
    await transport(ada, 'polling');
    await until('both sidecars to be started again', () => pidsOf('siolite-ws')
      .every((pid) => !pids.includes(pid) && process.kill(pid, 0)));
  });

  test('on a phone the page fits, and its side is a drawer', async () => {
    const phone = await open('', { viewport: { width: 390, height: 780 }, deviceScaleFactor: 2,
      isMobile: true, hasTouch: true, colorScheme: 'dark' });
    await shoot(phone, 'door');
    await phone.fill('#name', 'Margaret');
    await phone.press('#name', 'Enter');
    await people(phone, '3 people');
    await say(phone, 'From the phone, in the dark.');
    await line(ada, 'From the phone, in the dark.').waitFor();
    await shoot(phone, 'phone');
    const width = await phone.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 390, 'no sideways scrolling');
    assert.equal(await phone.locator('#people').isVisible(), false);
    await phone.click('#menu');
    await phone.locator('#people button', { hasText: 'Ada' }).waitFor();
    await phone.waitForTimeout(300); // the drawer slides
    await shoot(phone, 'phone-people');
    await phone.context().close();
    await people(ada, '2 people');
  });

  test('no window had an exception, and no process wrote an error', () => {
    assert.deepEqual(mishaps, []);
    const logs = fs.readdirSync(`${folder}/run/log`)
      .map((name) => fs.readFileSync(`${folder}/run/log/${name}`, 'utf8'));
    assert.deepEqual(logs.join('').split('\n').filter((text) => /^\S+ error /.test(text)), []);
  });
}
