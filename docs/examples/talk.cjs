// SPDX-License-Identifier: MIT
//
// node docs/examples/talk.cjs [-l SECONDS] EVENT ARG...
//
// Emits one event by the official client, prints the answer, and with -l whatever comes in the
// seconds after. Arguments are JSON where they can be, else strings. URL=http://127.0.0.1:8080
const path = require('path');
const { io } = require(path.join(__dirname, '../../build/npm/node_modules/socket.io-client'));

const words = process.argv.slice(2);
const listenS = words[0] === '-l' ? Number(words.splice(0, 2)[1]) : 0;
const args = words.map((word) => { try { return JSON.parse(word); } catch { return word; } });
const socket = io(process.env.URL || 'http://127.0.0.1:8080');
const show = (value) => (typeof value === 'string' ? value : JSON.stringify(value));
const print = (...what) => console.log(...what.map(show));

socket.on('connect_error', (error) => print('no connection:', error.message));
socket.onAny((event, ...rest) => print('event', event, ...rest));
socket.timeout(10000).emit(...args, (error, ...answer) => {
  print(...(error ? ['no answer'] : ['answer', ...answer]));
  setTimeout(() => socket.close(), listenS * 1000);
});
