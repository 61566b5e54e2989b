/*
 * delivery PORT DATABASE N RATE: how long a row of another program takes to a WebSocket
 * client. A client of the sidecar at PORT; N times, RATE a second, an INSERT INTO emit of
 * its own, as sqlite3 would do it, then the wait for the frame. Prints one JSON object,
 * microseconds: "insert" the transaction alone, "delivery" from before it until the frame
 * is here.
 *
 * SPDX-License-Identifier: MIT
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/load.h"

enum { WAIT_MS = 5000, BYTES_MAX = 65536 };

struct client {
    int fd;
    size_t n;
    char bytes[BYTES_MAX];
};

static void
die(const char *what)
{
    fprintf(stderr, "delivery: %s\n", what);
    exit(1);
}

static void
send_text(const struct client *c, const char *text)
{
    char f[200] = {(char)0x81, (char)(0x80 | strlen(text))}; /* and a mask of zeros */
    memcpy(f + 6, text, strlen(text));
    if (send(c->fd, f, 6 + strlen(text), MSG_NOSIGNAL) < 0)
        die("the connection broke");
}

/* Receives until `text` has come, and forgets all up to its end. */
static void
wait_for(struct client *c, const char *text)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    const char *found;
    while ((found = memmem(c->bytes, c->n, text, strlen(text))) == NULL) {
        ssize_t n = recv(c->fd, c->bytes + c->n, sizeof c->bytes - c->n, MSG_DONTWAIT);
        if (n == 0 || c->n == sizeof c->bytes)
            die("the connection was closed");
        if (n > 0)
            c->n += (size_t)n;
        else if (poll(&p, 1, WAIT_MS) == 0)
            die("the row did not come");
    }
    size_t end = (size_t)(found - c->bytes) + strlen(text);
    memmove(c->bytes, c->bytes + end, c->n - end);
    c->n -= end;
}

static void
join(struct client *c, int port)
{
    static const char request[] =
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: "
        "127.0.0.1\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
        "c2lvbGl0ZSBzaW9saXRlIQ==\r\n\r\n";
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (const struct sockaddr *)&to, sizeof to) != 0 ||
        send(c->fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0)
        die("cannot connect");
    wait_for(c, "\"maxPayload\"");
    send_text(c, "40");
    wait_for(c, "40{");
}

static void
insert(sqlite3_stmt *q, int i)
{
    char args[32];
    snprintf(args, sizeof args, "[\"row-%d-\"]", i);
    sqlite3_bind_text(q, 1, args, -1, SQLITE_TRANSIENT);
    if (sqlite3_step(q) != SQLITE_DONE)
        die(sqlite3_errmsg(sqlite3_db_handle(q)));
    sqlite3_reset(q);
}

int
main(int argc, char **argv)
{
    static struct load_hist inserts, deliveries;
    struct client *c = xcalloc(1, sizeof *c);
    sqlite3 *db;
    sqlite3_stmt *q;
    char text[32];
    if (argc != 5)
        return 2;
    int n = atoi(argv[3]);
    double step_ns = 1e9 / atof(argv[4]);
    join(c, atoi(argv[1]));
    if (sqlite3_open(argv[2], &db) != SQLITE_OK ||
        sqlite3_busy_timeout(db, WAIT_MS) != SQLITE_OK ||
        sqlite3_prepare_v2(db,
                           "INSERT INTO emit (nsp, event, args) VALUES ('/', 'news', ?)",
                           -1, &q, NULL) != SQLITE_OK)
        die(sqlite3_errmsg(db));
    double next_ns = (double)load_now_ns();
    for (int i = 0; i < n; i++) {
        uint64_t start_ns = load_now_ns();
        insert(q, i);
        load_hist_add(&inserts, load_now_ns() - start_ns);
        snprintf(text, sizeof text, "row-%d-", i);
        wait_for(c, text);
        load_hist_add(&deliveries, load_now_ns() - start_ns);
        next_ns += step_ns;
        double rest_ns = next_ns - (double)load_now_ns();
        if (rest_ns > 0)
            nanosleep(
                &(struct timespec){(time_t)(rest_ns / 1e9), (long)(rest_ns) % 1000000000},
                NULL);
    }
    sqlite3_finalize(q);
    sqlite3_close(db);
    putchar('{');
    load_hist_print("insert", &inserts);
    putchar(',');
    load_hist_print("delivery", &deliveries);
    puts("}");
    return 0;
}
