/*
 * siolite: from options and words to the columns of a verb. What is wrong with them is
 * said by the view.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "store/ctl/ctl.h"

enum { ATTACHMENTS_BYTES_MAX = 500000000 }; /* SQLite takes rows of up to 1e9 bytes */

static struct store_field *
add(struct ctl_verb *v, const char *column)
{
    assert(v->n < CTL_FIELDS_MAX);
    v->fields[v->n].name = str_of(column);
    return &v->fields[v->n++];
}

void
ctl_verb_text(struct ctl_verb *v, const char *column, const char *value)
{
    if (value)
        add(v, column)->value =
            (struct store_value){.type = STORE_TEXT, .s = str_of(value)};
}

void
ctl_verb_number(struct ctl_verb *v, const char *column, int64_t value)
{
    add(v, column)->value = (struct store_value){.type = STORE_INT, .i = value};
}

/* The verb owns the bytes; `b` is empty afterwards. */
static void
add_made(struct ctl_verb *v, const char *column, enum store_value_type type,
         struct buf *b)
{
    v->texts[v->n] = *b;
    *b = (struct buf){0};
    struct str s = buf_str(&v->texts[v->n]);
    add(v, column)->value = (struct store_value){.type = type, .s = s};
}

void
ctl_verb_option(struct ctl_verb *v, const struct ctl *c, const char *option,
                const char *column)
{
    ctl_verb_text(v, column, ctl_value(c, option));
}

void
ctl_verb_flag(struct ctl_verb *v, const struct ctl *c, const char *option,
              const char *column)
{
    if (ctl_has(c, option))
        ctl_verb_number(v, column, 1);
}

/* An option that may be repeated: once is `one`, several are a JSON array in `many`. */
static void
add_list(struct ctl_verb *v, const struct ctl *c, const char *option, const char *one,
         const char *many)
{
    struct buf b = {0};
    size_t n = 0;
    for (size_t i = 0; i < c->n_given; i++)
        if (strcmp(c->given[i].name, option) == 0) {
            buf_append_c(&b, n++ ? ',' : '[');
            buf_append_json(&b, str_of(c->given[i].value), false);
        }
    buf_append_c(&b, ']');
    if (n > 1)
        add_made(v, many, STORE_TEXT, &b);
    else
        ctl_verb_option(v, c, option, one);
    buf_fini(&b);
}

void
ctl_verb_target(struct ctl_verb *v, const struct ctl *c)
{
    ctl_verb_option(v, c, "nsp", "nsp");
    add_list(v, c, "room", "room", "rooms");
    add_list(v, c, "except", "except_room", "except_rooms");
    ctl_verb_option(v, c, "user", "user");
}

static bool
is_json(const char *text)
{
    json_t *json = json_loads(
        text, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
    json_decref(json);
    return json != NULL;
}

/* One attachment, behind its length. */
static int
append_file(struct buf *b, const struct ctl *c, const char *file)
{
    struct buf data = {0};
    FILE *f = fopen(file, "rb");
    size_t n = 1;
    while (f && n > 0 && data.len <= ATTACHMENTS_BYTES_MAX) {
        n = fread(buf_reserve(&data, 65536), 1, 65536, f);
        data.len += n;
    }
    int error = f == NULL || ferror(f) ? errno : 0;
    if (f)
        fclose(f);
    bool is_large = data.len + b->len > ATTACHMENTS_BYTES_MAX;
    if (!error && !is_large)
        store_packet_append_attachment(b, buf_str(&data));
    buf_fini(&data);
    if (error)
        return ctl_fail(c, "--attachment: %s: %s", file, strerror(error));
    if (is_large)
        return ctl_usage(c, "--attachment: %s: too large; allowed: %d bytes in all", file,
                         ATTACHMENTS_BYTES_MAX);
    return 0;
}

int
ctl_verb_args(struct ctl_verb *v, const struct ctl *c, size_t from)
{
    bool is_text = ctl_has(c, "text");
    struct buf args = {0}, attachments = {0};
    int status = 0;
    for (size_t i = from; i < c->n_words && status == 0; i++) {
        const char *word = c->words[i];
        buf_append_c(&args, i > from ? ',' : '[');
        if (is_text)
            buf_append_json(&args, str_of(word), false);
        else if (is_json(word))
            buf_append_z(&args, word);
        else
            status = ctl_usage(c,
                               "ARG %zu: %s: is not JSON; allowed: a JSON value (a text "
                               "with its double quotes), or any text after --text",
                               i - from + 1, word);
    }
    for (size_t i = 0; i < c->n_given && status == 0; i++)
        if (strcmp(c->given[i].name, "attachment") == 0)
            status = append_file(&attachments, c, c->given[i].value);
    if (status == 0 && args.len) {
        buf_append_c(&args, ']');
        add_made(v, "args", STORE_TEXT, &args);
    }
    if (status == 0 && attachments.len)
        add_made(v, "attachments", STORE_BLOB, &attachments);
    buf_fini(&args);
    buf_fini(&attachments);
    return status;
}

int
ctl_verb_end(struct ctl_verb *v, struct ctl *c, int status, int64_t *last_seq)
{
    struct store_unit *u;
    if (status == 0)
        status = ctl_open(c, false, NULL, NULL);
    if (status == 0) {
        u = store_unit_create();
        store_unit_action(u, v->name, v->fields, v->n);
        status = ctl_run(c, u, last_seq);
    }
    for (size_t i = 0; i < v->n; i++)
        buf_fini(&v->texts[i]);
    return status;
}
