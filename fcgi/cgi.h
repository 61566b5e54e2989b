/*
 * Plain CGI: the environment and stdin are one request, stdout takes the answer.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_FCGI_CGI_H
#define SIOLITE_FCGI_CGI_H

#include <uv.h>

#include "core/base/cfg.h"
#include "core/engine/engine.h"

/* Was this process started by a web server for one request? */
bool fcgi_cgi_is_request(void);

struct fcgi_cgi;
struct fcgi_cgi_options {
    uv_loop_t *loop;
    struct engine *engine;
    const struct cfg *cfg;
    void (*on_done)(
        void *arg); /* once: answered, or nobody waits any more, and the engine is idle */
    void *arg;
};
struct fcgi_cgi *fcgi_cgi_create(const struct fcgi_cgi_options *o);
/* Closes its handles; the loop must run until they are closed; then destroy. */
void fcgi_cgi_close(struct fcgi_cgi *g);
void fcgi_cgi_destroy(struct fcgi_cgi *g);

#endif
