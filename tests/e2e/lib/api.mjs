// SPDX-License-Identifier: MIT
//
// The HTTP API as a client of it sees it.

import assert from 'node:assert/strict';
import { request } from './wire.mjs';

export const TOKEN = 'a-token-of-the-tests-0123';

// A function that asks the API of a server: (method, '/emit', body) -> { status, headers, json }.
// `body` is JSON, or text as it is. Each answer is also given to `seen`.
export function apiOf(url, { token = TOKEN, seen = () => {} } = {}) {
  const api = async (method, path, body = undefined, { headers = {}, ...more } = {}) => {
    const [route, query = ''] = path.split('?');
    const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
    const answer = await request(more.url ?? url, {
      method,
      path: `/socket.io/api/v1${route}`,
      query,
      headers: {
        ...(token ? { Authorization: `Bearer ${token}` } : {}),
        ...(text === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...headers,
      },
      body: text,
    });
    assert.equal(answer.headers['content-type'], 'application/json', `${method} ${path}: ${answer.status} ${answer.body}`);
    answer.json = JSON.parse(answer.body);
    seen({ method, route, query, body, answer });
    return answer;
  };
  api.get = async (path) => ok(await api('GET', path), path);
  api.post = async (path, body, options) => ok(await api('POST', path, body, options), path);
  return api;
}

function ok(answer, path) {
  assert.equal(answer.status, 200, `${path}: ${answer.status} ${answer.body}`);
  return answer.json;
}

// The error of an answer, which has this status.
export function refusal(answer, status) {
  assert.equal(answer.status, status, answer.body);
  const { code, field, action, message } = answer.json.error;
  assert.ok(message.length > 0 && !message.includes('\n'));
  return { code, ...(field === undefined ? {} : { field }), ...(action === undefined ? {} : { action }) };
}
