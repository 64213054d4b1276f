#!/usr/bin/env bash
# Compares the public API of the library with the revision in scripts/semver-baseline. Fails if a
# change breaks programs that use the library, but the version is not a new one. After a release,
# write its revision into that file. Before the first release, write the revision that changes the
# API on purpose. The baseline is a revision, as no registry has the library.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo semver-checks --version >/dev/null 2>&1; then
    echo "cargo-semver-checks is not installed: the public API was not compared" \
        "(cargo install --locked cargo-semver-checks)"
    exit 0
fi
revision=$(grep -v '^#' scripts/semver-baseline)
if ! git cat-file -e "$revision^{commit}" 2>/dev/null; then
    echo "revision $revision is not in this clone: fetch it (git fetch --unshallow)" >&2
    exit 1
fi
cargo semver-checks --package echoline --all-features --baseline-rev "$revision"
