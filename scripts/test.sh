#!/usr/bin/env bash
# Runs all checks: format, lints, all tests, documentation tests, docs, examples. Installs programs
# that the tests need, if they are missing, and prints what it installs. Needs a Rust toolchain.
set -euo pipefail
cd "$(dirname "$0")/.."
# Debian installs servers (nats-server, haproxy) into a folder that only root has in its PATH.
export PATH="$PATH:/usr/sbin"

# Prints a heading with the seconds since the start.
say() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

# need COMMAND PACKAGE: if COMMAND is missing, its Debian or Ubuntu package is added to `missing`.
need() {
    type -P "$1" >/dev/null && return
    missing+=("$2")
}
missing=()
need cc build-essential
need python3 python3
need prlimit util-linux
need strace strace
need taskset util-linux
need script bsdutils
need setpriv util-linux
# The tools of systemd pass sockets to a server and check our units. systemd itself need not run.
need systemd-socket-activate systemd
need man man-db
need kill procps
# Proxies and clients of other projects. The tests reach our servers through them.
need haproxy haproxy
need socat socat
need nc netcat-openbsd
need openssl openssl
need curl curl
# A client and a load tester for the example of a key–value server.
need redis-benchmark redis-tools
# The commands in the documentation, typed in namespaces of their own.
# Counts instructions.
need valgrind valgrind
# Programs that occur in the documentation. A test runs the documented commands in separate
# namespaces.
need jq jq
need ncat ncat
need unshare util-linux
need ip iproute2
if ((${#missing[@]})); then
    say "installing what the tests need: ${missing[*]}"
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    for command in cc python3 prlimit strace taskset script setpriv kill curl openssl; do
        type -P "$command" >/dev/null || {
            echo "$command is still missing: install it by hand and run this again" >&2
            exit 1
        }
    done
fi
for component in rustfmt clippy; do
    cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || {
        say "installing $component"
        rustup component add "$component"
    }
done

export RUSTFLAGS="${RUSTFLAGS:--D warnings}"

say "format"
cargo fmt --all --check

say "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings

say "prose"
# Checks the sentences of comments and documentation. CONTRIBUTING.md has the rules.
python3 scripts/prose.py

say "features"
# Finds code that uses a feature without declaring it. Checks the libraries with each set of
# features that programs use, and their tests without features.
for features in "" "proxy,websocket" "tls" "web"; do
    cargo clippy -p echoline --lib --features "$features" --locked -- -D warnings
done
for features in "" "web"; do
    cargo clippy -p echoline-chat --lib --features "$features" --locked -- -D warnings
done
cargo clippy -p echoline --all-targets --locked -- -D warnings
cargo clippy -p echoline-chat --lib --profile test --locked -- -D warnings

say "the oldest Rust"
# The compiler that rust-version in Cargo.toml names must build the library.
oldest=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
if ! cargo "+$oldest" --version >/dev/null 2>&1; then
    timeout 300 rustup toolchain install "$oldest" --profile minimal >/dev/null 2>&1 || true
fi
if cargo "+$oldest" --version >/dev/null 2>&1; then
    timeout 900 cargo "+$oldest" check -p echoline --locked --target-dir target/oldest
else
    echo "Rust $oldest cannot be installed here: the build with it was not checked"
fi

say "public API"
scripts/semver.sh

# Python packages that read the output of our program. Without them some tests print that they skip.
python=target/python/bin/python3
if ! $python -c "import hdrh, jsonschema, prometheus_client, websockets" >/dev/null 2>&1; then
    say "a Python with hdrhistogram, jsonschema, prometheus-client and websockets"
    packages=(hdrhistogram jsonschema prometheus-client websockets)
    if ! { python3 -m venv target/python &&
        $python -m pip install -q "${packages[@]}"; } &>/dev/null; then
        rm -rf target/python
        echo "they cannot be installed here: the tests that need them skip"
    fi
fi

# A real browser for the page of the chat. Without it, the tests that need it print that they skip.
if ! { type -P chromium && type -P chromedriver; } >/dev/null; then
    say "Chromium and its driver"
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    if ! { "${as_root[@]}" apt-get update -qq &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends chromium chromium-driver
    } &>/dev/null; then
        echo "they cannot be installed here: the tests that need them skip"
    fi
fi

# NATS, for chats on several machines. Without it, the tests that need it print that they skip.
if ! type -P nats-server >/dev/null; then
    say "a NATS server"
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    if ! { "${as_root[@]}" apt-get update -qq &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends nats-server
    } &>/dev/null; then
        echo "it cannot be installed here: the tests that need it skip"
    fi
fi

say "tests"
cargo build --workspace --locked --all-targets
if cargo nextest --version >/dev/null 2>&1; then
    # Tests of whole programs wait more than they compute, so two run for each core. On a machine
    # that is busy with something else, one test in a thousand may fail. A test that passes at its
    # second attempt is listed as FLAKY at the end. Such a test must be corrected.
    cargo nextest run --workspace --locked --no-fail-fast --retries 1 \
        --test-threads $(($(nproc) * 2))
else
    echo "cargo-nextest is not installed: running the tests with cargo test"
    cargo test --workspace --locked --all-targets --no-fail-fast
fi

say "instructions of a message"
scripts/instructions.sh

say "documentation tests"
cargo test --workspace --locked --doc

say "documentation"
# The program and the library have the same name, so their pages overwrite each other. The pages of
# the library are the ones to keep, so they are written last.
export RUSTDOCFLAGS="-D warnings"
cargo doc -p echoline-cli --locked --no-deps --document-private-items
cargo doc --workspace --exclude echoline-cli --locked --no-deps --document-private-items

say "dependencies"
if cargo deny --version >/dev/null 2>&1; then
    cargo deny --locked check licenses bans sources
    if cargo deny --locked fetch db >/dev/null 2>&1; then
        cargo deny --locked check advisories
    else
        echo "the database of advisories is not reachable: advisories were not checked"
    fi
else
    echo "cargo-deny is not installed: licences and advisories were not checked" \
        "(cargo install cargo-deny)"
fi

say "all good"
