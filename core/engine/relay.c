/*
 * Bodies of events and acks: composed from values, or relayed byte for byte from what a
 * client sent (8.16: at no cost of a parse where a handler didn't touch it).
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/call.h"
#include "core/sio/json.h"

#define BODY_BYTES_FIRST 256

void
body_init(struct body *b)
{
    *b = (struct body){0};
    buf_reserve(&b->json, BODY_BYTES_FIRST); /* enough for most */
    buf_append_c(&b->json, '[');
}

void
body_fini(struct body *b)
{
    buf_fini(&b->json);
    buf_fini(&b->attachments);
}

/* What stands between the items of the list or object that is open. */
static void
separate(struct body *b)
{
    size_t n = b->level[b->depth].n_items++;
    if (n > 0)
        buf_append_c(&b->json, b->level[b->depth].is_object && n % 2 == 1 ? ':' : ',');
}

static enum rc
open_level(struct body *b, bool is_object)
{
    separate(b);
    if (b->depth + 1 == BODY_DEPTH_MAX)
        return RC_TOOBIG;
    b->level[++b->depth] = (struct body_level){.is_object = is_object};
    buf_append_c(&b->json, is_object ? '{' : '[');
    return RC_OK;
}

static enum rc
close_level(struct body *b, bool is_object)
{
    const struct body_level *l = &b->level[b->depth];
    if (b->depth == 0 || l->is_object != is_object || (is_object && l->n_items % 2 == 1))
        return RC_INVALID;
    b->depth--;
    buf_append_c(&b->json, is_object ? '}' : ']');
    return RC_OK;
}

void
body_add(struct body *b, struct str json)
{
    separate(b);
    buf_append_str(&b->json, json);
}

void
body_add_text(struct body *b, struct str text)
{
    separate(b);
    buf_append_json(&b->json, text, false);
}

static void
append_placeholder(struct body *b, size_t number)
{
    buf_append_f(&b->json, "{\"_placeholder\":true,\"num\":%zu}", number);
}

void
body_add_binary(struct body *b, struct str bytes)
{
    separate(b);
    append_placeholder(b, b->n_attachments++);
    store_packet_append_attachment(&b->attachments, bytes);
}

/* Where the attachments of relayed items have gone. */
struct moved {
    struct str attachments;
    size_t *number; /* in the new packet, plus one; 0: not there yet */
    size_t n;
};

static size_t
count_attachments(struct str attachments)
{
    struct str bytes;
    size_t n = 0, pos = 0;
    while (store_packet_attachment(attachments, &pos, &bytes) == RC_OK)
        n++;
    return n;
}

/* Placeholders may share an attachment: it goes along once, else a small packet could
 * make a huge one. */
static void
move_placeholder(struct body *b, struct moved *m, size_t number)
{
    struct str bytes = STR_NONE;
    size_t pos = 0;
    if (m->number[number] == 0) {
        for (size_t i = 0; i <= number; i++)
            if (store_packet_attachment(m->attachments, &pos, &bytes) != RC_OK)
                abort();
        store_packet_append_attachment(&b->attachments, bytes);
        m->number[number] = ++b->n_attachments;
    }
    append_placeholder(b, m->number[number] - 1);
}

/* Copies `items`, replacing each placeholder object; the text was scanned before, so
 * strings and nesting are sound. */
static void
renumber(struct body *b, struct str items, struct moved *m)
{
    size_t copied = 0;
    for (size_t i = 0; i < items.len;) {
        enum sio_json_kind kind;
        struct str value, rest, here = str_slice(items, i, items.len);
        int64_t number;
        if (items.p[i] == '"') {
            size_t len = sio_json_string_len(here);
            i += len ? len : 1;
        } else if (items.p[i] == '{' &&
                   sio_json_scan(here, INT32_MAX, &kind, &value, &rest) == RC_OK &&
                   sio_json_is_placeholder(value, &number) && (uint64_t)number < m->n) {
            buf_append(&b->json, items.p + copied, i - copied);
            move_placeholder(b, m, (size_t)number);
            i += value.len;
            copied = i;
        } else {
            i++;
        }
    }
    buf_append(&b->json, items.p + copied, items.len - copied);
}

/* SIO-JSON */
void
body_relay(struct body *b, struct str items, struct str attachments)
{
    if (items.len == 0)
        return;
    separate(b);
    struct moved m = {.attachments = attachments, .n = count_attachments(attachments)};
    if (m.n == 0) {
        buf_append_str(&b->json, items);
        return;
    }
    m.number = xcalloc(m.n, sizeof *m.number);
    renumber(b, items, &m);
    free(m.number);
}

/* The same where it must fit: an object wants one value behind its key. */
static enum rc
relay_items(struct body *b, struct str items, struct str attachments)
{
    struct str rest = items, value;
    enum sio_json_kind kind;
    if (b->level[b->depth].is_object &&
        (sio_json_next(&rest, &kind, &value) != RC_OK ||
         sio_json_next(&rest, &kind, &value) != RC_NOTFOUND))
        return RC_INVALID;
    body_relay(b, items, attachments);
    return RC_OK;
}

static struct str
tail_of_args(struct app_call *c, size_t from)
{
    if (from == 0 && c->ev != NULL) /* no need to know where each one ends */
        return sio_json_skip_space(c->ev->args);
    call_args(c);
    if (from >= c->n_args)
        return STR_NONE;
    const char *end = c->args[c->n_args - 1].p + c->args[c->n_args - 1].len;
    return (struct str){c->args[from].p, (size_t)(end - c->args[from].p)};
}

static enum rc
add_json(struct body *b, const json_t *value)
{
    if (value == NULL) {
        body_add(b, STR("null"));
        return RC_OK;
    }
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text == NULL)
        return RC_INVALID;
    body_add(b, str_of(text));
    free(text);
    return RC_OK;
}

/* Does a key come next? */
static bool
wants_key(const struct body *b)
{
    const struct body_level *l = &b->level[b->depth];
    return l->is_object && l->n_items % 2 == 0;
}

static enum rc
add_z(struct body *b, const char *z)
{
    if (z == NULL && wants_key(b))
        return RC_INVALID;
    if (z == NULL)
        body_add(b, STR("null"));
    else
        body_add_text(b, str_of(z));
    return RC_OK;
}

static void
add_number(struct body *b, double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.17g", value);
    bool is_finite = value - value == 0;
    body_add(b, is_finite ? str_of(text) : STR("null"));
}

static enum rc
add_answer(struct app_call *c, struct body *b, size_t number)
{
    call_answers(c);
    const struct call_answer *a = c->answers;
    for (size_t i = 0; a != NULL && i < number; i++)
        a = a->next;
    return a ? relay_items(b, a->args, a->attachments) : RC_OK;
}

static void
add_first_answers(struct app_call *c, struct body *b)
{
    call_answers(c);
    bool is_ok = open_level(b, false) == RC_OK;
    for (const struct call_answer *a = is_ok ? c->answers : NULL; a != NULL;
         a = a->next) {
        struct str rest = a->args, value;
        enum sio_json_kind kind;
        if (sio_json_next(&rest, &kind, &value) == RC_OK)
            body_relay(b, value, a->attachments);
        else
            body_add(b, STR("null"));
    }
    if (is_ok && close_level(b, false) != RC_OK)
        abort();
}

enum rc
body_format(struct app_call *c, struct body *b, const char *fmt, va_list args)
{
    enum rc rc = RC_OK;
    struct buf number;
    buf_init(&number);
    for (const char *f = fmt; *f != '\0' && rc == RC_OK; f++) {
        if (wants_key(b) && strchr("sS} ", *f) == NULL) {
            rc = RC_INVALID;
            break;
        }
        switch (*f) {
        case 's':
            rc = add_z(b, va_arg(args, const char *));
            break;
        case 'S': {
            const char *s = va_arg(args, const char *);
            body_add_text(b, (struct str){s, va_arg(args, size_t)});
            break;
        }
        case 'i':
            buf_clear(&number);
            buf_append_int(&number, va_arg(args, int64_t));
            body_add(b, buf_str(&number));
            break;
        case 'f':
            add_number(b, va_arg(args, double));
            break;
        case 'b':
            body_add(b, va_arg(args, int) ? STR("true") : STR("false"));
            break;
        case 'n':
            body_add(b, STR("null"));
            break;
        case 'j': {
            json_t *value = va_arg(args, json_t *);
            rc = add_json(b, value);
            json_decref(value);
            break;
        }
        case 'J':
            rc = add_json(b, va_arg(args, const json_t *));
            break;
        case 'B': {
            const char *p = va_arg(args, const void *);
            body_add_binary(b, (struct str){p, va_arg(args, size_t)});
            break;
        }
        case 'A':
            rc = relay_items(b, tail_of_args(c, va_arg(args, size_t)),
                             c->ev ? c->ev->attachments : STR_NONE);
            break;
        case 'R':
            rc = add_answer(c, b, va_arg(args, size_t));
            break;
        case 'L':
            add_first_answers(c, b);
            break;
        case '[':
        case '{':
            rc = open_level(b, *f == '{');
            break;
        case ']':
        case '}':
            rc = close_level(b, *f == '}');
            break;
        case ' ':
            break;
        default:
            rc = RC_INVALID;
        }
    }
    buf_fini(&number);
    return rc == RC_OK && b->depth > 0 ? RC_INVALID : rc;
}

struct store_packet *
body_packet(struct body *b, bool is_ack)
{
    buf_append_c(&b->json, ']');
    enum store_kind kind = is_ack ? (b->n_attachments ? STORE_BINARY_ACK : STORE_ACK)
                                  : (b->n_attachments ? STORE_BINARY_EVENT : STORE_EVENT);
    struct store_packet *p =
        store_packet_create(kind, buf_str(&b->json), buf_str(&b->attachments));
    p->ack_id = -1;
    return p;
}
