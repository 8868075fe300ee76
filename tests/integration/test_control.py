"""The control socket of a running node, and `oriole sessions`: who is there, who is behind; nobody can break it."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec
import pytest
from integration.test_broker import WAIT_S, Broker, Raw
from integration.test_durable import Client, until

from broker.control.door import MOST_ASKERS
from oriole.control import MOST_REQUEST_BYTES, Control, ControlError
from oriole.wire.mqtt import V5, Connect, Disconnect, Properties, PubAck, Publish, ReasonCode, encode


def oriole(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "oriole", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_S, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def broker(tmp_path: Path, data: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path, "--data", str(data))
    yield broker
    if broker.process.poll() is None:
        assert broker.stop() == 0
    assert "Traceback" not in broker.stderr.read_text()


def test_who_is_there_and_who_is_behind(broker: Broker, data: Path) -> None:
    reader = Client("reader").join(broker)
    reader.subscribe("t/#", 1)
    reader.leave()
    writer = Client("writer").join(broker)
    for count in range(3):
        writer.publish("t", b"%d" % count, 1)
    shown = oriole("sessions", "--data", data)
    assert (shown.returncode, shown.stderr) == (0, "")
    head, first, second, empty, totals = shown.stdout.splitlines()
    assert head.split() == "CLIENT STATE ENDS IN SUBSCRIPTIONS QUEUED BYTES IN FLIGHT".split()
    assert first.split()[:3] == ["reader", "away", "for"]
    assert second.split() == ["writer", "connected", "0", "0", "0", "B", "0"]
    assert empty == ""
    assert totals.startswith("2 sessions, 1 connected; 3 queued (")

    told = json.loads(oriole("sessions", "--json", "--behind", "--data", data).stdout)
    (row,) = told["sessions"]
    assert (row["client"], row["queued"], row["subscriptions"], row["peer"]) == ("reader", 3, 1, None)
    assert 590 <= row["ends_in_s"] <= 600
    assert told["totals"] == {
        "sessions": 1,
        "connected": 0,
        "queued": 3,
        "queued_bytes": row["queued_bytes"],
        "in_flight": 0,
        "full": 0,
    }
    assert oriole("sessions", "--behind", cwd=data).stdout.endswith("\n1 others have all that was for them\n")
    assert oriole("sessions", "--data", data, "writer", "reader").stdout.splitlines()[1:3] == [
        *oriole("sessions", "--data", data).stdout.splitlines()[1:3]
    ]
    unknown = oriole("sessions", "--data", data, "writer", "nobody")
    assert (unknown.returncode, unknown.stderr) == (1, "oriole sessions: there is no session of 'nobody'\n")
    writer.leave()


def test_an_ended_session_is_gone_for_good_and_its_client_is_told(tmp_path: Path, broker: Broker, data: Path) -> None:
    properties = Properties(session_expiry_interval=600)
    there = Raw(broker, Connect("there", properties=properties, version=V5))
    away = Client("away").join(broker)
    away.subscribe("t", 1)
    away.leave()
    unconfirmed = oriole("sessions", "end", "away", "--data", data, stdin=subprocess.DEVNULL)
    assert (unconfirmed.returncode, unconfirmed.stderr) == (
        1,
        "oriole sessions: there is nobody to confirm it: say --yes\n",
    )
    for client in ("away", "there"):
        ended = oriole("sessions", "end", "--data", data, client, "--yes")
        assert (ended.returncode, ended.stdout) == (0, f"the session of {client} has ended\n")
    assert there.rest() == [Disconnect(ReasonCode.ADMINISTRATIVE_ACTION)]
    broker.stop(signal.SIGKILL)
    again = Broker(tmp_path, "--data", str(data))
    assert oriole("sessions", "--data", data).stdout.startswith("0 sessions")
    assert not away.join(again).present
    away.leave()
    assert again.stop() == 0


def test_the_socket_is_its_users_alone_and_outlives_no_process(tmp_path: Path, broker: Broker, data: Path) -> None:
    path = data / "control"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    broker.stop(signal.SIGKILL)
    assert path.exists()
    for folder, why in (
        (data, f"{data}: no node runs there: start one with `oriole broker --data {data}`"),
        (tmp_path, f"{tmp_path}: no node runs there"),
        (tmp_path / "nothing", f"{tmp_path / 'nothing'}: no such folder"),
        (tmp_path / ("long" * 50), f"{tmp_path / ('long' * 50)}: no such folder"),
    ):
        refused = oriole("sessions", "--data", folder)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith(f"oriole sessions: {why}")
    again = Broker(tmp_path, "--data", str(data))
    assert oriole("sessions", "--data", data).returncode == 0
    assert again.stop() == 0
    assert not path.exists()


def test_bad_usage(data: Path) -> None:
    for arguments in (["end"], ["end", "a", "b"], ["end", "a", "--json"], ["--nothing"]):
        assert oriole("sessions", "--data", data, *arguments).returncode == 2


def test_a_path_too_long_for_a_socket_is_said_and_the_node_runs(tmp_path: Path) -> None:
    data = tmp_path / ("x" * 100)
    broker = Broker(tmp_path, "--data", str(data))
    assert "the path is too long for a socket; choose a shorter --data" in broker.stderr.read_text()
    assert "the path is too long for a socket" in oriole("sessions", "--data", data).stderr
    assert broker.stop() == 0


def connected(data: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(WAIT_S)
    connection.connect(str(data / "control"))
    return connection


def test_rubbish_is_refused_and_the_conversation_goes_on(broker: Broker, data: Path) -> None:
    with connected(data) as asker, asker.makefile("rb") as lines:
        asker.sendall(b'\x00\xff\n{"command":"fly"}\n{"command":"sessions"}\n')
        first, second, third = (json.loads(next(lines)) for _ in range(3))
        assert first["refused"].startswith("no request: ")
        assert second == {
            "refused": "unknown command: this node knows compact journal, copy journal, end session, sessions"
        }
        assert third == {"done": {"sessions": 0, "connected": 0}}
        with suppress(BrokenPipeError):  # it may have hung up before it got all
            asker.sendall(b"x" * (MOST_REQUEST_BYTES + 70_000))
        assert json.loads(next(lines)) == {"refused": f"no request has more than {MOST_REQUEST_BYTES} bytes"}
    with connected(data) as asker:
        asker.sendall(b'{"command":"sess')  # and no more
    assert oriole("sessions", "--data", data).returncode == 0


def test_whoever_does_not_read_harms_nobody(broker: Broker, data: Path) -> None:
    many = 3000
    properties = Properties(session_expiry_interval=600)
    raw = Raw(broker, Connect("watch", version=V5))
    for first in range(0, many, 500):
        sockets = [socket.create_connection(("127.0.0.1", broker.port), timeout=WAIT_S) for _ in range(500)]
        for number, each in enumerate(sockets, first):
            name = f"{number:04}" + "x" * 200
            each.sendall(encode(Connect(name, properties=properties, version=V5), V5))
        for each in sockets:
            assert each.recv(1000)
            each.close()
    with ExitStack() as stack:
        deaf = [stack.enter_context(connected(data)) for _ in range(MOST_ASKERS - 1)]
        for asker in deaf:
            asker.sendall(b'{"command":"sessions"}\n' * 20)
        started = time.monotonic()
        with Control(data) as control:
            assert len({row["client"] for row in control.ask("sessions")}) >= many
            with pytest.raises(ControlError, match=f"{MOST_ASKERS} others are asking"), Control(data) as one_too_many:
                list(one_too_many.ask("sessions"))
        raw.socket.sendall(encode(Publish(b"t", b"", 1, packet_identifier=1), V5))
        assert raw.next() == PubAck(1)
        assert time.monotonic() - started < WAIT_S
        resident = next(
            line for line in Path(f"/proc/{broker.process.pid}/status").read_text().splitlines() if "VmRSS" in line
        )
        assert int(resident.split()[1]) < 150_000
    until(lambda: oriole("sessions", "--data", data, "watch").returncode == 0)
    raw.socket.close()


def test_a_memory_node_has_no_folder_and_no_socket(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    assert [*tmp_path.iterdir()] == [tmp_path / "stderr"]
    assert broker.stop() == 0


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to be somebody else")
def test_nobody_else_may_ask(broker: Broker, data: Path) -> None:
    data.parent.chmod(0o755)
    ask = (
        "import os, sys; from pathlib import Path; from oriole.control import Control, ControlError\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: Control(Path(sys.argv[1]))\n"
        "except ControlError as error: print(error)"
    )
    command = [sys.executable, "-c", ask, str(data)]
    refused = subprocess.run(command, capture_output=True, text=True, check=True, timeout=WAIT_S)
    assert "permission denied: ask as the user that the node runs as" in refused.stdout


def test_rows_are_what_the_client_takes_them_for(broker: Broker, data: Path) -> None:
    from oriole.sessions.row import SessionRow

    client = Client("c").join(broker)
    with Control(data) as control:
        (row,) = control.ask("sessions", clients=["c"])
        assert msgspec.convert(row, SessionRow, strict=True).is_connected
        assert control.done == {"sessions": 1, "connected": 1}
    client.leave()
