"""The loop of a run in C (`native.c`), compiled on first use with the system's `cc` into the user's cache.

It is no part of Oriole's path: it is there because a broker that writes packet by packet must be read packet by packet,
or it looks cheaper than it is. Without a compiler the plain loop runs, and the report says which one did.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from array import array
from pathlib import Path
from typing import Final

from firmware_sim.load.crowd import Client, Crowd
from firmware_sim.load.errors import LoadError, unexpected
from firmware_sim.load.loop import GIVE_UP_S, NAP_S
from firmware_sim.load.publisher import Publisher
from firmware_sim.load.subscriber import Subscriber
from firmware_sim.load.workload import Workload

_SOURCE: Final = Path(__file__).with_name("native.c")
_IRREGULAR = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32)

_UNEXPECTED: Final = 4
_OUTCOMES: Final = {
    1: "the broker closed a connection",
    2: "a connection broke",
    3: "the broker sends a packet larger than any that was published",
    5: "the broker acknowledged more than was published",
    6: "the broker sent what is no packet: the remaining length has more than four bytes",
}


class _Client(ctypes.Structure):
    _fields_ = (
        ("fd", ctypes.c_int32),
        ("is_publisher", ctypes.c_int32),
        ("packet_bytes", ctypes.c_uint32),
        ("identifier_at", ctypes.c_uint32),
        ("sequence_at", ctypes.c_uint32),
        ("packet", ctypes.c_char_p),
        ("heard_first", ctypes.c_uint32),
        ("heard_count", ctypes.c_uint32),
    )


class _Run(ctypes.Structure):
    _fields_ = (
        ("poller", ctypes.c_int32),
        ("clients", ctypes.c_uint32),
        ("pubs", ctypes.c_uint32),
        ("qos", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("window", ctypes.c_uint32),
        ("count", ctypes.c_uint64),
        ("deliveries", ctypes.c_uint64),
        ("rate", ctypes.c_double),
        ("max_s", ctypes.c_double),
        ("give_up_s", ctypes.c_double),
        ("nap_s", ctypes.c_double),
        ("sample_every", ctypes.c_uint32),
        ("most_samples", ctypes.c_uint32),
        ("samples", ctypes.POINTER(ctypes.c_int64)),
        ("irregular", _IRREGULAR),
        ("published", ctypes.c_uint64),
        ("received", ctypes.c_uint64),
        ("altered", ctypes.c_uint64),
        ("unsettled", ctypes.c_uint64),
        ("refused", ctypes.c_uint64),
        ("sampled", ctypes.c_uint32),
        ("unexpected_byte", ctypes.c_uint32),
        ("unexpected_by", ctypes.c_uint32),
        ("lag_s", ctypes.c_double),
    )


def compiled() -> ctypes.CDLL | None:
    """The library, compiled now if its source is new; None where there is no `cc`, or no place to keep it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "oriole")
    source = _SOURCE.read_bytes()
    library = cache / f"load-{platform.machine()}-{hashlib.sha256(source).hexdigest()[:16]}.so"
    try:
        if not library.exists():
            _compile(library)
        return _declared(ctypes.CDLL(str(library)))
    except (OSError, subprocess.SubprocessError):
        return None


def _compile(library: Path) -> None:
    """Beside its place first, so that nobody loads half a library."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise FileNotFoundError("cc")
    library.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        fresh = Path(folder, library.name)
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(fresh), str(_SOURCE)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        fresh.replace(library)


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    library.load_open.argtypes = (ctypes.POINTER(_Run), ctypes.POINTER(_Client))
    library.load_open.restype = ctypes.c_void_p
    library.load_drive.argtypes = (ctypes.c_void_p,)
    library.load_serve.argtypes = (ctypes.c_void_p, ctypes.c_double)
    library.load_close.argtypes = (ctypes.c_void_p,)
    library.load_close.restype = None
    return library


class NativeLoop:
    """The C loop over the connections of a crowd that is connected. See Loop."""

    def __init__(self, library: ctypes.CDLL, crowd: Crowd, workload: Workload) -> None:
        self._library = library
        self._crowd = crowd
        self._clients = (_Client * len(crowd.clients))(*map(_client, crowd.clients))
        latency = crowd.latency
        self._samples = (ctypes.c_int64 * latency.most_samples)()
        self._irregular = _IRREGULAR(self._enter_irregular)
        self._run = _Run(
            poller=crowd.poller.fileno(),
            clients=len(self._clients),
            pubs=workload.pubs,
            qos=workload.qos,
            size=workload.size,
            window=workload.window,
            count=workload.count,
            deliveries=workload.deliveries,
            rate=workload.rate,
            max_s=workload.max,
            give_up_s=GIVE_UP_S,
            nap_s=NAP_S,
            sample_every=latency.every,
            most_samples=latency.most_samples,
            samples=self._samples,
            irregular=self._irregular,
        )
        self._loop = library.load_open(self._run, self._clients)
        self.lag_s = 0.0
        self.refused = 0

    def drive(self) -> None:
        """See Loop."""
        self._check(self._library.load_drive(self._loop))
        self.lag_s, self.refused = self._run.lag_s, self._run.refused + self._run.unsettled

    def serve(self, seconds: float) -> None:
        """See Loop."""
        self._check(self._library.load_serve(self._loop, seconds))

    def close(self) -> None:
        """See Loop."""
        self._library.load_close(self._loop)

    def _check(self, outcome: int) -> None:
        run, tally = self._run, self._crowd.tally
        tally.received, tally.altered = run.received, run.altered
        self._crowd.latency.samples = array("q", bytes(self._samples)[: 8 * run.sampled])
        if outcome == _UNEXPECTED:
            role = self._crowd.clients[run.unexpected_by].role
            raise unexpected(run.unexpected_byte, "a publisher" if isinstance(role, Publisher) else "a subscriber")
        if outcome:
            raise LoadError(_OUTCOMES[outcome])

    def _enter_irregular(self, client: int, publisher: int, due: int, sequence: int) -> int:
        """A message that is not the one due; returns 1 if it had not been received before, else 0."""
        role = self._crowd.clients[client].role
        assert isinstance(role, Subscriber)
        before = self._crowd.tally.received
        role.ledger.expect(publisher, due)
        role.ledger.receive(publisher, sequence, 1)
        return self._crowd.tally.received - before


def _client(client: Client) -> _Client:
    fd, role = client.connection.fileno(), client.role
    if isinstance(role, Publisher):
        stream = role.stream
        return _Client(
            fd=fd,
            is_publisher=1,
            packet_bytes=stream.packet_bytes,
            identifier_at=stream.identifier_at,
            sequence_at=stream.sequence_at,
            packet=bytes(stream.packets(0, 1)),
        )
    return _Client(fd=fd, heard_first=min(role.heard, default=0), heard_count=len(role.heard))
