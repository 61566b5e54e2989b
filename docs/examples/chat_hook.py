#!/usr/bin/env python3
"""The chat of chat.c as a web hook, in one Python file without dependencies.

docs/hook.md explains what it is sent and what it answers; the events of the page are described at the top of chat.c.

    chat_hook.py PORT SECRET_FILE DATABASE

    hook_url = http://127.0.0.1:PORT/           in siolite.conf
    hook_secret_file = SECRET_FILE
    hook_concurrency = 1                        see below
    make run APP=docs/examples/chat_hook.py

What it must remember is in an SQLite file of its own. An event may be sent more than once, always under the same id: what was
answered is kept for a while, and answered again. With hook_concurrency = 1 the answers take effect in the order in which they
were given, so that of two lists of people the last one is true.

SPDX-License-Identifier: MIT
"""

import base64
import hashlib
import hmac
import json
import re
import sqlite3
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME_MAX = 40  # bytes
ROOM_MAX = 19  # shorter than an id, so that it can't be mistaken for one
ID_BYTES = 20
TEXT_MAX = 2000
PICTURE_MAX = 600000
ROOMS_MAX = 10  # in which one may be at a time
LINES_MAX = 20  # that a newcomer to a room gets
AGE_MAX_S = 300  # of a signature
BODY_MAX = 16_000_000


def is_signed(headers, body, key):
    """Was it signed with our key a moment ago?"""
    stamp = headers.get("X-Siolite-Timestamp", "")
    if not stamp.isdigit() or abs(time.time() - int(stamp)) > AGE_MAX_S:
        return False
    expected = "v1=" + hmac.new(key, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), headers.get("X-Siolite-Signature", "").encode())


# ---- effects: what siolite does when it has our answer


def emit(event, args, **more):
    return {"emit": {"event": event, "args": args, **more}}


def ack(*args):
    return {"ack": {"args": list(args)}}


# ---- what the page sends is checked before anything is done with it


def is_line(s, most):
    return isinstance(s, str) and 0 < len(s.encode()) <= most and not re.search(r"[\x00-\x1f\x7f]", s)


def is_room(s):
    return is_line(s, ROOM_MAX) and re.fullmatch("[a-z0-9-]+", s)


def is_what(what):
    """A text, or a picture: {"$binary": base64}."""
    if isinstance(what, str):
        return 0 < len(what.encode()) <= TEXT_MAX and "\0" not in what
    picture = what.get("$binary") if isinstance(what, dict) else None
    return isinstance(picture, str) and 0 < len(base64.b64decode(picture)) <= PICTURE_MAX


class Chat:
    """Each method named on_… gives the list of effects of one event; self.db is in a transaction."""

    def __init__(self, file):
        self.db = sqlite3.connect(file, timeout=5, isolation_level=None)
        self.db.executescript(
            """
            PRAGMA journal_mode = WAL;
            CREATE TABLE IF NOT EXISTS answered (event_id TEXT PRIMARY KEY, effects TEXT NOT NULL, at_s INTEGER NOT NULL);
            CREATE TABLE IF NOT EXISTS person (socket TEXT PRIMARY KEY, name TEXT);
            CREATE TABLE IF NOT EXISTS member (room TEXT, socket TEXT, PRIMARY KEY (room, socket));
            CREATE TABLE IF NOT EXISTS line (line_id INTEGER PRIMARY KEY, room TEXT, socket TEXT, name TEXT, at_ms INTEGER,
                text TEXT);
            """
        )

    def answer(self, event):
        """Once for each event_id: who asks again gets the same answer."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            row = self.db.execute("SELECT effects FROM answered WHERE event_id = ?", [event["event_id"]]).fetchone()
            effects = row[0] if row else json.dumps(self.handle(event))
            if not row:
                self.db.execute("INSERT INTO answered VALUES (?, ?, ?)", [event["event_id"], effects, int(time.time())])
                self.db.execute("DELETE FROM answered WHERE at_s < ?", [int(time.time()) - 3600])
            self.db.execute("COMMIT")
            return effects
        except BaseException:
            self.db.execute("ROLLBACK")
            raise

    def handle(self, event):
        if event["kind"] == "connect":
            return self.on_connect(event)
        if event["kind"] == "disconnect":
            return self.on_disconnect(event)
        handlers = {
            "name": self.on_name,
            "enter": self.on_enter,
            "leave": self.on_leave,
            "say": self.on_say,
            "typing": self.on_typing,
        }
        handler = handlers.get(event.get("event"))
        first, second = (event.get("args", []) + [None, None])[:2]
        return handler(event, event["socket"], event["user"], first, second) if handler else []

    def rooms(self):
        """Everybody is told who is where."""
        rows = self.db.execute("SELECT room, count(*) FROM member GROUP BY room ORDER BY room LIMIT 100")
        return emit("rooms", [rows.fetchall()])

    # ---- the events of the page

    def on_name(self, event, me, user, name, _):
        if not is_line(name, NAME_MAX):
            return [ack("A name has 1 to 40 bytes.")]
        if user is not None:
            return [ack("You have a name already.")]
        self.db.execute("UPDATE person SET name = ? WHERE socket = ?", [name, me])
        return [{"socket_user": {"user": name}}, ack(None)]  # for what comes next, and for: SELECT user FROM socket

    def on_enter(self, event, me, user, room, _):
        is_in = room in event["rooms"]
        if user is None:
            return [ack("Say your name first.")]
        if not is_room(room):
            return [ack("A room has up to 19 letters a-z, digits and dashes.")]
        if not is_in and len(event["rooms"]) >= ROOMS_MAX:
            return [ack("That are too many rooms; leave one first.")]
        effects = []
        if not is_in:  # else it only wants to see the lists again
            self.db.execute("INSERT OR IGNORE INTO member VALUES (?, ?)", [room, me])
            effects = [
                {"room_join": {"room": room}},
                emit("joined", [room, me, user], room=room, except_room=me),
                self.rooms(),
            ]
        people = self.db.execute(
            "SELECT socket, name FROM member JOIN person USING (socket) WHERE room = ? ORDER BY socket", [room]
        )
        lines = self.db.execute("SELECT socket, name, at_ms, text FROM line WHERE room = ? ORDER BY line_id", [room])
        return effects + [ack(None, people.fetchall(), lines.fetchall())]

    def on_leave(self, event, me, user, room, _):
        if room not in event["rooms"]:
            return [ack(None)]
        self.db.execute("DELETE FROM member WHERE room = ? AND socket = ?", [room, me])
        return [{"room_leave": {"room": room}}, emit("left", [room, me], room=room), self.rooms(), ack(None)]

    def on_say(self, event, me, user, to, what):
        at_ms = int(time.time() * 1000)
        if user is None or not is_line(to, ID_BYTES) or len(event["args"]) != 2:
            return [ack("Say your name first, then: to whom, and what.")]
        if not is_what(what):
            return [ack("A text has up to 2,000 bytes, a picture up to 600,000.")]
        if len(to) == ID_BYTES and self.db.execute("SELECT 1 FROM person WHERE socket = ?", [to]).fetchone():
            return [emit("told", [me, user, at_ms, what], room=to), ack(None)]
        if to not in event["rooms"]:
            return [ack("Nobody is there any more.")]
        if isinstance(what, str):
            self.db.execute(
                "INSERT INTO line (room, socket, name, at_ms, text) VALUES (?, ?, ?, ?, ?)", [to, me, user, at_ms, what]
            )
            self.db.execute(
                "DELETE FROM line WHERE room = ? AND line_id <= (SELECT line_id FROM line WHERE room = ?"
                " ORDER BY line_id DESC LIMIT 1 OFFSET ?)",
                [to, to, LINES_MAX],
            )
        return [emit("said", [to, me, user, at_ms, what], room=to), ack(None)]

    def on_typing(self, event, me, user, to, _):
        """Volatile: who can't be written to at this moment misses nothing."""
        if user is None or not is_line(to, ID_BYTES):
            return []
        if len(to) == ID_BYTES:
            return [emit("typing", [None, me, user], room=to, except_room=me, is_volatile=True)]
        if to not in event["rooms"]:
            return []
        return [emit("typing", [to, me, user], room=to, except_room=me, is_volatile=True)]

    # ---- connections

    def on_connect(self, event):
        """One that was lost and recovered has its name and its rooms again; the others saw it leave."""
        me, user = event["socket"], event["user"]
        self.db.execute("INSERT OR REPLACE INTO person VALUES (?, ?)", [me, user])
        effects = []
        for room in event["rooms"]:
            self.db.execute("INSERT OR IGNORE INTO member VALUES (?, ?)", [room, me])
            effects.append(emit("joined", [room, me, user], room=room, except_room=me))
        return effects + [self.rooms()] if effects else []

    def on_disconnect(self, event):
        self.db.execute("DELETE FROM person WHERE socket = ?", [event["socket"]])
        self.db.execute("DELETE FROM member WHERE socket = ?", [event["socket"]])
        effects = [emit("left", [room, event["socket"]], room=room) for room in event["rooms"]]
        return effects + [self.rooms()] if effects else []


class Handler(BaseHTTPRequestHandler):
    """One connection of siolite-hook, which keeps it; a thread each."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    key = b""
    database = ""

    def setup(self):
        super().setup()
        self.chat = Chat(self.database)

    def finish(self):
        self.chat.db.close()
        super().finish()

    def do_POST(self):
        length = int(self.headers.get("Content-Length", "0"))
        if length > BODY_MAX:
            self.close_connection = True
            return self.give(413, b"")
        body = self.rfile.read(length)
        if not is_signed(self.headers, body, self.key):
            return self.give(401, b"")
        return self.give(200, self.chat.answer(json.loads(body)).encode())

    def give(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        pass


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: chat_hook.py PORT SECRET_FILE DATABASE")
    with open(sys.argv[2], "rb") as file:
        Handler.key = file.readline().strip()
    Handler.database = sys.argv[3]
    Chat(Handler.database)  # makes the tables
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()


if __name__ == "__main__":
    main()
