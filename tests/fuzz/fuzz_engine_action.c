/*
 * Verbs and binary data in JSON of any bytes (core/engine/action.c, binary.c). What is
 * spelled without attachments must be collected as it was; what was collected must be
 * JSON, and its attachments whole.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "core/engine/action.h"
#include "core/engine/binary.h"
#include "core/sio/json.h"

#define CHECK(x) ((x) ? (void)0 : abort())

enum { BYTES_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_json(struct str text)
{
    enum sio_json_kind kind;
    struct str value, rest;
    CHECK(sio_json_scan(text, SIO_JSON_DEPTH_MAX, &kind, &value, &rest) == RC_OK);
    CHECK(value.len == text.len);
}

static size_t
count_attachments(struct str attachments)
{
    struct str bytes;
    size_t pos = 0, n = 0;
    while (store_packet_attachment(attachments, &pos, &bytes) == RC_OK)
        n++;
    CHECK(pos == attachments.len);
    return n;
}

/* There and back. */
static void
spell_and_collect(struct str json, struct buf *out)
{
    struct buf spelled = {0}, attachments = {0};
    size_t n = 0;
    const char *error;
    CHECK(binary_spell(&spelled, json, STR_NONE, BYTES_MAX) == RC_OK);
    check_json(buf_str(&spelled));
    CHECK(binary_collect(out, buf_str(&spelled), &attachments, &n, &error) == RC_OK);
    CHECK(n == 0 && attachments.len == 0);
    check_json(buf_str(out));
    buf_fini(&spelled);
    buf_fini(&attachments);
}

static void
check_binary(struct str json)
{
    struct buf once = {0}, twice = {0}, out = {0}, attachments = {0}, spelled = {0};
    size_t n = 0;
    const char *error = NULL;
    spell_and_collect(json, &once); /* an escape in a name may be gone */
    spell_and_collect(buf_str(&once), &twice);
    CHECK(str_eq(buf_str(&once), buf_str(&twice)));
    if (binary_collect(&out, json, &attachments, &n, &error) == RC_OK) {
        check_json(buf_str(&out));
        CHECK(count_attachments(buf_str(&attachments)) == n);
        CHECK(binary_spell(&spelled, buf_str(&out), buf_str(&attachments), BYTES_MAX) ==
              RC_OK);
        check_json(buf_str(&spelled));
    } else {
        CHECK(error != NULL);
    }
    buf_fini(&once);
    buf_fini(&twice);
    buf_fini(&out);
    buf_fini(&attachments);
    buf_fini(&spelled);
}

static void
check_action(struct str json)
{
    const struct action_scope scope = {.nsp = STR("/"),
                                       .socket = STR("id"),
                                       .event_id = STR("id:1"),
                                       .ask_name = STR("name"),
                                       .n_attachments_max = 2};
    struct store_unit *u = store_unit_create();
    char verb[ACTION_VERB_SIZE];
    struct str members;
    struct buf err = {0};
    enum rc rc = action_parse(json, verb, &members, &err);
    if (rc == RC_OK)
        rc = action_add(u, verb, members, &scope, &err);
    CHECK((rc == RC_OK) == (err.len == 0));
    CHECK(store_unit_n_steps(u) == (rc == RC_OK));
    store_unit_destroy(u);
    buf_fini(&err);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = memcpy(malloc(size ? size : 1), data, size);
    struct str in = {copy, size}, value, rest;
    enum sio_json_kind kind;
    if (sio_json_scan(in, 64, &kind, &value, &rest) == RC_OK)
        check_binary(value);
    check_action(in);
    free(copy);
    return 0;
}
