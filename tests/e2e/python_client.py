# SPDX-License-Identifier: MIT
#
# python_client.py URL OTHER_URL TRANSPORT: Debian's python3-socketio client against the
# conformance application, as python_client.test.mjs starts it. Prints a line of JSON a step,
# what it saw; the judgement is there.

import json
import os
import queue
import sys
import traceback

import socketio


def fail(*error):
    traceback.print_exception(*error)
    os._exit(1)  # the threads of the clients would go on


sys.excepthook = fail
url, other_url, transport = sys.argv[1:4]
NSPS = ["/", "/custom", "/token"]
EMOJI = "\u00e4\u20ac\U0001f600"


def show(step, seen):
    print(json.dumps([step, seen], default=lambda b: {"bytes": list(b)}), flush=True)


class Client:
    def __init__(self):
        self.events = {nsp: queue.Queue() for nsp in NSPS}
        self.sio = socketio.Client(reconnection=False)
        for nsp in NSPS:
            self.listen(nsp)

    def listen(self, nsp):
        def on_any(event, *args):
            self.events[nsp].put([event, *args])

        def answer(*args):
            return "answer", *args

        self.sio.on("*", on_any, namespace=nsp)
        self.sio.on("ack-request", answer, namespace=nsp)
        self.sio.on(
            "connect_error", lambda e=None: self.events[nsp].put(["refused", e]), namespace=nsp
        )

    def connect(self, at, nsps, auth=None):
        self.sio.connect(
            at,
            transports=[transport],
            namespaces=nsps,
            auth=auth,
            socketio_path="socket.io",
            headers={"X-Kitchen": "sink"},
            wait_timeout=5,
        )

    def next(self, nsp="/"):
        return self.events[nsp].get(timeout=5)

    # This client runs each handler in a thread of its own, which keeps no order.
    def several(self, n, nsp="/"):
        return sorted((self.next(nsp) for _ in range(n)), key=str)

    def call(self, event, *args, nsp="/"):
        return self.sio.call(event, args, namespace=nsp, timeout=5)


a, b = Client(), Client()
a.connect(url, NSPS[:2], {"user": EMOJI})
b.connect(other_url, ["/"])
show("auth", [a.next(), a.next("/custom"), b.next()])

who = a.call("who")
show("who", [who["id"] == a.sio.get_sid("/"), who["transport"], who["auth"], who["header"]])

a.sio.emit("message", (1, EMOJI, None, {"b": [b"\x00\xff", {"c": b""}]}))
show("message", a.next())
show("ack", a.call("message-with-ack", EMOJI, b"\x01\x02", [True]))
show("binary", a.call("make-binary", 5))
show("digest", a.call("digest", b"\x00" * 100000)["bytes"])
a.sio.emit("ack-me", (1, EMOJI))
show("answer", a.next())

b.call("join", ["room", EMOJI])
show("rooms", b.call("rooms"))
a.call("cast", {"via": "io", "to": [EMOJI]}, "tick", 1, b"\x07")
show("room", b.next())
a.call("cast", {"via": "socket"}, "tock", EMOJI)
show("others", b.next())
for i in range(10):  # it takes at most 16 packets in a poll answer
    a.sio.emit("echo", i)
show("burst", a.several(10))
a.sio.emit("echo", "there", namespace="/custom")
show("namespace", a.next("/custom"))

refused = Client()
try:
    refused.connect(url, ["/token"], {"token": "x"})
    show("refusal", "connected")
except socketio.exceptions.ConnectionError:
    show("refusal", refused.next("/token"))
accepted = Client()
accepted.connect(url, ["/token"], {"token": "secret"})
show("accepted", accepted.next("/token"))

mine = a.sio.get_sid("/")
for client in (accepted, a):
    client.sio.disconnect()


def reason():
    for _ in range(500):
        text = b.call("reason-of", mine)
        if text:
            return text
    return None


show("reason", reason())
b.sio.disconnect()
show("end", None)
