"""Counts the instructions in user space of the load tester for each message, and compares them with
budgets.

Called by scripts/instructions.sh load. Each case runs the tester twice under callgrind, with
different numbers of messages. The difference of the two counts has neither the start nor the end in
it. The echo server below answers a round when it has all its messages, and pauses the tester
meanwhile, so that it finds all replies at once on any machine.
"""

import pathlib
import socket
import subprocess
import sys

import callgrind

BUDGETS = pathlib.Path(__file__).parent / "instructions-load" / "budgets.txt"
MESSAGE_BYTES = 64
# Messages of the shorter and of the longer run, for each case.
MESSAGES = 6_400, 32_000
CASES = {
    # name: connections, messages in flight on each
    "load-1": (1, 1),
    "load-50": (50, 1),
    "load-32-in-flight": (1, 32),
}


def run(program, folder, connections, depth, messages):
    """Runs the tester against an echo server, and returns its instructions."""
    each = messages // connections
    with socket.create_server(("127.0.0.1", 0), backlog=connections) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        arguments = [program, address, str(connections), str(each), str(depth)]
        command = callgrind.command(folder) + arguments
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
    if tester.returncode != 0:
        sys.exit(f"the tester failed:\n{log}")
    return callgrind.collected(log)


def echo(tester, sockets, depth, each):
    for connection in sockets:
        connection.settimeout(60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for first in range(0, each, depth):
        wanted = min(depth, each - first) * MESSAGE_BYTES
        requests = [receive(connection, wanted) for connection in sockets]
        if len(sockets) > 1:
            callgrind.pause(tester)
        for connection, request in zip(sockets, requests):
            connection.sendall(request)
        if len(sockets) > 1:
            callgrind.resume(tester)


def receive(connection, wanted):
    received = bytearray()
    while len(received) < wanted:
        part = connection.recv(wanted - len(received))
        if not part:
            sys.exit("the tester closed a connection")
        received += part
    return received


def count(program, folder, connections, depth):
    """Returns the instructions for each message."""
    totals = [run(program, folder, connections, depth, messages) for messages in MESSAGES]
    return (totals[1] - totals[0]) / (MESSAGES[1] - MESSAGES[0])


if __name__ == "__main__":
    callgrind.main(__doc__, "scripts/instructions.sh load [OPTIONS]", CASES, count, BUDGETS)
