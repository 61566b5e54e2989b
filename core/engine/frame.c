/*
 * Frames; see frame.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/frame.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct frame *
frame_create(size_t len, bool is_binary)
{
    struct frame *f = xmalloc(sizeof *f + FRAME_HEAD + len);
    *f = (struct frame){.n_refs = 1, .is_binary = is_binary, .len = len};
    f->data = (char *)(f + 1) + FRAME_HEAD;
    return f;
}

struct frame *
frame_of(struct str text)
{
    struct frame *f = frame_create(text.len, false);
    memcpy(f->data, text.p, text.len);
    return f;
}

void
frame_begin(struct buf *b, size_t len)
{
    size_t head = sizeof(struct frame) + FRAME_HEAD;
    *b = (struct buf){.p = xmalloc(head + len), .len = head, .cap = head + len};
}

struct frame *
frame_end(struct buf *b)
{
    size_t head = sizeof(struct frame) + FRAME_HEAD;
    struct frame *f = (struct frame *)b->p;
    *f = (struct frame){.n_refs = 1, .len = b->len - head};
    f->data = b->p + head;
    *b = (struct buf){0};
    return f;
}

struct frame *
frame_ref(struct frame *f)
{
    f->n_refs++;
    return f;
}

void
frame_unref(struct frame *f)
{
    if (f == NULL)
        return;
    assert(f->n_refs > 0);
    if (--f->n_refs > 0)
        return;
    while (f != NULL) {
        struct frame *next = f->next;
        frame_unref(f->deflated);
        free(f);
        f = next;
    }
}
