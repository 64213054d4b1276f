"""The aims of `echoline` compared with other servers, as values that the benchmarks check.

A missed aim is not a failed test, because the values also depend on the machine. Find out why.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

NAIVE = "naive tokio current"
RAW, LINE, COMMAND = "echoline raw", "echoline line", "echoline command"
BUSY_POLL = "echoline raw --busy-poll 50us"
SPINNING = ", busy generator"

UDP, BARE_UDP = "echoline udp", "bare recvfrom C"

CHAT, LOG, NATS, NAIVE_CHAT = "echoline chat", "bare log", "nats-server", "naive chat"
STUCK = ", and 100 stuck"

ALONE, ONE_MACHINE, THREE_MACHINES = "alone", "one node, NATS", "three nodes, NATS"


def values(runs: list[dict | None], key: str) -> list[float]:
    return [run[key] for run in runs if run is not None]


def ratios(runs: list[dict | None], base: list[dict | None], key: str) -> list[float]:
    """Returns the ratio of each round, because a disturbance affects both runs of its round."""
    pairs = zip(runs, base)
    return [run[key] / other[key] for run, other in pairs if run and other and other[key]]


@dataclass(frozen=True)
class Aim:
    """A bound for a median. With `against`, it is the median of the ratios to that server."""

    scenario: str
    entry: str
    against: str | None
    bound: float
    key: str = "per_second"
    at_least: bool = True

    def sentence(self) -> str:
        sign = "≥" if self.at_least else "≤"
        than = f" × {self.against}" if self.against else ""
        return f"{self.scenario}: {self.entry} {self.key} {sign} {self.bound:g}{than}"

    def measured(self, runs_of: Callable[[str, str], list[dict | None]]) -> list[float]:
        """Returns one number for each round, from the runs of a scenario and a server."""
        runs = runs_of(self.scenario, self.entry)
        if self.against is None:
            return values(runs, self.key)
        return ratios(runs, runs_of(self.scenario, self.against), self.key)

    def met_by(self, numbers: list[float]) -> bool:
        middle = statistics.median(numbers)
        return middle >= self.bound if self.at_least else middle <= self.bound


ECHO_AIMS = (
    Aim("ping50", RAW, NAIVE, 0.97),
    Aim("ping500", RAW, NAIVE, 0.97),
    Aim("bulk", RAW, NAIVE, 0.97),
    Aim("ping50", LINE, RAW, 0.90),
    Aim("ping50", COMMAND, RAW, 0.90),
    Aim("ping50", RAW, NAIVE, 1.0, key="p999_us", at_least=False),
    Aim("ping50", RAW, "python s1", 5),
    Aim("pipeline", RAW, NAIVE, 0.95),
    Aim("pipeline", LINE, RAW, 0.4),
    Aim("single", BUSY_POLL, RAW, 0.4, key="p50_us", at_least=False),
    Aim("single", BUSY_POLL + SPINNING, RAW + SPINNING, 0.4, key="p50_us", at_least=False),
    Aim("idle", RAW, None, 1024, key="bytes", at_least=False),
    Aim("idle", LINE, None, 1024, key="bytes", at_least=False),
    Aim("start", RAW, None, 20, key="start_ms", at_least=False),
)

UDP_AIMS = tuple(
    Aim(scenario, UDP, BARE_UDP, 0.95) for scenario in ("ping50", "deep", "large", "single")
)

FANOUT_AIMS = (
    *(Aim(scenario, CHAT, NATS, 10) for scenario in ("n100", "n1000", "n5000")),
    *(Aim(scenario, CHAT, LOG, 0.5) for scenario in ("n100", "n1000", "n5000")),
    Aim("one", CHAT, NAIVE_CHAT, 1.0),
    Aim("steady", CHAT + STUCK, CHAT, 1.5, key="p99_us", at_least=False),
    Aim("idle", CHAT, None, 2048, key="bytes", at_least=False),
)

CLUSTER_AIMS = (
    *(Aim("window", entry, ALONE, 0.5) for entry in (ONE_MACHINE, THREE_MACHINES)),
    Aim("steady", THREE_MACHINES, None, 10_000, key="p99_us", at_least=False),
    Aim("half", THREE_MACHINES, None, 10_000, key="p99_us", at_least=False),
    Aim("few", THREE_MACHINES, None, 10_000, key="p99_us", at_least=False),
)
