#!/bin/sh
# SPDX-License-Identifier: MIT
#
# tests/setup.sh run|test|long|package   installs what is missing; a second run takes milliseconds.
#
# Debian packages by apt-get (as root, or through sudo; else it prints the one line to type
# and stops with exit 2); npm packages by the lock file in tests/ into build/npm/. A service
# that a package would start stays off: only programs of `make run` shall run.
set -u
cd "$(dirname "$0")/.." || exit 2
level=${1:-run}

packages="gcc libc6-dev make pkg-config sqlite3 lighttpd curl ca-certificates
    libsqlite3-dev libuv1-dev libwebsockets-dev libwebsockets-evlib-uv libfcgi-dev
    libjansson-dev libcurl4-openssl-dev libssl-dev zlib1g-dev"
case $level in
run) ;;
test | long)
    # apache2-bin is the program and its modules, without the service; the others have one.
    packages="$packages libcmocka-dev clang-format mandoc php-cgi php-cli php-sqlite3 python3 fonts-dejavu-core
        apache2-bin libapache2-mod-fcgid nginx-light caddy clang libclang-rt-dev debhelper lintian python3-socketio
        python3-requests python3-websocket strace logrotate"
    command -v chromium >/dev/null || packages="$packages chromium"
    ;;
package) packages="$packages debhelper dpkg-dev libssl-dev lintian mandoc" ;;
*)
    echo "usage: tests/setup.sh run|test|long|package" >&2
    exit 2
    ;;
esac
# Node may come from elsewhere, and npm with it.
command -v node >/dev/null || packages="$packages nodejs"
command -v npm >/dev/null || packages="$packages npm"

missing_packages() {
    # shellcheck disable=SC2086 # words
    dpkg-query -W -f='${Package} ${Status}\n' $packages 2>/dev/null |
        awk -v want="$packages" '
            $NF == "installed" { have[$1] = 1 }
            END {
                n = split(want, names)
                for (i = 1; i <= n; i++) if (!(names[i] in have)) printf "%s ", names[i]
            }'
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

can_be_root() {
    [ "$(id -u)" = 0 ] && return 0
    command -v sudo >/dev/null || return 1
    sudo -n true 2>/dev/null && return 0
    [ -t 0 ] && [ -t 2 ] && echo "setup: sudo for: apt-get install $missing" >&2 && sudo -v
}

install_packages() {
    # shellcheck disable=SC2086 # words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
        -o DPkg::Lock::Timeout=300 install --no-install-recommends $missing
}

# invoke-rc.d asks this file before it starts a service; 101 forbids it.
policy=/usr/sbin/policy-rc.d
services_off() {
    [ -e $policy ] && return
    trap 'services_as_before' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\n# siolite setup, temporary\nexit 101\n' | as_root tee $policy >/dev/null &&
        as_root chmod 755 $policy
}
services_as_before() {
    grep -qs '^# siolite setup, temporary' $policy && as_root rm -f $policy
}

if ! command -v dpkg-query >/dev/null; then
    echo "setup: this is not Debian; install by hand what corresponds to:" $packages >&2
    exit 2
fi

mkdir -p build || exit 2
exec 9>build/setup.lock
flock 9

missing=$(missing_packages)
if [ "$missing" ]; then
    if ! can_be_root; then
        echo "setup: packages are missing; as root, type:" >&2
        echo "apt-get install -y --no-install-recommends $missing" >&2
        exit 2
    fi
    echo "setup: installing $missing"
    case " $missing" in
    *" lighttpd "* | *" php-cli "* | *" nginx-light "* | *" caddy "*) services_off ;;
    esac
    ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || as_root apt-get -q update
    if ! install_packages; then
        # The lists may be older than the archive.
        as_root apt-get -q update && install_packages || {
            echo "setup: apt-get could not install: $missing" >&2
            exit 1
        }
    fi
    services_as_before
fi

# The npm packages, whenever the lock file differs from the one they were installed by.
if ! cmp -s tests/package-lock.json build/npm/installed.json; then
    echo "setup: npm packages into build/npm"
    rm -rf build/npm
    mkdir -p build/npm
    cp tests/package.json tests/package-lock.json build/npm/
    if ! npm ci --prefix build/npm --ignore-scripts --no-audit --no-fund --loglevel=error 9>&-; then
        echo "setup: npm could not install the packages of tests/package-lock.json" >&2
        exit 1
    fi
    cp tests/package-lock.json build/npm/installed.json
fi

# The client's files in brotli, beside them: siolite.fcgi serves these, and has no encoder.
client=build/npm/node_modules/socket.io-client/dist
if ! [ -e $client/socket.io.js.br ]; then
    node -e '
        const fs = require("fs");
        const { brotliCompressSync } = require("zlib");
        for (const file of process.argv.slice(1))
            fs.writeFileSync(`${file}.br`, brotliCompressSync(fs.readFileSync(file)));
    ' $client/*.js $client/*.map || exit 1
fi
