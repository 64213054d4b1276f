"""The processes of the three nodes and the three NATS servers: start, kill, stop, restart."""

import asyncio
import shutil
import signal
import socket
from pathlib import Path

READY_SECONDS = 60
LINK_SECONDS = 300  # NATS 2.9 may need long to elect a leader again
STOP_SECONDS = 15
MACHINES = ("east", "west", "north")
SERVERS = ("nats-1", "nats-2", "nats-3")


class Failure(Exception):
    """An error that ends the campaign."""


class Process:
    """A program that may start many times. Signals go only to processes that started here."""

    def __init__(self, name: str, folder: Path, command: list[str]):
        self.name, self.command = name, command
        self.log = folder / f"{name}.log"
        self.child: asyncio.subprocess.Process | None = None
        self.past = 0  # bytes of the log from earlier runs and from a start

    async def start(self):
        with open(self.log, "ab") as log:
            self.child = await asyncio.create_subprocess_exec(
                *self.command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log)

    async def ready(self):
        """Waits until the process serves, for at most a minute."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not await self.is_ready():
                    if self.child.returncode is not None:
                        code = self.child.returncode
                        raise Failure(f"{self.name} ended with {code} at its start")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise Failure(f"{self.name} was not ready after {READY_SECONDS} s") from None

    async def is_ready(self) -> bool:
        raise NotImplementedError

    def signal(self, number: signal.Signals):
        if self.child and self.child.returncode is None:
            self.child.send_signal(number)

    async def kill(self):
        self.signal(signal.SIGKILL)
        await self.child.wait()

    async def end(self) -> int:
        """Sends SIGTERM. Returns the exit code, or -9 if the process took too long."""
        self.signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.child.wait(), STOP_SECONDS)
        except TimeoutError:
            await self.kill()
            return -9


class NatsServer(Process):
    def __init__(self, name: str, folder: Path, program: str, port: int, route: int,
                 routes: list[int]):
        self.port = port
        among = ",".join(f"nats://127.0.0.1:{route}" for route in routes)
        settings = folder / f"{name}.conf"
        # The default limit is the free space of the disk. If other programs fill the disk while
        # the server runs, the server drops a stream at its next start.
        settings.write_text(f'jetstream {{ store_dir: "{folder / name}", max_file_store: 4GB }}\n')
        super().__init__(name, folder, [
            program, "--config", str(settings), "--addr", "127.0.0.1", "--port", str(port),
            "--server_name", name, "--cluster_name", "campaign",
            "--cluster", f"nats://127.0.0.1:{route}", "--routes", among,
        ])

    async def is_ready(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            greeting = await asyncio.wait_for(reader.readline(), 1)
            writer.close()
            return greeting.startswith(b"INFO ")
        except (OSError, TimeoutError):
            return False


class Machine(Process):
    def __init__(self, name: str, folder: Path, program: str, bus_flags: tuple[str, ...],
                 ports: tuple[int, int, int]):
        self.people_port, self.program_port, self.admin_port = ports
        self.ready_file = folder / f"{name}.ready"
        self.returned, self.is_starting = 0, False
        super().__init__(name, folder, [
            program, "chat", *bus_flags, "--cluster", "campaign", "--node", name,
            "--bus-timeout", f"{READY_SECONDS}s",
            "--listen", f"127.0.0.1:{self.people_port}", "--bot", f"127.0.0.1:{self.program_port}",
            "--admin", f"127.0.0.1:{self.admin_port}", "--flood", "off",
            "--ready-file", str(self.ready_file),
        ])

    async def is_linked(self) -> bool:
        """Returns whether the node has its link, according to its metrics."""
        try:
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.admin_port)
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                             b"Connection: close\r\n\r\n")
                text = await reader.read()
                writer.close()
                return b"\necholine_cluster_linked 1" in text
        except (OSError, TimeoutError):
            return False

    async def start(self):
        self.ready_file.unlink(missing_ok=True)
        if self.child is not None:
            self.returned += self.since_start()
        self.is_starting = True
        await super().start()

    async def is_ready(self) -> bool:
        return self.ready_file.exists()

    async def ready(self):
        await super().ready()
        if self.is_starting:
            # Lines up to here are about the time before the node served again.
            self.is_starting, self.past = False, self.log.stat().st_size

    def returns(self) -> int:
        """Returns how often the node returned to the chat after its lease had expired."""
        return self.returned + self.since_start()

    def since_start(self) -> int:
        said = self.log.read_bytes()[self.past:].decode(errors="replace")
        return sum("a node went down" in line and "is gone" in line and self.name in line
                   for line in said.splitlines())


class Cluster:
    """All six processes."""

    def __init__(self, folder: Path, program: str, nats_server: str,
                 bus_flags: tuple[str, ...]):
        if shutil.which(nats_server) is None:
            raise Failure("there is no nats-server (Debian: apt install nats-server)")
        ports = free_ports(15)
        clients, routes, chat = ports[:3], ports[3:6], ports[6:]
        bus = ",".join(f"nats://127.0.0.1:{port}" for port in clients)
        self.servers = {
            name: NatsServer(name, folder, nats_server, port, route, routes)
            for name, port, route in zip(SERVERS, clients, routes)
        }
        self.machines = {
            name: Machine(name, folder, program, ("--bus", bus, *bus_flags), pair)
            for name, pair in zip(MACHINES, zip(chat[:3], chat[3:6], chat[6:]))
        }

    def all(self) -> dict[str, Process]:
        return self.servers | self.machines

    async def start(self):
        for part in (self.servers, self.machines):
            for process in part.values():
                await process.start()
            for process in part.values():
                await process.ready()

    async def linked(self):
        """Waits until all nodes have their link. The NATS servers elect a leader before that."""
        try:
            async with asyncio.timeout(LINK_SECONDS):
                while not all([await machine.is_linked() for machine in self.machines.values()]):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise Failure(f"the machines had no link after {LINK_SECONDS} s") from None

    async def kill(self):
        for process in self.all().values():
            if process.child is not None:
                await process.kill()


def free_ports(count: int) -> list[int]:
    """Returns free ports. All are open at the same time, so that no port occurs twice."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
