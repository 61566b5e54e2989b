#!/bin/bash
# SPDX-License-Identifier: MIT
#
# www/serve.sh BUILD_DIR: what `make run` starts, in the foreground until Ctrl-C. A private
# lighttpd on 127.0.0.1:$PORT, two siolite.fcgi and two siolite-ws on one database. Everything
# it writes is in run/. PORT and APP come from the environment; APP may be a shared object, a
# .sql file, or a web hook: a .php file, which lighttpd serves by php-cgi, or a .py file, which
# is started with a port, a file with the key and a database.
set -u
cd "$(dirname "$0")/.." || exit 2
name=run
run=run
build=$1
port=${PORT:-8080}
app=${APP:-$build/apps/chat.so}
. www/supervise.bash

[[ $port =~ ^[0-9]+$ ]] && ((port >= 1 && port <= 65000)) || die "PORT=$port is not a port" 2
need lighttpd curl setpriv flock
for file in "$build/siolite.fcgi" "$build/siolite-ws" "$build/siolite-hook" "$build/siolite" "$app"; do
    [ -e "$file" ] || die "$file does not exist" 2
done
lock_run_dir
check_port "$port"
ws_1=$(free_port $((port + 10)))
ws_2=$(free_port $((ws_1 + 1)))
app=$(realpath "$app")
hook_url=
case $app in
*.php)
    command -v php-cgi >/dev/null || die "php-cgi is missing: apt-get install php-cgi php-sqlite3" 2
    hook_url=http://127.0.0.1:$port/hook.php
    ;;
*.py)
    need python3
    hook_port=$(free_port $((ws_2 + 1)))
    hook_url=http://127.0.0.1:$hook_port/
    ;;
esac

cat >run/siolite.conf <<END
# Written by \`make run\`; --help of each program explains the keys.
database = $PWD/run/siolite.db
path = /socket.io
client_dir = $PWD/build/npm/node_modules/socket.io-client/dist
recovery = 120s
trusted_proxy = 127.0.0.1
END
if [ "$hook_url" ]; then
    (umask 077 && head -c 24 /dev/urandom | base64 >run/hook.secret)
    cat >>run/siolite.conf <<END
hook_url = $hook_url
hook_secret_file = $PWD/run/hook.secret
# The chats answer with lists of who is there: in the order in which they were asked.
hook_concurrency = 1
END
else
    echo "app = $app" >>run/siolite.conf
fi
for program in siolite.fcgi siolite-ws; do
    "$build/$program" --config run/siolite.conf --check-config >run/log/check.log 2>&1 ||
        die "$(tail -n 1 run/log/check.log)"
done
lighttpd_conf run/lighttpd.conf "$port" "$PWD/www" run/siolite.conf "$socket_dir/fcgi-1.sock $socket_dir/fcgi-2.sock" \
    "$ws_1 $ws_2"
if [[ $app = *.php ]]; then
    cat >>run/lighttpd.conf <<END
alias.url += ( "/hook.php" => "$app" )
\$HTTP["url"] == "/hook.php" {
  fastcgi.server = ( ".php" => (( "socket" => "$socket_dir/php.sock" )))
}
END
fi

for i in 1 2; do
    add "siolite.fcgi demo $i" run/log/fcgi-$i.log "$build/siolite.fcgi" \
        --config run/siolite.conf --set "fcgi_listen=$socket_dir/fcgi-$i.sock"
    ws=ws_$i
    add "siolite-ws demo $i" run/log/ws-$i.log "$build/siolite-ws" \
        --config run/siolite.conf --set "ws_listen=127.0.0.1:${!ws}"
done
start_added
wait_for siolite.fcgi test -S run/fcgi-1.sock -a -S run/fcgi-2.sock
wait_for siolite-ws is_port_used "$ws_1"
wait_for siolite-ws is_port_used "$ws_2"
add "lighttpd demo 1" run/log/lighttpd.log "$(PATH=$PATH:/usr/sbin command -v lighttpd)" \
    -D -f run/lighttpd.conf
case $app in
*.php)
    add "php-cgi demo 1" run/log/hook-app.log env PHP_FCGI_MAX_REQUESTS=0 "CHAT_SECRET_FILE=$PWD/run/hook.secret" \
        "CHAT_DATABASE=$PWD/run/chat.db" php-cgi -b "$socket_dir/php.sock"
    ;;
*.py) add "$(basename "$app") demo 1" run/log/hook-app.log "$app" "$hook_port" run/hook.secret run/chat.db ;;
esac
[ "$hook_url" ] &&
    add "siolite-hook demo 1" run/log/hook.log "$build/siolite-hook" --config run/siolite.conf
start_added
wait_for lighttpd answers_polling "$port"

cat <<END

siolite runs.   http://127.0.0.1:$port/

  lighttpd       127.0.0.1:$port, private to this folder    process ${pids[4]}
  siolite.fcgi   run/fcgi-1.sock, run/fcgi-2.sock        processes ${pids[0]}, ${pids[2]}
  siolite-ws     127.0.0.1:$ws_1, 127.0.0.1:$ws_2          processes ${pids[1]}, ${pids[3]}
  database       run/siolite.db    application  $app    logs  run/log/

Try next:
  open the page in a second browser, and write
  sqlite3 run/siolite.db "INSERT INTO emit(nsp, room, event, args) VALUES ('/', 'lobby', 'headline', '[\"hello\"]')"
  sqlite3 run/siolite.db "SELECT * FROM socket"
  kill -9 any process of run/pids: it is started again, and the chat goes on

Ctrl-C ends all of it.
END
supervise
