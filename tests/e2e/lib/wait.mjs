// SPDX-License-Identifier: MIT
//
// Waiting: for a condition, a promise or the next item of a queue, always with a deadline
// and an error that says what was expected and what was seen.

import { inspect } from 'node:util';

// All deadlines of the tests grow by this factor on slow machines and sanitizer builds.
export const slowness = Number(process.env.SIOLITE_TEST_SLOWNESS ?? 1);

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const show = (value) =>
  inspect(value, {
    depth: 6,
    breakLength: 120,
    maxArrayLength: 40,
    maxStringLength: 400,
  });

// Calls `probe` until it returns a truthy value, which is the result. An exception of the
// probe counts as "not yet" and is part of the error in the end.
export async function until(what, probe, ms = 5000) {
  const end = Date.now() + ms * slowness;
  let seen;
  for (;;) {
    try {
      seen = await probe();
      if (seen) return seen;
    } catch (error) {
      seen = error;
    }
    if (Date.now() >= end) {
      throw new Error(`expected within ${ms} ms: ${what}; last seen: ${show(seen)}`);
    }
    await pause(10);
  }
}

// The promise's result, or an error after `ms`. `seen()` tells what there was meanwhile.
export function within(ms, what, promise, seen = undefined) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => {
      const also = seen === undefined ? '' : `; seen: ${show(seen())}`;
      reject(new Error(`expected within ${ms} ms: ${what}${also}`));
    }, ms * slowness);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// For loops that poll: each call throws when the time is over. `seen` as above.
export function deadline(ms, what, seen = undefined) {
  const end = Date.now() + ms * slowness;
  return () => {
    if (Date.now() < end) return;
    const also = seen === undefined ? '' : `; seen: ${show(seen())}`;
    throw new Error(`expected within ${ms} ms: ${what}${also}`);
  };
}

// A queue with one reader. What was taken stays in `log` for the error texts.
export class Inbox {
  #items = [];
  #waiting = [];
  #end = undefined;
  log = [];

  push(item) {
    this.log.push(item);
    if (this.#waiting.length > 0) this.#waiting.shift().resolve(item);
    else this.#items.push(item);
  }

  // Nothing comes any more: readers get an error with this text.
  finish(text) {
    this.#end ??= text;
    for (const { reject, what } of this.#waiting.splice(0)) reject(this.#ended(what));
  }

  #ended(what) {
    return new Error(`expected ${what}, but ${this.#end}; seen: ${show(this.log)}`);
  }

  get size() {
    return this.#items.length;
  }

  next(what = 'another packet', ms = 5000) {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift());
    if (this.#end !== undefined) {
      return Promise.reject(this.#ended(what));
    }
    let entry;
    const item = new Promise((resolve, reject) => {
      entry = { resolve, reject, what };
      this.#waiting.push(entry);
    });
    return within(ms, what, item, () => this.log).catch((error) => {
      this.#waiting = this.#waiting.filter((other) => other !== entry);
      throw error;
    });
  }

  // The first item for which `test` is true; those before it are dropped.
  async find(what, test, ms = 5000) {
    const end = Date.now() + ms;
    for (;;) {
      const item = await this.next(what, Math.max(1, end - Date.now()));
      if (test(item)) return item;
    }
  }

  take() {
    return this.#items.splice(0);
  }
}
