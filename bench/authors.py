"""Many authors, each in a separate room with one line in flight. `bench/cluster.py` counts the
entries of the stream with them, and measures the time until each author reads its own line."""

import asyncio
import time

SETTLE_SECONDS = 60


class Author:
    """A terminal user who receives its own lines."""

    def __init__(self, number: int, port: int):
        self.number, self.port = number, port
        self.seconds: list[float] = []  # for each line, in the measured time

    async def come(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(f"author{self.number}\n/numbers on\n/join r{self.number}\n".encode())
        await self.hear(f"*** You are now talking in r{self.number}: no one else is here ***")
        await self.hear(f"*** author{self.number} joined the chat ***", start="#")

    async def hear(self, end: str, start: str = ""):
        """Reads until a line that begins with `start` and ends with `end`."""
        while line := (await self.reader.readline()).decode().rstrip("\r\n"):
            if line.startswith(start) and line.endswith(end):
                return
        raise ConnectionError(f"author {self.number} did not receive {end!r}")

    async def talk(self, first: float, last: float):
        text = "x" * 63
        while (said := time.perf_counter()) < last:
            self.writer.write(text.encode() + b"\n")
            await self.hear(text, start="#")
            if said >= first:
                self.seconds.append(time.perf_counter() - said)


async def measure(ports: list[int], count: int, seconds: float, warm_up: float) -> dict:
    authors = [Author(number, ports[number % len(ports)]) for number in range(count)]
    async with asyncio.timeout(SETTLE_SECONDS):
        for author in authors:
            await author.come()
    first = time.perf_counter() + warm_up
    async with asyncio.timeout(seconds + warm_up + SETTLE_SECONDS):
        await asyncio.gather(*(author.talk(first, first + seconds) for author in authors))
    for author in authors:
        author.writer.close()
    times = sorted(second for author in authors for second in author.seconds)
    micros = lambda part: times[int(part * (len(times) - 1))] * 1e6
    return {"per_second": len(times) / seconds, "p50_us": micros(0.5), "p99_us": micros(0.99)}
