/*
 * siolite doctor: what to change, in the words of each web server.
 *
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "store/ctl/doctor.h"

static const struct {
    const char *name, *header; /* with which its Server header begins, lower case */
} SERVERS[] = {
    [DOCTOR_OTHER] = {"web server", ""}, [DOCTOR_APACHE] = {"Apache", "apache"},
    [DOCTOR_CADDY] = {"Caddy", "caddy"}, [DOCTOR_LIGHTTPD] = {"lighttpd", "lighttpd"},
    [DOCTOR_NGINX] = {"nginx", "nginx"},
};

static const char *const FIXES[][DOCTOR_N_FIXES] = {
    [DOCTOR_APACHE] =
        {
            [DOCTOR_FIX_PATH] =
                "put what `siolite conf apache` prints into this <VirtualHost>, above "
                "other ProxyPass lines\n"
                "(without root: `siolite conf htaccess`), and look into its ErrorLog",
            [DOCTOR_FIX_GATEWAY] =
                "is siolite.fcgi running, and may Apache's user write to its socket? Its "
                "ErrorLog says which of them",
            [DOCTOR_FIX_HOLD] = "ProxyPass … timeout=60, ProxyTimeout 60 or Timeout 60; "
                                "mod_fcgid: FcgidIOTimeout 60",
            [DOCTOR_FIX_BODY] = "LimitRequestBody and SecRequestBodyLimit must allow "
                                "max_payload; mod_fcgid: FcgidMaxRequestLen",
            [DOCTOR_FIX_UPGRADE] =
                "a2enmod rewrite proxy_http proxy_wstunnel, and the RewriteRule lines of "
                "`siolite conf apache` in this <VirtualHost>",
            [DOCTOR_FIX_SIDECAR] = "is siolite-ws running where the RewriteRule of "
                                   "`siolite conf apache` looks for it?",
            [DOCTOR_FIX_IDLE] = "ProxyTimeout 60 (or Timeout) must be longer than "
                                "ping_interval",
            [DOCTOR_FIX_HOST] = "ProxyPreserveHost On",
            [DOCTOR_FIX_AUTH] = "CGIPassAuth On, in <Location> or .htaccess",
            [DOCTOR_FIX_GZIP] = "SetEnv no-gzip 1 in the <Location>: siolite compresses "
                                "by itself what is worth it",
            [DOCTOR_FIX_BUFFER] = "no flushpackets=off, no mod_buffer, no mod_security "
                                  "response buffering in this <Location>",
            [DOCTOR_FIX_ABORT] = "Apache does not tell: the poll ends by itself after 25 "
                                 "s at most; `hold` can make that shorter",
            [DOCTOR_FIX_CORS] = "remove Header set Access-Control-… from this site: "
                                "cors_origin in siolite.conf does it",
            [DOCTOR_FIX_OPTIONS] =
                "no <LimitExcept>, no Require method and no RewriteRule … [R=204] "
                "that takes OPTIONS on this path: siolite answers it",
        },
    [DOCTOR_CADDY] =
        {
            [DOCTOR_FIX_PATH] = "put what `siolite conf caddy` prints into this site's "
                                "block",
            [DOCTOR_FIX_GATEWAY] = "is siolite.fcgi running, and may Caddy's user write "
                                   "to its socket? `journalctl -u caddy` says which",
            [DOCTOR_FIX_HOLD] = "transport fastcgi { read_timeout 60s }",
            [DOCTOR_FIX_BODY] = "request_body { max_size … } must allow max_payload",
            [DOCTOR_FIX_UPGRADE] = "the block @siolite_ws of `siolite conf caddy` must "
                                   "stand in this site's block",
            [DOCTOR_FIX_SIDECAR] = "is siolite-ws running where reverse_proxy looks for "
                                   "it?",
            [DOCTOR_FIX_IDLE] = "stream_timeout of reverse_proxy must be unset",
            [DOCTOR_FIX_HOST] = "no header_up Host in reverse_proxy",
            [DOCTOR_FIX_AUTH] = "no header_up -Authorization, no basicauth on this path",
            [DOCTOR_FIX_GZIP] = "leave this path out of `encode`: siolite compresses by "
                                "itself what is worth it",
            [DOCTOR_FIX_BUFFER] = "no `buffer_responses` in reverse_proxy",
            [DOCTOR_FIX_ABORT] =
                "Caddy does not tell: the poll ends by itself after 25 s "
                "at most; `hold` can make that shorter",
            [DOCTOR_FIX_CORS] = "remove header Access-Control-… from this site: "
                                "cors_origin in siolite.conf does it",
            [DOCTOR_FIX_OPTIONS] =
                "no `respond` and no matcher `method` that takes OPTIONS on this path: "
                "siolite answers it",
        },
    [DOCTOR_LIGHTTPD] =
        {
            [DOCTOR_FIX_PATH] =
                "include what `siolite conf lighttpd` prints; it must not "
                "stand below another $HTTP[\"url\"]",
            [DOCTOR_FIX_GATEWAY] =
                "is siolite.fcgi running, and may lighttpd's user write to its socket? "
                "server.errorlog says which of them",
            [DOCTOR_FIX_HOLD] = "\"read-timeout\" of fastcgi.server and "
                                "server.max-write-idle must be more than 30",
            [DOCTOR_FIX_BODY] = "server.max-request-size (in kB) must allow max_payload",
            [DOCTOR_FIX_UPGRADE] =
                "server.modules += ( \"mod_proxy\" ) and the block with "
                "proxy.header = ( \"upgrade\" => \"enable\" ) of `siolite conf lighttpd`",
            [DOCTOR_FIX_SIDECAR] = "is siolite-ws running where proxy.server looks for "
                                   "it?",
            [DOCTOR_FIX_IDLE] = "server.max-read-idle must be more than ping_interval",
            [DOCTOR_FIX_HOST] = "no \"Host\" in proxy.header",
            [DOCTOR_FIX_AUTH] = "no auth.require on this path",
            [DOCTOR_FIX_GZIP] = "deflate.mimetypes = () for this path: siolite "
                                "compresses by itself what is worth it",
            [DOCTOR_FIX_BUFFER] = "server.stream-response-body = 1 for GET",
            [DOCTOR_FIX_ABORT] =
                "for GET: server.stream-request-body = 1 and "
                "server.stream-response-body = 1; then it tells of a reset\n"
                "(not of every end; the poll ends by itself after 25 s at most)",
            [DOCTOR_FIX_CORS] =
                "remove Access-Control-… from setenv.add-response-header: "
                "cors_origin in siolite.conf does it",
            [DOCTOR_FIX_OPTIONS] =
                "no $HTTP[\"request-method\"] == \"OPTIONS\" block, no url.access-deny "
                "and no auth.require on this path: siolite answers OPTIONS",
        },
    [DOCTOR_NGINX] =
        {
            [DOCTOR_FIX_PATH] = "include what `siolite conf nginx` prints in this server "
                                "block",
            [DOCTOR_FIX_GATEWAY] =
                "is siolite.fcgi running, and may nginx' user write to "
                "its socket? error.log says which of them",
            [DOCTOR_FIX_HOLD] = "fastcgi_read_timeout 60s;",
            [DOCTOR_FIX_BODY] = "client_max_body_size must allow max_payload",
            [DOCTOR_FIX_UPGRADE] =
                "`if ($http_upgrade …) { return 418; }` and `location @siolite_ws` of "
                "`siolite conf nginx`",
            [DOCTOR_FIX_SIDECAR] = "is siolite-ws running where proxy_pass looks for it?",
            [DOCTOR_FIX_IDLE] = "proxy_read_timeout must be longer than ping_interval",
            [DOCTOR_FIX_HOST] = "proxy_set_header Host $host;",
            [DOCTOR_FIX_AUTH] = "no auth_basic on this path; no proxy_set_header "
                                "Authorization",
            [DOCTOR_FIX_GZIP] =
                "gzip off; in this location: siolite compresses by itself "
                "what is worth it",
            [DOCTOR_FIX_BUFFER] = "no proxy_cache, fastcgi_cache or limit_req on this "
                                  "location",
            [DOCTOR_FIX_ABORT] = "fastcgi_ignore_client_abort off;",
            [DOCTOR_FIX_CORS] = "remove add_header Access-Control-…: cors_origin in "
                                "siolite.conf does it",
            [DOCTOR_FIX_OPTIONS] = "no `if ($request_method = OPTIONS) { return 204; }`, "
                                   "no limit_except and "
                                   "no auth_basic on this path: siolite answers OPTIONS",
        },
    [DOCTOR_OTHER] =
        {
            [DOCTOR_FIX_PATH] = "the web server must hand this path to siolite.fcgi; "
                                "`siolite conf` prints how",
            [DOCTOR_FIX_GATEWAY] = "is siolite.fcgi running, and may the web server's "
                                   "user write to its socket? Its error log says which",
            [DOCTOR_FIX_HOLD] =
                "each time-out of the web server and of proxies before it "
                "must be more than 30 s, or set hold = in siolite.conf",
            [DOCTOR_FIX_BODY] = "the largest body must be max_payload, or lower "
                                "max_payload in siolite.conf",
            [DOCTOR_FIX_UPGRADE] =
                "requests with Upgrade: websocket must go to siolite-ws; if the web "
                "server can't, clients may stay on polling,\n"
                "or connect to a sidecar of their own: docs/deploy/tls.md",
            [DOCTOR_FIX_SIDECAR] = "is siolite-ws running where the web server looks for "
                                   "it?",
            [DOCTOR_FIX_IDLE] = "each time-out on the way must be longer than "
                                "ping_interval",
            [DOCTOR_FIX_HOST] =
                "the header Host must be passed on as the browser sent it",
            [DOCTOR_FIX_AUTH] = "the header Authorization must be passed on",
            [DOCTOR_FIX_GZIP] = "switch compression off for this path: siolite "
                                "compresses by itself what is worth it",
            [DOCTOR_FIX_BUFFER] =
                "switch caches, buffers and request limits off for this "
                "path",
            [DOCTOR_FIX_ABORT] = "the poll ends by itself after 25 s at most; `hold` can "
                                 "make that shorter",
            [DOCTOR_FIX_CORS] = "one of both must set Access-Control-…: leave it to "
                                "cors_origin in siolite.conf",
            [DOCTOR_FIX_OPTIONS] =
                "OPTIONS must be passed on like GET and POST: siolite answers it",
        },
};

enum doctor_server
doctor_server_find(struct str text)
{
    for (size_t i = DOCTOR_OTHER + 1; i < sizeof SERVERS / sizeof *SERVERS; i++)
        if (str_eq_nocase(str_slice(text, 0, strlen(SERVERS[i].header)),
                          SERVERS[i].header))
            return (enum doctor_server)i;
    return DOCTOR_OTHER;
}

const char *
doctor_server_name(enum doctor_server s)
{
    return SERVERS[s].name;
}

const char *
doctor_fix(enum doctor_server s, enum doctor_topic topic)
{
    return FIXES[s][topic];
}
