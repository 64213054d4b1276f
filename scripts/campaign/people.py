"""Users and programs that talk: they join, send marked lines, rename, change rooms, leave, and come
back when their node dies."""

import asyncio
import json
import random
import re
from pathlib import Path

from ledger import Connection, Ledger
from processes import MACHINES, Machine

ROOMS = ("lobby", "garden", "den")
WORDS = ("tea", "bees", "чай", "rain", "see you at nine", "一")
LOGIN_SECONDS = 45
SETTLE_SECONDS = 5
RETRY_SECONDS = 0.7
BURST_LINES = 70
ANEW = "The chat starts over"
NOT_NOW = ("is taken", "looks too much like", "type your name again")


class Gone(Exception):
    """The connection has ended."""


class Person:
    """A user at a terminal, or a program. The subclasses parse the received lines."""

    def __init__(self, base: str, home: str, machines: dict[str, Machine], ledger: Ledger,
                 folder: Path, seed: int):
        self.base, self.home, self.machines, self.ledger = base, home, machines, ledger
        self.chance = random.Random(f"{seed}/{base}")
        self.transcript = open(folder / f"{base}.txt", "wb")
        self.void = open(folder / f"{base}.void", "wb")
        self.heard: list[bytes] = []  # the lines received over this connection
        self.name, self.renames, self.said = base, 0, 0
        self.rooms: set[str] = set()
        self.is_in = self.is_calm = self.is_over = False
        self.stays = self.begun_anew = 0
        self.connection: Connection | None = None

    # ---- Joining and resuming ----

    async def run(self):
        while not self.is_over:
            try:
                await self.stay()
            except (Gone, OSError, TimeoutError):
                self.cut()
            if not self.is_over:
                await asyncio.sleep(self.chance.uniform(0.3, 1) * RETRY_SECONDS)

    async def stay(self):
        """Runs one connection to its end."""
        where = self.home if self.chance.random() < 0.7 else self.chance.choice(MACHINES)
        reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port(where))
        self.connection = Connection(self.base, where)
        self.rooms, self.is_in = set(), False
        listening = asyncio.create_task(self.listen(reader))
        try:
            self.greet()
            async with asyncio.timeout(LOGIN_SECONDS):
                while not self.is_in:
                    self.check(listening)
                    await asyncio.sleep(0.05)
            self.stays += 1
            await self.talk(listening)
        finally:
            self.is_in = False
            listening.cancel()
            self.writer.close()
            self.write_down()

    async def talk(self, listening: asyncio.Task):
        while not self.is_over:
            await asyncio.sleep(self.chance.uniform(0.4, 1.4))
            self.check(listening)
            if not self.is_calm and self.chance.random() < 0.03:
                return await self.leave(listening)
            self.do_something()
        await self.leave(listening)

    async def leave(self, listening: asyncio.Task):
        """Leaves when every sent line has an outcome."""
        for _ in range(SETTLE_SECONDS * 20):
            if not self.connection.open_lines:
                break
            self.check(listening)
            await asyncio.sleep(0.05)
        self.ledger.cut(self.connection)
        self.do("/quit")
        # The lines that still arrive are part of the transcript.
        await asyncio.wait([listening], timeout=SETTLE_SECONDS)

    def check(self, listening: asyncio.Task):
        if listening.done():
            raise Gone

    def cut(self):
        self.is_in = False
        if self.connection is not None:
            self.ledger.cut(self.connection)

    async def listen(self, reader: asyncio.StreamReader):
        """Reads whole lines only, because a cut line proves nothing."""
        while (line := await reader.readline()).endswith(b"\n"):
            self.heard.append(line)
            text = line.decode().rstrip("\r\n")
            if ANEW in text:
                self.begin_anew()
            else:
                self.hear(text)

    def begin_anew(self):
        """Marks the connection as void: the servers lost entries that they had acknowledged."""
        self.connection.is_void = True
        self.begun_anew += 1

    def write_down(self):
        """Writes the transcript. Lines of void connections are not compared."""
        is_void = self.connection is not None and self.connection.is_void
        (self.void if is_void else self.transcript).writelines(self.heard)
        self.heard.clear()

    # ---- Talking ----

    def do_something(self):
        dice = self.chance.random()
        if self.is_calm or dice < 0.85:
            self.say_something()
        elif dice < 0.86:
            # A node that cannot reach the others keeps fewer lines of one author than these.
            for _ in range(BURST_LINES):
                self.say_something()
        elif dice < 0.90:
            self.renames += 1
            self.do(f"/nick {self.base}x{self.renames}")
        elif dice < 0.95:
            self.do("/users")
        else:
            self.change_rooms()

    def say_something(self):
        if not self.rooms:
            return
        self.said += 1
        mark = f"{self.base}-{self.said}"
        self.ledger.say(self.connection, mark)
        self.say(f"{mark} {self.chance.choice(WORDS)}")

    def come(self, room: str):
        self.rooms.add(room)

    def write(self, text: str):
        self.writer.write(text.encode() + b"\n")


class Program(Person):
    """A program, which speaks JSON. It resumes after the last number that it has seen."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.last: dict[str, int] = {}  # the last number seen in each room
        self.missed: dict[str, int] = {}
        self.resumed: set[str] = set()  # rooms whose next line must follow the last one
        self.answers: dict[str, asyncio.Future] = {}

    def port(self, where: str) -> int:
        return self.machines[where].program_port

    def begin_anew(self):
        super().begin_anew()
        self.last.clear()

    def wanted(self) -> list[str]:
        return ["lobby", *self.chance.sample(ROOMS[1:], self.chance.randint(0, 2))]

    def greet(self):
        rooms = self.wanted()
        self.resumed, self.missed = self.last.keys() & set(rooms), {}
        after = {room: self.last[room] for room in self.resumed}
        self.write(json.dumps({"name": self.base, "rooms": rooms, "after": after}))

    def say(self, text: str):
        self.write(json.dumps({"say": text, "room": self.chance.choice(sorted(self.rooms))}))

    def do(self, line: str):
        self.write(json.dumps({"do": line}))

    def change_rooms(self):
        self.do(f"/topic {self.chance.choice(WORDS)}")

    def ask_people(self, room: str) -> asyncio.Future:
        future = self.answers[room] = asyncio.get_running_loop().create_future()
        self.write(json.dumps({"ask": "people", "room": room}))
        return future

    def hear(self, line: str):
        told = json.loads(line)
        kind, text = told["kind"], told.get("text", "")
        if "number" in told and "time_ms" in told:
            self.follow(told)
        elif kind == "welcome":
            self.is_in, self.name = True, told["name"]
        elif kind == "missed":
            self.missed[told["room"]] = self.missed.get(told["room"], 0) + told["count"]
        elif kind == "undelivered":
            self.ledger.reported(text)
        elif kind == "people":
            future = self.answers.pop(told["room"], None)
            if future and not future.done():
                future.set_result(sorted(person["name"] for person in told["people"]))
        elif kind == "error" and any(words in text for words in NOT_NOW):
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self.greet)

    def follow(self, told: dict):
        """Handles a numbered line of a room."""
        room, number, kind = told["room"], told["number"], told["kind"]
        if room in self.resumed:
            self.resumed.discard(room)
            expected = self.last[room] + 1 + self.missed.pop(room, 0)
            if number != expected:
                self.ledger.broken.append(
                    f"{self.base} came back to {room} at {self.connection.machine} after "
                    f"#{self.last[room]}: #{number} is not #{expected}")
        self.last[room] = number
        if kind in ("said", "action"):
            self.ledger.saw(self.connection, told["text"], room, number)
        elif told["own"] and kind == "joined":
            self.name = told["name"]
            self.come(room)
        elif told["own"] and kind == "renamed":
            self.name = told["text"]
        elif told["own"] and kind == "left":
            self.rooms.discard(room)


class Watcher(Program):
    """A user in all rooms, always on the same node. At the end its lists of users are checked."""

    def wanted(self) -> list[str]:
        return list(ROOMS)

    async def stay(self):
        self.is_calm = True
        await super().stay()


class Terminal(Person):
    """A user with /numbers on."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.current = "lobby"

    def port(self, where: str) -> int:
        return self.machines[where].people_port

    def greet(self):
        self.current = "lobby"
        self.write(self.base)

    def say(self, text: str):
        self.write(text)

    def do(self, line: str):
        self.write(line)

    def change_rooms(self):
        self.do("/leave" if len(self.rooms) > 1 else f"/join {self.chance.choice(ROOMS[1:])}")

    def hear(self, line: str):
        line = line.replace("Enter your name: ", "")
        if line.startswith("*** Not delivered ("):
            return self.ledger.reported(line)
        if not self.is_in:
            return self.wait_for_welcome(line)
        if found := re.match(r"\*\*\* You are now talking in (\w+)[ :]", line):
            self.current = found[1]
            self.come(found[1])
        elif found := re.match(r"\*\*\* You left (\w+) and are now talking in (\w+)", line):
            self.rooms.discard(found[1])
            self.current = found[2]
        elif found := re.match(r"\*\*\* Your name is taken; you are now (\S+)", line):
            self.name = found[1]
        elif found := re.match(r"(?:\[(\w+)\] )?#(\d+) (.*)", line):
            self.follow(found[1] or self.current, int(found[2]), found[3])

    def wait_for_welcome(self, line: str):
        if any(words in line for words in NOT_NOW):
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self.greet)
        elif line == f"*** {self.base} joined the chat ***" and not self.is_in:
            self.is_in, self.name = True, self.base
            self.come("lobby")
            self.do("/numbers on")

    def follow(self, room: str, number: int, shown: str):
        if found := re.fullmatch(r"\*\*\* (\S+) is now (\S+) \*\*\*", shown):
            if found[1] == self.name:
                self.name = found[2]
        elif not shown.startswith("***"):
            self.ledger.saw(self.connection, shown, room, number)
