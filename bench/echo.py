"""Interleaved comparison of `echoline echo` with other echo servers; `bench/echo.sh` calls it."""

import os
import shlex
import sys
import time

from aims import ECHO_AIMS, NAIVE
from servers import Peer
from side_by_side import (LESSON, PROGRAMS, ROOT, Bench, Column, Entry, Scenario, Settings,
                          holding, run, run_client, short, tenth, whole)

PROGRAM = LESSON / "s1_simple_echo.py"
WARM_UP_SECONDS = 0.5
IDLE_CONNECTIONS = 10_000
START_ROUNDS, IDLE_ROUNDS = 20, 2


# ---- What is compared ----


RATE = Column("messages/s", "per_second", whole)
LATENCIES = (
    Column("server µs CPU/message", "cpu_us", short),
    Column("p50 µs", "p50_us", tenth),
    Column("p99 µs", "p99_us", tenth),
    Column("p99.9 µs", "p999_us", tenth),
)


def echoline_peer(mode: str, *more: str) -> Peer:
    binary = os.environ.get("ECHOLINE", str(ROOT / "target/release/echoline"))
    limits = "--idle-timeout 60s --line-timeout 30s --stall-timeout 30s --log-level warn"
    command = f"echo --listen 127.0.0.1:0 --mode {mode} --workers 1 {limits}".split()
    extra = shlex.split(os.environ.get("ECHOLINE_OPTIONS", ""))
    return Peer(
        name=" ".join(["echoline", mode, *more]),
        command=(binary, *command, *more, *extra, "--ready-file", "{ready}"),
        tells_port="ready file",
        prefix="" if mode == "raw" else "Echo: ",
        eol="crlf" if mode == "command" else "lf",
        greeting_lines=2 if mode == "command" else 0,
    )


def naive_peer(runtime: str, buffer_bytes: int = 4096) -> Peer:
    command = (str(PROGRAMS / "naive_tokio"), runtime, "0", str(buffer_bytes))
    return Peer(f"naive tokio {runtime}", command, "stdout")


def python_peer() -> Peer:
    """The first program of the lesson, unchanged except for its port."""
    return Peer(
        name="python s1",
        command=(sys.executable, "{folder}/" + PROGRAM.name),
        tells_port="never",
        prefix="Echo: ",
        source=(PROGRAM, "8080", "{port}"),
    )


def all_scenarios() -> list[Scenario]:
    raw, line, command = (echoline_peer(mode) for mode in ("raw", "line", "command"))
    busy = echoline_peer("raw", "--busy-poll", "50us")
    naive, multi = naive_peer("current"), naive_peer("multi")
    naive_64k, multi_64k = naive_peer("current", 65536), naive_peer("multi", 65536)
    epoll = Peer("epoll C", (str(PROGRAMS / "epoll_echo"), "0"), "stdout")
    python = python_peer()

    def load(name: str, about: str, generator: str, *peers: Peer) -> Scenario:
        entries = tuple(Entry(peer.name, peer) for peer in peers)
        options = tuple(generator.split())
        return Scenario(name, about, measure_load, RATE, LATENCIES, entries, NAIVE, options)

    def other(name: str, about: str, measure, main: Column, more, *peers: Peer, rounds=None):
        entries = tuple(Entry(peer.name, peer) for peer in peers)
        return Scenario(name, about, measure, main, more, entries, NAIVE, rounds=rounds)

    single = tuple(
        Entry(peer.name + suffix, peer, options)
        for suffix, options in (("", ()), (", busy generator", ("--busy",)))
        for peer in (raw, busy, naive)
    )
    return [
        load("ping50", "50 connections, 64 B, 1 in flight", "--connections 50",
             raw, line, command, naive, multi, epoll, python),
        load("ping500", "500 connections, 64 B, 1 in flight", "--connections 500",
             raw, line, naive, multi, epoll, python),
        load("bulk", "4 connections, 64 KiB, 1 in flight; naive with 64 KiB buffers",
             "--connections 4 --size 65536", raw, naive_64k, multi_64k, epoll),
        load("pipeline", "50 connections, 64 B, 32 in flight", "--connections 50 --in-flight 32",
             raw, line, naive, multi, epoll),
        Scenario("single", "1 connection, 64 B; the generator blocks or spins (busy)",
                 measure_load, RATE, LATENCIES, single, NAIVE, ("--connections", "1")),
        other("idle", "resident memory a connection, each idle after one line", measure_idle,
              Column("bytes/connection", "bytes", whole), (),
              raw, line, naive, epoll, python, rounds=IDLE_ROUNDS),
        other("churn", "connect, one exchange, close; 50 at a time", measure_churn,
              Column("connections/s", "per_second", whole),
              (Column("server µs CPU/connection", "cpu_us", short),),
              raw, line, naive, multi, epoll, python),
        other("start", "from the spawn of the process to the first answered connection",
              measure_start, Column("ms", "start_ms", short), (),
              raw, naive, epoll, python, rounds=START_ROUNDS),
    ]


# ---- How it is measured ----


def measure_load(settings: Settings, scenario: Scenario, entry: Entry) -> dict:
    peer = entry.peer
    with settings.server(peer) as server:
        before = server.cpu_ns()
        run = run_client(
            settings, "generator", "--port", str(server.port), *scenario.generator,
            *entry.generator, "--seconds", str(settings.seconds),
            "--warm-up", str(WARM_UP_SECONDS), "--prefix", peer.prefix, "--eol", peer.eol,
            "--skip-lines", str(peer.greeting_lines),
        )
        # Counts all messages, including those of the warm-up. The processor time of each server
        # includes the cost of accepting.
        run["cpu_us"] = (server.cpu_ns() - before) / 1000 / max(run["messages_all"], 1)
    return run


def measure_churn(settings: Settings, _: Scenario, entry: Entry) -> dict:
    with settings.server(entry.peer) as server:
        before = server.cpu_ns()
        run = run_client(settings, "churn", "--port", str(server.port), "--prefix",
                         entry.peer.prefix, "--seconds", str(settings.seconds))
        run["cpu_us"] = (server.cpu_ns() - before) / 1000 / max(run["connections_all"], 1)
    return run


def measure_idle(settings: Settings, _: Scenario, entry: Entry) -> dict:
    count = settings.idle_connections
    with settings.server(entry.peer) as server:
        # The first connection makes the kernel load code pages, which are not its own memory.
        server.exchange()
        before = server.resident_bytes()
        with holding("idle", "--port", str(server.port), "--connections", str(count)):
            after = server.resident_bytes()
    return {"bytes": (after - before) / count, "connections": count}


def measure_start(settings: Settings, _: Scenario, entry: Entry) -> dict:
    began = time.perf_counter()
    with settings.server(entry.peer) as server:
        server.exchange()
        return {"start_ms": (time.perf_counter() - began) * 1000}


ECHO = Bench("bench/echo.sh", "Echo servers side by side", __doc__, all_scenarios, ECHO_AIMS,
             IDLE_CONNECTIONS)

if __name__ == "__main__":
    sys.exit(run(ECHO))
