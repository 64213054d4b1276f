"""Counts the instructions in user space for each echoed message, and compares them with budgets.

Called by scripts/instructions.sh. Each case starts the server twice under callgrind, with different
numbers of messages. The difference of the two counts has neither the start nor the end in it. The
server is paused while 50 clients send, so that it finds all messages at once on any machine.

The crate gungraun runs callgrind as well, but it counts a whole process and compares it with a
limit. Here the client must run outside, pause the server, and compare two runs.
"""

import pathlib
import signal
import socket
import subprocess
import sys
import time

import callgrind

BUDGETS = pathlib.Path(__file__).parent / "instructions" / "budgets.txt"
LINE = b"x" * 63 + b"\n"
# Messages of the shorter and of the longer run.
MESSAGES = 3_200, 16_000
# Bytes before each echoed line.
PREFIX = {"raw": 0, "line": 6}
CASES = {
    # name: mode, connections, messages in flight on each
    "raw-1": ("raw", 1, 1),
    "raw-50": ("raw", 50, 1),
    "raw-32-in-flight": ("raw", 1, 32),
    "line-1": ("line", 1, 1),
    "line-50": ("line", 50, 1),
    "line-32-in-flight": ("line", 1, 32),
}


class Server:
    """A server under callgrind."""

    def __init__(self, program, mode, folder):
        self.ready = folder / "ready"
        self.ready.unlink(missing_ok=True)
        command = callgrind.command(folder) + arguments(program, mode, self.ready)
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )

    def port(self):
        """Waits until the server listens, and returns its port."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.ready.exists() and (text := self.ready.read_text().split()):
                return int(text[0].rsplit(":", 1)[1])
            time.sleep(0.01)
        self.process.kill()
        sys.exit(f"the server did not start:\n{self.process.communicate()[1]}")

    def end(self):
        """Ends the server and returns the number of instructions that it has executed."""
        self.process.send_signal(signal.SIGTERM)
        log = self.process.communicate(timeout=60)[1]
        return callgrind.collected(log)


def arguments(program, mode, ready):
    """Returns the command line of the small server, or of the whole program."""
    if program.name == "echoline-instructions":
        return [program, mode, ready]
    limits = ["--idle-timeout", "60s", "--line-timeout", "30s", "--stall-timeout", "30s"]
    options = ["--listen", "127.0.0.1:0", "--ready-file", ready, "--log-level", "error"]
    return [program, "echo", "--mode", mode, "--workers", "1", *options, *limits]


def exchange(server, mode, connections, depth, messages):
    """Sends `messages` lines and reads every reply."""
    port = server.port()
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    for each in sockets:
        each.settimeout(60)
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    wanted = (len(LINE) + PREFIX[mode]) * depth
    for _ in range(messages // (connections * depth)):
        if connections > 1:
            callgrind.pause(server.process)
        for each in sockets:
            each.sendall(LINE * depth)
        if connections > 1:
            callgrind.resume(server.process)
        for each in sockets:
            receive(each, wanted)
    for each in sockets:
        each.close()


def receive(connection, wanted):
    while wanted > 0:
        count = len(connection.recv(1 << 16))
        if count == 0:
            sys.exit("the server closed a connection")
        wanted -= count


def count(program, folder, mode, connections, depth):
    """Returns the instructions for each message."""
    # A message among many in flight is cheap, so more of them are needed beside the start.
    runs = [messages * min(depth, 8) for messages in MESSAGES]
    totals = []
    for messages in runs:
        server = Server(program, mode, folder)
        exchange(server, mode, connections, depth, messages)
        totals.append(server.end())
    return (totals[1] - totals[0]) / (runs[1] - runs[0])


if __name__ == "__main__":
    callgrind.main(__doc__, "scripts/instructions.sh [echo] [OPTIONS]", CASES, count, BUDGETS)
