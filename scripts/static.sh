#!/usr/bin/env bash
# Builds target/static/echoline, which needs no other file to run, and runs it in an empty folder.
# The program is linked statically with glibc, because a Rust toolchain for x86_64-unknown-linux-gnu
# has everything that this needs. An installed musl target would also work.
set -euo pipefail
cd "$(dirname "$0")/.."
# Without --target the flag would also apply to build scripts and macros, which cannot be static.
target=$(rustc -vV | sed -n 's/^host: //p')

say() { printf '\n== %s\n' "$*"; }

say "building for $target, statically"
RUSTFLAGS="-C target-feature=+crt-static" cargo build --profile dist --locked --target "$target" \
    --target-dir target/static-build
mkdir -p target/static
cp "target/static-build/$target/dist/echoline" target/static/
strip target/static/echoline
ls -l target/static/echoline

say "it needs no other file"
if type -P ldd >/dev/null; then
    ldd target/static/echoline 2>&1 | grep -E "statically linked|not a dynamic executable"
fi
if [ "$(id -u)" != 0 ]; then
    echo "only root can run it in an empty folder (chroot): this was not tested"
    exit 0
fi
root=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$root"' EXIT
cp target/static/echoline "$root"
chmod 777 "$root"
chroot "$root" /echoline echo --listen 127.0.0.1:0 --user 65534:65534 \
    --ready-file /ready 2>"$root/log" &
server=$!
for _ in $(seq 100); do [ -s "$root/ready" ] && break || sleep 0.05; done
[ "$(chroot "$root" /echoline send "$(head -n 1 "$root/ready")" static)" = "Echo: static" ] || {
    cat "$root/log" >&2
    exit 1
}
kill "$server"
wait "$server"

say "good"
