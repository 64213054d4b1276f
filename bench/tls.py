"""Interleaved comparison of TLS echo servers; `bench/tls.sh` calls it."""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

AIM = 0.9


def main() -> None:
    options = read_options()
    with tempfile.TemporaryDirectory() as folder:
        certs = Path(folder)
        run = [options.echoline, "cert", "--out", folder]
        subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
        pair = [str(certs / "server.pem"), str(certs / "server-key.pem")]
        servers = {
            "echoline raw": lambda: start_echoline(options.echoline, certs, pair),
            "naive tokio-rustls": lambda: start_naive(options.naive, pair),
        }
        rates = {name: [] for name in servers}
        for number in range(options.rounds):
            # Each server goes first equally often.
            names = sorted(servers, reverse=number % 2 == 1)
            for name in names:
                rates[name].append(measure(options, servers[name], certs))
    for name, measured in rates.items():
        median = statistics.median(measured)
        each = " ".join(f"{rate:,.0f}" for rate in measured)
        print(f"{name:<20} {median:>10,.0f} messages/s   ({each})")
    ours, naive = (statistics.median(rates[name]) for name in servers)
    verdict = "holds" if ours >= AIM * naive else "does not hold"
    print(f"echoline / naive = {ours / naive:.3f}; the aim is {AIM}: {verdict}")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--echoline", required=True)
    parser.add_argument("--naive", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    return parser.parse_args()


def start_echoline(program: str, folder: Path, pair: list[str]) -> tuple[subprocess.Popen, int]:
    ready = folder / "ready"
    ready.unlink(missing_ok=True)
    command = [program, "echo", "--mode", "raw", "--workers", "1", "--log-level", "warn"]
    command += ["--listen", "tls://127.0.0.1:0", "--cert", pair[0], "--key", pair[1]]
    server = subprocess.Popen([*command, "--ready-file", str(ready)])
    while not ready.exists():
        if server.poll() is not None:
            raise SystemExit("echoline has ended")
        time.sleep(0.01)
    return server, int(ready.read_text().strip().rpartition(":")[2])


def start_naive(program: str, pair: list[str]) -> tuple[subprocess.Popen, int]:
    server = subprocess.Popen([program, "0", *pair], stdout=subprocess.PIPE, text=True)
    return server, int(server.stdout.readline())


def measure(options: argparse.Namespace, start, folder: Path) -> float:
    """Returns the messages per second."""
    server, port = start()
    report = folder / "report.json"
    try:
        command = [options.echoline, "load", f"tls://127.0.0.1:{port}", "--insecure", "--quiet"]
        command += ["--clients", "50", "--workers", "1", "--duration", f"{options.seconds}s"]
        command += ["--warmup", "500ms", "--json", str(report)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    finally:
        server.terminate()
        server.wait()
    return json.loads(report.read_text())["ok_per_second"]


if __name__ == "__main__":
    main()
