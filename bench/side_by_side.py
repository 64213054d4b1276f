"""The common part of the benchmarks of this folder: runs servers side by side.

Every measurement starts a new server. A round measures each server of a scenario once, and rounds
follow one another (A B C A B C), so a disturbance of the machine affects all servers. Ratios are
computed within each round, and the result is their median. Absolute figures differ between machines
and days, so compare the ratios within one run.

Prints Markdown on standard output and its progress on standard error.
"""

import argparse
import json
import os
import platform
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from aims import Aim, ratios, values
from servers import Failure, Peer, Server, pinned, raise_descriptor_limit, read_line, stop

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / os.environ.get("BENCH_TARGET", "bench/target") / "release"
LESSON = ROOT / "../shared/seed/programs"
SERVER_CORE, GENERATOR_CORE = 0, 1


# ---- What is compared ----


@dataclass(frozen=True)
class Bench:
    """One program of this folder."""

    command: str
    title: str
    about: str
    scenarios: Callable[[], list["Scenario"]]
    aims: tuple[Aim, ...]
    idle_connections: int


@dataclass(frozen=True)
class Entry:
    """One row: a server, and the options of the generator for it."""

    name: str
    peer: Peer
    generator: tuple[str, ...] = ()
    rounds_max: int | None = None  # for servers that are too slow for all rounds


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
    base: str  # the entry to which the ratios are computed
    generator: tuple[str, ...] = ()
    rounds: int | None = None  # a fixed number of rounds, whatever the caller asks for


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
    """Formats a number between 0.3 and 3,000 with four digits."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


# ---- How it is measured ----


def run_client(settings: Settings, program: str, *arguments: str, limit: float = 60) -> dict:
    """Runs a load program to its end. It stops by itself. The limit in seconds is a safeguard."""
    command = [str(PROGRAMS / program), *arguments]
    core = GENERATOR_CORE if settings.pin else None
    try:
        done = subprocess.run(command, capture_output=True, text=True,
                              timeout=settings.seconds + limit, stdin=subprocess.DEVNULL,
                              preexec_fn=pinned(core))
    except subprocess.TimeoutExpired:
        raise Failure(f"{program} did not end {limit:g} s after its time") from None
    if done.returncode != 0:
        raise Failure(f"{program}: {done.stderr.strip() or done.stdout.strip()}")
    return json.loads(done.stdout)


@contextmanager
def holding(program: str, *arguments: str, limit: float = 60):
    """Runs a program that prints "ready" and keeps its connections until its input ends."""
    client = subprocess.Popen([str(PROGRAMS / program), *arguments], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        if read_line(client, limit) != "ready":
            stop(client)
            raise Failure(f"{program}: {client.stderr.read().decode().strip() or 'no answer'}")
        yield
        client.stdin.close()  # then it closes its connections
        client.wait(30)
    finally:
        stop(client)
        client.stderr.close()


def run_scenario(settings: Settings, scenario: Scenario):
    rounds = scenario.rounds or settings.rounds
    if settings.quick and scenario.rounds:
        rounds = max(1, rounds // 4)
    for number in range(1, rounds + 1):
        for entry in scenario.entries:
            if entry.rounds_max is not None and number > entry.rounds_max:
                continue
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


# ---- The report ----


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


def print_aims(bench: Bench, settings: Settings, scenarios: list[Scenario]):
    names = {scenario.name for scenario in scenarios}
    print("\n## Aims\n")
    print(row(["aim", "measured, median (min–max)", "met"]))
    print(row(["---"] * 3))
    for aim in bench.aims:
        if aim.scenario not in names:
            continue
        numbers, verdict = aim.measured(settings.of), "not measured"
        if numbers:
            verdict = "met" if aim.met_by(numbers) else "**not**"
        print(row([aim.sentence(), spread(numbers, short), verdict]))


def print_machine(bench: Bench, settings: Settings):
    models = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
              if line.startswith("model name")]
    pinning = (f"server on core {SERVER_CORE}, generator on core {GENERATOR_CORE}"
               if settings.pin else "nothing pinned")
    print(f"# {bench.title}\n")
    print(f"- machine: {os.cpu_count()} × {models[0] if models else platform.machine()}, "
          f"kernel {platform.release()}")
    print(f"- date: {time.strftime('%Y-%m-%d %H:%M %z')}")
    print(f"- command: `{shlex.join([bench.command, *sys.argv[1:]])}`")
    print(f"- {settings.rounds} interleaved rounds of {settings.seconds:g} s; {pinning}")
    # Any other program would take a core from the server or from the generator.
    busy = os.getloadavg()[0]
    print(f"- load before the start: {busy:.2f}" + (" (NOT a quiet machine)" if busy > 0.5 else ""))
    sys.stdout.flush()


# ---- The command line ----


def read_arguments(bench: Bench, names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=bench.command, description=bench.about)
    parser.add_argument("--rounds", type=int, help="5, or 2 with --quick")
    parser.add_argument("--seconds", type=float,
                        help="measured time of one run: 2, or 1 with --quick")
    parser.add_argument("--only", action="append", choices=names, metavar="SCENARIO",
                        help=f"one of {', '.join(names)}; may be given more than once")
    parser.add_argument("--quick", action="store_true", help="a quick look, no numbers to publish")
    parser.add_argument("--pin", choices=["cores", "none"], default="cores")
    parser.add_argument("--without-echoline", action="store_true", help="run only the peers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every single run")
    arguments = parser.parse_args()
    if arguments.rounds is None:
        arguments.rounds = 2 if arguments.quick else 5
    if arguments.seconds is None:
        arguments.seconds = 1 if arguments.quick else 2
    if arguments.rounds < 1 or not 0.1 <= arguments.seconds <= 600:
        parser.error("--rounds needs at least 1, --seconds 0.1 to 600")
    return arguments


def prepare(bench: Bench, arguments: argparse.Namespace) -> Settings:
    """Returns the settings within the limits of this machine, and prints each reduction."""
    descriptors = raise_descriptor_limit()
    settings = Settings(
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        pin=arguments.pin == "cores",
        quick=arguments.quick,
        idle_connections=min(bench.idle_connections, descriptors - 200),
    )
    if settings.idle_connections < bench.idle_connections:
        say(f"{descriptors} descriptors allow only {settings.idle_connections} idle connections")
    cores = {SERVER_CORE, GENERATOR_CORE}
    if settings.pin and not cores <= os.sched_getaffinity(0):
        say("this machine does not offer the two cores to pin to: nothing is pinned")
        settings.pin = False
    if settings.pin:
        os.sched_setaffinity(0, {GENERATOR_CORE})  # leaves the other core to the server
    return settings


def choose(scenarios: list[Scenario], arguments: argparse.Namespace) -> list[Scenario]:
    missing = {"nats": shutil.which("nats-server") is None, "python": not LESSON.exists(),
               "echoline": arguments.without_echoline}
    if missing["nats"] and any(entry.name == "nats-server" for scenario in scenarios
                               for entry in scenario.entries):
        say("nats-server (Debian: apt install nats-server) is absent and left out")
    if missing["python"]:
        say(f"{LESSON} is absent: the lesson's server is left out")
    chosen = []
    for scenario in scenarios:
        if arguments.only is None or scenario.name in arguments.only:
            entries = tuple(entry for entry in scenario.entries
                            if not any(entry.name.startswith(start) and is_missing
                                       for start, is_missing in missing.items()))
            chosen.append(replace(scenario, entries=entries))
    return chosen


def say(sentence: str):
    print(sentence, file=sys.stderr, flush=True)


def write_runs(settings: Settings, path: Path):
    """Writes one line of JSON for each run, in the order of scenario, server, round."""
    with open(path, "w", encoding="utf-8") as file:
        for (scenario, entry), runs in settings.runs.items():
            for number, run in enumerate(runs, 1):
                about = {"scenario": scenario, "server": entry, "round": number}
                file.write(json.dumps({**about, "run": run}) + "\n")


def run(bench: Bench) -> int:
    # After a signal this program still ends its servers, because `sys.exit` leaves every `with`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    scenarios = bench.scenarios()
    arguments = read_arguments(bench, [scenario.name for scenario in scenarios])
    settings = prepare(bench, arguments)
    chosen = choose(scenarios, arguments)
    print_machine(bench, settings)
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
    print_aims(bench, settings, chosen)
    if settings.failures:
        print("\n## Failed runs\n")
        print("\n".join(f"- {failure}" for failure in settings.failures))
    return 1 if settings.failures else 0
