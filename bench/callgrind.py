"""Counts instructions in user space with callgrind, and compares them with budgets.

Used by instructions.py and instructions_load.py.
"""

import argparse
import os
import pathlib
import platform
import re
import shutil
import signal
import sys
import tempfile

# The part by which a count may differ from its budget.
TOLERANCE = 1.03


def command(folder):
    """Returns the first arguments of a command that runs a program under callgrind."""
    return ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/callgrind.out"]


def collected(log):
    """Returns the number of instructions in the log of callgrind."""
    if found := re.search(r"Collected : (\d+)", log):
        return int(found[1])
    sys.exit(f"callgrind printed no count:\n{log}")


def pause(process):
    """Stops a process, so that it finds all input of a round at once."""
    os.kill(process.pid, signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)


def resume(process):
    os.kill(process.pid, signal.SIGCONT)


def read_budgets(file):
    lines = (line.split("#")[0].split() for line in file.read_text().splitlines())
    return {name: int(budget) for name, budget in filter(None, lines)}


def main(description, usage, cases, count, budgets_file):
    """Counts each case and prints a table. Fails if a count exceeds its budget.

    `cases` maps a name to the arguments of `count`, which come after the program and a folder.
    """
    parser = argparse.ArgumentParser(description=description, usage=usage)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--only", metavar="CASE", action="append", help="run only this case")
    parser.add_argument("--no-budgets", action="store_true", help="print the counts only")
    options = parser.parse_args()
    if unknown := set(options.only or []) - set(cases):
        parser.error(f"unknown case {', '.join(unknown)}; the cases are {', '.join(cases)}")
    if not shutil.which("valgrind"):
        sys.exit("valgrind is not installed")
    budgets = {} if options.no_budgets else read_budgets(budgets_file)
    if budgets and platform.machine() != "x86_64":
        print("the budgets are for x86_64: only printing the counts")
        budgets = {}
    exceeded = []
    print(f"{'case':20} {'instructions':>12} {'budget':>8}")
    with tempfile.TemporaryDirectory(prefix="echoline-instructions-") as folder:
        for name in options.only or cases:
            counted = count(options.program, pathlib.Path(folder), *cases[name])
            budget = budgets.get(name)
            print(f"{name:20} {counted:12,.0f} {f'{budget:,}' if budget else '-':>8}", flush=True)
            if budget and counted > budget * TOLERANCE:
                exceeded.append(name)
            elif budget and counted < budget / TOLERANCE:
                print(f"  {name} is below its budget: lower it in {budgets_file}")
    if exceeded:
        sys.exit(f"over budget by more than 3 %: {', '.join(exceeded)} (budgets: {budgets_file})")
