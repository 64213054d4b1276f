"""Counts the instructions in user space for each echoed message, and compares them with budgets.

Called by scripts/instructions.sh. Each case starts the server twice under callgrind, with different
numbers of messages. The difference of the two counts has neither the start nor the end in it. The
server is paused while 50 clients send, so that it finds all messages at once on any machine.

The crate gungraun runs callgrind as well, but it counts a whole process and compares it with a
limit. Here the client must run outside, pause the server, and compare two runs.
"""

import argparse
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

BUDGETS = pathlib.Path(__file__).parent / "instructions" / "budgets.txt"
# A case fails beyond its budget by this factor.
TOLERANCE = 1.03
LINE = b"x" * 63 + b"\n"
# Messages of the shorter and of the longer run.
MESSAGES = 3_200, 16_000
# Bytes before each echoed line.
PREFIX = {"raw": 0, "line": 6}
CASES = [
    # name, mode, connections, messages in flight on each
    ("raw-1", "raw", 1, 1),
    ("raw-50", "raw", 50, 1),
    ("raw-32-in-flight", "raw", 1, 32),
    ("line-1", "line", 1, 1),
    ("line-50", "line", 50, 1),
    ("line-32-in-flight", "line", 1, 32),
]


class Server:
    """A server under callgrind."""

    def __init__(self, program, mode, folder):
        self.ready = folder / "ready"
        self.ready.unlink(missing_ok=True)
        callgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/callgrind.out"]
        command = callgrind + arguments(program, mode, self.ready)
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

    def pause(self):
        """Stops the process, so that it finds all input of a round at once."""
        os.kill(self.process.pid, signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def resume(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def end(self):
        """Ends the server and returns the number of instructions that it has executed."""
        self.process.send_signal(signal.SIGTERM)
        log = self.process.communicate(timeout=60)[1]
        if found := re.search(r"Collected : (\d+)", log):
            return int(found[1])
        sys.exit(f"callgrind printed no count:\n{log}")


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
            server.pause()
        for each in sockets:
            each.sendall(LINE * depth)
        if connections > 1:
            server.resume()
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


def count(program, mode, connections, depth, folder):
    """Returns the instructions for each message."""
    # A message among many in flight is cheap, so more of them are needed beside the start.
    runs = [messages * min(depth, 8) for messages in MESSAGES]
    totals = []
    for messages in runs:
        server = Server(program, mode, folder)
        exchange(server, mode, connections, depth, messages)
        totals.append(server.end())
    return (totals[1] - totals[0]) / (runs[1] - runs[0])


def read_budgets():
    lines = (line.split("#")[0].split() for line in BUDGETS.read_text().splitlines())
    return {name: int(budget) for name, budget in filter(None, lines)}


def main():
    usage = "scripts/instructions.sh [--only CASE] [--no-budgets]"
    parser = argparse.ArgumentParser(description=__doc__, usage=usage)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--only", metavar="CASE", action="append", help="run only this case")
    parser.add_argument("--no-budgets", action="store_true", help="print the counts only")
    options = parser.parse_args()
    names = [case[0] for case in CASES]
    if unknown := set(options.only or []) - set(names):
        parser.error(f"unknown case {', '.join(unknown)}; the cases are {', '.join(names)}")
    if not shutil.which("valgrind"):
        sys.exit("valgrind is not installed")
    budgets = {} if options.no_budgets else read_budgets()
    if budgets and platform.machine() != "x86_64":
        print("the budgets are for x86_64: only printing the counts")
        budgets = {}
    exceeded = []
    print(f"{'case':20} {'instructions':>12} {'budget':>8}")
    with tempfile.TemporaryDirectory(prefix="echoline-instructions-") as folder:
        for name, mode, connections, depth in CASES:
            if options.only and name not in options.only:
                continue
            counted = count(options.program, mode, connections, depth, pathlib.Path(folder))
            budget = budgets.get(name)
            print(f"{name:20} {counted:12,.0f} {f'{budget:,}' if budget else '-':>8}", flush=True)
            if budget and counted > budget * TOLERANCE:
                exceeded.append(name)
            elif budget and counted < budget / TOLERANCE:
                print(f"  {name} is below its budget: lower it in {BUDGETS.name}")
    if exceeded:
        sys.exit(f"over budget by more than 3 %: {', '.join(exceeded)} (budgets: {BUDGETS})")


if __name__ == "__main__":
    main()
