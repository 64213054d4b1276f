#!/usr/bin/env bash
# Builds target/package/echoline_VERSION_ARCH.deb, with the pages for man(1) and the completions
# that the program generates. Checks the contents, runs lintian if it is installed, extracts the
# package into a folder and runs the program there. Prints the checks that it skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
out=target/package

say() { printf '\n== %s\n' "$*"; }

if ! type -P cargo-deb >/dev/null; then
    say "installing cargo-deb into target/tools"
    cargo install --quiet --locked --root target/tools cargo-deb
    PATH="$PWD/target/tools/bin:$PATH"
fi

say "building"
cargo build --profile dist --locked
program=target/dist/echoline

say "pages and completions"
rm -rf "$out"
mkdir -p "$out/man"
"$program" generate man "$out/man"
"$program" generate completions bash >"$out/echoline.bash"
"$program" generate completions zsh >"$out/_echoline"
"$program" generate completions fish >"$out/echoline.fish"
bash -n "$out/echoline.bash"
for script in packaging/debian/p*; do sh -n "$script"; done
maintainer=$(sed -n 's/^maintainer = "\(.*\)"$/\1/p' crates/echoline-cli/Cargo.toml)
version=$("$program" --version | cut -d' ' -f2)
cat >"$out/changelog" <<END
echoline ($version-1) unstable; urgency=medium

  * What is new is told in /usr/share/doc/echoline/changelog.gz.

 -- $maintainer  $(date -R)
END

say "package"
cargo deb -p echoline-cli --profile dist --no-build --locked --output "$out/"
package=$(echo "$out"/echoline_*.deb)
dpkg-deb --info "$package" | grep -E '^ (Package|Version|Architecture|Depends|Installed-Size):'

say "contents"
dpkg-deb --contents "$package" | awk '{ print $1, $6 }'
for wanted in usr/bin/echoline etc/echoline/echoline.toml usr/lib/systemd/system/echoline.service \
    usr/lib/systemd/system/echoline.socket usr/lib/systemd/system/echoline-chat.service \
    usr/share/man/man1/echoline-echo.1.gz usr/share/bash-completion/completions/echoline \
    usr/share/doc/echoline/service.md; do
    # This is no pipe, because grep -q would end early and make dpkg-deb fail.
    grep -q "\./$wanted\$" <<<"$(dpkg-deb --contents "$package")" || {
        echo "$wanted is missing" >&2
        exit 1
    }
done
dpkg-deb --info "$package" conffiles | grep -qx /etc/echoline/echoline.toml

say "an installation into a folder, and what it serves"
root=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$root"' EXIT
dpkg-deb --extract "$package" "$root"
"$root/usr/bin/echoline" --version
zcat "$root/usr/share/man/man1/echoline-echo.1.gz" | grep -q SIGUSR2
"$root/usr/bin/echoline" echo --listen 127.0.0.1:0 --ready-file "$root/ready" 2>/dev/null &
server=$!
for _ in $(seq 100); do [ -s "$root/ready" ] && break || sleep 0.05; done
[ "$("$root/usr/bin/echoline" send "$(head -n 1 "$root/ready")" packaged)" = "Echo: packaged" ]
kill "$server"
wait "$server"
if type -P systemd-analyze >/dev/null; then
    # The units start /usr/bin/echoline, which may not be installed here.
    mkdir "$root/units"
    for unit in "$root"/usr/lib/systemd/system/*; do
        sed "s|/usr/bin/echoline|$root&|; /^Documentation=/d" "$unit" >"$root/units/${unit##*/}"
    done
    (cd "$root/units" && systemd-analyze verify ./*)
else
    echo "systemd-analyze is not installed: the units were not checked"
fi

say "lintian"
if type -P lintian >/dev/null; then
    # These tags ask for a bug number and a maintainer's mailbox, as in Debian's archive.
    ours=initial-upload-closes-no-bugs,bogus-mail-host,bogus-mail-host-in-debian-changelog
    lintian --fail-on error,warning --suppress-tags "$ours" "$package"
else
    echo "lintian is not installed: the package was not checked (apt-get install lintian)"
fi

say "$package is good"
