"""The lines that users sent, and the outcome of each."""

import re
from dataclasses import dataclass, field

MARK = re.compile(r"\b[a-z]+[0-9]+-[0-9]+\b")


@dataclass
class Connection:
    """One connection of a user to a node."""

    who: str
    machine: str
    is_void: bool = False  # the chat said that all its lines are void
    open_lines: set[str] = field(default_factory=set)  # sent, with no outcome yet


@dataclass
class Line:
    connection: Connection
    seen: dict[tuple[str, int], list[Connection]] = field(default_factory=dict)
    reports: int = 0
    is_cut: bool = False  # its connection was cut before an outcome was known

    @property
    def places(self) -> list[tuple[str, int]]:
        """Returns the rooms and numbers of this line, as seen on connections that are not void."""
        return [place for place, seen_by in self.seen.items()
                if not all(connection.is_void for connection in seen_by)]


class Ledger:
    """All lines. Each line has a mark that no other line has."""

    def __init__(self):
        self.lines: dict[str, Line] = {}
        self.strangers: list[str] = []
        self.broken: list[str] = []  # descriptions of broken promises

    def say(self, connection: Connection, mark: str):
        self.lines[mark] = Line(connection)
        connection.open_lines.add(mark)

    def saw(self, connection: Connection, text: str, room: str, number: int):
        if line := self.find(text):
            line.seen.setdefault((room, number), []).append(connection)

    def reported(self, text: str):
        if line := self.find(text):
            line.reports += 1

    def cut(self, connection: Connection):
        for mark in connection.open_lines:
            self.lines[mark].is_cut = True

    def find(self, text: str) -> Line | None:
        mark = MARK.search(text)
        if mark is None:
            return None
        line = self.lines.get(mark[0])
        if line is None:
            self.strangers.append(text)
            return None
        line.connection.open_lines.discard(mark[0])
        return line

    def unsettled(self) -> int:
        """Counts the lines of live connections without an outcome."""
        return sum(not line.is_cut and not line.places and not line.reports
                   for line in self.lines.values())

    def judge(self) -> tuple[dict[str, int], list[str]]:
        """Returns the counts, and every line with a wrong outcome."""
        figures = dict.fromkeys(("said", "delivered", "reported", "unknown"), 0)
        cut = dict.fromkeys((f"{key}, cut" for key in figures), 0)
        wrong = [f"a line that nobody said: {text}" for text in self.strangers]
        for mark, line in self.lines.items():
            counts, suffix = (cut, ", cut") if line.is_cut else (figures, "")
            fate = "delivered" if line.places else "reported" if line.reports else "unknown"
            counts["said" + suffix] += 1
            counts[fate + suffix] += 1
            wrong += [f"{mark} of {line.connection.who} at {line.connection.machine} {what}"
                      for what in contradictions(line)]
        return figures | cut, wrong + self.broken


def contradictions(line: Line) -> list[str]:
    found = []
    if len(line.places) > 1:
        found.append(f"was delivered {len(line.places)} times: {sorted(line.places)}")
    if line.reports > 1:
        found.append(f"was reported {line.reports} times")
    if line.places and line.reports:
        found.append(f"was delivered ({sorted(line.places)}) and reported as not delivered")
    if not line.places and not line.reports and not line.is_cut:
        found.append("is neither delivered nor reported, and its connection lives")
    return found
