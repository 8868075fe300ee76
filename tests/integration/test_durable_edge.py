"""`oriole edge --data` below `oriole broker --data`: what either acknowledged arrives once, whichever is killed."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.test_durable import Client
from integration.test_edge import PATIENCE_S, Link, Peer, Program, wait_until

COUNT = 300


@pytest.fixture
def closing() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class House:
    """A broker, a link and an edge, each on a folder and a port of its own, so that it comes back where it was."""

    def __init__(self, closing: contextlib.ExitStack, tmp_path: Path) -> None:
        self.folders = {name: tmp_path / name for name in ("broker", "edge")}
        self.ports = {name: free_port() for name in ("broker", "edge")}
        self.link = Link(self.ports["broker"])
        closing.callback(self.link.close)
        self.programs: dict[str, Program] = {}
        for name in self.folders:
            self.start(name)
        closing.callback(lambda: [program.kill() for program in self.programs.values()])

    def start(self, name: str) -> None:
        arguments = [f"--data={self.folders[name]}"]
        if name == "edge":
            arguments += ["--name=house", f"--uplink=mqtt://127.0.0.1:{self.link.port}"]
        listen = (f"mqtt://127.0.0.1:{self.ports[name]}",)
        self.programs[name] = Program(name, *arguments, listen=listen)

    def kill(self, name: str) -> None:
        """As a power cut does."""
        self.programs[name].kill()


def arrived(peer: Peer) -> Counter[bytes]:
    return Counter(payload for _, payload in peer.heard)


@pytest.mark.parametrize("qos", [1, 2])
def test_what_the_edge_acknowledged_while_the_link_was_cut_goes_up_once_after_it_was_killed(
    closing: contextlib.ExitStack, tmp_path: Path, qos: int
) -> None:
    house = House(closing, tmp_path)
    above = Peer(house.ports["broker"], "up/#")
    closing.callback(above.close)
    below = Peer(house.ports["edge"])
    below.say("up/first", b"first", qos)
    wait_until(lambda: above.heard)
    house.link.cut()
    sent = [below.client.publish("up/more", b"%d" % number, qos) for number in range(COUNT)]
    for each in sent:
        each.wait_for_publish(PATIENCE_S)
        assert each.is_published()
    house.kill("edge")
    below.close()
    house.start("edge")
    house.link.heal()
    wait_until(lambda: len(above.heard) > COUNT)
    house.kill("edge")  # what the centre has answered is answered
    house.start("edge")
    below = Peer(house.ports["edge"])
    closing.callback(below.close)
    below.say("up/last", b"last", qos)
    wait_until(lambda: above.payloads("up/last"))
    assert above.payloads("up/more") == [b"%d" % number for number in range(COUNT)]
    assert set(arrived(above).values()) == {1}


def test_nothing_is_lost_or_doubled_while_both_are_killed_in_turn(
    closing: contextlib.ExitStack, tmp_path: Path
) -> None:
    house = House(closing, tmp_path)
    above = Client("above").join(house.programs["broker"])  # type: ignore[arg-type]
    closing.callback(above.abandon)
    above.subscribe("up", 2)
    number, acknowledged = 0, set()
    for victim in ("edge", "broker", "edge", "broker", "edge"):
        below = Peer(house.ports["edge"])
        sent = {}
        for _ in range(100):
            sent[number] = below.client.publish("up", b"%d" % number, 2)
            number += 1
        wait_until(lambda sent=sent: sum(each.is_published() for each in sent.values()) > 20)
        house.kill(victim)
        acknowledged |= {count for count, each in sent.items() if each.is_published()}
        below.close()
        house.start(victim)
    below = Peer(house.ports["edge"])
    closing.callback(below.close)
    below.say("up", b"%d" % number, 2)
    wait_until(lambda: above.got and above.got[-1][1] == b"%d" % number, 20)
    heard = [int(payload) for _, payload, _, _ in above.got]
    assert heard == sorted(set(heard))
    assert acknowledged <= set(heard)
    assert len(acknowledged) > 100


def test_a_copy_of_an_edge_is_refused_while_the_first_is_there_and_begins_anew_after_it(
    closing: contextlib.ExitStack, tmp_path: Path
) -> None:
    house = House(closing, tmp_path)
    above = Peer(house.ports["broker"], "up/#")
    closing.callback(above.close)
    below = Peer(house.ports["edge"])
    below.say("up/a", b"1")
    wait_until(lambda: above.heard)
    below.close()
    house.programs["edge"].stop()
    shutil.copytree(house.folders["edge"], tmp_path / "copy")
    house.start("edge")
    below = Peer(house.ports["edge"])
    below.say("up/a", b"2")
    wait_until(lambda: len(above.heard) == 2)
    command = [sys.executable, "-m", "oriole", "edge", "--name=house", f"--data={tmp_path / 'copy'}"]
    command += [f"--uplink=mqtt://127.0.0.1:{house.ports['broker']}", "--listen=mqtt://127.0.0.1:0"]
    with (tmp_path / "log").open("w") as log:
        copy = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert copy.stdout is not None
    closing.callback(copy.stdout.close)
    closing.callback(copy.wait)
    closing.callback(copy.kill)
    port = int(copy.stdout.readline().rpartition(":")[2])

    def said(words: str) -> bool:
        return words in (tmp_path / "log").read_text()

    wait_until(lambda: said("another edge with this name is connected"))
    theirs = Peer(port)
    closing.callback(theirs.close)
    theirs.say("up/a", b"3")
    time.sleep(0.5)
    assert above.payloads("up/a") == [b"1", b"2"]
    below.close()
    house.programs["edge"].stop()
    wait_until(lambda: said("another edge went on from the same data"))
    wait_until(lambda: len(above.heard) == 3)
    assert above.payloads("up/a") == [b"1", b"2", b"3"]
