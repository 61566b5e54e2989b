/*
 * See script.h. A statement ends with its `;`, a trigger with the `;` behind its END,
 * which stands behind a `;` itself: as sqlite3_complete() has it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/script.h"

#include <limits.h>
#include <string.h>
#include <strings.h>

/* ---- words ---- */

enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_QUOTED, TOKEN_TEXT, TOKEN_OTHER };
struct token {
    enum token_kind kind;
    struct str text; /* a name in quotes: without them */
    size_t at;
};

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool
is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

static bool
has_at(struct str s, size_t at, const char *z)
{
    size_t n = strlen(z);
    return s.len - at >= n && memcmp(s.p + at, z, n) == 0;
}

static bool
begins_line(struct str s, size_t at)
{
    while (at > 0 && (s.p[at - 1] == ' ' || s.p[at - 1] == '\t'))
        at--;
    return at == 0 || s.p[at - 1] == '\n';
}

/* Behind blanks and comments. `--` at the beginning of a line: stops there if is_section,
 * so that its caller can look. */
static size_t
skip(struct str s, size_t at, bool is_section)
{
    while (at < s.len) {
        if (is_blank(s.p[at])) {
            at++;
        } else if (has_at(s, at, "--")) {
            if (is_section && begins_line(s, at))
                return at;
            while (at < s.len && s.p[at] != '\n')
                at++;
        } else if (has_at(s, at, "/*")) {
            for (at += 2; at < s.len && !has_at(s, at, "*/");)
                at++;
            at = at < s.len ? at + 2 : s.len;
        } else {
            break;
        }
    }
    return at;
}

/* Behind the closing quote, or the end. */
static size_t
skip_quoted(struct str s, size_t at)
{
    char close = s.p[at] == '[' ? ']' : s.p[at];
    for (at++; at < s.len; at++) {
        if (s.p[at] != close)
            continue;
        if (close == ']' || at + 1 >= s.len || s.p[at + 1] != close)
            return at + 1;
        at++;
    }
    return at;
}

static struct token
next_token(struct str s, size_t *at)
{
    struct token t = {.at = skip(s, *at, false)};
    size_t end = t.at;
    if (end == s.len) {
        *at = end;
        return t;
    }
    char c = s.p[end];
    if (is_word(c)) {
        t.kind = TOKEN_WORD;
        while (end < s.len && is_word(s.p[end]))
            end++;
    } else if (strchr("'\"`[", c) && c) {
        t.kind = c == '\'' ? TOKEN_TEXT : TOKEN_QUOTED;
        end = skip_quoted(s, end);
    } else {
        t.kind = TOKEN_OTHER;
        end++;
    }
    t.text = str_slice(s, t.at, end);
    if (t.kind == TOKEN_QUOTED && t.text.len >= 2)
        t.text = str_slice(t.text, 1, t.text.len - 1);
    *at = end;
    return t;
}

static bool
is(const struct token *t, const char *word)
{
    return t->kind == TOKEN_WORD && t->text.len == strlen(word) &&
           strncasecmp(t->text.p, word, t->text.len) == 0;
}

static bool
is_char(const struct token *t, char c)
{
    return t->kind == TOKEN_OTHER && t->text.p[0] == c;
}

/* ---- triggers ---- */

/* Reads CREATE [TEMP] TRIGGER; true: it is one, and *at stands behind it. */
static bool
is_trigger(struct str sql, size_t *at)
{
    struct token t = next_token(sql, at);
    if (!is(&t, "CREATE"))
        return false;
    t = next_token(sql, at);
    if (is(&t, "TEMP") || is(&t, "TEMPORARY"))
        t = next_token(sql, at);
    return is(&t, "TRIGGER");
}

bool
store_script_trigger(struct str sql, struct store_script_trigger *out)
{
    size_t at = 0;
    struct token t, before = {0};
    *out = (struct store_script_trigger){0};
    if (!is_trigger(sql, &at))
        return false;
    for (t = next_token(sql, &at); t.kind != TOKEN_END; t = next_token(sql, &at)) {
        bool is_name = t.kind == TOKEN_WORD || t.kind == TOKEN_QUOTED;
        if (is(&t, "BEGIN")) {
            out->body = t.at;
            return out->table.len > 0;
        }
        if (is(&before, "ON") && !out->table.len && is_name)
            out->table = t.text;
        else if (is_name && !out->table.len && !is(&t, "IF") && !is(&t, "NOT") &&
                 !is(&t, "EXISTS") && (!out->name.len || is_char(&before, '.')))
            out->name = t.text;
        before = t;
    }
    return false;
}

/* ---- sections and statements ---- */

static struct str
trimmed(struct str s)
{
    while (s.len && is_blank(s.p[0]))
        s = str_slice(s, 1, s.len);
    while (s.len && is_blank(s.p[s.len - 1]))
        s.len--;
    return s;
}

enum section { SECTION_NONE, SECTION_ALWAYS, SECTION_VERSION };

/* What the comment line that begins at `at` says. */
static enum section
section_at(struct str text, size_t at, struct str *number)
{
    struct str rest = str_slice(text, at + 2, text.len);
    rest = trimmed(str_slice(rest, 0, str_index(rest, '\n')));
    if (str_eqz(rest, "always"))
        return SECTION_ALWAYS;
    if (!str_has_prefix(rest, STR("version")))
        return SECTION_NONE;
    *number = trimmed(str_slice(rest, strlen("version"), rest.len));
    for (size_t i = 0; i < number->len; i++)
        if (number->p[i] < '0' || number->p[i] > '9')
            return SECTION_NONE; /* prose */
    return number->len ? SECTION_VERSION : SECTION_NONE;
}

static enum rc
begin_section(struct store_script *s, size_t at, struct buf *err)
{
    struct str number;
    int64_t version = 0;
    switch (section_at(s->text, at, &number)) {
    case SECTION_NONE:
        return RC_OK;
    case SECTION_ALWAYS:
        s->version = 0;
        return RC_OK;
    case SECTION_VERSION:
        break;
    }
    if (str_to_int(number, 1, INT_MAX, &version) != RC_OK || version <= s->last_version) {
        buf_append_f(err,
                     "version %.*s: versions begin with 1 and grow; the last one was %d",
                     (int)(number.len > 20 ? 20 : number.len), number.p, s->last_version);
        return RC_INVALID;
    }
    s->version = s->last_version = (int)version;
    return RC_OK;
}

void
store_script_init(struct store_script *s, struct str text)
{
    *s = (struct store_script){.text = text};
    if (str_has_prefix(text, STR("\xef\xbb\xbf")))
        s->at = 3; /* a byte order mark */
}

/* Where a section begins in the blanks and comments from `at` to `end`; else `end`. */
static size_t
find_section(struct str text, size_t at, size_t end)
{
    struct str number;
    for (; at < end; at++)
        if (has_at(text, at, "--") && begins_line(text, at) &&
            section_at(text, at, &number) != SECTION_NONE)
            return at;
    return end;
}

/* The end of the statement that begins at `at`: behind its `;`, or that of the text.
 * RC_INVALID: a section begins before, there. */
static enum rc
statement_end(struct str text, size_t at, size_t *end)
{
    size_t from = at;
    bool is_long = is_trigger(text, &from), is_over = false;
    struct token one = {0}, two = {0}; /* the last ones before t */
    *end = at;
    while (!is_over) {
        size_t before = *end;
        struct token t = next_token(text, end);
        size_t begin = t.kind == TOKEN_END ? text.len : t.at;
        size_t section = before == at ? begin : find_section(text, before, begin);
        if (section < begin) {
            *end = section;
            return RC_INVALID;
        }
        is_over =
            t.kind == TOKEN_END ||
            (is_char(&t, ';') && (!is_long || (is(&one, "END") && is_char(&two, ';'))));
        two = one;
        one = t;
    }
    return RC_OK;
}

enum rc
store_script_next(struct store_script *s, struct store_script_part *out, struct buf *err)
{
    for (;;) {
        size_t at = skip(s->text, s->at, true), end;
        *out = (struct store_script_part){.offset = at};
        if (at == s->text.len)
            return RC_NOTFOUND;
        if (has_at(s->text, at, "--")) {
            if (begin_section(s, at, err) != RC_OK)
                return RC_INVALID;
            s->at = at + str_index(str_slice(s->text, at, s->text.len), '\n');
            continue;
        }
        if (statement_end(s->text, at, &end) != RC_OK) {
            out->offset = end;
            buf_append_z(err, "a section begins inside of a statement: before it a ; is "
                              "missing");
            return RC_INVALID;
        }
        s->at = end;
        if (end == at + 1 && s->text.p[at] == ';')
            continue; /* an empty one */
        out->sql = str_slice(s->text, at, end);
        out->version = s->version;
        return RC_OK;
    }
}

size_t
store_script_line(struct str text, size_t offset)
{
    size_t line = 1;
    for (size_t i = 0; i < offset && i < text.len; i++)
        line += text.p[i] == '\n';
    return line;
}
