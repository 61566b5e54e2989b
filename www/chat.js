// SPDX-License-Identifier: MIT
//
// The chat page: plain ES2017, no framework, no build. The events are described at the top of
// docs/examples/chat.c.
//
// ?transport=polling or ?transport=websocket  only that transport
// ?name=Ada                                   come in at once
//
// Invariants:
// 1. Whatever came from others enters the page by textContent or as a picture of a known kind.
// 2. `chats` holds a conversation for each room that we are in and for each person that we speak
//    with; what is shown is made from it.
// 3. No order is assumed between an ack and an event: lists are merged, lines known by their key.

(function () {
'use strict';

const HOME = 'lobby';
const PICTURE_MAX_BYTES = 500000;
const PICTURE_MAX_SIDE = 1600;
const TEXT_MAX_BYTES = 2000;
const NAME_MAX_BYTES = 40;
const LINES_MAX = 300;
const GROUP_MS = 5 * 60 * 1000;
const TYPING_MS = 2000;

const $ = (id) => document.getElementById(id);
const params = new URLSearchParams(location.search);

let socket = null;
let isOnline = false;
let wasLost = false;
let myName = '';
let rooms = new Map(); // name -> how many are in it
const chats = new Map(); // room name or socket id -> conversation
let current = HOME;
let lastTyped = 0;
let countTimer = 0;
const myIds = new Set(); // a new one after each connection that was not recovered

// ---- small things ----

function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

function hue(name) {
  let h = 0;
  for (let i = 0; i < name.length; i++) h = (h * 31 + name.charCodeAt(i)) % 360;
  return (h * 47) % 360;
}

function avatar(name) {
  const e = element('span', 'avatar', Array.from(name.trim() || '?')[0].toUpperCase());
  e.setAttribute('aria-hidden', 'true');
  e.style.setProperty('--hue', hue(name));
  return e;
}

function nBytes(text) {
  return new TextEncoder().encode(text).length;
}

function clock(at) {
  return new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}

function nPeople(n) {
  return n === 1 ? '1 person' : n + ' people';
}

let noticeTimer = 0;
function notice(text, isGood, isLasting) {
  clearTimeout(noticeTimer);
  $('notice').textContent = text;
  $('notice').dataset.kind = isGood ? 'good' : 'warn';
  $('notice').hidden = !text;
  if (text && !isLasting) noticeTimer = setTimeout(() => { $('notice').hidden = true; }, 6000);
}

// Emits and waits for the ack; its first argument is null or what went wrong.
function ask(event, ...args) {
  return new Promise((resolve, reject) => {
    socket.timeout(15000).emit(event, ...args, (late, wrong, ...rest) => {
      if (late) reject(new Error('The server did not answer.'));
      else if (wrong) reject(new Error(String(wrong)));
      else resolve(rest);
    });
  });
}

// ---- conversations ----

function openChat(key, title, isRoom) {
  let chat = chats.get(key);
  if (!chat) {
    chat = {
      key, title, isRoom,
      people: new Map(), // socket id -> name
      left: new Set(), // who left while we were asking who is there
      lines: [],
      known: new Set(), // keys of lines
      typing: new Map(), // socket id -> {name, until}
      unread: 0,
      draft: '',
      isGone: false,
    };
    chats.set(key, chat);
  }
  return chat;
}

function addLine(chat, line) {
  if (line.key) {
    if (chat.known.has(line.key)) return;
    chat.known.add(line.key);
  }
  let at = chat.lines.length;
  while (at > 0 && chat.lines[at - 1].at > line.at) at--;
  chat.lines.splice(at, 0, line);
  while (chat.lines.length > LINES_MAX) {
    const old = chat.lines.shift();
    if (old.url) URL.revokeObjectURL(old.url);
  }
  if (line.id) chat.typing.delete(line.id);
  const isUnread = line.id && !line.isOwn && !line.isOld;
  if (isUnread && (chat.key !== current || document.hidden)) chat.unread++;
  if (chat.key === current) showLines(line.isOwn);
  if (isUnread) showLists();
}

function addEvent(chat, text) {
  addLine(chat, { at: Date.now(), event: text });
}

// A line of somebody: a text, or the bytes of a picture.
function said(id, name, at, what) {
  const line = { id, name: String(name), at: Number(at), text: '', url: '', isOwn: myIds.has(id) };
  if (typeof what === 'string') {
    line.text = what;
    line.key = id + ' ' + at + ' ' + what;
  } else {
    const bytes = new Uint8Array(what instanceof ArrayBuffer ? what : 0);
    const type = pictureType(bytes);
    if (type) line.url = URL.createObjectURL(new Blob([bytes], { type }));
    else line.text = '(a picture of an unknown kind)';
    line.key = id + ' ' + at + ' #' + bytes.length;
  }
  return line;
}

async function enter(room) {
  const chat = openChat(room, room, true);
  chat.left.clear();
  const [people, lines] = await ask('enter', room);
  chat.people.clear();
  for (const [id, name] of people) if (!chat.left.has(id)) chat.people.set(id, name);
  for (const [id, name, at, text] of lines) {
    const line = said(id, name, at, text);
    line.isOld = true;
    addLine(chat, line);
  }
  if (room === HOME) {
    for (const c of chats.values()) if (!c.isRoom) c.isGone = !chat.people.has(c.key);
  }
  showAll();
}

// `joined` and `left` of one socket may pass each other when it comes back at once; how many are in
// a room is exact. Where the two differ, the room is asked again.
function checkCounts() {
  for (const chat of chats.values()) {
    if (chat.isRoom && isOnline && rooms.get(chat.key) !== chat.people.size) {
      enter(chat.key).catch(() => {});
    }
  }
}

async function go(key) {
  $('text').blur();
  if (!chats.has(key)) {
    try {
      await enter(key);
    } catch (e) {
      chats.delete(key);
      notice(e.message);
      return;
    }
  }
  const before = chats.get(current);
  if (before) before.draft = $('text').value;
  current = key;
  chats.get(key).unread = 0;
  $('text').value = chats.get(key).draft;
  openSide(false);
  showAll();
  showLines(true);
  if (matchMedia('(hover: hover)').matches) $('text').focus();
}

function leave() {
  const key = current;
  if (chats.get(key).isRoom && isOnline) socket.emit('leave', key);
  for (const line of chats.get(key).lines) if (line.url) URL.revokeObjectURL(line.url);
  current = HOME;
  $('text').value = chats.get(HOME).draft;
  chats.delete(key);
  showAll();
  showLines(true);
}

// ---- the connection ----

function showTransport() {
  const engine = socket.io.engine;
  const name = isOnline && engine ? engine.transport.name : wasLost ? 'lost' : 'connecting';
  $('transport').textContent = name === 'lost' ? 'connection lost' : name;
  $('status').dataset.state = name;
}

function showOnline() {
  $('send').disabled = !isOnline;
  $('text').placeholder = isOnline ? 'Write to ' + chatTitle(chats.get(current))
    : 'Waiting for the connection …';
  showTransport();
}

function connect() {
  const forced = params.get('transport');
  const all = ['polling', 'websocket'];
  const transports = all.includes(forced) ? [forced] : all;
  socket = io({ transports, reconnectionDelay: 500, reconnectionDelayMax: 3000 });

  socket.io.on('open', () => {
    const engine = socket.io.engine;
    engine.on('upgrade', showTransport);
  });
  socket.on('connect', onConnect);
  socket.on('disconnect', () => {
    isOnline = false;
    wasLost = true;
    notice('The connection is lost. Trying again …', false, true);
    showOnline();
  });
  socket.on('connect_error', () => {
    if (!wasLost) notice('The server does not answer. Trying again …', false, true);
  });

  socket.on('rooms', (list) => {
    rooms = new Map(list);
    showLists();
    clearTimeout(countTimer);
    countTimer = setTimeout(checkCounts, 2000);
  });
  socket.on('joined', (room, id, name) => {
    const chat = chats.get(room);
    if (!chat) return;
    chat.left.delete(id);
    if (!chat.people.has(id) && id !== socket.id) addEvent(chat, name + ' came in');
    chat.people.set(id, name);
    if (chats.has(id)) chats.get(id).isGone = false;
    showAll();
  });
  socket.on('left', (room, id) => {
    const chat = chats.get(room);
    if (!chat) return;
    chat.left.add(id);
    chat.typing.delete(id);
    if (chat.people.has(id)) addEvent(chat, chat.people.get(id) + ' left');
    chat.people.delete(id);
    if (room === HOME && chats.has(id)) chats.get(id).isGone = true;
    showAll();
  });
  socket.on('said', (room, id, name, at, what) => {
    const chat = chats.get(room);
    if (chat) addLine(chat, said(id, name, at, what));
  });
  socket.on('told', (id, name, at, what) => {
    addLine(openChat(id, String(name), false), said(id, name, at, what));
    showLists();
  });
  socket.on('typing', (room, id, name) => {
    const chat = chats.get(room === null ? id : room);
    if (!chat) return;
    chat.typing.set(id, { name: String(name), until: Date.now() + TYPING_MS * 1.8 });
    showTyping();
  });
  socket.on('headline', (text) => {
    $('headline').hidden = true; // shown anew: the animation and the announcement begin again
    $('headline-text').textContent = String(text);
    requestAnimationFrame(() => { $('headline').hidden = false; });
  });
}

// After each CONNECT. A recovered connection has its name and rooms; the lists are asked for again
// all the same.
async function onConnect() {
  try {
    myIds.add(socket.id);
    if (!myName) return;
    if (!socket.recovered) await ask('name', myName);
    const mine = Array.from(chats.values()).filter((chat) => chat.isRoom).map((chat) => chat.key);
    for (const room of mine.length ? mine : [HOME]) await enter(room);
    isOnline = true;
    if (!wasLost) notice('');
    else if (socket.recovered) notice('Connected again; nothing was missed.', true);
    else notice('Connected again.', true);
    showAll();
  } catch (e) {
    notice(e.message, false, true);
    if (socket.connected && !isOnline) openDoor(e.message);
  }
}

// ---- what is shown ----

function chatTitle(chat) {
  return chat ? chat.title : HOME;
}

function listButton(key, title, isCurrent) {
  const button = element('button');
  button.type = 'button';
  if (isCurrent) button.setAttribute('aria-current', 'true');
  button.addEventListener('click', () => go(key));
  return button;
}

function addBadge(button, chat, count) {
  if (chat && chat.unread > 0) {
    const badge = element('span', 'badge', String(chat.unread));
    badge.setAttribute('aria-label', chat.unread + ' unread');
    button.append(badge);
  } else if (count !== undefined) {
    const e = element('span', 'count', String(count));
    e.setAttribute('aria-label', nPeople(count));
    button.append(e);
  }
}

function showRooms() {
  const names = new Set([HOME]);
  for (const chat of chats.values()) if (chat.isRoom) names.add(chat.key);
  for (const name of rooms.keys()) names.add(name);
  const items = Array.from(names).map((name) => {
    const item = element('li', chats.has(name) ? '' : 'outside');
    const button = listButton(name, name, name === current);
    const hash = element('span', 'hash', '#');
    hash.setAttribute('aria-hidden', 'true');
    button.append(hash, element('span', 'name', name));
    addBadge(button, chats.get(name), rooms.get(name));
    item.append(button);
    return item;
  });
  $('rooms').replaceChildren(...items);
}

function showPrivates() {
  const privates = Array.from(chats.values()).filter((chat) => !chat.isRoom);
  const items = privates.map((chat) => {
    const item = element('li', chat.isGone ? 'outside' : '');
    const button = listButton(chat.key, chat.title, chat.key === current);
    button.append(avatar(chat.title), element('span', 'name', chat.title));
    addBadge(button, chat);
    item.append(button);
    return item;
  });
  $('privates').replaceChildren(...items);
  $('private-section').hidden = items.length === 0;
}

function showPeople() {
  const chat = chats.get(current);
  const room = chat && chat.isRoom ? chat : chats.get(HOME);
  if (!room) return;
  const people = Array.from(room.people).sort((a, b) => a[1].localeCompare(b[1]));
  const items = people.map(([id, name]) => {
    const item = element('li');
    const isMe = id === socket.id;
    const row = isMe ? element('span', 'me') : element('button');
    row.append(avatar(name), element('span', 'name', name));
    if (isMe) {
      row.append(element('span', 'you', 'you'));
    } else {
      row.type = 'button';
      row.title = 'Write to ' + name + ' privately';
      row.addEventListener('click', () => {
        openChat(id, name, false);
        go(id);
      });
    }
    item.append(row);
    return item;
  });
  $('people').replaceChildren(...items);
  $('people-room').textContent = room.title;
}

function showLists() {
  showRooms();
  showPrivates();
  showPeople();
  let unread = 0;
  for (const chat of chats.values()) unread += chat.unread;
  document.title = (unread ? '(' + unread + ') ' : '') + 'siolite chat';
  $('menu-dot').hidden = unread === 0;
}

function showHead() {
  const chat = chats.get(current);
  if (!chat) return;
  $('title').textContent = (chat.isRoom ? '# ' : '') + chat.title;
  $('people-count').textContent = chat.isRoom ? nPeople(chat.people.size)
    : chat.isGone ? 'has left' : 'only you two';
  $('leave').hidden = chat.key === HOME;
  $('leave').textContent = chat.isRoom ? 'Leave' : 'Close';
}

function showAll() {
  showHead();
  showLists();
  showTyping();
  showOnline();
}

function lineElement(line, before) {
  if (line.event) return element('li', 'event', line.event);
  const isAgain = before && before.id === line.id && line.at - before.at < GROUP_MS;
  const item = element('li', 'line' + (line.isOwn ? ' own' : '') + (isAgain ? ' again' : ''));
  const meta = element('p', 'meta');
  const time = element('time', '', clock(line.at));
  time.dateTime = new Date(line.at).toISOString();
  meta.append(element('b', '', line.name), time);
  const bubble = element('div', 'bubble', line.text);
  if (line.url) {
    const link = element('a');
    const image = element('img');
    bubble.classList.add('picture');
    link.href = image.src = line.url;
    link.target = '_blank';
    image.alt = 'Picture from ' + line.name;
    link.append(image);
    bubble.append(link);
  }
  item.append(avatar(line.name), meta, bubble);
  return item;
}

let isAtEnd = true;
function scrollToEnd() {
  $('scroller').scrollTop = $('scroller').scrollHeight;
  $('newer').hidden = true;
  isAtEnd = true;
}

// An element is made once for each line, so that a screen reader hears only what is new.
function showLines(isToEnd) {
  const chat = chats.get(current);
  if (!chat) return;
  const stays = isAtEnd;
  let before = null;
  const items = chat.lines.map((line) => {
    if (!line.element || line.before !== before) line.element = lineElement(line, before);
    line.before = before;
    before = line;
    return line.element;
  });
  const list = $('lines');
  const wanted = new Set(items);
  for (const e of Array.from(list.children)) if (!wanted.has(e)) e.remove();
  items.forEach((e, i) => {
    if (list.children[i] !== e) list.insertBefore(e, list.children[i] || null);
  });
  if (items.length === 0) list.append(element('li', 'empty', 'Nothing was said here yet.'));
  if (isToEnd || stays) scrollToEnd();
  else $('newer').hidden = false;
}

function showTyping() {
  const chat = chats.get(current);
  const now = Date.now();
  const names = [];
  if (chat) {
    for (const [id, t] of chat.typing) {
      if (t.until > now) names.push(t.name);
      else chat.typing.delete(id);
    }
  }
  $('typing').textContent = names.length === 0 ? ''
    : names.length === 1 ? names[0] + ' is typing …'
    : names.length === 2 ? names[0] + ' and ' + names[1] + ' are typing …'
    : names.length + ' people are typing …';
}

function openSide(isOpen) {
  $('side').classList.toggle('open', isOpen);
  $('shade').hidden = !isOpen;
  $('menu').setAttribute('aria-expanded', String(isOpen));
}

// ---- sending ----

async function send(what) {
  const to = current;
  try {
    await ask('say', to, what);
    const chat = chats.get(to);
    if (chat && !chat.isRoom) addLine(chat, said(socket.id, myName, Date.now(), what));
    return true;
  } catch (e) {
    notice(e.message);
    return false;
  }
}

function fitText() {
  const text = $('text');
  text.style.height = 'auto';
  text.style.height = Math.min(text.scrollHeight, 144) + 'px';
}

async function sendText() {
  const text = $('text').value.trim();
  if (!text || !isOnline) return;
  if (nBytes(text) > TEXT_MAX_BYTES) {
    notice('That is too long for one message.');
    return;
  }
  $('text').value = '';
  fitText();
  lastTyped = 0;
  if (!await send(text) && !$('text').value) $('text').value = text;
}

// The kinds of pictures that every browser shows, known by their first bytes; '' for anything else.
function pictureType(bytes) {
  const head = String.fromCharCode(...bytes.subarray(0, 12));
  if (head.startsWith('\xff\xd8\xff')) return 'image/jpeg';
  if (head.startsWith('\x89PNG')) return 'image/png';
  if (head.startsWith('GIF8')) return 'image/gif';
  if (head.startsWith('RIFF') && head.endsWith('WEBP')) return 'image/webp';
  return '';
}

function loadImage(file) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error('The browser can read no picture in this file.'));
    image.src = URL.createObjectURL(file);
  });
}

// Draws the picture smaller and smaller until it is at most PICTURE_MAX_BYTES.
async function shrink(file) {
  const image = await loadImage(file);
  let scale = Math.min(1, PICTURE_MAX_SIDE / Math.max(image.naturalWidth, image.naturalHeight));
  try {
    for (let i = 0; i < 8; i++, scale *= 0.75) {
      const canvas = document.createElement('canvas');
      canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
      canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
      const context = canvas.getContext('2d');
      context.fillStyle = '#fff';
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(image, 0, 0, canvas.width, canvas.height);
      const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/jpeg', 0.85));
      if (blob && blob.size <= PICTURE_MAX_BYTES) return blob;
    }
  } finally {
    URL.revokeObjectURL(image.src);
  }
  throw new Error('This picture is too large.');
}

function readBytes(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error('The file could not be read.'));
    reader.readAsArrayBuffer(blob);
  });
}

async function sendPicture(file) {
  if (!file || !isOnline) return;
  try {
    let bytes = file.size <= PICTURE_MAX_BYTES ? await readBytes(file) : null;
    if (!bytes || !pictureType(new Uint8Array(bytes))) bytes = await readBytes(await shrink(file));
    await send(bytes);
  } catch (e) {
    notice(e.message);
  }
}

// ---- the door ----

function openDoor(wrong) {
  $('join-error').textContent = wrong || '';
  if (!$('join').open) $('join').showModal();
  $('name').focus();
}

function comeIn(name) {
  myName = name;
  try {
    localStorage.setItem('siolite-name', name);
  } catch (e) { /* not kept, then */ }
  if ($('join').open) $('join').close();
  openChat(HOME, HOME, true);
  showAll();
  showLines(true);
  if (socket.connected) onConnect();
  if (matchMedia('(hover: hover)').matches) $('text').focus();
}

function start() {
  $('join-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const name = $('name').value.trim();
    if (!name) return;
    if (nBytes(name) > NAME_MAX_BYTES) $('join-error').textContent = 'That is too long.';
    else comeIn(name);
  });
  $('join').addEventListener('cancel', (event) => event.preventDefault());
  $('composer').addEventListener('submit', (event) => {
    event.preventDefault();
    sendText();
  });
  $('text').addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    sendText();
  });
  $('text').addEventListener('input', () => {
    fitText();
    const now = Date.now();
    if (!isOnline || !$('text').value || now - lastTyped < TYPING_MS) return;
    lastTyped = now;
    socket.volatile.emit('typing', current);
  });
  $('text').addEventListener('paste', (event) => {
    const file = Array.from(event.clipboardData.files).find((f) => f.type.startsWith('image/'));
    if (!file) return;
    event.preventDefault();
    sendPicture(file);
  });
  $('file').addEventListener('change', () => {
    sendPicture($('file').files[0]);
    $('file').value = '';
  });
  const hasFiles = (event) => event.dataTransfer
    && Array.from(event.dataTransfer.types).includes('Files');
  document.addEventListener('dragover', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    $('drop').hidden = !isOnline;
  });
  document.addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) $('drop').hidden = true;
  });
  document.addEventListener('drop', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    $('drop').hidden = true;
    sendPicture(event.dataTransfer.files[0]);
  });
  $('room-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const words = $('room-name').value.toLowerCase().match(/[a-z0-9]+/g) || [];
    const name = words.join('-');
    if (!name || !isOnline) return;
    $('room-name').value = '';
    go(name);
  });
  $('leave').addEventListener('click', leave);
  $('headline-close').addEventListener('click', () => { $('headline').hidden = true; });
  $('menu').addEventListener('click', () => openSide(!$('side').classList.contains('open')));
  $('shade').addEventListener('click', () => openSide(false));
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') openSide(false);
  });
  $('scroller').addEventListener('scroll', () => {
    const s = $('scroller');
    isAtEnd = s.scrollHeight - s.scrollTop - s.clientHeight < 40;
    if (isAtEnd) $('newer').hidden = true;
  });
  $('newer').addEventListener('click', scrollToEnd);
  document.addEventListener('visibilitychange', () => {
    const chat = chats.get(current);
    if (document.hidden || !chat) return;
    chat.unread = 0;
    showLists();
  });
  // Who reads the newest line goes on doing so when a picture loads or a headline takes space.
  const sizes = new ResizeObserver(() => { if (isAtEnd) scrollToEnd(); });
  sizes.observe($('scroller'));
  sizes.observe($('lines'));
  setInterval(showTyping, 500);

  if (typeof io === 'undefined') {
    notice('The client library /client/socket.io.min.js did not load.', false, true);
    return;
  }
  connect();
  const name = (params.get('name') || '').trim();
  if (name) {
    comeIn(name);
  } else {
    try {
      $('name').value = localStorage.getItem('siolite-name') || '';
    } catch (e) { /* none kept */ }
    openDoor();
  }
}

start();
}());
