"""Interleaved comparison of `echoline echo` with other echo servers; `bench/echo.sh` calls it.

Every measurement starts its server fresh. A round measures each server of a scenario once, and
rounds follow one another (A B C A B C): what the machine does meanwhile hits all of them alike.
Ratios are taken within a round, then their median. Absolute figures move between machines and
days; the ratios inside one run are what to compare.

Prints Markdown on standard output and its progress on standard error.
"""

import argparse
import json
import os
import platform
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aims import AIMS, NAIVE, ratios, values
from servers import Failure, Peer, Server, pinned, raise_descriptor_limit, read_line, stop

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / os.environ.get("BENCH_TARGET", "bench/target") / "release"
LESSON = ROOT / "../shared/seed/programs/s1_simple_echo.py"
SERVER_CORE, GENERATOR_CORE = 0, 1
WARM_UP_SECONDS = 0.5
IDLE_CONNECTIONS = 10_000
START_ROUNDS, IDLE_ROUNDS = 20, 2


# ---- What is compared ----


@dataclass(frozen=True)
class Entry:
    """One row: a server and how the generator differs for it."""

    name: str
    peer: Peer
    generator: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    title: str
    key: str
    write: Callable[[float], str]


@dataclass(frozen=True)
class Scenario:
    name: str
    about: str
    measure: Callable[["Settings", "Scenario", Entry], dict]
    main: Column
    more: tuple[Column, ...]
    entries: tuple[Entry, ...]
    base: str = NAIVE
    generator: tuple[str, ...] = ()
    rounds: int | None = None  # where the number of rounds is not the caller's to choose


@dataclass
class Settings:
    rounds: int
    seconds: float
    pin: bool
    quick: bool
    idle_connections: int
    runs: dict = field(default_factory=dict)  # (scenario, entry) -> one dict or None a round
    failures: list[str] = field(default_factory=list)

    def server(self, peer: Peer) -> Server:
        return Server(peer, SERVER_CORE if self.pin else None)

    def of(self, scenario: str, entry: str) -> list[dict | None]:
        return self.runs.get((scenario, entry), [])


def whole(value: float) -> str:
    return f"{value:,.0f}"


def tenth(value: float) -> str:
    return f"{value:,.1f}"


def thousandth(value: float) -> str:
    return f"{value:,.3f}"


def short(value: float) -> str:
    """Four digits for what may be 0.3 or 3,000."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


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
    """The lesson's first program as it is, but for the port that it has written in it."""
    return Peer(
        name="python s1",
        command=(sys.executable, "{folder}/" + LESSON.name),
        tells_port="never",
        prefix="Echo: ",
        source=(LESSON, "8080", "{port}"),
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
        return Scenario(name, about, measure_load, RATE, LATENCIES, entries, generator=options)

    def other(name: str, about: str, measure, main: Column, more, *peers: Peer, rounds=None):
        entries = tuple(Entry(peer.name, peer) for peer in peers)
        return Scenario(name, about, measure, main, more, entries, rounds=rounds)

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
                 measure_load, RATE, LATENCIES, single, generator=("--connections", "1")),
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


def run_client(settings: Settings, program: str, *arguments: str) -> dict:
    """A load program to its end; it stops by itself, the time limit here is the second net."""
    command = [str(PROGRAMS / program), *arguments]
    core = GENERATOR_CORE if settings.pin else None
    limit = WARM_UP_SECONDS + settings.seconds + 30
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit,
                              stdin=subprocess.DEVNULL, preexec_fn=pinned(core))
    except subprocess.TimeoutExpired:
        raise Failure(f"{program} did not end within {limit} s") from None
    if done.returncode != 0:
        raise Failure(f"{program}: {done.stderr.strip() or done.stdout.strip()}")
    return json.loads(done.stdout)


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
        # Over all messages, also those of the warm-up; the accepts are in it for everybody.
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
        # The first connection makes the kernel load code pages: they belong to the program.
        server.exchange()
        before = server.resident_bytes()
        client = subprocess.Popen(
            [str(PROGRAMS / "idle"), "--port", str(server.port), "--connections", str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        try:
            if read_line(client, 60) != "ready":
                stop(client)
                raise Failure(f"idle: {client.stderr.read().decode().strip() or 'no answer'}")
            after = server.resident_bytes()
            client.stdin.close()  # lets it end its connections in its own way
            client.wait(30)
        finally:
            stop(client)
            client.stderr.close()
    return {"bytes": (after - before) / count, "connections": count}


def measure_start(settings: Settings, _: Scenario, entry: Entry) -> dict:
    began = time.perf_counter()
    with settings.server(entry.peer) as server:
        server.exchange()
        return {"start_ms": (time.perf_counter() - began) * 1000}


def run_scenario(settings: Settings, scenario: Scenario):
    rounds = scenario.rounds or settings.rounds
    if settings.quick and scenario.rounds:
        rounds = max(1, rounds // 4)
    for number in range(1, rounds + 1):
        for entry in scenario.entries:
            print(f"{scenario.name} {number}/{rounds} {entry.name}: ", end="", file=sys.stderr)
            sys.stderr.flush()
            run = None
            try:
                run = scenario.measure(settings, scenario, entry)
                said = f"{scenario.main.write(run[scenario.main.key])} {scenario.main.title}"
            except (Failure, OSError, subprocess.SubprocessError) as failure:
                said = f"FAILED: {failure}"
                settings.failures.append(f"{scenario.name}, {entry.name}: {failure}")
            print(said, file=sys.stderr)
            settings.runs.setdefault((scenario.name, entry.name), []).append(run)


# ---- What is said about it ----


def spread(numbers: list[float], write: Callable[[float], str]) -> str:
    if not numbers:
        return "–"
    low, high = write(min(numbers)), write(max(numbers))
    return f"{write(statistics.median(numbers))} ({low}–{high})"


def row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def print_scenario(settings: Settings, scenario: Scenario):
    main, base = scenario.main, settings.of(scenario.name, scenario.base)
    titles = ["server", f"{main.title}, median (min–max)", f"ratio to {scenario.base}"]
    titles += [column.title for column in scenario.more]
    print(f"\n## {scenario.name}: {scenario.about}\n")
    print(row(titles))
    print(row(["---"] * len(titles)))
    for entry in scenario.entries:
        runs = settings.of(scenario.name, entry.name)
        cells = [entry.name, spread(values(runs, main.key), main.write)]
        cells.append(spread(ratios(runs, base, main.key), thousandth))
        for column in scenario.more:
            numbers = values(runs, column.key)
            cells.append(column.write(statistics.median(numbers)) if numbers else "–")
        failed = sum(run is None for run in runs)
        cells[0] += f" ({failed} of {len(runs)} runs failed)" if failed else ""
        print(row(cells))
    sys.stdout.flush()


def print_aims(settings: Settings, scenarios: list[Scenario]):
    names = {scenario.name for scenario in scenarios}
    print("\n## Aims\n")
    print(row(["aim", "measured, median (min–max)", "met"]))
    print(row(["---"] * 3))
    for aim in AIMS:
        if aim.scenario not in names:
            continue
        numbers, verdict = aim.measured(settings.of), "not measured"
        if numbers:
            verdict = "met" if aim.met_by(numbers) else "**not**"
        print(row([aim.sentence(), spread(numbers, short), verdict]))


def print_machine(settings: Settings):
    models = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
              if line.startswith("model name")]
    pinning = (f"server on core {SERVER_CORE}, generator on core {GENERATOR_CORE}"
               if settings.pin else "nothing pinned")
    print("# Echo servers side by side\n")
    print(f"- machine: {os.cpu_count()} × {models[0] if models else platform.machine()}, "
          f"kernel {platform.release()}")
    print(f"- date: {time.strftime('%Y-%m-%d %H:%M %z')}")
    print(f"- command: `{shlex.join(['bench/echo.sh', *sys.argv[1:]])}`")
    print(f"- {settings.rounds} interleaved rounds of {settings.seconds:g} s; {pinning}")
    # Whoever else is at work takes a core from one of the two sides.
    busy = os.getloadavg()[0]
    print(f"- load before the start: {busy:.2f}" + (" (NOT a quiet machine)" if busy > 0.5 else ""))
    sys.stdout.flush()


# ---- The command line ----


def read_arguments(names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/echo.sh", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, help="5, or 2 with --quick")
    parser.add_argument("--seconds", type=float,
                        help="measured time of one run: 2, or 1 with --quick")
    parser.add_argument("--only", action="append", choices=names, metavar="SCENARIO",
                        help=f"one of {', '.join(names)}; may be given more than once")
    parser.add_argument("--quick", action="store_true", help="to look at, not to quote")
    parser.add_argument("--pin", choices=["cores", "none"], default="cores")
    parser.add_argument("--without-echoline", action="store_true", help="the peers alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every single run")
    arguments = parser.parse_args()
    if arguments.rounds is None:
        arguments.rounds = 2 if arguments.quick else 5
    if arguments.seconds is None:
        arguments.seconds = 1 if arguments.quick else 2
    if arguments.rounds < 1 or not 0.1 <= arguments.seconds <= 600:
        parser.error("--rounds needs at least 1, --seconds 0.1 to 600")
    return arguments


def prepare(arguments: argparse.Namespace) -> Settings:
    """The settings, less what this machine does not allow, which is said."""
    descriptors = raise_descriptor_limit()
    settings = Settings(
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        pin=arguments.pin == "cores",
        quick=arguments.quick,
        idle_connections=min(IDLE_CONNECTIONS, descriptors - 200),
    )
    if settings.idle_connections < IDLE_CONNECTIONS:
        say(f"{descriptors} descriptors allow only {settings.idle_connections} idle connections")
    cores = {SERVER_CORE, GENERATOR_CORE}
    if settings.pin and not cores <= os.sched_getaffinity(0):
        say("this machine does not offer the two cores to pin to: nothing is pinned")
        settings.pin = False
    if settings.pin:
        os.sched_setaffinity(0, {GENERATOR_CORE})  # this program, away from the server's core
    return settings


def choose(scenarios: list[Scenario], arguments: argparse.Namespace) -> list[Scenario]:
    def wanted(entry: Entry) -> bool:
        is_echoline = entry.name.startswith("echoline")
        is_python = entry.name.startswith("python")
        return not (is_echoline and arguments.without_echoline) and not (
            is_python and not LESSON.exists())

    if not LESSON.exists():
        say(f"{LESSON} is absent: the lesson's server is left out")
    chosen = []
    for scenario in scenarios:
        if arguments.only is None or scenario.name in arguments.only:
            entries = tuple(entry for entry in scenario.entries if wanted(entry))
            chosen.append(Scenario(**{**vars(scenario), "entries": entries}))
    return chosen


def say(sentence: str):
    print(sentence, file=sys.stderr, flush=True)


def write_runs(settings: Settings, path: Path):
    """One line of JSON a run, in the order of scenario, server, round."""
    with open(path, "w", encoding="utf-8") as file:
        for (scenario, entry), runs in settings.runs.items():
            for number, run in enumerate(runs, 1):
                about = {"scenario": scenario, "server": entry, "round": number}
                file.write(json.dumps({**about, "run": run}) + "\n")


def main() -> int:
    # Ended from outside, it still ends its servers: this makes every `with` run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    scenarios = all_scenarios()
    arguments = read_arguments([scenario.name for scenario in scenarios])
    settings = prepare(arguments)
    chosen = choose(scenarios, arguments)
    print_machine(settings)
    try:
        for scenario in chosen:
            run_scenario(settings, scenario)
            print_scenario(settings, scenario)
    except KeyboardInterrupt:
        say("\ninterrupted: the servers are ended")
        return 130
    finally:
        if arguments.json is not None:
            write_runs(settings, arguments.json)
    print_aims(settings, chosen)
    if settings.failures:
        print("\n## Failed runs\n")
        print("\n".join(f"- {failure}" for failure in settings.failures))
    return 1 if settings.failures else 0


if __name__ == "__main__":
    sys.exit(main())
