"""Interleaved comparison of `echoline chat` with other fan-outs; `bench/fanout.sh` calls it."""

import json
import os
import shlex
import subprocess
import sys

from aims import CHAT, FANOUT_AIMS, LOG, NAIVE_CHAT, NATS, STUCK
from servers import Failure, Peer, pinned, read_line, stop
from side_by_side import (GENERATOR_CORE, LESSON, PROGRAMS, ROOT, Bench, Column, Entry, Scenario,
                          Settings, holding, run, run_client, short, tenth, whole)

PROGRAM = LESSON / "s5_chat.py"
PYTHON = "python s5"
WARM_UP_SECONDS = 0.5
# This is long enough to fill every buffer on the way to the members that do not read.
STEADY_WARM_UP_SECONDS = 3
IDLE_MEMBERS = 10_000
IDLE_ROUNDS = 2
# Each join is announced to all members: 5,000 members get 12.5 million lines before the measurement
# begins. A server that sends them one by one needs minutes, so it gets fewer members if only
# members are counted.
JOIN_SECONDS = 600
IDLE_MEMBERS_MAX = {NAIVE_CHAT: 2000, PYTHON: 2000}
PROTOCOLS = {LOG: "log", NATS: "nats"}  # all others use the protocol of the lesson


# ---- What is compared ----


DELIVERED = Column("delivered lines/s", "per_second", whole)
COSTS = (
    Column("server ns CPU/line", "cpu_ns", short),
    Column("lines sent", "lines", whole),
    Column("generator busy", "generator_busy", short),
)
STEADY = (
    Column("p50 µs", "p50_us", tenth),
    Column("p99.9 µs", "p999_us", tenth),
    Column("delivered lines/s", "per_second", whole),
    Column("server ns CPU/line", "cpu_ns", short),
    Column("generator busy", "generator_busy", short),
    Column("server MiB", "resident_mib", tenth),
    Column("its growth, MiB", "growth_mib", tenth),
    Column("connections behind at the end", "stuck", whole),
)


def echoline_peer(*more: str) -> Peer:
    binary = os.environ.get("ECHOLINE", str(ROOT / "target/release/echoline"))
    options = "--flood off --workers 1 --max-connections 12000 --log-level warn"
    extra = shlex.split(os.environ.get("ECHOLINE_OPTIONS", ""))
    return Peer(
        name=CHAT,
        command=(binary, "chat", "--listen", "127.0.0.1:0", *options.split(), *more, *extra,
                 "--ready-file", "{ready}"),
        tells_port="ready file",
    )


def python_peer() -> Peer:
    """The chat of the lesson, unchanged except for its port."""
    return Peer(
        name=PYTHON,
        command=(sys.executable, "{folder}/" + PROGRAM.name),
        tells_port="never",
        source=(PROGRAM, "8080", "{port}"),
    )


def all_scenarios() -> list[Scenario]:
    chat, python = echoline_peer(), python_peer()
    # No member is disconnected while the members that do not read are measured.
    patient = echoline_peer("--stall-timeout", "60s")
    log = Peer(LOG, (str(PROGRAMS / "fanout_log"), "0"), "stdout")
    nats = Peer(NATS, ("nats-server", "-a", "127.0.0.1", "-p", "{port}"), "never")
    naive = Peer(NAIVE_CHAT, (str(PROGRAMS / "naive_chat"), "0"), "stdout")

    def entries(*peers: Peer, rounds_max: dict[str, int] | None = None) -> tuple[Entry, ...]:
        return tuple(Entry(peer.name, peer, rounds_max=(rounds_max or {}).get(peer.name))
                     for peer in peers)

    def window(name: str, members: int, lines: int, base: str) -> Scenario:
        slow = {PYTHON: 1} if members >= 5000 else None
        options = ("--members", str(members), "--window", str(lines))
        about = f"1 sender, {members:,} members, 64 B, at most {lines:,} ahead of the slowest"
        return Scenario(name, about, measure_window, DELIVERED, COSTS,
                        entries(chat, log, nats, naive, python, rounds_max=slow), base, options)

    with_stuck = tuple(
        Entry(peer.name + suffix, peer, options)
        for peer in (patient, log, nats)
        for suffix, options in (("", ()), (STUCK, ("--stuck", "100")))
        if peer is not log or not suffix  # `log` disconnects members that fall behind
    )
    return [
        *(window(f"n{members}", members, 1024, LOG) for members in (10, 100, 1000, 5000)),
        window("one", 1000, 1, NAIVE_CHAT),
        Scenario("steady", "1,000 lines/s to 900 members who read, with and without 100 stuck",
                 measure_steady, Column("p99 µs", "p99_us", tenth), STEADY, with_stuck, CHAT,
                 ("--members", "900", "--rate", "1000")),
        Scenario("idle", "resident memory a member, all in one room, quiet", measure_idle,
                 Column("bytes/member", "bytes", whole),
                 (Column("members", "connections", whole),),
                 entries(chat, log, nats, naive, python), CHAT, rounds=IDLE_ROUNDS),
    ]


# ---- How it is measured ----


def dialogue(peer: Peer, port: int) -> tuple[str, ...]:
    return ("--protocol", PROTOCOLS.get(peer.name, "chat"), "--port", str(port))


def measure_window(settings: Settings, scenario: Scenario, entry: Entry) -> dict:
    with settings.server(entry.peer) as server:
        return run_client(
            settings, "fanout", *dialogue(entry.peer, server.port), *scenario.generator,
            "--server-pid", str(server.process.pid), "--seconds", str(settings.seconds),
            "--warm-up", str(WARM_UP_SECONDS), limit=JOIN_SECONDS,
        )


def measure_steady(settings: Settings, scenario: Scenario, entry: Entry) -> dict:
    """Also measures the memory of the server, at both ends of the measured time."""
    with settings.server(entry.peer) as server:
        client = subprocess.Popen(
            [str(PROGRAMS / "fanout"), *dialogue(entry.peer, server.port), *scenario.generator,
             *entry.generator, "--server-pid", str(server.process.pid), "--marks",
             "--seconds", str(settings.seconds), "--warm-up", str(STEADY_WARM_UP_SECONDS)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=pinned(GENERATOR_CORE if settings.pin else None),
        )
        try:
            line_of(client, "measuring", JOIN_SECONDS)
            before = server.resident_bytes()
            line_of(client, "measured", settings.seconds + 60)
            after, stuck = server.resident_bytes(), server.stuck_connections()
            result = line_of(client, "{", 60)
        finally:
            stop(client)
            client.stderr.close()
    return json.loads(result) | {
        "resident_mib": after / 2**20, "growth_mib": (after - before) / 2**20, "stuck": stuck,
    }


def line_of(client: subprocess.Popen, start: str, seconds: float) -> str:
    """Returns the next line if it begins with `start`; otherwise fails with the error output."""
    line = read_line(client, seconds)
    if line.startswith(start):
        return line
    stop(client)
    raise Failure(f"fanout: {client.stderr.read().decode().strip() or f'no {start!r}'}")


def measure_idle(settings: Settings, _: Scenario, entry: Entry) -> dict:
    count = min(settings.idle_connections, IDLE_MEMBERS_MAX.get(entry.name, IDLE_MEMBERS))
    with settings.server(entry.peer) as server:
        member = ("fanout", *dialogue(entry.peer, server.port), "--idle", "--members")
        # The first members make the kernel load code pages, which are not memory of a member.
        # They have other names, because they may not have left when the next members join.
        with holding(*member, "10", "--first", "100000"):
            pass
        before = server.resident_bytes()
        with holding(*member, str(count), limit=JOIN_SECONDS):
            after = server.resident_bytes()
    return {"bytes": (after - before) / count, "connections": count}


FANOUT = Bench("bench/fanout.sh", "Fan-outs side by side", __doc__, all_scenarios, FANOUT_AIMS,
               IDLE_MEMBERS)

if __name__ == "__main__":
    sys.exit(run(FANOUT))
