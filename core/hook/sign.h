/*
 * By what the receiver knows that an event comes from us: HMAC-SHA256 with a key that
 * both have (docs/hook.md).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_HOOK_SIGN_H
#define SIOLITE_CORE_HOOK_SIGN_H

#include "core/base/buf.h"
#include "core/base/cfg.h"

#define HOOK_SIGNATURE_LEN (3 + 64)

/* The key: hook_secret, or the first line of hook_secret_file. `err`: one line, without
 * the key. */
MUST_CHECK enum rc
hook_sign_load(const struct cfg *cfg, struct buf *secret, struct buf *err);
/* "v1=" and the hexadecimal HMAC of "<time_s>.<body>". */
MUST_CHECK enum rc hook_sign(struct str secret, int64_t time_s, struct str body,
                             char out[HOOK_SIGNATURE_LEN + 1]);

#endif
