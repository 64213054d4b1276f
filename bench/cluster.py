"""Interleaved comparison of a chat on one node and on three nodes; `bench/cluster.sh` calls it.

All nodes and the NATS server share one core, so that three nodes have no more processor time than
one. The generator has the other core for itself.
"""

import asyncio
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import authors
from aims import ALONE, CLUSTER_AIMS, ONE_MACHINE, THREE_MACHINES
from fanout import COSTS, DELIVERED, JOIN_SECONDS, WARM_UP_SECONDS, echoline_peer
from servers import Peer
from side_by_side import (Bench, Column, Entry, Scenario, Settings, run, run_client, short, tenth,
                          whole)

MACHINES = ("east", "west", "north")
AUTHORS = 100
LATENCY = (
    Column("p50 µs", "p50_us", tenth),
    Column("p99 µs, in the socket", "arrived_p99_us", tenth),
    Column("p99.9 µs", "p999_us", tenth),
    Column("delivered lines/s", "per_second", whole),
    Column("all servers' ns CPU/line", "cpu_ns", short),
    Column("generator busy", "generator_busy", short),
)
# The store is deleted together with the temporary folder of this run.
NATS_SERVER = Peer("nats-server", ("nats-server", "-a", "127.0.0.1", "-p", "{port}", "-js", "-sd",
                                   "{folder}/store"), "never")


# ---- What is compared ----


def all_scenarios() -> list[Scenario]:
    entries = tuple(Entry(name, echoline_peer()) for name in (ALONE, ONE_MACHINE, THREE_MACHINES))

    def steady(name: str, members: int) -> Scenario:
        return Scenario(name, f"1,000 lines/s, 1 sender, {members:,} members, 64 B", measure,
                        Column("p99 µs", "p99_us", tenth), LATENCY, entries, ALONE,
                        ("--members", str(members), "--rate", "1000"))

    return [
        Scenario("window", "1 sender, 1,000 members, 64 B, at most 1,024 ahead of the slowest",
                 measure, DELIVERED, COSTS, entries, ALONE,
                 ("--members", "1000", "--window", "1024")),
        # The cost of a line that is sent alone.
        Scenario("one", "1 sender, 10 members, 64 B, one line at a time", measure, DELIVERED, COSTS,
                 entries, ALONE, ("--members", "10", "--window", "1")),
        steady("steady", 1000),
        steady("half", 500),
        steady("few", 100),
        Scenario("authors", f"{AUTHORS} authors, each in a separate room, one line at a time",
                 measure_authors, Column("lines/s", "per_second", whole),
                 (Column("p50 µs", "p50_us", tenth), Column("p99 µs", "p99_us", tenth),
                  Column("all servers' µs CPU/line", "cpu_us", tenth)), entries, ALONE),
    ]


# ---- How it is measured ----


def measure(settings: Settings, scenario: Scenario, entry: Entry) -> dict:
    with machines(settings, entry) as servers:
        ports = ",".join(str(server.port) for server in servers if server.peer is not NATS_SERVER)
        pids = ",".join(str(server.process.pid) for server in servers)
        return run_client(
            settings, "fanout", "--protocol", "chat", "--port", ports, "--server-pid", pids,
            *scenario.generator, "--seconds", str(settings.seconds),
            "--warm-up", str(WARM_UP_SECONDS), limit=JOIN_SECONDS,
        )


def measure_authors(settings: Settings, _: Scenario, entry: Entry) -> dict:
    """Measures with this program on the generator's core. It may be slower than the server."""
    with machines(settings, entry) as servers:
        ports = [server.port for server in servers if server.peer is not NATS_SERVER]
        spent = -sum(server.cpu_ns() for server in servers)
        result = asyncio.run(authors.measure(ports, AUTHORS, settings.seconds, WARM_UP_SECONDS))
        spent += sum(server.cpu_ns() for server in servers)
        # The processor time includes the joins and the warm-up, so their lines are counted too.
        lines = result["per_second"] * (settings.seconds + WARM_UP_SECONDS)
        return result | {"cpu_us": spent / 1000 / lines}


@contextmanager
def machines(settings: Settings, entry: Entry):
    """Starts the servers of one chat. The NATS server is the first to start and the last to end."""
    if entry.name == ALONE:
        with settings.server(entry.peer) as server:
            yield [server]
        return
    with ExitStack() as stack:
        nats = stack.enter_context(settings.server(NATS_SERVER))
        servers = [nats]
        for name in MACHINES if entry.name == THREE_MACHINES else MACHINES[:1]:
            more = ("--bus", f"nats://127.0.0.1:{nats.port}", "--node", name, "--replay", "0")
            peer = replace(entry.peer, command=(*entry.peer.command, *more))
            servers.append(stack.enter_context(settings.server(peer)))
        yield servers


CLUSTER = Bench("bench/cluster.sh", "One chat on several nodes", __doc__, all_scenarios,
                CLUSTER_AIMS, 0)

if __name__ == "__main__":
    sys.exit(run(CLUSTER))
