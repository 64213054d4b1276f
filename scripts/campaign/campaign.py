"""Three nodes, three NATS servers and their faults; `scripts/cluster-campaign.sh` calls it."""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from faults import KILL, RESTART, STOP, Fault, Round, plan
from ledger import Ledger
from people import ROOMS, Person, Program, Terminal, Watcher
from processes import MACHINES, Cluster, Failure

PROGRAMS_EACH, TERMINALS_EACH = 3, 2
REST_SECONDS = 2.5  # of traffic without faults
PRESENCE_SECONDS = 15
PRESENCE_EVERY = 10  # rounds
SETTLE_SECONDS = 30
ROUND_SECONDS_MAX = 500  # a second limit, as each wait has its own


class Campaign:
    def __init__(self, arguments: argparse.Namespace, folder: Path):
        self.rounds, self.seed = arguments.rounds, arguments.seed
        self.program, self.folder = arguments.echoline, folder
        flags = ("--bus-replicas", arguments.replicas)
        self.cluster = Cluster(folder, arguments.echoline, arguments.nats_server, flags)
        self.ledger = Ledger()
        self.faults, self.kinds = Counter(), Counter()
        self.link_seconds: list[float] = []
        self.presence_seconds: list[float] = []
        self.people: list[Person] = []
        self.watchers: list[Watcher] = []

    async def run(self):
        await self.cluster.start()
        tasks = [asyncio.create_task(person.run()) for person in self.populate()]
        try:
            await asyncio.sleep(REST_SECONDS)
            for number in range(1, self.rounds + 1):
                await self.round(number)
            await self.settle()
            await self.end(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.cluster.kill()
        await self.verify()

    def populate(self) -> list[Person]:
        machines, more = self.cluster.machines, (self.ledger, self.folder, self.seed)
        for home in MACHINES:
            watcher = Watcher(f"watcher{MACHINES.index(home)}", home, machines, *more)
            watcher.machines = {name: machines[home] for name in MACHINES}
            self.watchers.append(watcher)
            kinds = [(Program, "p")] * PROGRAMS_EACH + [(Terminal, "t")] * TERMINALS_EACH
            for number, (kind, word) in enumerate(kinds):
                base = f"{word}{MACHINES.index(home)}{number}"
                self.people.append(kind(base, home, machines, *more))
        self.people += self.watchers
        return self.people

    # ---- One round ----

    async def round(self, number: int):
        chosen = plan(self.seed, number)
        say(f"round {number}/{self.rounds}: {chosen}")
        self.kinds[chosen.kind] += 1
        begun = time.monotonic()
        async with asyncio.timeout(ROUND_SECONDS_MAX):
            await self.suffer(chosen)
            served = time.monotonic()
            await self.cluster.linked()
            healed = time.monotonic()
            self.link_seconds.append(healed - served)
            await asyncio.sleep(REST_SECONDS)
            if number % PRESENCE_EVERY == 0 or number == self.rounds:
                await self.look_at_presence(f"after round {number}", healed)
        self.watch_processes(f"round {number}")
        say(f"  {time.monotonic() - begun:.1f} s, {len(self.ledger.lines)} lines said, "
            f"{self.ledger.unsettled()} on their way, {sum(p.is_in for p in self.people)} people")

    async def suffer(self, chosen: Round):
        async with asyncio.TaskGroup() as group:
            for fault in chosen.faults:
                group.create_task(self.inflict(fault))

    async def inflict(self, fault: Fault):
        """Carries out a fault. Returns when the process serves again."""
        process = self.cluster.all()[fault.process]
        self.faults[fault.process.rstrip("-123"), fault.how] += 1
        await asyncio.sleep(fault.after)
        if fault.how == STOP:
            process.signal(signal.SIGSTOP)
            await asyncio.sleep(fault.lasts)
            process.signal(signal.SIGCONT)
        else:
            if fault.how == KILL:
                await process.kill()
            elif (code := await process.end()) != 0 and fault.process in MACHINES:
                self.ledger.broken.append(f"{fault.process} ended with {code} when asked to")
            await asyncio.sleep(fault.lasts)
            await process.start()
        await process.ready()

    def watch_processes(self, when: str):
        for name, process in self.cluster.all().items():
            if process.child.returncode is not None:
                raise Failure(f"{name} has ended with {process.child.returncode} in {when}")

    # ---- Presence ----

    async def look_at_presence(self, when: str, since: float):
        """Checks that all nodes list the connected users, within 15 s from `since`."""
        for person in self.people:
            person.is_calm = True
        while (wrong := await self.presence()) and time.monotonic() < since + PRESENCE_SECONDS:
            await asyncio.sleep(0.3)
        seconds = time.monotonic() - since
        if wrong:
            self.ledger.broken += [f"presence {when}, {seconds:.0f} s later: {what}"
                                   for what in wrong]
        else:
            self.presence_seconds.append(seconds)
        say(f"  presence {when}: {'; '.join(wrong) or f'right after {seconds:.1f} s'}")
        for person in self.people:
            person.is_calm = person in self.watchers

    async def presence(self) -> list[str]:
        away = [person.base for person in self.people if not person.is_in]
        if away:
            return [f"{', '.join(away)} cannot come in"]
        wrong = []
        for room in ROOMS:
            answers = [watcher.ask_people(room) for watcher in self.watchers]
            await asyncio.wait(answers, timeout=2)
            if not all(answer.done() for answer in answers):
                wrong.append(f"not everybody answers about {room}")
                continue
            there = sorted(person.name for person in self.people if room in person.rooms)
            for name, answer in zip(MACHINES, answers):
                if answer.result() != there:
                    wrong.append(f"{room} at {name} has not {difference(there, answer.result())}")
        return wrong

    # ---- The end ----

    async def settle(self):
        """Waits until each line of a live connection is delivered, or reported as lost."""
        for person in self.people:
            person.is_calm = True
        end = time.monotonic() + SETTLE_SECONDS
        while self.ledger.unsettled() > len(self.people) and time.monotonic() < end:
            await asyncio.sleep(0.2)

    async def end(self, tasks: list[asyncio.Task]):
        for person in self.people:
            person.is_over = True
        await asyncio.wait(tasks, timeout=SETTLE_SECONDS)
        for name, process in (self.cluster.machines | self.cluster.servers).items():
            code = await process.end()
            if code != 0 and name in MACHINES:
                self.ledger.broken.append(f"{name} ended with {code} at the end")

    async def verify(self):
        """Checks the transcripts of all users with `echoline chat verify`."""
        for person in self.people:
            person.transcript.close()
            person.void.close()
        files = sorted(str(path) for path in self.folder.glob("*.txt"))
        child = await asyncio.create_subprocess_exec(
            self.program, "chat", "verify", *files, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT)
        said, _ = await child.communicate()
        say(f"\n{said.decode().strip()}")
        if child.returncode != 0:
            self.ledger.broken.append(f"verify ended with {child.returncode}")

    def report(self) -> bool:
        figures, wrong = self.ledger.judge()
        machines = self.cluster.machines.values()
        logs = {machine.name: machine.log.read_text(errors="replace") for machine in machines}
        wrong += [f"{name} has panicked" for name, log in logs.items() if "panicked" in log]
        faults = [f"{whom} {how} {self.faults[whom, how]}"
                  for whom in (*MACHINES, "nats") for how in (KILL, STOP, RESTART)]
        losses = sum(log.count("to the other nodes is lost") for log in logs.values())
        say(f"\nseed {self.seed}, {self.rounds} rounds")
        say("rounds: " + ", ".join(f"{kind} {n}" for kind, n in sorted(self.kinds.items())))
        say("faults: " + ", ".join(faults))
        for about, suffix in (("not cut", ""), ("on their way at a cut", ", cut")):
            fates = ("said", "delivered", "reported", "unknown")
            counts = ", ".join(f"{fate} {figures[fate + suffix]}" for fate in fates)
            say(f"lines {about}: {counts}")
        say(f"stays: {sum(person.stays for person in self.people)}, links lost: {losses}")
        say(f"machines that were taken for gone and came back: "
            f"{sum(machine.returns() for machine in machines)}")
        anew = sum(log.count("the chat starts again empty") for log in logs.values())
        voided = sum(person.begun_anew for person in self.people)
        say(f"machines that began anew, because NATS had lost entries: {anew}, and {voided} people "
            f"were told to come back")
        seconds = ", ".join(f"{seconds:.1f}" for seconds in self.presence_seconds)
        longest = max(self.link_seconds, default=0)
        say(f"links back, seconds after the last process served: at most {longest:.1f}")
        say(f"presence right, seconds after that: {seconds}")
        for sentence in wrong[:50]:
            say(f"WRONG: {sentence}")
        say(f"VERDICT: {'no promise was broken' if not wrong else f'{len(wrong)} violations'}")
        return not wrong


def difference(expected: list[str], found: list[str]) -> str:
    missing = ", ".join(sorted(set(expected) - set(found))) or "nobody"
    more = ", ".join(sorted(set(found) - set(expected))) or "nobody"
    return f"{missing}, and has {more} too much"


def say(text: str):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/cluster-campaign.sh", description=__doc__)
    parser.add_argument("--echoline", required=True)
    parser.add_argument("--nats-server", default="nats-server")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--replicas", choices=["1", "3"], default="3")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="echoline-campaign-"))
    say(f"seed {arguments.seed}, {arguments.rounds} rounds, in {folder}")
    try:
        campaign = Campaign(arguments, folder)
    except Failure as failure:
        sys.exit(str(failure))
    try:
        asyncio.run(campaign.run())
    except (Failure, TimeoutError, ExceptionGroup) as failure:
        campaign.ledger.broken.append(f"stopped early: {failure!r}")
    is_right = campaign.report()
    if is_right:
        shutil.rmtree(folder)
    else:
        say(f"the evidence is in {folder}")
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
