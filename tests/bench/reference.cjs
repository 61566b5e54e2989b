// SPDX-License-Identifier: MIT
//
// node reference.cjs PORT [recovery]: npm socket.io with the events that the bench uses, and
// the greeting of tests/apps/conformance.c, so that both servers do the same.

const { createServer } = require('node:http');
const { createRequire } = require('node:module');
const path = require('node:path');

const npm = createRequire(path.join(__dirname, '../../build/npm/package.json'));
const { Server } = npm('socket.io');

const [port, recovery] = process.argv.slice(2);
const server = createServer();
const io = new Server(server, {
  perMessageDeflate: false,
  serveClient: false,
  ...(recovery && { connectionStateRecovery: { maxDisconnectionDuration: 120_000 } }),
});

io.on('connection', (socket) => {
  socket.emit('auth', socket.handshake.auth);
  socket.on('echo', (...args) => socket.emit('echo', ...args));
  socket.on('bcast', (...args) => io.emit('bcast', ...args));
});

server.listen(Number(port), '127.0.0.1', 4096);
