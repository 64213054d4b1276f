#!/usr/bin/env bash
# Fuzzes every target in fuzz/, or only the named targets, for SECONDS each (60).
#   scripts/fuzz.sh [SECONDS] [TARGET]...
# Installs cargo-fuzz if it is missing. A crash is stored in fuzz/artifacts/ and ends the run.
# Interesting inputs are stored in fuzz/corpus/, and the next run starts with them. Targets that
# read JSON also start with the files of fuzz/seeds/.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds="${1:-60}"
shift || true
if ! [[ $seconds =~ ^[1-9][0-9]*$ ]]; then
    echo "'$seconds' is no number of seconds: write for example scripts/fuzz.sh 60 text" >&2
    exit 2
fi

if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "== installing cargo-fuzz"
    cargo install --locked cargo-fuzz
fi

# The flags for coverage need a nightly compiler, or a stable one with this variable. No sanitizer
# is used: the code has nothing unsafe, so it would only cost time.
export RUSTC_BOOTSTRAP=1

if (($# == 0)); then
    mapfile -t targets < <(cargo fuzz list)
else
    targets=("$@")
fi
for target in "${targets[@]}"; do
    echo "== $target for $seconds s"
    mkdir -p "fuzz/corpus/$target"
    corpora=("fuzz/corpus/$target")
    options=(-max_len=1024)
    if [[ -d fuzz/seeds/$target ]]; then
        # Inputs that the fuzzer would hardly find by itself. It does not change these files.
        corpora+=("fuzz/seeds/$target")
        options=(-max_len=16384 -dict=fuzz/json.dict)
    fi
    cargo fuzz run --sanitizer none "$target" "${corpora[@]}" -- \
        "${options[@]}" -max_total_time="$seconds" -rss_limit_mb=1024 -print_final_stats=0
done
