"""Names looked up beside the loop, one look-up a name, and none that outlives its program."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time

import pytest

from edge_node.uplink.resolver import Resolver


def test_a_name_and_what_is_none() -> None:
    async def ask() -> None:
        resolver = Resolver(asyncio.get_running_loop())
        assert ("127.0.0.1", 7) in [address[4] for address in await resolver.resolve("localhost", 7)]
        with pytest.raises(OSError, match=r"\w"):
            await resolver.resolve("no.such.name.invalid", 7)
        with pytest.raises(UnicodeError):
            await resolver.resolve("a" * 64 + ".example", 7)

    asyncio.run(ask())


def test_one_look_up_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when those who asked first have given up."""
    answers = threading.Event()
    asked: list[str] = []

    def slow(host: str, port: int, **_: object) -> list[object]:
        asked.append(host)
        assert answers.wait(10)
        return [host, port]

    monkeypatch.setattr(socket, "getaddrinfo", slow)

    async def ask() -> None:
        resolver = Resolver(asyncio.get_running_loop())
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(resolver.resolve("a", 1), 0.01)
        waiting = asyncio.gather(resolver.resolve("a", 1), resolver.resolve("b", 1))
        await asyncio.sleep(0)
        answers.set()
        assert await waiting == [["a", 1], ["b", 1]]
        assert asked == ["a", "b"]
        await resolver.resolve("a", 1)
        assert asked == ["a", "b", "a"]

    asyncio.run(ask())


def test_a_program_ends_while_a_resolver_does_not_answer() -> None:
    program = """
import asyncio, socket, time
socket.getaddrinfo = lambda *_, **__: time.sleep(30)
from edge_node.uplink.resolver import Resolver
async def main():
    try:
        await asyncio.wait_for(Resolver(asyncio.get_running_loop()).resolve("a", 1), 0.05)
    except TimeoutError:
        print("given up", flush=True)
asyncio.run(main())
"""
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert ended.stdout == "given up\n"
    assert time.monotonic() - began < 10
