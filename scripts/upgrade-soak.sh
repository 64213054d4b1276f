#!/usr/bin/env bash
# upgrade-soak.sh [COUNT]: upgrades a server COUNT times (100) while clients use it. Each second
# 2,000 clients connect for one line each, and 200 other connections stay open. `echoline load`
# checks that every planned line is answered, and that no client is refused or reset. If so, the
# exit code is 0. An upgrade takes about 1.3 s.
set -euo pipefail
cd "$(dirname "$0")/.."
count=${1:-100}
rate=${RATE:-2000}
long=${LONG:-200}
program=target/release/echoline
[ -x "$program" ] || cargo build --release --locked

folder=$(mktemp -d)
processes=()
successors() { sed -n 's/.*upgraded: process \([0-9]*\) .*/\1/p' "$folder/log"; }
cleanup() {
    # Kills only processes that this script or its server started.
    for id in "${processes[@]}" $(successors); do
        kill -KILL "$id" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap cleanup EXIT

# The server is started through a symbolic link, as in an installation that keeps several versions.
ln -s "$PWD/$program" "$folder/echoline"
"$folder/echoline" echo --listen 127.0.0.1:0 --ready-file "$folder/ready" 2>"$folder/log" &
current=$!
processes+=("$current")
until [ -s "$folder/ready" ]; do sleep 0.05; done
address=$(cat "$folder/ready")

seconds=$((count * 13 / 10 + 5))
common=(--quiet --timeout 30s --reconnect never --duration "${seconds}s")
# A source address has 28,000 ports for connections to this server, and a closed port stays in use
# for a minute. So the clients need several source addresses.
sources=127.0.0.1,127.0.0.2,127.0.0.3,127.0.0.4,127.0.0.5,127.0.0.6
"$program" load "$address" "${common[@]}" --clients 100 --rate "$rate/s" \
    --messages-per-connection 1 --source "$sources" >"$folder/short" 2>&1 &
short=$!
"$program" load "$address" "${common[@]}" --clients "$long" --rate 1000/s >"$folder/long" 2>&1 &
long=$!
processes+=("$short" "$long")
sleep 2

for number in $(seq "$count"); do
    kill -s USR2 "$current"
    for _ in $(seq 200); do
        sleep 0.05
        [ "$(successors | wc -l)" -ge "$number" ] && break
    done
    next=$(successors | tail -n 1)
    if [ "$next" = "$current" ] || [ -z "$next" ]; then
        echo "upgrade $number did not happen:" >&2
        tail -n 5 "$folder/log" >&2
        exit 1
    fi
    current=$next
done

code=0
wait "$short" || code=$?
cat "$folder/short"
wait "$long" || code=$?
cat "$folder/long"
kill -s TERM "$current"
echo
echo "$(successors | wc -l) upgrades; exit code of \`echoline load\`: $code"
exit "$code"
