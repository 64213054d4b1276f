"""The faults of each round. The seed alone decides them."""

import random
from dataclasses import dataclass

from processes import MACHINES, SERVERS

KILL, STOP, RESTART = "kill -9", "stop", "restart"


@dataclass(frozen=True)
class Fault:
    """A process is killed, stopped or terminated, and runs again some time later."""

    process: str
    how: str
    after: float  # seconds from the beginning of the round
    lasts: float

    def __str__(self) -> str:
        return f"{self.process} {self.how} {self.lasts:.1f} s"


@dataclass(frozen=True)
class Round:
    kind: str
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return f"{self.kind}: " + ", ".join(str(fault) for fault in self.faults)


def plan(seed: int, number: int) -> Round:
    chance = random.Random(f"{seed}/{number}")
    kinds = {
        one_machine: 28, two_machines: 12, one_server: 22, machine_and_server: 16,
        without_majority: 14, all_servers: 8, without_majority_for_long: 2,
    }
    kind = chance.choices(list(kinds), list(kinds.values()))[0]
    return Round(kind.__name__.replace("_", " "), tuple(kind(chance)))


def one_machine(chance: random.Random) -> list[Fault]:
    return [any_fault(chance, chance.choice(MACHINES))]


def two_machines(chance: random.Random) -> list[Fault]:
    return [any_fault(chance, name) for name in chance.sample(MACHINES, 2)]


def one_server(chance: random.Random) -> list[Fault]:
    return [any_fault(chance, chance.choice(SERVERS))]


def machine_and_server(chance: random.Random) -> list[Fault]:
    return [any_fault(chance, chance.choice(part)) for part in (MACHINES, SERVERS)]


def without_majority(chance: random.Random) -> list[Fault]:
    """Two of three servers are away at the same time."""
    how, lasts = chance.choice((KILL, STOP)), chance.uniform(2, 12)
    return [Fault(name, how, chance.uniform(0, 1), lasts) for name in chance.sample(SERVERS, 2)]


def without_majority_for_long(chance: random.Random) -> list[Fault]:
    """Two of three servers are away longer than a node keeps the lines of its users."""
    return [Fault(name, STOP, 0, 70) for name in chance.sample(SERVERS, 2)]


def all_servers(chance: random.Random) -> list[Fault]:
    how, lasts = chance.choice((KILL, RESTART)), chance.uniform(0.5, 6)
    return [Fault(name, how, chance.uniform(0, 0.5), lasts) for name in SERVERS]


def any_fault(chance: random.Random, process: str) -> Fault:
    how = chance.choice((KILL, KILL, STOP, STOP, RESTART))
    # Most stops are short. One in four is longer than the lease of a node.
    longest = 20 if chance.random() < 0.4 else 8
    lasts = chance.uniform(2, longest) if how == STOP else chance.uniform(0.2, 4)
    return Fault(process, how, chance.uniform(0, 2), lasts)
