/*
 * From records to requests: which record is allowed when, what the protocol itself
 * answers, and the limits.
 *
 *      BEGIN_REQUEST       PARAMS ""              STDIN ""
 * IDLE ------------> PARAMS ---------> STDIN ----------------> DONE
 *   ^                  |  EV_HEAD        |  EV_BODY              |
 *   +------------------+-----------------+-----------------------+  fcgi_inbound_finish()
 *
 * Invariants:
 * 1. One request at a time: another BEGIN_REQUEST is answered CANT_MPX_CONN.
 * 2. A connection holds at most the larger of FCGI_PARAMS_BYTES_MAX and the body's limit,
 * and nothing while DONE.
 * 3. A stream that came as one record in one piece is never copied.
 * 4. Records of a request that is not ours (never begun, refused, finished) are skipped.
 *
 * Pure; the FastCGI front's loop thread and the fuzzer run it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fcgi/inbound.h"

/* Of a record that must be seen as a whole, more is not looked at. */
static const size_t CONTROL_BYTES_MAX = 1024;

static void
stream_fini(struct fcgi_stream *s)
{
    if (s->bytes.cap > 0)
        buf_fini(&s->bytes);
    *s = (struct fcgi_stream){0};
}

/* The view is about to become invalid. */
static void
stream_keep(struct fcgi_stream *s)
{
    struct str view = buf_str(&s->bytes);
    if (s->bytes.cap > 0 || view.len == 0)
        return;
    s->bytes = (struct buf){0};
    buf_append_str(&s->bytes, view);
}

static void
stream_append(struct fcgi_stream *s, struct str piece, size_t max)
{
    if (s->is_too_big)
        return;
    if (piece.len > max || s->bytes.len > max - piece.len) {
        stream_fini(s);
        s->is_too_big = true;
    } else if (s->bytes.len == 0) {
        s->bytes = (struct buf){.p = (char *)piece.p, .len = piece.len};
    } else {
        stream_keep(s);
        buf_append_str(&s->bytes, piece);
    }
}

/* Collects a record that must be seen as a whole. False: it isn't complete yet. */
static bool
collect(struct fcgi_inbound *in, const struct fcgi_piece *piece, struct str *whole)
{
    size_t n_free = CONTROL_BYTES_MAX - in->control.len;
    if (piece->is_first && piece->is_last) {
        *whole = str_slice(piece->content, 0, CONTROL_BYTES_MAX);
        return true;
    }
    buf_append_str(&in->control, str_slice(piece->content, 0, n_free));
    *whole = buf_str(&in->control);
    return piece->is_last;
}

static enum rc
on_begin(struct fcgi_inbound *in, uint16_t req_id, struct str body, struct buf *reply,
         struct fcgi_happening *out)
{
    bool is_kept;
    unsigned role;
    if (body.len < sizeof(FCGI_BeginRequestBody))
        return RC_INVALID;
    role = (unsigned)((unsigned char)body.p[0] << 8 | (unsigned char)body.p[1]);
    is_kept = (unsigned char)body.p[2] & FCGI_KEEP_CONN;
    if (in->state != FCGI_INBOUND_IDLE) {
        if (req_id == in->req_id)
            return RC_INVALID;
        fcgi_record_encode_finish(reply, req_id, FCGI_CANT_MPX_CONN);
        return RC_OK;
    }
    in->is_kept = is_kept;
    if (role != FCGI_RESPONDER) {
        fcgi_record_encode_finish(reply, req_id, FCGI_UNKNOWN_ROLE);
        out->event = FCGI_EV_REFUSED;
        return RC_OK;
    }
    in->req_id = req_id;
    in->state = FCGI_INBOUND_PARAMS;
    return RC_OK;
}

static void
on_management(const struct fcgi_piece *piece, struct str content,
              const struct fcgi_limits *limits, struct buf *reply)
{
    if (piece->type == FCGI_GET_VALUES)
        fcgi_record_encode_values(reply, content, limits->n_conns_max);
    else if (piece->type != FCGI_UNKNOWN_TYPE && piece->type != FCGI_GET_VALUES_RESULT)
        fcgi_record_encode_unknown_type(reply, piece->type);
}

/* A piece of the variables or the body of our request. */
static enum rc
on_stream(struct fcgi_inbound *in, const struct fcgi_piece *piece,
          const struct fcgi_limits *limits, struct fcgi_happening *out)
{
    bool is_params = in->state == FCGI_INBOUND_PARAMS;
    if (piece->type != (is_params ? FCGI_PARAMS : FCGI_STDIN))
        return RC_INVALID;
    if (piece->len) {
        stream_append(&in->stream, piece->content,
                      is_params ? FCGI_PARAMS_BYTES_MAX : limits->body_bytes_max);
        return RC_OK;
    }
    out->event = is_params ? FCGI_EV_HEAD : FCGI_EV_BODY;
    out->data = buf_str(&in->stream.bytes);
    out->is_too_big = in->stream.is_too_big;
    in->stream.is_handed_out = true;
    in->state = is_params ? FCGI_INBOUND_STDIN : FCGI_INBOUND_DONE;
    return RC_OK;
}

static enum rc
on_piece(struct fcgi_inbound *in, const struct fcgi_piece *piece,
         const struct fcgi_limits *limits, struct buf *reply, struct fcgi_happening *out)
{
    bool is_begin = piece->type == FCGI_BEGIN_REQUEST;
    bool is_ours = in->state != FCGI_INBOUND_IDLE && piece->req_id == in->req_id;
    enum rc rc = RC_OK;

    if (piece->req_id == FCGI_NULL_REQUEST_ID || is_begin) {
        struct str whole;
        if (!collect(in, piece, &whole))
            return RC_OK;
        if (piece->req_id != FCGI_NULL_REQUEST_ID)
            rc = on_begin(in, piece->req_id, whole, reply, out);
        else if (is_begin)
            rc = RC_INVALID;
        else
            on_management(piece, whole, limits, reply);
        buf_fini(&in->control);
        return rc;
    }
    if (!is_ours)
        return RC_OK;
    if (piece->type == FCGI_ABORT_REQUEST && piece->is_last)
        out->event = FCGI_EV_ABORT;
    else if (in->state != FCGI_INBOUND_DONE &&
             (piece->type == FCGI_PARAMS || piece->type == FCGI_STDIN))
        rc = on_stream(in, piece, limits, out);
    return rc;
}

enum rc
fcgi_inbound_next(struct fcgi_inbound *in, struct str *bytes,
                  const struct fcgi_limits *limits, struct buf *reply,
                  struct fcgi_happening *out)
{
    struct fcgi_piece piece;
    enum rc rc;
    struct fcgi_happening happening = {.event = FCGI_EV_NONE};

    if (in->stream.is_handed_out)
        stream_fini(&in->stream);
    while (happening.event == FCGI_EV_NONE) {
        rc = fcgi_record_next(&in->reader, bytes, &piece);
        if (rc == RC_NOTFOUND)
            break;
        if (rc == RC_OK)
            rc = on_piece(in, &piece, limits, reply, &happening);
        if (rc != RC_OK)
            return rc;
    }
    if (happening.event == FCGI_EV_NONE)
        stream_keep(&in->stream);
    *out = happening;
    return RC_OK;
}

void
fcgi_inbound_finish(struct fcgi_inbound *in)
{
    stream_fini(&in->stream);
    in->state = FCGI_INBOUND_IDLE;
}

void
fcgi_inbound_fini(struct fcgi_inbound *in)
{
    stream_fini(&in->stream);
    buf_fini(&in->control);
    *in = (struct fcgi_inbound){0};
}
