/*
 * See sign.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/hook/sign.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { SECRET_BYTES_MIN = 16, SECRET_BYTES_MAX = 4096 };

static enum rc
load_file(const char *file, struct buf *secret, struct buf *err)
{
    char line[SECRET_BYTES_MAX];
    FILE *f = fopen(file, "re");
    if (f == NULL) {
        buf_append_f(err, "hook_secret_file: %s: %s", file, strerror(errno));
        return RC_NOTFOUND;
    }
    size_t len = fread(line, 1, sizeof line, f);
    fclose(f);
    struct str text = {line, len};
    text.len = str_index(text, '\n');
    if (text.len > 0 && text.p[text.len - 1] == '\r')
        text.len--;
    if (text.len < SECRET_BYTES_MIN || text.len == sizeof line) {
        buf_append_f(err,
                     "hook_secret_file: %s: its first line is no key; allowed: %d to %d "
                     "characters",
                     file, SECRET_BYTES_MIN, SECRET_BYTES_MAX - 1);
        return RC_INVALID;
    }
    buf_append_str(secret, text);
    return RC_OK;
}

enum rc
hook_sign_load(const struct cfg *cfg, struct buf *secret, struct buf *err)
{
    if (cfg->hook_secret_file[0] != '\0')
        return load_file(cfg->hook_secret_file, secret, err);
    buf_append_z(secret, cfg->hook_secret);
    return RC_OK;
}

enum rc
hook_sign(struct str secret, int64_t time_s, struct str body,
          char out[HOOK_SIGNATURE_LEN + 1])
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    struct buf text = {0};
    buf_append_f(&text, "%" PRId64 ".", time_s);
    buf_append_str(&text, body);
    bool is_ok = HMAC(EVP_sha256(), secret.p, (int)secret.len,
                      (const unsigned char *)text.p, text.len, mac, &len) != NULL &&
                 len * 2 == HOOK_SIGNATURE_LEN - 3;
    buf_fini(&text);
    if (!is_ok)
        return RC_IO;
    memcpy(out, "v1=", 3);
    for (unsigned i = 0; i < len; i++)
        (void)snprintf(out + 3 + 2 * i, 3, "%02x", mac[i]);
    return RC_OK;
}
