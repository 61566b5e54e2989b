// SPDX-License-Identifier: MIT
//
// node hook_receiver.mjs FILE PORT: a web hook that can be killed. It writes what it is told to
// FILE, a line an event, before it answers; prints the port where it listens.

import fs from 'node:fs';
import http from 'node:http';
import { verify } from './hook.mjs';

const [file, port] = process.argv.slice(2);

const server = http.createServer(async (req, res) => {
  const chunks = [];
  try {
    for await (const chunk of req) chunks.push(chunk);
  } catch {
    return; // its worker was killed
  }
  const body = Buffer.concat(chunks);
  verify(req.headers, body);
  const { event_id, kind, socket, args } = JSON.parse(body);
  fs.appendFileSync(file, `${JSON.stringify({ event_id, kind, socket })}\n`);
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 5));
  const effects = kind === 'event' ? [{ emit: { event: 'done', args: [socket, event_id, args[0]] } }] : [];
  res.end(JSON.stringify(effects));
});
server.listen(Number(port), '127.0.0.1', () => console.log(server.address().port));
