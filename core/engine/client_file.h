/*
 * The JavaScript client's files below the path (serve_client, socketio.md 1.5), so that a
 * page may say <script src="/socket.io/socket.io.js">. They come from the npm package,
 * never from this repository.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_CLIENT_FILE_H
#define SIOLITE_CORE_ENGINE_CLIENT_FILE_H

#include "core/base/cfg.h"
#include "core/engine/engine.h"

struct client_files;

/* Reads the files: client_dir, or what lies beside the program. NULL: switched off, or
 * there are none (logged). */
struct client_files *client_files_load(const struct cfg *cfg);
void client_files_destroy(struct client_files *files); /* accepts NULL */

/* Does the request name one of them, there or not? */
bool client_files_is_name(const struct cfg *cfg, const struct engine_request *r);
/* Is this a GET or HEAD of one of them? Then the answer, which borrows from `files`;
 * `headers` gets further lines. `files` NULL: never. */
bool client_files_answer(const struct client_files *files, const struct cfg *cfg,
                         const struct engine_request *r, struct buf *headers,
                         struct engine_answer *out);

#endif
