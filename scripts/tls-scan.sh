#!/usr/bin/env bash
# Runs sslyze against `echoline echo` over TLS. Fails on anything weaker than Mozilla's
# "intermediate" configuration. Installs sslyze into target/sslyze. Needs python3 and a network.
set -euo pipefail
cd "$(dirname "$0")/.."

python=target/sslyze/bin/python
if ! "$python" -c 'import sslyze' 2>/dev/null; then
    echo "installing sslyze into target/sslyze"
    python3 -m venv target/sslyze
    target/sslyze/bin/pip install -q sslyze==6.3.1
fi
cargo build --locked --bin echoline
echoline=target/debug/echoline

folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
"$echoline" cert --ca --days 90 --out "$folder" >/dev/null
"$echoline" echo --listen tls://127.0.0.1:0 --cert "$folder/server.pem" \
    --key "$folder/server-key.pem" --log-level error --ready-file "$folder/ready" &
server=$!
until [ -e "$folder/ready" ]; do
    kill -0 "$server"
    sleep 0.1
done
address=$(sed 's|tls://||' "$folder/ready")

# sslyze exits with 1 if the server does not comply.
"$python" -m sslyze "$address" --sni localhost --certinfo_ca_file "$folder/ca.pem" \
    --mozilla_config intermediate --json_out "$folder/scan.json" >"$folder/scan.txt" || {
    tail -20 "$folder/scan.txt"
    exit 1
}
"$python" - "$folder/scan.json" <<'CHECK'
import json
import sys

result = json.load(open(sys.argv[1]))["server_scan_results"][0]["scan_result"]
found = {name: scan["result"] for name, scan in result.items() if scan["result"]}
for old in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"]:
    assert not found[f"{old}_cipher_suites"]["accepted_cipher_suites"], f"{old} is accepted"
for new in ["tls_1_2", "tls_1_3"]:
    assert found[f"{new}_cipher_suites"]["accepted_cipher_suites"], f"{new} is not accepted"
assert not found["tls_compression"]["supports_compression"]
assert not found["heartbleed"]["is_vulnerable_to_heartbleed"]
assert not found["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"]
renegotiation = found["session_renegotiation"]
assert renegotiation["supports_secure_renegotiation"]
assert not renegotiation["is_vulnerable_to_client_renegotiation_dos"]
assert "NOT_VULNERABLE" in found["robot"]["robot_result"]
print("sslyze finds nothing weak: TLS 1.2 and 1.3 only, no compression, no renegotiation,",
      "Mozilla's intermediate configuration")
CHECK
