/*
 * siolite: rows of views on stdout.
 *
 * What clients have said stands in them, so nothing that a terminal would obey goes out
 * as it is.
 *
 * Main thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <jansson.h>
#include <stdlib.h>

#include "store/ctl/ctl.h"

static void
append_safe(struct buf *b, struct str s)
{
    for (size_t at = 0; at < s.len;) {
        uint32_t cp;
        size_t n = str_utf8_next(s, at, &cp);
        if (cp == STR_BAD_UTF8 || cp < 0x20 || (cp >= 0x7f && cp < 0xa0))
            for (size_t i = 0; i < n; i++)
                buf_append_f(b, "\\x%02x", (unsigned char)s.p[at + i]);
        else
            buf_append(b, s.p + at, n);
        at += n;
    }
}

void
ctl_append_value(struct buf *b, const struct store_field *f)
{
    switch (f->value.type) {
    case STORE_NULL:
        return;
    case STORE_INT:
        buf_append_int(b, f->value.i);
        return;
    case STORE_REAL:
        buf_append_f(b, "%.15g", f->value.d);
        return;
    case STORE_TEXT:
        append_safe(b, f->value.s);
        return;
    case STORE_BLOB:
        for (size_t i = 0; i < f->value.s.len; i++)
            buf_append_f(b, "%02x", (unsigned char)f->value.s.p[i]);
        return;
    }
}

/* JSON within JSON, in one line; what is none becomes a string. */
static void
append_json(struct buf *b, struct str s)
{
    json_t *json =
        json_loadb(s.p ? s.p : "", s.len,
                   JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
    if (json == NULL) {
        buf_append_json(b, s, false);
        return;
    }
    json_decref(json);
    for (size_t i = 0; i < s.len; i++)
        buf_append_c(b, (unsigned char)s.p[i] < ' ' ? ' ' : s.p[i]);
}

static void
append_json_value(struct buf *b, const struct store_field *f)
{
    switch (f->value.type) {
    case STORE_NULL:
        buf_append_z(b, "null");
        return;
    case STORE_INT:
        buf_append_int(b, f->value.i);
        return;
    case STORE_REAL:
        buf_append_f(b, "%.17g", f->value.d);
        return;
    case STORE_TEXT:
        if (f->value.is_json)
            append_json(b, f->value.s);
        else
            buf_append_json(b, f->value.s, false);
        return;
    case STORE_BLOB:
        buf_append_z(b, "{\"$binary\":\"");
        buf_append_base64(b, f->value.s);
        buf_append_z(b, "\"}");
        return;
    }
}

void
ctl_print_json_row(FILE *out, const struct store_field *row, size_t n)
{
    struct buf b = {0};
    for (size_t i = 0; i < n; i++) {
        buf_append_c(&b, i ? ',' : '{');
        buf_append_json(&b, row[i].name, false);
        buf_append_c(&b, ':');
        append_json_value(&b, &row[i]);
    }
    buf_append_z(&b, n ? "}\n" : "{}\n");
    (void)fwrite(b.p, 1, b.len, out);
    buf_fini(&b);
}

static void
end_cell(struct ctl_table *t)
{
    if (t->n_cells == t->cap_cells) {
        t->cap_cells = t->cap_cells ? 2 * t->cap_cells : 64;
        t->ends = xrealloc(t->ends, t->cap_cells * sizeof *t->ends);
    }
    t->ends[t->n_cells++] = t->cells.len;
}

void
ctl_table_row(void *arg, const struct store_field *row, size_t n)
{
    struct ctl_table *t = arg;
    if (t->c->is_json) {
        ctl_print_json_row(stdout, row, n);
        return;
    }
    for (size_t i = 0; i < n && t->n_columns == 0; i++) {
        buf_append_str(&t->cells, row[i].name);
        end_cell(t);
    }
    t->n_columns = n;
    for (size_t i = 0; i < n; i++) {
        ctl_append_value(&t->cells, &row[i]);
        end_cell(t);
    }
}

static struct str
cell_at(const struct ctl_table *t, size_t i)
{
    size_t from = i ? t->ends[i - 1] : 0;
    return (struct str){t->cells.p + from, t->ends[i] - from};
}

/* Characters, not bytes. */
static size_t
width_of(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

void
ctl_table_end(struct ctl_table *t)
{
    size_t *widths = xcalloc(t->n_columns + 1, sizeof *widths), n_blanks = 0;
    for (size_t i = 0; i < t->n_cells; i++) {
        size_t width = width_of(cell_at(t, i));
        if (width > widths[i % t->n_columns])
            widths[i % t->n_columns] = width;
    }
    for (size_t i = 0; i < t->n_cells; i++) {
        struct str cell = cell_at(t, i);
        if (cell.len) /* no blanks at the end of a line */
            printf("%*s%.*s", (int)n_blanks, "", STR_ARG(cell));
        n_blanks =
            (cell.len ? 0 : n_blanks) + widths[i % t->n_columns] - width_of(cell) + 2;
        if (i % t->n_columns == t->n_columns - 1) {
            putchar('\n');
            n_blanks = 0;
        }
    }
    free(widths);
    free(t->ends);
    buf_fini(&t->cells);
}
