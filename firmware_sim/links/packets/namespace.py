"""A network namespace without a name. It owns the way in and out, and knows nothing of what is inside.

The kernel keeps a namespace for as long as a process is in it or a descriptor of it is open, and no longer: nothing has
to be cleaned up, whatever kills the processes. What a thread makes while it is inside (a socket, a device, a process,
another thread) belongs to the namespace for good, wherever the first thread goes next.
"""

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Self

CLONE_NEWNET: Final = 0x4000_0000
PR_SET_PDEATHSIG: Final = 1
HERE: Final = "/proc/thread-self/ns/net"

_libc: Final = ctypes.CDLL(None, use_errno=True)  # `os` has these calls since Python 3.12 only


class Namespace:
    """A descriptor of a network namespace: the one behind `path`, by default the calling thread's own."""

    __slots__ = ("_fd",)

    def __init__(self, path: str = HERE) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    @classmethod
    def create(cls) -> Self:
        """A new one, in which there is only a loopback device that is down. Raises OSError."""
        home = Namespace()
        try:
            _call("unshare", CLONE_NEWNET)
            try:
                return cls()
            finally:
                home.enter()
        finally:
            home.close()

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)

    def enter(self) -> None:
        """Move the calling thread into it. Raises OSError."""
        _call("setns", self._fd, CLONE_NEWNET)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Go in and come back. Only this thread: a coroutine must not wait for anything inside."""
        home = Namespace()
        try:
            self.enter()
            try:
                yield
            finally:
                home.enter()
        finally:
            home.close()

    def settle(self) -> None:
        """`preexec_fn` of a process that is to live in it, and no longer than the thread that starts it."""
        self.enter()
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
