/*
 * See action.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/action.h"

#include <stdlib.h>
#include <string.h>

#include "core/engine/binary.h"
#include "core/sio/json.h"

enum {
    FIELDS_MAX = 32,    /* no verb has more columns */
    ADDED_MAX = 4,      /* attachments, nsp, socket, event_id */
    NAME_SHOWN_MAX = 40 /* of a wrong name, in an error text */
};

struct field {
    struct buf name, text; /* owned */
    struct store_value value;
    bool has_text; /* value.s is `text` */
};

struct fields {
    const char *verb;
    struct field p[FIELDS_MAX + ADDED_MAX];
    size_t n;
    const struct action_scope *scope;
    struct buf *err;
};

static enum rc
refuse(struct fields *f, struct str name, const char *what)
{
    name = str_slice(name, 0, NAME_SHOWN_MAX);
    buf_append_f(f->err, "%s.%.*s: %s", f->verb, STR_ARG(name), what);
    return RC_INVALID;
}

/* ---- values ---- */

static bool
is_one_of(struct str name, const char *const *names)
{
    while (*names != NULL && !str_eqz(name, *names))
        names++;
    return *names != NULL;
}

static const char *const JSON_FIELDS[] = {"args", "data", "rooms", "except_rooms", NULL};
static const char *const LIST_FIELDS[] = {"room", "except_room", NULL};

static struct field *
find(struct fields *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++)
        if (str_eqz(buf_str(&f->p[i].name), name))
            return &f->p[i];
    return NULL;
}

static bool
has(struct fields *f, const char *name)
{
    const struct field *field = find(f, name);
    return field != NULL && field->value.type != STORE_NULL;
}

static struct field *
add(struct fields *f, struct str name)
{
    struct field *field = &f->p[f->n++];
    buf_append_str(&field->name, name);
    return field;
}

static void
set_text(struct field *field, enum store_value_type type)
{
    field->value.type = type;
    field->has_text = true;
}

/* Binary data goes into a field of its own. */
static enum rc
add_args(struct fields *f, struct field *args, struct str value)
{
    struct buf attachments = {0};
    size_t n_attachments = 0;
    int64_t n_max = f->scope->n_attachments_max;
    const char *error;
    enum rc rc = binary_collect(&args->text, value, &attachments, &n_attachments, &error);
    set_text(args, STORE_TEXT);
    if (rc == RC_OK && n_attachments > 0 && !store_verb_has(f->verb, "attachments")) {
        rc = RC_INVALID;
        error = "must not have binary data in it";
    }
    if (rc == RC_OK && n_max > 0 && (int64_t)n_attachments > n_max) {
        rc = RC_INVALID; /* clients would take it for an attack */
        error = "has more binary data in it than max_attachments";
    }
    if (rc == RC_OK && n_attachments > 0) {
        struct field *field = add(f, STR("attachments"));
        field->text = attachments;
        attachments = (struct buf){0};
        set_text(field, STORE_BLOB);
    }
    buf_fini(&attachments);
    return rc == RC_OK ? RC_OK : refuse(f, STR("args"), error);
}

static enum rc
add_string(struct fields *f, struct field *field, struct str value)
{
    set_text(field, STORE_TEXT);
    if (sio_json_unquote(value, &field->text) != RC_OK)
        return refuse(f, buf_str(&field->name), "is not UTF-8");
    /* SQLite's functions end a text there. */
    if (field->text.len > 0 && memchr(field->text.p, '\0', field->text.len) != NULL)
        return refuse(f, buf_str(&field->name), "must not have a \\u0000 in it");
    return RC_OK;
}

static void
add_number(struct field *field, struct str value)
{
    char *z;
    if (str_to_int(value, INT64_MIN, INT64_MAX, &field->value.i) == RC_OK) {
        field->value.type = STORE_INT;
        return;
    }
    z = str_dup(value);
    field->value.type = STORE_REAL;
    field->value.d = strtod(z, NULL);
    free(z);
}

static enum rc
add_value(struct fields *f, struct field *field, enum sio_json_kind kind,
          struct str value)
{
    struct str name = buf_str(&field->name);
    if (kind == SIO_JSON_NULL)
        return RC_OK;
    if (str_eqz(name, "args"))
        return add_args(f, field, value);
    if (kind == SIO_JSON_ARRAY && is_one_of(name, LIST_FIELDS))
        buf_append_c(&field->name, 's');
    else if (!is_one_of(name, JSON_FIELDS) && kind == SIO_JSON_ARRAY)
        return refuse(f, name, "must not be a list");
    else if (!is_one_of(name, JSON_FIELDS) && kind == SIO_JSON_OBJECT)
        return refuse(f, name, "must not be an object");
    if (is_one_of(buf_str(&field->name), JSON_FIELDS)) {
        buf_append_str(&field->text, value);
        set_text(field, STORE_TEXT);
    } else if (kind == SIO_JSON_STRING) {
        return add_string(f, field, value);
    } else if (kind == SIO_JSON_NUMBER) {
        add_number(field, value);
    } else {
        field->value =
            (struct store_value){.type = STORE_INT, .i = kind == SIO_JSON_TRUE};
    }
    return RC_OK;
}

/* ---- members ---- */

/* Takes `"key": value` off the front of what is inside an object that was scanned; false
 * at its end. */
static bool
next_member(struct str *rest, struct str *key, enum sio_json_kind *kind,
            struct str *value)
{
    struct str s = sio_json_skip_space(*rest);
    *key = str_slice(s, 0, sio_json_string_len(s));
    if (key->len == 0)
        return false;
    s = sio_json_skip_space(str_slice(s, key->len, s.len));
    if (sio_json_scan(str_slice(s, 1, s.len), SIO_JSON_DEPTH_MAX, kind, value, &s) !=
        RC_OK)
        return false;
    s = sio_json_skip_space(s);
    *rest = str_slice(s, 1, s.len); /* the comma or the brace */
    return true;
}

static enum rc
add_members(struct fields *f, struct str members)
{
    struct str rest = sio_json_skip_space(members), key, value;
    enum sio_json_kind kind;
    rest = str_slice(rest, 1, rest.len);
    while (next_member(&rest, &key, &kind, &value)) {
        struct buf name = {0};
        enum rc rc;
        if (f->n >= FIELDS_MAX) {
            buf_append_f(f->err, "%s: has too many members", f->verb);
            return RC_INVALID;
        }
        rc = sio_json_unquote(key, &name);
        if (rc == RC_OK)
            rc = add_value(f, add(f, buf_str(&name)), kind, value);
        buf_fini(&name);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

/* ---- the scope ---- */

static void
add_default(struct fields *f, const char *name, struct str value)
{
    if (value.len == 0 || has(f, name) || !store_verb_has(f->verb, name))
        return;
    struct field *field = find(f, name); /* null: the default, too */
    if (field == NULL)
        field = add(f, str_of(name));
    buf_append_str(&field->text, value);
    set_text(field, STORE_TEXT);
}

static void
add_scope(struct fields *f)
{
    const struct action_scope *scope = f->scope;
    /* socket_user: the user is what is set */
    bool has_target = has(f, "in_room") || has(f, "is_all") ||
                      (has(f, "user") && strcmp(f->verb, "socket_user") != 0);
    add_default(f, "nsp", scope->nsp);
    add_default(f, "event_id", scope->event_id);
    if (strcmp(f->verb, "ask") == 0)
        add_default(f, "name", scope->ask_name);
    if (!has_target)
        add_default(f, "socket", scope->socket);
}

/* ---- the two calls ---- */

enum rc
action_parse(struct str action, char verb[ACTION_VERB_SIZE], struct str *members,
             struct buf *err)
{
    struct str value = STR_NONE, rest, key;
    enum sio_json_kind kind;
    struct buf name = {0};
    bool is_ok =
        sio_json_scan(action, SIO_JSON_DEPTH_MAX, &kind, &value, &rest) == RC_OK &&
        kind == SIO_JSON_OBJECT;
    rest = str_slice(value, 1, value.len);
    is_ok = is_ok && next_member(&rest, &key, &kind, members) &&
            kind == SIO_JSON_OBJECT && sio_json_skip_space(rest).len == 0 &&
            sio_json_unquote(key, &name) == RC_OK;
    if (is_ok)
        (void)snprintf(verb, ACTION_VERB_SIZE, "%.*s", STR_ARG(buf_str(&name)));
    else
        buf_append_z(err, "must be an object with one member, the verb, which is an "
                          "object too: {\"emit\": {\"event\": \"x\"}}");
    buf_fini(&name);
    return is_ok ? RC_OK : RC_INVALID;
}

enum rc
action_add(struct store_unit *u, const char *verb, struct str members,
           const struct action_scope *scope, struct buf *err)
{
    struct fields f = {.verb = verb, .scope = scope, .err = err};
    enum rc rc = add_members(&f, members);
    if (rc == RC_OK) {
        struct store_field fields[FIELDS_MAX + ADDED_MAX];
        add_scope(&f);
        for (size_t i = 0; i < f.n; i++) {
            fields[i].name = buf_str(&f.p[i].name);
            fields[i].value = f.p[i].value;
            fields[i].value.s = f.p[i].has_text ? buf_str(&f.p[i].text) : STR_NONE;
        }
        store_unit_action(u, verb, fields, f.n);
    }
    for (size_t i = 0; i < f.n; i++) {
        buf_fini(&f.p[i].name);
        buf_fini(&f.p[i].text);
    }
    return rc;
}
