"""Interleaved comparison of `echoline load` with other load testers; `bench/load.sh` calls it.

The server runs on one core, the tester on another. A round measures each tester once, rounds follow
one another (A B C A B C), ratios are taken within a round, then their median, because a disturbance
affects all testers of a round. The yardsticks are minimal clients that check every byte too
(`bench/peers/generator.c`, `blocking_client.c`, `naive_tls/src/bin/tls_client.rs`), and the testers
that users would choose: redis-benchmark (with redis-server as the target of both) and sockperf
(which speaks only to a server of its own).

Prints Markdown on standard output and its progress on standard error; exits with 1 if an aim
is missed.
"""

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from servers import Failure, Peer, Server, pinned, raise_descriptor_limit

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / os.environ.get("BENCH_TARGET", "bench/target") / "release"
ECHOLINE = os.environ.get("ECHOLINE", str(ROOT / "target/release/echoline"))
SERVER_CORE, TESTER_CORE = 0, 1
WARM_UP_SECONDS = 0.5

# The error of the rate, and the tester's own lag on an idle core, without any flag.
RATE_ERROR_AIM = 0.001
LAG_P99_AIM_US = 25
OPEN_RATE, OPEN_CLIENTS = 20_000, 100


@dataclass(frozen=True)
class Result:
    per_second: float
    cpu_us: float  # processor time of the tester for each message
    p50_us: float
    p99_us: float
    report: dict


def run(command: list[str], codes: tuple[int, ...] = (0,)) -> tuple[str, float]:
    """Returns the output of a pinned program, and the processor seconds that it used."""
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=pinned(TESTER_CORE),
    )
    try:
        text = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    finally:
        if child.returncode is None:
            child.kill()
            child.wait()
    if child.returncode not in codes:
        raise Failure(f"{command[0]} ended with {child.returncode}")
    return text, usage.ru_utime + usage.ru_stime


def echoline(port: int, seconds: float, flags: list[str], scheme: str = "") -> Result:
    with tempfile.TemporaryDirectory(prefix="load-bench-") as folder:
        file = Path(folder) / "report.json"
        command = [ECHOLINE, "load", f"{scheme}127.0.0.1:{port}", "--quiet", "--json", str(file)]
        command += ["--duration", f"{seconds}s", "--warmup", f"{WARM_UP_SECONDS}s"]
        command += ["--connect-rate", "max", "--workers", "1", *flags]
        # The exit code is 1 if a message has no reply. The report counts such messages.
        _, cpu = run(command, (0, 1))
        report = json.loads(file.read_text())
    measured, warm_up = report["measured"], report["warm_up"]
    ok = measured["ledger"]["ok"]
    times = measured["latency"] if report["loop"] == "open" else measured["service"]
    return Result(
        per_second=ok / (report["elapsed_ns"] / 1e9),
        cpu_us=cpu / (ok + warm_up["ledger"]["ok"]) * 1e6,
        p50_us=(times["p50_ns"] or 0) / 1000,
        p99_us=(times["p99_ns"] or 0) / 1000,
        report=report,
    )


def generator(port: int, seconds: float, connections: int, in_flight: int) -> Result:
    command = [str(PROGRAMS / "generator"), "--port", str(port), "--seconds", str(seconds)]
    command += ["--connections", str(connections), "--in-flight", str(in_flight)]
    command += ["--warm-up", str(WARM_UP_SECONDS)]
    return minimal(command)


def blocking_client(port: int, seconds: float) -> Result:
    command = [str(PROGRAMS / "blocking_client"), str(port), str(seconds), str(WARM_UP_SECONDS)]
    return minimal(command)


def tls_client(port: int, seconds: float, certificates: Path) -> Result:
    command = [str(PROGRAMS / "tls_client"), str(port), str(certificates / "server.pem"), "50"]
    return minimal([*command, str(seconds), str(WARM_UP_SECONDS)])


def minimal(command: list[str]) -> Result:
    """Runs a client that prints one line of JSON."""
    text, cpu = run(command)
    report = json.loads(text)
    cpu_us = cpu / report["messages_all"] * 1e6
    return Result(report["per_second"], cpu_us, report["p50_us"], report["p99_us"], report)


def redis_benchmark(port: int, seconds: float, in_flight: int) -> Result:
    """Runs redis-benchmark with inline PING. It counts requests and not seconds."""
    requests = int(seconds * (150_000 if in_flight == 1 else 1_000_000))
    command = ["redis-benchmark", "-p", str(port), "-c", "50", "-P", str(in_flight)]
    text, cpu = run([*command, "-n", str(requests), "-t", "ping_inline", "--csv"])
    row = next(csv.DictReader(text.splitlines()))
    times = (float(row[f"{name}_latency_ms"]) * 1000 for name in ("p50", "p99"))
    return Result(float(row["rps"]), cpu / requests * 1e6, *times, row)


def sockperf(seconds: float) -> Result:
    """Runs sockperf, which speaks only to its own server, one message at a time."""
    server = subprocess.Popen(
        ["sockperf", "server", "--tcp", "-i", "127.0.0.1", "-p", "17811"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=pinned(SERVER_CORE),
    )
    try:
        command = ["sockperf", "ping-pong", "--tcp", "-i", "127.0.0.1", "-p", "17811", "-m", "64"]
        text, cpu = run([*command, "--full-rtt", "-t", str(max(1, round(seconds)))])
    finally:
        server.terminate()
        server.wait()
    sent = int(text.split("SentMessages=")[1].split(";")[0])
    p50, p99 = (float(text.split(f"percentile {p} =")[1].split()[0]) for p in ("50.000", "99.000"))
    return Result(sent / max(1, round(seconds)), cpu / sent * 1e6, p50, p99, {})


@dataclass(frozen=True)
class Scenario:
    """Testers by name against one server: first echoline, then the yardstick."""

    server: Peer
    # The share of the yardstick's rate that echoline must reach.
    aim: float
    testers: dict


def scenarios(seconds: float, certificates: Path) -> dict[str, Scenario]:
    def ours(*flags: str, scheme: str = ""):
        return lambda port: echoline(port, seconds, list(flags), scheme)

    def bare(connections: int, in_flight: int):
        return lambda port: generator(port, seconds, connections, in_flight)

    found = {
        "closed loop, 50 connections, 64 bytes": Scenario(EPOLL_ECHO, 0.95, {
            "echoline load": ours("--clients", "50"),
            "epoll client": bare(50, 1),
        }),
        "closed loop, 50 connections, 32 in flight": Scenario(EPOLL_ECHO, 0.75, {
            "echoline load": ours("--clients", "50", "--depth", "32"),
            "epoll client": bare(50, 32),
        }),
        "closed loop, 1 connection": Scenario(EPOLL_ECHO, 1.0, {
            "echoline load": ours("--clients", "1"),
            "blocking client": lambda port: blocking_client(port, seconds),
            "epoll client": bare(1, 1),
            "sockperf (own server)": lambda _: sockperf(seconds),
        }),
        "closed loop, 50 connections, TLS": Scenario(tls_echo(certificates), 0.95, {
            "echoline load": ours(
                "--clients", "50", "--ca", str(certificates / "server.pem"), scheme="tls://"
            ),
            "tokio-rustls client": lambda port: tls_client(port, seconds, certificates),
        }),
    }
    ping = ["--clients", "50", "--eol", "crlf", "--message", "PING", "--expect", "text:+PONG"]
    for in_flight in (1, 16):
        name = f"redis-server, inline PING, 50 connections, {in_flight} in flight"
        found[name] = Scenario(REDIS, 1.0, {
            "echoline load": ours(*ping, "--depth", str(in_flight)),
            "redis-benchmark": lambda port, k=in_flight: redis_benchmark(port, seconds, k),
        })
    return found


def measure(name: str, scenario: Scenario, rounds: int) -> dict[str, list[Result]]:
    results = {tester: [] for tester in scenario.testers}
    for number in range(rounds):
        for tester, tool in scenario.testers.items():
            print(f"{name}: round {number + 1}, {tester}", file=sys.stderr)
            with Server(scenario.server, SERVER_CORE) as server:
                results[tester].append(tool(server.port))
    return results


EPOLL_ECHO = Peer("epoll_echo", (str(PROGRAMS / "epoll_echo"), "0"), "stdout")
REDIS_OPTIONS = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", "{folder}")
REDIS = Peer("redis-server", ("redis-server", "--port", "{port}", *REDIS_OPTIONS), "never")


def tls_echo(certificates: Path) -> Peer:
    pair = (str(certificates / "server.pem"), str(certificates / "server-key.pem"))
    return Peer("naive_tls", (str(PROGRAMS / "naive_tls"), "0", *pair), "stdout")


def make_certificates(folder: str) -> Path:
    command = [ECHOLINE, "cert", "--out", folder]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return Path(folder)


def spread(values: list[float], digits: int = 0) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


def compare(name: str, results: dict[str, list[Result]]) -> float:
    """Prints a table, and returns the median ratio of echoline to the yardstick."""
    yardstick = list(results)[1]
    print(f"\n### {name}\n")
    print("| tester | messages/s | ratio | CPU µs/message | p50 µs | p99 µs |")
    print("|---|---|---|---|---|---|")
    ratios = {}
    for tester, runs in results.items():
        pairs = zip(runs, results[yardstick])
        ratios[tester] = [run.per_second / other.per_second for run, other in pairs]
        columns = [
            spread([run.per_second for run in runs]),
            spread(ratios[tester], 3),
            spread([run.cpu_us for run in runs], 2),
            spread([run.p50_us for run in runs], 1),
            spread([run.p99_us for run in runs], 1),
        ]
        print(f"| {tester} | " + " | ".join(columns) + " |")
    return statistics.median(ratios["echoline load"])


def open_loop(seconds: float, rounds: int, busy_poll: str) -> tuple[float, float]:
    """Returns the error of the rate and the p99 of the lag in µs, as medians of the rounds."""
    flags = ["--rate", f"{OPEN_RATE}/s", "--clients", str(OPEN_CLIENTS), "--busy-poll", busy_poll]
    errors, lags, latencies, cores = [], [], [], []
    for number in range(rounds):
        print(f"open loop, busy poll {busy_poll}: round {number + 1}", file=sys.stderr)
        with Server(EPOLL_ECHO, SERVER_CORE) as server:
            result = echoline(server.port, seconds, flags)
        errors.append(abs(result.per_second / OPEN_RATE - 1))
        lags.append((result.report["measured"]["lag"]["p99_ns"] or 0) / 1000)
        latencies.append(result.p99_us)
        cores.append(result.report["processor"]["cores"])
    print(
        f"| {busy_poll} | {spread([error * 100 for error in errors], 3)} % | {spread(lags, 1)} "
        f"| {spread(latencies, 1)} | {spread(cores, 2)} |"
    )
    return statistics.median(errors), statistics.median(lags)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--only", action="append", help="scenarios whose names contain this text")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 s")
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.seconds = 2, 1
    return given


def main() -> int:
    """Runs everything and prints the missed aims."""
    given = options()
    raise_descriptor_limit()
    print(f"{platform.platform()}, {os.cpu_count()} cores; server on core {SERVER_CORE}, tester on "
          f"core {TESTER_CORE}; {given.rounds} rounds of {given.seconds} s; median (min–max)")
    missed = []
    with tempfile.TemporaryDirectory(prefix="load-bench-") as folder:
        for name, scenario in scenarios(given.seconds, make_certificates(folder)).items():
            if not any(part in name for part in given.only or [name]):
                continue
            ratio = compare(name, measure(name, scenario, given.rounds))
            if ratio < scenario.aim:
                yardstick = list(scenario.testers)[1]
                missed.append(f"{name}: {ratio:.3f} of {yardstick}, aim {scenario.aim}")
    if not given.only:
        missed += compare_open_loop(given)
    print("\n" + ("\n".join(f"**missed:** {text}" for text in missed) or "All aims are met."))
    return 1 if missed else 0


def compare_open_loop(given: argparse.Namespace) -> list[str]:
    """Prints a table of the ways to wait for a due time, and returns the missed aims."""
    missed = []
    print(f"\n### open loop, {OPEN_RATE:,}/s over {OPEN_CLIENTS} connections\n")
    print("| busy poll | error of the rate | lag p99 µs | latency p99 µs | cores |")
    print("|---|---|---|---|---|")
    open_loop(given.seconds, given.rounds, "0s")
    open_loop(given.seconds, given.rounds, "100us")
    error, lag = open_loop(given.seconds, given.rounds, "auto")
    if error > RATE_ERROR_AIM:
        missed.append(f"open loop: the rate is {error:.4%} off, aim {RATE_ERROR_AIM:.1%}")
    if lag > LAG_P99_AIM_US:
        missed.append(f"open loop: lag p99 {lag:.0f} µs, aim {LAG_P99_AIM_US} µs")
    return missed


if __name__ == "__main__":
    sys.exit(main())
