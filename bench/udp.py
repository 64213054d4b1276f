"""Interleaved comparison of `echoline echo` over UDP with a bare loop; `bench/udp.sh` calls it."""

import os
import shlex
import sys

from aims import BARE_UDP, UDP, UDP_AIMS
from servers import Peer
from side_by_side import (PROGRAMS, ROOT, Bench, Column, Entry, Scenario, Settings, run,
                          run_client, short, tenth, whole)

WARM_UP_SECONDS = 0.5

RATE = Column("datagrams/s", "per_second", whole)
MORE = (
    Column("server µs CPU/datagram", "cpu_us", short),
    Column("p50 µs", "p50_us", tenth),
    Column("p99 µs", "p99_us", tenth),
    Column("p99.9 µs", "p999_us", tenth),
    Column("lost", "lost", whole),
)


def echoline_peer() -> Peer:
    binary = os.environ.get("ECHOLINE", str(ROOT / "target/release/echoline"))
    command = "echo --listen udp://127.0.0.1:0 --mode raw --workers 1 --log-level warn".split()
    extra = shlex.split(os.environ.get("ECHOLINE_OPTIONS", ""))
    return Peer(UDP, (binary, *command, *extra, "--ready-file", "{ready}"), "ready file")


def all_scenarios() -> list[Scenario]:
    peers = (echoline_peer(), Peer(BARE_UDP, (str(PROGRAMS / "udp_echo"), "0"), "stdout"))

    def load(name: str, about: str, generator: str) -> Scenario:
        entries = tuple(Entry(peer.name, peer) for peer in peers)
        options = tuple(generator.split())
        return Scenario(name, about, measure_load, RATE, MORE, entries, BARE_UDP, options)

    return [
        load("ping50", "50 sockets, 64 B, 1 in flight", "--connections 50"),
        load("deep", "50 sockets, 64 B, 4 in flight", "--connections 50 --in-flight 4"),
        load("large", "4 sockets, 8 KiB, 4 in flight",
             "--connections 4 --in-flight 4 --size 8192"),
        load("single", "1 socket, 64 B, 1 in flight; the generator spins",
             "--connections 1 --busy"),
    ]


def measure_load(settings: Settings, scenario: Scenario, entry: Entry) -> dict:
    with settings.server(entry.peer) as server:
        before = server.cpu_ns()
        run = run_client(
            settings, "udp_generator", "--port", str(server.port), *scenario.generator,
            *entry.generator, "--seconds", str(settings.seconds),
            "--warm-up", str(WARM_UP_SECONDS),
        )
        run["cpu_us"] = (server.cpu_ns() - before) / 1000 / max(run["messages_all"], 1)
    return run


UDP_BENCH = Bench("bench/udp.sh", "UDP echoes side by side", __doc__, all_scenarios, UDP_AIMS, 0)

if __name__ == "__main__":
    sys.exit(run(UDP_BENCH))
