"""Counts the instructions in user space of the load tester for each message, and compares them with
budgets.

Called by scripts/instructions-load.sh. Each case runs the tester twice under callgrind, with
different numbers of messages. The difference of the two counts has neither the start nor the end in
it. The echo server below answers a round when it has all its messages, and pauses the tester
meanwhile, so that it finds all replies at once on any machine.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

BUDGETS = pathlib.Path(__file__).parent / "instructions-load" / "budgets.txt"
# A case fails beyond its budget by this factor.
TOLERANCE = 1.03
MESSAGE_BYTES = 64
# Messages of the shorter and of the longer run, for each case.
MESSAGES = 6_400, 32_000
CASES = [
    # name, connections, messages in flight on each
    ("load-1", 1, 1),
    ("load-50", 50, 1),
    ("load-32-in-flight", 1, 32),
]


def run(program, connections, depth, messages, folder):
    """Runs the tester against an echo server, and returns its instructions."""
    each = messages // connections
    with socket.create_server(("127.0.0.1", 0), backlog=connections) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        callgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/callgrind.out"]
        command = [*callgrind, program, address, str(connections), str(each), str(depth)]
        tester = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            listener.settimeout(60)
            sockets = [listener.accept()[0] for _ in range(connections)]
            echo(tester, sockets, depth, each)
            log = tester.communicate(timeout=60)[1]
        finally:
            if tester.poll() is None:
                tester.kill()
                tester.communicate()
    found = re.search(r"Collected : (\d+)", log)
    if tester.returncode != 0 or not found:
        sys.exit(f"the tester failed:\n{log}")
    return int(found[1])


def echo(tester, sockets, depth, each):
    for connection in sockets:
        connection.settimeout(60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for first in range(0, each, depth):
        wanted = min(depth, each - first) * MESSAGE_BYTES
        requests = [receive(connection, wanted) for connection in sockets]
        if len(sockets) > 1:
            os.kill(tester.pid, signal.SIGSTOP)
            os.waitpid(tester.pid, os.WUNTRACED)
        for connection, request in zip(sockets, requests):
            connection.sendall(request)
        if len(sockets) > 1:
            os.kill(tester.pid, signal.SIGCONT)


def receive(connection, wanted):
    received = bytearray()
    while len(received) < wanted:
        part = connection.recv(wanted - len(received))
        if not part:
            sys.exit("the tester closed a connection")
        received += part
    return received


def count(program, connections, depth, folder):
    """Returns the instructions for each message."""
    totals = [run(program, connections, depth, messages, folder) for messages in MESSAGES]
    return (totals[1] - totals[0]) / (MESSAGES[1] - MESSAGES[0])


def read_budgets():
    lines = (line.split("#")[0].split() for line in BUDGETS.read_text().splitlines())
    return {name: int(budget) for name, budget in filter(None, lines)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, prog="scripts/instructions-load.sh")
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
    exceeded = []
    print(f"{'case':20} {'instructions':>12} {'budget':>8}")
    with tempfile.TemporaryDirectory(prefix="echoline-instructions-") as folder:
        for name, connections, depth in CASES:
            if options.only and name not in options.only:
                continue
            counted = count(options.program, connections, depth, folder)
            budget = budgets.get(name)
            print(f"{name:20} {counted:12,.0f} {f'{budget:,}' if budget else '-':>8}", flush=True)
            if budget and counted > budget * TOLERANCE:
                exceeded.append(name)
            elif budget and counted < budget / TOLERANCE:
                print(f"  {name} is below its budget: lower it in {BUDGETS}")
    if exceeded:
        sys.exit(f"over budget by more than 3 %: {', '.join(exceeded)} (budgets: {BUDGETS})")


if __name__ == "__main__":
    main()
