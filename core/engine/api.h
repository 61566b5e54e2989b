/*
 * The HTTP API, below <path>/api/v1/ (docs/http-api.md, docs/openapi.yaml): whoever sends
 * api_token does what the public views can do. An INSERT is a POST of the view's name, a
 * SELECT a GET of it; what they refuse, they say themselves.
 *
 *     POST actions     a list of verbs, all or none       api_act.c
 *     POST <verb>      one of them                        api_act.c
 *     GET <view>       rows                               api_read.c
 *     GET socket/<id>, ask/<name>                         api_read.c
 *
 * Loop thread.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_API_H
#define SIOLITE_CORE_ENGINE_API_H

#include "core/engine/action.h"
#include "core/engine/internal.h"

/* The tokens of api_token or api_token_file, separated by spaces, owned by the caller;
 * NULL: there is no API, here. On failure `err` gets one line for the operator. */
MUST_CHECK enum rc api_tokens_load(const struct engine *e, const struct cfg *cfg,
                                   char **tokens, struct buf *err);
/* Is the request one to the API? Then it is answered, and *h is NULL, or (*h)->api is
 * set. */
bool api_take(struct engine_http **h, const struct engine_request *r);
/* The rest of a request that has `api`. */
void api_body(struct engine_http *h, struct str body, bool is_too_big);
/* The peer of one that is parked has gone. */
void api_gone(struct engine_http *h);
/* This process ends: who waits gets what there is. */
void api_drain(struct engine_http *h);
/* Something was committed, by whomever: who waits has another look, soon. */
void api_woken(struct engine *e);
void api_call_free(struct api_call *c); /* accepts NULL */

/* ---- inside the API ---- */

/* HTTP status and error.code of docs/openapi.yaml. */
#define API_ERROR_LIST(X)                                                                \
    X(JSON, 400, "bad_json")                                                             \
    X(INVALID, 400, "invalid")                                                           \
    X(UNAUTHORIZED, 401, "unauthorized")                                                 \
    X(FORBIDDEN, 403, "forbidden")                                                       \
    X(NOT_FOUND, 404, "not_found")                                                       \
    X(METHOD, 405, "method_not_allowed")                                                 \
    X(TOO_LARGE, 413, "too_large")                                                       \
    X(MEDIA, 415, "unsupported_media_type")                                              \
    X(KEY_REUSED, 422, "key_reused")                                                     \
    X(UNAVAILABLE, 503, "unavailable")
enum api_error {
#define X(name, status, code) API_E_##name,
    API_ERROR_LIST(X)
#undef X
};

#define API_PARAMS_MAX 16
#define API_KEY_BYTES_MAX 200

enum api_what { API_ACTIONS, API_VERB, API_ROWS, API_SOCKET, API_ASK };

struct api_view { /* of a view, what the API shows */
    const char *name;
    const char *columns; /* with a space behind each */
    const char *filters; /* those of them that may be asked for; is_*: true or false */
};
const struct api_view *api_view_find(struct str name); /* NULL: none */

struct api_call {
    enum api_what what;
    char verb[ACTION_VERB_SIZE]; /* API_VERB */
    const struct api_view *view; /* API_ROWS */
    struct buf id;               /* the last part of the path: of a socket, a question */
    struct buf query;            /* what params borrow from */
    struct eio_param params[API_PARAMS_MAX];
    size_t n_params;
    struct str too_many;         /* a parameter beyond these */
    struct buf key;              /* Idempotency-Key; len 0: none */
    struct buf print;            /* of the request that has it */
    struct buf answer;           /* to give when its unit has committed */
    bool is_list;                /* of actions */
    int64_t until_ms;            /* API_ASK: how long it may be parked */
    bool is_looking;             /* parked: its timer is set to have another look */
    struct api_call *next, **at; /* parked ones */
    struct engine_http *h;
};

/* Answers `e`; text: one line. `field`: what it is about, "emit.args"; len 0: nothing of
 * the kind. `index`: which of a list of actions, -1: none. */
void api_answer_error(struct engine_http *h, enum api_error e, struct str field,
                      int64_t index, struct str text);
/* The same for a text of a view or of ours that begins with what it is about. */
void api_answer_invalid(struct engine_http *h, int64_t index, struct str text);
/* A further line of the answer, with CRLF. */
void api_add_header(struct engine_http *h, const char *line);
void api_answer_json(struct engine_http *h, struct str json);
/* Tries `fn` again in the next loop turn: the store can't be read just now. */
void api_again(struct engine_http *h, void (*fn)(struct later *l));

void api_act(struct engine_http *h, struct str body);
void api_read(struct engine_http *h);

#endif
