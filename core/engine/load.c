/*
 * The application: loaded at the start, and again on SIGHUP together with the
 * configuration. All or nothing: what is wrong with the new one leaves the old ones at
 * work.
 *
 * Between the two nothing of the old application is on any stack: handlers run to their
 * end within a call of the loop, and what continues later does so by name.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "core/base/log.h"
#include "core/engine/api.h"
#include "core/engine/internal.h"

static enum rc
add_statements(struct engine *e, const struct app *app, struct buf *err)
{
    enum rc rc = RC_OK;
    for (const struct app_sql_text *s = app->statements; s != NULL && rc == RC_OK;
         s = s->next)
        rc = store_app_add(e->store, s->name, s->sql, err);
    return rc;
}

static struct store_history_rule
history_rule(struct str nsp, const struct app_history_rule *h)
{
    return (struct store_history_rule){
        .nsp = nsp,
        .room = str_of(h->room),
        .n = h->n,
        .keep_s = h->ms < 0 ? 0 : (h->ms + 999) / 1000,
    };
}

/* Those of namespaces that are there; the others follow with these. */
static enum rc
declare_histories(struct engine *e, const struct app *app)
{
    struct store_history_rule *rules = NULL;
    size_t n = 0;
    for (const struct app_nsp *s = app->nsps; s != NULL; s = s->next)
        for (const struct app_history_rule *h = s->histories; h != NULL && !s->is_pattern;
             h = h->next) {
            rules = xrealloc(rules, (n + 1) * sizeof *rules);
            rules[n++] = history_rule(str_of(s->name), h);
        }
    /* A CGI program starts with each request. */
    enum rc rc = n > 0 || e->front != ENGINE_CGI
                     ? store_history_declare(e->store, rules, n)
                     : RC_OK;
    free(rules);
    return rc;
}

void
load_histories(struct store_unit *u, const struct app_nsp *app, const char *nsp_name)
{
    for (const struct app_history_rule *h = app->is_pattern ? app->histories : NULL;
         h != NULL; h = h->next) {
        const struct store_history_rule rule = history_rule(str_of(nsp_name), h);
        store_unit_history_rule(u, &rule);
    }
}

/* What it registers, and its tables. */
static enum rc
prepare(struct engine *e, const struct cfg *cfg, struct app *app, struct buf *err)
{
    enum rc rc = RC_OK;
    if (cfg_is_sql(cfg->app))
        rc = store_app_apply(e->store, cfg->app, err);
    else if (cfg->app[0] != '\0')
        rc = app_registry_load(app, cfg->app, e->n_loads++, err);
    if (rc == RC_OK)
        rc = app_registry_add_nsps(app, cfg->nsp, err);
    for (const struct app_sql_text *s = app->schemas; s != NULL && rc == RC_OK;
         s = s->next)
        rc = store_app_migrate(e->store, s->version, s->sql, err);
    for (const struct app_nsp *n = app->nsps; n != NULL && rc == RC_OK; n = n->next)
        if (!n->is_pattern)
            rc = store_nsp_ensure(e->store, str_of(n->name));
    if (rc == RC_OK)
        rc = declare_histories(e, app);
    return rc;
}

enum rc
load_app(struct engine *e, const struct cfg *cfg, struct app *app, struct buf *err)
{
    enum rc rc = prepare(e, cfg, app, err);
    return rc == RC_OK ? add_statements(e, app, err) : rc;
}

/* The statements of `app` instead of those of e->app, which come back where they fail. */
static enum rc
exchange_statements(struct engine *e, const struct app *app, struct buf *err)
{
    struct buf ignored = {0};
    enum rc rc = store_app_forget(e->store);
    if (rc != RC_OK)
        return rc;
    rc = add_statements(e, app, err);
    if (rc != RC_OK && (store_app_forget(e->store) != RC_OK ||
                        add_statements(e, &e->app, &ignored) != RC_OK))
        log_error("engine", "reload.broken", LOG_S("error", buf_str(&ignored)));
    buf_fini(&ignored);
    return rc;
}

static void
exchange_app(struct engine *e, struct app *app)
{
    size_t i = 0;
    struct nsp *n;
    struct app old = e->app;
    e->app = *app;
    for (struct app_nsp *of = e->app.nsps; of != NULL; of = of->next)
        of->app = &e->app;
    while ((n = map_next(&e->nsps, &i, NULL)) != NULL)
        n->app = app_registry_find(&e->app, n->name);
    app_registry_fini(&old);
}

enum rc
engine_reload(struct engine *e, struct cfg *next, struct buf *err)
{
    struct cfg *cfg = e->cfg_own;
    struct app app;
    struct buf kept = {0};
    char *api_tokens = NULL;
    app_registry_init(&app);
    enum rc rc = prepare(e, next, &app, err);
    if (rc == RC_OK)
        rc = api_tokens_load(e, next, &api_tokens, err);
    if (rc == RC_OK)
        rc = exchange_statements(e, &app, err);
    if (rc == RC_OK) {
        rc = store_reconfigure(e->store, cfg, next, &kept);
        if (rc != RC_OK) {
            struct buf ignored = {0};
            (void)exchange_statements(e, &e->app, &ignored);
            buf_fini(&ignored);
        }
    }
    if (rc != RC_OK) {
        if (err->len == 0)
            buf_append_z(err, rc_text(rc));
        app_registry_fini(&app);
        cfg_fini(next);
        free(api_tokens);
        return rc;
    }
    exchange_app(e, &app);
    if (!cfg_is_sql(cfg->app))
        store_app_leave(e->store);
    free(e->api_tokens);
    e->api_tokens = api_tokens;
    log_set_level((enum log_level)cfg->log_level);
    client_files_destroy(e->client);
    e->client = e->front == ENGINE_FCGI ? client_files_load(cfg) : NULL;
    if (kept.len > 0)
        log_warn("engine", "reload.kept", LOG_S("options", buf_str(&kept)),
                 LOG_Z("what", "they are used at the start only: restart"));
    log_info("engine", "reload.done");
    buf_fini(&kept);
    return RC_OK;
}
