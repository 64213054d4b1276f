#!/usr/bin/env bash
# Runs Autobahn's fuzzing client against the WebSocket echo. Fails if a case is not OK, NON-STRICT
# or INFORMATIONAL. Takes about ten minutes. scripts/test.sh does not run this script.
#
#   scripts/autobahn.sh            all cases except compression (12.* and 13.*, not supported)
#   scripts/autobahn.sh '6.*'      only these cases
#
# Autobahn still needs Python 2.7 (from pyenv). Its packages go into target/autobahn.
set -euo pipefail
cd "$(dirname "$0")/.."

cases=${1:-*}
folder=$PWD/target/autobahn
python=${PYTHON2:-$(type -P python2.7 || true)}
for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7*/bin/python2.7; do
    [ -n "$python" ] || python=$candidate
    "$python" --version >/dev/null 2>&1 || python=$candidate
done
"$python" --version >/dev/null 2>&1 || {
    echo "no Python 2.7 here: install it (pyenv install 2.7.18) or name it with PYTHON2" >&2
    exit 1
}

if [ ! -e "$folder/packages/autobahntestsuite" ]; then
    echo "installing Autobahn into $folder"
    "$python" -m pip install -q --no-warn-script-location --target "$folder/packages" \
        --only-binary=cryptography,cffi,ujson,zope.interface autobahntestsuite
    touch "$folder/packages/zope/__init__.py"
fi

cargo build -q --locked --bin echoline
ready=$folder/ready
rm -rf "$ready" "$folder/reports"
target/debug/echoline echo --mode raw --listen ws://127.0.0.1:0 --log-level error \
    --ready-file "$ready" &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
until [ -s "$ready" ]; do
    kill -0 "$server" 2>/dev/null || exit 1
    sleep 0.1
done

cat >"$folder/spec.json" <<SPEC
{
    "outdir": "$folder/reports",
    "servers": [{"agent": "echoline", "url": "$(cat "$ready")"}],
    "cases": ["$cases"],
    "exclude-cases": ["12.*", "13.*"],
    "exclude-agent-cases": {}
}
SPEC
(cd "$folder" && PYTHONPATH="$folder/packages" \
    "$python" -m autobahntestsuite.wstest -m fuzzingclient -s spec.json >"$folder/log" 2>&1)

python3 - "$folder/reports/index.json" <<'SUMMARY'
import collections
import json
import sys

cases = json.load(open(sys.argv[1]))["echoline"]
wrong = []
for what in ("behavior", "behaviorClose"):
    counts = collections.Counter(case[what] for case in cases.values())
    print(what + ":", ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    good = ("OK", "NON-STRICT", "INFORMATIONAL")
    for name, case in cases.items():
        if case[what] not in good:
            wrong.append(f"{name}: {what} {case[what]}")
print(len(cases), "cases")
sys.exit("\n".join(sorted(wrong)) if wrong else 0)
SUMMARY
