"""Server processes for the benchmarks. Each measurement starts its own, pinned to a core."""

import os
import re
import resource
import select
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 10
STOP_SECONDS = 3
STUCK_BYTES = 2048
LISTENING = "0A"  # the state in /proc/net/tcp
POLL_SECONDS = 0.0002  # short compared with a start of a few milliseconds


class Failure(Exception):
    """A failed measurement. The other measurements continue, and the table shows the failure."""


@dataclass(frozen=True)
class Peer:
    """A server: its command, the way it reports its port, and the form of its replies.

    In `command`, `{ready}` is a path for a ready file, `{port}` a free port and `{folder}` the
    temporary folder of this start.
    """

    name: str
    command: tuple[str, ...]
    tells_port: str  # "stdout", "ready file", or "never" (it gets a port)
    prefix: str = ""
    eol: str = "lf"
    greeting_lines: int = 0
    source: tuple[Path, str, str] | None = None  # a file, and what to replace in its text


def raise_descriptor_limit() -> int:
    """Raises the limit on descriptors, also for the servers. 10,000 connections exceed 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def pinned(core: int | None):
    """Returns the function that pins a child to a core before `exec`, as `taskset` does."""
    return None if core is None else lambda: os.sched_setaffinity(0, {core})


class Server:
    """A running peer: `with Server(peer, core) as server`."""

    def __init__(self, peer: Peer, core: int | None):
        self.peer, self.core = peer, core

    def __enter__(self) -> "Server":
        self.folder = tempfile.TemporaryDirectory(prefix="echo-bench-")
        self.ready = Path(self.folder.name, "ready")
        self.errors = Path(self.folder.name, "errors")
        self.process = None
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process is not None:
            stop(self.process)
        self.folder.cleanup()

    def start(self):
        peer = self.peer
        self.port = free_port() if peer.tells_port == "never" else 0
        if peer.source is not None:
            path, old, new = peer.source
            text = path.read_text(encoding="utf-8").replace(old, self.fill(new))
            Path(self.folder.name, path.name).write_text(text, encoding="utf-8")
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(
                [self.fill(word) for word in peer.command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if peer.tells_port == "stdout" else subprocess.DEVNULL,
                stderr=errors,
                # The program refuses variables that set none of its flags.
                env={name: os.environ[name] for name in os.environ if name != "ECHOLINE_OPTIONS"},
                preexec_fn=pinned(self.core),
            )
        if peer.tells_port == "stdout":
            self.port = int(read_line(self.process, START_SECONDS) or self.fail("told no port"))
        else:
            self.wait_until_ready()

    def fill(self, word: str) -> str:
        folder = self.folder.name
        return word.format(ready=self.ready, port=self.port, folder=folder)

    def wait_until_ready(self):
        end = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if self.process.poll() is not None:
                self.fail(f"ended with {self.process.returncode} before it was ready")
            if time.monotonic() > end:
                self.fail(f"was not ready after {START_SECONDS} s")
            time.sleep(POLL_SECONDS)

    def is_ready(self) -> bool:
        if self.peer.tells_port == "never":
            # This makes no connection, because a chat would announce it to all users.
            return any(state == LISTENING for state, _ in self.sockets())
        found = re.match(r".*:(\d+)/?$", first_line(self.ready))
        self.port = int(found[1]) if found else 0
        return found is not None

    def fail(self, what: str):
        said = self.errors.read_text(errors="replace").strip().splitlines()[-3:]
        raise Failure(f"{self.peer.name} {what}" + "".join(f"; {line}" for line in said))

    def exchange(self):
        """Exchanges one line, so that the server has run the code for a line once."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
            client.sendall(b"hello\n")
            lines = client.makefile("rb")
            for _ in range(self.peer.greeting_lines):
                lines.readline()
            expected = f"{self.peer.prefix}hello".encode()
            if lines.readline().rstrip() != expected:
                self.fail("does not echo")

    def cpu_ns(self) -> int:
        """Returns the processor time of all live threads in ns."""
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total

    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) * 1024 if found else self.fail("has ended")

    def stuck_connections(self) -> int:
        """Counts connections with more unsent bytes than loopback ever has in flight."""
        return sum(unsent > STUCK_BYTES for _, unsent in self.sockets())

    def sockets(self) -> list[tuple[str, int]]:
        """Returns the state and the unsent bytes of all sockets on the server's port."""
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        local = f":{self.port:04X}"
        return [(row[3], int(row[4].split(":")[0], 16)) for row in rows if row[1].endswith(local)]


def stop(process: subprocess.Popen):
    """Sends SIGTERM to this process, waits, and then kills it if it still runs."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def read_line(process: subprocess.Popen, seconds: float) -> str:
    """Returns the next line of output, or "" if none comes in time or the process ends."""
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    return process.stdout.readline().decode().strip() if ready else ""


def first_line(path: Path) -> str:
    try:
        return (path.read_text().splitlines() or [""])[0]
    except FileNotFoundError:
        return ""


def free_port() -> int:
    """Returns a free port. If another program takes it, the server fails and the run is skipped."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
