#!/bin/sh
# SPDX-License-Identifier: MIT
#
# docs/deploy/dist.sh BUILD_DIR VERSION OUT.tar.gz   the release for hosts without our libraries (docs/deploy/tarball.md).
#
#   siolite-VERSION/
#     socket.io/   goes into the web space: siolite.cgi, and the same program as siolite.fcgi, statically linked
#     bin/         siolite, siolite-ws, siolite-hook: start what is in lib/ with the libraries that lie there
#     lib/         programs, and all libraries that they need, the C library too
#     client/  examples/  docs/  man/
#
# Everything finds its parts by its own place: the folder can be moved.
set -eu
build=$1 version=$2 out=$3
stage=$build/dist/siolite-$version
programs="siolite siolite-ws siolite-hook"
libdir=$(pkg-config --variable=libdir libwebsockets)

rm -rf "$build/dist"
mkdir -p "$stage/socket.io" "$stage/bin" "$stage/lib" "$stage/client" "$stage/examples" "$stage/docs" "$stage/man"

strip -o "$stage/socket.io/siolite.cgi" "$build/static/siolite.fcgi"
cp "$stage/socket.io/siolite.cgi" "$stage/socket.io/siolite.fcgi"

# A library by its path; the loader and what libwebsockets loads by itself too.
libraries() {
    for program in $programs; do
        [ ! -e "$build/$program" ] || ldd "$build/$program" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p; s/^[\t ]*\(\/[^ ]*ld-linux[^ ]*\) .*/\1/p'
    done
    plugin=$libdir/libwebsockets-evlib_uv.so
    echo "$plugin"
    ldd "$plugin" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p'
}
libraries | sort -u | while read -r file; do
    cp -L "$file" "$stage/lib/"
done
# libwebsockets 4.1 looks for its event loop in the folder that it was built for, and nowhere else. In our copy that is
# descriptor 9, which the starters below open on lib/.
beside=/proc/self/fd/9
for _ in $(seq $((${#libdir} - ${#beside}))); do beside="$beside\\x00"; done
LC_ALL=C sed -i "s|\\x00$libdir\\x00|\\x00$beside\\x00|" "$stage"/lib/libwebsockets.so.*
loader=$(basename "$(ls "$stage"/lib/ld-linux*)")
for program in $programs; do
    [ -e "$build/$program" ] || continue
    strip -o "$stage/lib/$program" "$build/$program"
    cat >"$stage/bin/$program" <<END
#!/bin/sh
here=\$(dirname "\$(readlink -f "\$0")")/../lib
exec 9<"\$here"
exec "\$here/$loader" --library-path "\$here" --argv0 "\$0" "\$here/$program" "\$@"
END
    chmod 755 "$stage/bin/$program"
done

# Beside the CGI program: what `siolite conf htaccess` prints, and a configuration to begin with.
cat >"$stage/socket.io/siolite.conf" <<'END'
# siolite.conf(5) has every option.

# Better a folder outside of the web space, that only you can read; .htaccess forbids to fetch it from here.
database = siolite.db

# The application: a file of SQL triggers, such as examples/chat.sql, beside this file; or hook_url = https://…
#app = chat.sql
END
"$build/siolite" conf htaccess --config "$stage/socket.io/siolite.conf" >"$stage/socket.io/.htaccess"

client=build/npm/node_modules/socket.io-client
cp $client/package.json $client/dist/*.js $client/dist/*.js.br "$stage/client/"
cp -r docs/examples/. "$stage/examples/"
cp README.md CHANGELOG.md LICENSE "$stage/"
mkdir "$stage/docs/deploy"
cp docs/*.md docs/openapi.yaml docs/chat.png "$stage/docs/"
cp docs/deploy/*.md "$stage/docs/deploy/"
cp "$build"/man/*.[1-8] "$stage/man/"
tar -C "$build/dist" --owner=0 --group=0 --numeric-owner -czf "$out" "siolite-$version"
