// SPDX-License-Identifier: MIT
//
// docs/openapi.yaml and the HTTP API are the same: every path, method, status and field of the file is exercised and valid
// by it, and nothing answers that is not in it.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { apiOf, refusal, TOKEN } from './lib/api.mjs';
import { require, root } from './lib/npm.mjs';
import { connect, freshNsp } from './lib/official.mjs';
import { needsOwn, startServer } from './lib/server.mjs';
import { request } from './lib/wire.mjs';

const Ajv = require('ajv/dist/2020').default;
const YAML = require('yaml');
const spec = YAML.parse(fs.readFileSync(path.join(root, 'docs/openapi.yaml'), 'utf8'));
const ajv = new Ajv({ strict: true, allowUnionTypes: true, strictRequired: false });
ajv.addVocabulary(['openapi', 'info', 'servers', 'security', 'paths', 'components']);
ajv.addSchema({ $id: 'spec', ...spec });

const METHODS = ['get', 'post', 'put', 'patch', 'delete', 'options'];
const operations = Object.entries(spec.paths).flatMap(([route, item]) =>
  Object.entries(item).map(([method, operation]) => ({ route, method, operation, id: `${method} ${route}` })));
const sorted = (list) => [...list].sort();
const escaped = (...parts) => parts.map((part) => part.replaceAll('~', '~0').replaceAll('/', '~1')).join('/');
const follow = (thing) => (thing?.$ref ? thing.$ref.split('/').slice(1).reduce((o, key) => o[key], spec) : thing);

function check(pointer, value, what) {
  const validate = ajv.getSchema(`spec#/${pointer}`);
  assert.ok(validate, `${pointer} is a schema`);
  assert.ok(validate(value), `${what}: ${ajv.errorsText(validate.errors)}: ${JSON.stringify(value)}`);
}

// What was seen: "get /room 200", "get /room ?limit", "emit.args", "RoomRow".
const seen = new Set();

// An answer must be one that the file has.
function seeAnswer({ method, route, query, body, answer }) {
  const here = operations.find((o) => o.method === method.toLowerCase() &&
    new RegExp(`^${o.route.replace(/\{\w+\}/, '[^/]+')}$`).test(route));
  if (here === undefined) {
    check('components/schemas/Error', answer.json, `${method} ${route}`);
    assert.ok([401, 404, 405].includes(answer.status), `${method} ${route} is not in openapi.yaml, but answers ${answer.status}`);
    return;
  }
  const response = follow(here.operation.responses[answer.status]);
  assert.ok(response, `${here.id} answers ${answer.status}, which is not in openapi.yaml`);
  const { $ref } = here.operation.responses[answer.status];
  const at = $ref ? $ref.slice(2) : `paths/${escaped(here.route, here.method, 'responses', String(answer.status))}`;
  check(`${at}/content/application~1json/schema`, answer.json, `${here.id} ${answer.status}`);
  seen.add(`${here.id} ${answer.status}`);
  for (const name of Object.keys(response.headers ?? {}))
    if (answer.headers[name.toLowerCase()] !== undefined) {
      check(`${at}/headers/${name}/schema`, answer.headers[name.toLowerCase()], name);
      seen.add(`${here.id} ${answer.status} ${name}`);
    }
  if (answer.status !== 200) return;
  for (const name of new URLSearchParams(query).keys()) seen.add(`${here.id} ?${name}`);
  for (const item of answer.json.items?.slice(0, 1) ?? []) seen.add(`${here.id} row of ${Object.keys(item)}`);
  if (here.method === 'post') {
    check(`paths/${escaped(here.route, 'post')}/requestBody/content/application~1json/schema`, body, here.id);
    const actions = here.route === '/actions' ? [body].flat() : [{ [here.route.slice(1)]: body }];
    for (const action of actions)
      for (const [verb, fields] of Object.entries(action))
        for (const field of Object.keys(fields)) seen.add(`${here.route === '/actions' ? 'actions ' : ''}${verb}.${field}`);
  }
}

const schemaOf = (verb) => follow(spec.components.schemas.Action.properties[verb]);
const verbs = Object.keys(spec.components.schemas.Action.properties);
const allowed = (answer, status = 400) => {
  refusal(answer, status);
  return answer.json.error.message.split('allowed: ')[1].trim().split(/,? /).sort();
};

describe('docs/openapi.yaml', { skip: needsOwn }, () => {
  let server, api, nsp, empty, socket, samples;
  before(async () => {
    server = await startServer({
      set: { api_token: TOKEN, max_payload: 2000, foreign_origin: 'refuse', nsp: '/empty' },
    });
    api = apiOf(server.url, { seen: seeAnswer });
    nsp = freshNsp();
    empty = '/empty';
    socket = await connect(server.entries[0], 'websocket', { nsp });
    await server.sql(`INSERT INTO t_hook (event_id, kind, sio_id, nsp, body, attachments, n_bytes, made_ms, is_parked)
      SELECT 'parked ' || value, 1, 'gone', '/', '[]', x'', 2, 0, 1 FROM json_each('[1,2,3]')`);
    await apiOf(server.url).post('/room_join', { nsp, socket: socket.id, room: 'left' });
    const whom = { nsp, room: 'left', rooms: ['hall'], except_room: 'vip', except_rooms: ['staff'], user: 'ann' };
    const who = (more) => [{ socket: socket.id }, { nsp, in_room: 'left' }, { nsp, user: 'ann' }, { nsp, is_all: true }].map(
      (target) => ({ ...target, ...more }));
    samples = {
      emit: [{ ...whom, event: 'e', args: [1, { $binary: '' }], is_volatile: true, is_plain: true }, { nsp, room: ['left', 'right'], except_room: ['vip'], event: 'e' }],
      ask: [{ ...whom, name: 'q', event: 'e', args: [1], timeout_ms: 60_000, is_volatile: false, is_plain: false }, { nsp, event: 'e' }],
      ask_cancel: [{ name: 'none' }],
      ack: [{ event_id: `${socket.id}:1`, args: [1] }],
      server_emit: [{ nsp, event: 'e', args: [1] }],
      room_join: who({ room: 'left', is_history: true }),
      room_leave: [...who({ room: 'right' })],
      room_history: [{ nsp, room: 'left', n: 10, seconds: 60 }, { nsp, pattern: 'l*', n: 5 }],
      socket_data: [{ nsp, socket: socket.id, data: { a: 1 } }],
      socket_user: [{ nsp, socket: socket.id, user: 'ann' }],
      socket_expiry: [{ socket: socket.id, expires_s: 1000, is_close: true }, { socket: socket.id, expires_at: 4e9 }],
      outbox: [{ user: 'bea', nsp, event: 'e', args: [1], expires_s: 100 }, { user: 'ann', nsp, event: 'e', expires_at: 4e9 }],
      outbox_cancel: [{ user: 'bea', nsp, event: 'none' }, { id: 999 }],
      presence_room: [{ nsp, room: 'left' }],
      hook_retry: [{ event_id: 'parked 1' }],
      kick: [{ nsp, in_room: 'nobody' }, { nsp, user: 'nobody' }, { nsp: empty, is_all: true, is_close: true }, { socket: 'gone' }],
    };
  });
  after(() => server?.stop());

  it('has the verbs and fields of the programs', async () => {
    assert.deepEqual(sorted(verbs), allowed(await api('POST', '/actions', [{ none: { x: 1 } }])),
      'each verb of the programs is a path, and a member of Action');
    for (const verb of verbs) {
      assert.ok(spec.paths[`/${verb}`]?.post, `/${verb} is a path`);
      const fields = allowed(await api('POST', `/${verb}`, { none: 1 }));
      // These are blobs; in JSON there is $binary.
      assert.deepEqual(sorted(Object.keys(schemaOf(verb).properties)), fields.filter((f) => !/^attachments?$/.test(f)), verb);
    }
  });

  it('has the parameters and columns of the programs', async () => {
    for (const { route, method, operation, id } of operations.filter((o) => o.method === 'get')) {
      const parameters = operation.parameters.map(follow).filter((p) => p.in === 'query').map((p) => p.name);
      const answer = await api('GET', `${route.replace(/\{\w+\}/, 'x')}?none=1`);
      refusal(answer, 400);
      const list = answer.json.error.message.split('allowed: ')[1]?.trim().split(' ') ?? [];
      assert.deepEqual(sorted(parameters), sorted(list), `${id} ${method}`);
    }
  });

  it('is true of every verb, field and row', async () => {
    assert.deepEqual(sorted(Object.keys(samples)), sorted(verbs), 'each verb has samples here');
    for (const verb of verbs) for (const body of samples[verb]) await api.post(`/${verb}`, body);
    await api.post('/actions', verbs.map((verb) => ({
      [verb]: { ...samples[verb][0], ...(verb === 'ask' ? { name: 'in a list' } : verb === 'hook_retry' ? { event_id: 'parked 2' } : {}) },
    })));
    await api.post('/actions', { emit: { event: 'single' } });
    const values = { nsp, room: 'left', socket: socket.id, user: 'ann', name: 'q', state: 'open', is_answered: 'false',
      is_online: 'true', event: 'e', limit: 1000, offset: 0, wait: 0 };
    for (const { route, operation } of operations.filter((o) => o.method === 'get')) {
      const at = route.replace('{id}', socket.id).replace('{name}', 'q');
      await api.get(at);
      for (const { name } of operation.parameters.map(follow).filter((p) => p.in === 'query')) {
        const value = route === '/outbox' && name === 'state' ? 'waiting' : values[name];
        const answer = await api.get(`${at}?${name}=${encodeURIComponent(value)}`);
        if (answer.items) assert.ok(answer.items.length > 0, `${at}?${name}=${value} has rows`);
      }
    }
  });

  it('is true of every refusal', async () => {
    let n = 0;
    for (const { route, method, operation, id } of operations) {
      const at = route.replace(/\{\w+\}/, 'nobody');
      const verb = route.slice(1);
      const good = verb === 'actions' ? { emit: { event: 'e' } } :
        { ...samples[verb]?.at(-1), ...(verb === 'hook_retry' ? { event_id: 'parked 3' } : {}) };
      const body = method === 'post' ? good : undefined;
      const ask = (more, sent = body, query = '') => api(method.toUpperCase(), at + query, sent, more);
      refusal(await ask({ headers: { Authorization: 'Bearer x' } }), 401);
      refusal(await ask({ headers: { Origin: 'http://foreign.example' } }), 403);
      if (method === 'get') {
        refusal(await ask({}, undefined, '?none=1'), 400);
        if (route.includes('{')) refusal(await ask({}), 404);
      } else {
        const headers = { 'Idempotency-Key': `key ${++n}` };
        refusal(await ask({}, '5'), 400);
        refusal(await ask({}, `"${'x'.repeat(2000)}"`), 413);
        refusal(await ask({ headers: { 'Content-Type': 'text/plain' } }), 415);
        for (let i = 0; i < 2; i++) assert.equal((await ask({ headers })).status, 200, id);
        refusal(await ask({ headers }, `${JSON.stringify(body)} `), 422);
      }
      assert.ok(operation.responses['503'], id);
    }
  });

  it('is all that answers', async () => {
    for (const [route, item] of Object.entries(spec.paths))
      for (const method of METHODS.filter((m) => !item[m])) {
        const answer = await api(method.toUpperCase(), route.replace(/\{\w+\}/, 'x'), method === 'get' ? undefined : {});
        assert.deepEqual(refusal(answer, 405), { code: 'method_not_allowed' });
        assert.deepEqual(answer.headers.allow.split(', '), sorted(Object.keys(item).map((m) => m.toUpperCase())), route);
      }
    const names = (await server.sql("SELECT name FROM sqlite_master WHERE type IN ('view', 'table')")).map((row) => row.name);
    assert.ok(names.length > 30);
    const others = ['', '/', '/Emit', '/socket/', '/ask/', '/socket/a/b/', '/emit/x', '/actions/x', '/room/x', `/${'x'.repeat(1000)}`];
    for (const at of [...others, ...names.map((name) => `/${name}`).filter((at) => !spec.paths[at])])
      for (const method of ['GET', 'POST'])
        if (!(at === '/socket/a/b/'))
          assert.deepEqual(refusal(await api(method, at, method === 'POST' ? {} : undefined), 404), { code: 'not_found' }, at);
    for (const at of ['/socket.io/api', '/socket.io/api/', '/socket.io/api/v2/emit', '/socket.io/api/v1emit'])
      assert.equal((await request(server.url, { path: at, headers: { Authorization: `Bearer ${TOKEN}` } })).status, 404);
  });

  it('is true while the database has a fault', async () => {
    const broken = await startServer({ fcgi: 1, ws: 0, set: { api_token: TOKEN } });
    const views = ['socket', 'member', 'room', 'presence', 'ask', 'answer', 'outbox'];
    await apiOf(broken.url).get('/room'); // the database is there
    await broken.sql(['ALTER TABLE t_dedup RENAME TO t_moved',
      ...views.map((view) => `DROP VIEW ${view}; CREATE VIEW ${view} AS SELECT * FROM nowhere`)].join(';'));
    const there = apiOf(broken.url, { seen: seeAnswer });
    for (const { route, method } of operations) {
      const body = method === 'post' ? (route === '/actions' ? { emit: { event: 'e' } } : { event: 'e' }) : undefined;
      const answer = await there(method.toUpperCase(), route.replace(/\{\w+\}/, 'x'), body, { headers: { 'Idempotency-Key': 'k' } });
      assert.deepEqual(refusal(answer, 503), { code: 'unavailable' });
    }
    await broken.stop({ allowErrors: true });
  });

  it('was exercised as a whole', () => {
    const wanted = operations.flatMap(({ route, method, operation, id }) => [
      ...Object.entries(operation.responses).flatMap(([status, response]) => [`${id} ${status}`,
        ...Object.keys(follow(response).headers ?? {}).map((name) => `${id} ${status} ${name}`)]),
      ...operation.parameters.map(follow).filter((p) => p.in === 'query').map((p) => `${id} ?${p.name}`),
      ...(method === 'get' && !route.includes('{')
        ? [`${id} row of ${Object.keys(follow(operation.responses['200'].content['application/json'].schema.properties.items.items).properties)}`]
        : []),
    ]);
    for (const verb of verbs)
      wanted.push(...Object.keys(schemaOf(verb).properties).map((field) => `${verb}.${field}`), `actions ${verb}.${Object.keys(samples[verb][0])[0]}`);
    assert.deepEqual(wanted.filter((what) => !seen.has(what)), []);
  });
});
