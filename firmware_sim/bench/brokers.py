"""The brokers that can be measured: how each is started, as comparably as is fair, and found again.

Every measurement has a process of its own, on a free port of the loopback interface, with its data in a folder that
goes away. Configurations differ from the defaults only where a workload would not run otherwise; each says why.
"""

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from firmware_sim.child import MODULE

_START_S: Final = 20.0
_STOP_S: Final = 10.0

_MOSQUITTO_CONFIG: Final = """\
# No log. The limits are off because at the defaults the QoS 2 row loses messages, or its connections.
listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 0
log_type none
"""

_AMQTT_CONFIG: Final = """\
listeners:
  default: {{type: tcp, bind: "127.0.0.1:{port}"}}
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin: {{allow_anonymous: true}}
"""


class BrokerError(RuntimeError):
    """A broker is not installed, or did not start; the message says which and what it printed."""


@dataclass(frozen=True, slots=True)
class Running:
    """A broker that accepts connections."""

    address: tuple[str, int]
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A kind of broker. `command` makes the words that start it, for a folder of its own and a free port."""

    name: str
    program: Callable[[], str | None]
    """Path of the installed program; None when it is not there."""
    version: Sequence[str]
    """Options that make the program print its version."""
    command: Callable[[str, Path, int], list[str]]
    divisor: int = 1
    """Sends so many times fewer messages, to end in reasonable time."""

    def find_version(self) -> str:
        """The version that the program prints; raises BrokerError when there is no program."""
        program = self._installed()
        printed = subprocess.run(
            [program, *self.version], capture_output=True, text=True, timeout=_START_S, check=False
        )
        found = re.search(r"\d+\.\d+[\w.+-]*", printed.stdout + printed.stderr)
        return found[0] if found else "?"

    @contextmanager
    def run(self) -> Iterator[Running]:
        """A process of this broker for as long as the context lasts; raises BrokerError."""
        program = self._installed()
        with TemporaryDirectory(prefix="oriole-bench-") as folder:
            port = _free_port()
            log = Path(folder, "output")
            with log.open("wb") as output:
                process = subprocess.Popen(
                    self.command(program, Path(folder), port), stdin=subprocess.DEVNULL, stdout=output, stderr=output
                )
            try:
                _wait_until_accepting(self.name, process, port, log)
                yield Running(("127.0.0.1", port), process.pid)
            finally:
                _stop(process)

    def _installed(self) -> str:
        program = self.program()
        if program is None:
            raise BrokerError(f"{self.name} is not installed")
        return program


def _beside_python_or_on_path(name: str) -> str | None:
    """A program of this environment, of PATH, or of the folders where a system keeps its daemons."""
    folders = (str(Path(sys.executable).parent), "/usr/sbin", "/usr/local/sbin")
    return shutil.which(name) or next(filter(None, (shutil.which(name, path=folder) for folder in folders)), None)


def _oriole(program: str, folder: Path, port: int) -> list[str]:
    return [program, *MODULE, "oriole", "broker", "--listen", f"mqtt://127.0.0.1:{port}"]


def _mosquitto(program: str, folder: Path, port: int) -> list[str]:
    return [program, "-c", _written(folder / "mosquitto.conf", _MOSQUITTO_CONFIG.format(port=port))]


def _amqtt(program: str, folder: Path, port: int) -> list[str]:
    return [program, "-c", _written(folder / "amqtt.yaml", _AMQTT_CONFIG.format(port=port))]


BROKERS: Final = {
    broker.name: broker
    for broker in (
        Broker(
            name="oriole",
            program=lambda: sys.executable,
            version=(*MODULE, "oriole", "--version"),
            command=_oriole,
        ),
        Broker(
            name="mosquitto",
            program=lambda: _beside_python_or_on_path("mosquitto"),
            version=("-h",),
            command=_mosquitto,
        ),
        Broker(
            name="amqtt",
            program=lambda: _beside_python_or_on_path("amqtt"),
            version=("--version",),
            command=_amqtt,
            divisor=20,
        ),
    )
}

EDGE: Final = Broker(
    name="oriole edge",
    program=lambda: sys.executable,
    version=(*MODULE, "oriole", "--version"),
    command=lambda program, folder, port: [
        *(program, *MODULE, "oriole", "edge", "--name", "bench"),
        *("--listen", f"mqtt://127.0.0.1:{port}"),
    ],
)
"""Measured for its memory only: its messages take the broker's path."""


def _written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def _wait_until_accepting(name: str, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        if _accepts(port):
            return
        time.sleep(0.02)
    why = f"ended with status {process.returncode}" if process.returncode is not None else f"not ready in {_START_S} s"
    last_words = log.read_text(errors="replace").strip().rpartition("\n")[2]
    raise BrokerError(f"{name} did not start: {why}: {last_words}")


def _accepts(port: int) -> bool:
    """Whether somebody accepts there: somebody else, for TCP can connect a port that nobody listens on to itself."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            return bool(connection.getsockname() != connection.getpeername())
    except OSError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
