# An order page: the order, what is left in stock, and the event that shows it on every open page are ONE transaction in the
# database of siolite. If anything fails, none of them has happened. docs/php.md says what it needs; order.php is its twin.
#
#     SHOP_DATABASE=/var/lib/siolite/siolite.db      in the environment
#     python3 order.py serve 8000                    the page, at 127.0.0.1:8000; `application` is what a WSGI server runs
#     python3 order.py tea 2                         an order, from a cron job for example
#
# SPDX-License-Identifier: MIT

import html
import json
import os
import sqlite3
import sys
from urllib.parse import parse_qs

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Orders</title>
<p>{said}</p>
<form method="post"><select name="item">{items}</select><input name="n" value="1" size="3"><button>Order</button></form>
<ul id="orders">{orders}</ul>
<script src="/socket.io/socket.io.js"></script>
<script>
    io().on('order', ({{ id, item, n }}) => {{
        const line = document.createElement('li');
        line.textContent = `${{id}}: ${{n}} ${{item}}`;
        document.getElementById('orders').prepend(line);
    }});
</script>
"""


def open_database():
    # timeout: somebody else writes, wait up to 10 s. isolation_level=None: BEGIN and COMMIT are said here.
    db = sqlite3.connect(os.environ.get('SHOP_DATABASE', 'run/siolite.db'), timeout=10, isolation_level=None)
    db.execute('PRAGMA trusted_schema = ON')     # the views' triggers use JSON functions
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'shop_stock'").fetchone():
        db.executescript("""
            BEGIN IMMEDIATE;
            CREATE TABLE IF NOT EXISTS shop_order (order_id INTEGER PRIMARY KEY, item TEXT NOT NULL, n INTEGER NOT NULL);
            CREATE TABLE IF NOT EXISTS shop_stock (item TEXT PRIMARY KEY, n_left INTEGER NOT NULL CHECK (n_left >= 0));
            INSERT OR IGNORE INTO shop_stock VALUES ('tea', 10), ('coffee', 5);
            COMMIT""")
    return db


def order(db, item, n):
    db.execute('BEGIN IMMEDIATE')                # a mere BEGIN would lock at the first write only
    try:
        order_id = db.execute('INSERT INTO shop_order (item, n) VALUES (?, ?)', (item, n)).lastrowid
        db.execute("INSERT INTO emit (event, args) VALUES ('order', ?)",
                   (json.dumps([{'id': order_id, 'item': item, 'n': n}]),))
        # Fails by the CHECK if there are not so many.
        if db.execute('UPDATE shop_stock SET n_left = n_left - ? WHERE item = ?', (n, item)).rowcount == 0:
            raise LookupError(f'there is no {item}')
        db.execute('COMMIT')                     # now it is an order, and the pages hear of it
        return order_id
    except BaseException:
        if db.in_transaction:                    # else SQLite has done it already: the disk was full, for example
            db.execute('ROLLBACK')
        raise


def handle(db, form):
    item, n = form.get('item', [''])[0], form.get('n', [''])[0]
    if not n.isascii() or not n.isdigit() or not 1 <= int(n[:4]) <= 100:
        return '400 Bad Request', 'How many?'
    try:
        return '200 OK', f'Order {order(db, item, int(n))}: thank you.'
    except (sqlite3.Error, LookupError) as error:
        return '409 Conflict', f'Not ordered: {error}'


def application(environ, start_response):
    db = open_database()
    try:
        status, said = '200 OK', ''
        if environ['REQUEST_METHOD'] == 'POST':
            length = min(int(environ.get('CONTENT_LENGTH') or 0), 10000)
            status, said = handle(db, parse_qs(environ['wsgi.input'].read(length).decode('utf-8', 'replace')))
        items = ''.join(f'<option value="{html.escape(item)}">{html.escape(item)}, {n} left</option>' for item, n in
                        db.execute('SELECT item, n_left FROM shop_stock ORDER BY item'))
        orders = ''.join(f'<li>{order_id}: {n} {html.escape(item)}</li>' for order_id, item, n in
                         db.execute('SELECT order_id, item, n FROM shop_order ORDER BY order_id DESC LIMIT 20'))
        page = PAGE.format(said=html.escape(said), items=items, orders=orders).encode()
    finally:
        db.close()
    start_response(status, [('Content-Type', 'text/html; charset=utf-8'), ('Content-Length', str(len(page)))])
    return [page]


if __name__ == '__main__':
    if sys.argv[1] == 'serve':
        from wsgiref.simple_server import make_server
        make_server('127.0.0.1', int(sys.argv[2]), application).serve_forever()
    print('order', order(open_database(), sys.argv[1], int(sys.argv[2])))
