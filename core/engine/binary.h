/*
 * Binary data in the JSON of applications that aren't C: in the place of the bytes stands
 * {"$binary": "<base64>"}, an object of this one member.
 *
 * The name $binary is reserved, so that no literal turns into bytes by accident: a member
 * that is really called $binary is spelled $$binary, one called $$binary $$$binary, and
 * so on. Both ways do that, so what a client sent comes out as it was.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_BINARY_H
#define SIOLITE_CORE_ENGINE_BINARY_H

#include "core/base/buf.h"

/* From a packet: appends JSON text that was scanned before, with each placeholder of
 * Socket.IO replaced by the bytes of its attachment (length-prefixed, as in t_packet).
 * More than `max` bytes in all: RC_TOOBIG, because placeholders may share an attachment;
 * `b` is to be dropped then. */
MUST_CHECK enum rc
binary_spell(struct buf *b, struct str json, struct str attachments, size_t max);
/* The way back: appends JSON text that was scanned before, with placeholders, and what
 * they stand for to `attachments`. RC_INVALID, and *error is what is wrong (a literal):
 * a $binary that is not the only member, or no base64 text; a member _placeholder beside
 * binary data. What was appended is to be dropped then. */
MUST_CHECK enum rc binary_collect(struct buf *b, struct str json, struct buf *attachments,
                                  size_t *n_attachments, const char **error);

#endif
