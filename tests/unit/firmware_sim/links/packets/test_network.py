"""Why there can be no network of packets, in words that help."""

import asyncio
import sys

import pytest

from firmware_sim.links.network import NetworkError
from firmware_sim.links.packets import network
from firmware_sim.links.packets.network import PacketNetwork, obstacle


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(1, "unshare: Operation not permitted"), "need root or CAP_NET_ADMIN and CAP_SYS_ADMIN"),
        (FileNotFoundError(2, "No such file or directory", "/dev/net/tun"), "/dev/net/tun"),
    ],
)
def test_what_the_system_refuses_is_said_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, error: OSError, words: str
) -> None:
    def refuse() -> None:
        raise error

    async def start() -> None:
        async with PacketNetwork():
            pass

    monkeypatch.setattr(network.Namespace, "create", refuse)
    assert words in obstacle()
    with pytest.raises(NetworkError, match=r"use the relay$"):
        asyncio.run(start())


def test_other_systems_have_no_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert obstacle() == "packets need Linux: use the relay"
