"""`oriole pub` and `oriole sub` as a person runs them: against Mosquitto, `oriole broker` and an aiocoap server."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiocoap
import aiocoap.resource
import pytest

from oriole.wire.mqtt import (
    V311,
    ConnAck,
    Disconnect,
    PubAck,
    Publish,
    ReasonCode,
    Splitter,
    SubAck,
    Subscribe,
    decode,
    encode,
)

mosquitto = pytest.mark.interop("mosquitto", "mosquitto_pub", "mosquitto_sub")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "the broker does not listen"
            time.sleep(0.02)


class Mosquitto:
    """A broker of our own on a free port."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.port = free_port()
        self.config = folder / "mosquitto.conf"
        self.config.write_text("\n".join([f"listener {self.port} 127.0.0.1", *(lines or ("allow_anonymous true",))]))
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(["mosquitto", "-c", self.config], stderr=subprocess.DEVNULL)
        wait_for_port(self.port)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


class OrioleBroker:
    """Our own broker on a free port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.start()

    def start(self) -> None:
        line = command("broker", "--listen", f"mqtt://127.0.0.1:{self.port}")
        self.process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_port(self.port)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


Broker = Mosquitto | OrioleBroker


@pytest.fixture(scope="module", params=["mosquitto", "oriole"])
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    started = Mosquitto(tmp_path_factory.mktemp("broker")) if request.param == "mosquitto" else OrioleBroker()
    yield started
    started.stop()


def command(name: str, *arguments: str | int) -> list[str]:
    return [sys.executable, "-m", "oriole", name, *map(str, arguments)]


def run(name: str, *arguments: str | int, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command(name, *arguments), input=stdin, capture_output=True, timeout=30, check=False)


@contextmanager
def running(name: str, *arguments: str | int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command(name, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def subscribed(broker: Broker, *arguments: str | int) -> Iterator[subprocess.Popen[bytes]]:
    """A running `oriole sub` that has answered one retained message, so its subscriptions are there."""
    ready = f"ready/{time.monotonic_ns()}"
    subprocess.run(["mosquitto_pub", "-p", str(broker.port), "-t", ready, "-m", "ready", "-r"], check=True)
    with running("sub", "-p", broker.port, "-t", ready, *arguments) as process:
        assert process.stdout is not None
        assert b"ready" in process.stdout.readline()
        yield process


@mosquitto
@pytest.mark.parametrize("version", ["311", "5"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_from_pub_to_sub(broker: Broker, version: str, qos: int) -> None:
    with subscribed(broker, "-t", "a/#", "-q", qos, "-V", version, "-C", 4, "-v") as sub:
        published = run("pub", "-p", broker.port, "-t", "a/b", "-m", "größe", "-q", qos, "-V", version)
        assert (published.returncode, published.stderr) == (0, b"")
        lines = run("pub", "-p", broker.port, "-t", "a/c", "-l", "-q", qos, "-V", version, stdin=b"1\n2")
        assert lines.returncode == 0
        output, errors = sub.communicate(timeout=10)
    assert (output.decode(), errors) == ("a/b größe\na/c 1\na/c 2\n", b"")
    assert sub.returncode == 0


@mosquitto
def test_with_mosquitto_s_own_tools(broker: Broker) -> None:
    with subscribed(broker, "-t", "a", "-C", 2) as sub:
        subprocess.run(["mosquitto_pub", "-p", str(broker.port), "-t", "a", "-m", "from mosquitto"], check=True)
        assert sub.communicate(timeout=10)[0] == b"from mosquitto\n"
    assert run("pub", "-p", broker.port, "-t", "kept", "-m", "kept", "-r", "-q", 1).returncode == 0
    line = ["mosquitto_sub", "-p", str(broker.port), "-t", "kept", "-C", "1", "-W", "10", "-F", "%r %p"]
    assert subprocess.run(line, capture_output=True, check=True).stdout == b"1 kept\n"


@mosquitto
def test_json_with_properties(broker: Broker) -> None:
    with subscribed(broker, "-t", "a", "--json", "-C", 2) as sub:
        line = ["mosquitto_pub", "-V", "5", "-p", str(broker.port), "-t", "a", "-m", "x"]
        subprocess.run([*line, "-D", "PUBLISH", "user-property", "k", "v"], check=True)
        output = sub.communicate(timeout=10)[0]
    assert json.loads(output) == {
        "topic": "a",
        "payload": "x",
        "qos": 0,
        "retain": False,
        "properties": {"user_property": [["k", "v"]]},
    }


@mosquitto
@pytest.mark.parametrize("qos", [1, 2])
def test_many_lines_in_order(broker: Broker, qos: int) -> None:
    """More than the window and more than is held unacknowledged."""
    lines = b"".join(b"%d\n" % number for number in range(5_000))
    with subscribed(broker, "-t", "a", "-q", qos, "-C", 5_001) as sub:
        published = run("pub", "-p", broker.port, "-t", "a", "-l", "-q", qos, stdin=lines)
        assert (published.returncode, published.stderr) == (0, b"")
        assert sub.communicate(timeout=30)[0] == lines


@mosquitto
def test_lines_from_a_file(broker: Broker, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"1\n\n2\n")
    with subscribed(broker, "-t", "a", "-C", 4) as sub, file.open("rb") as stdin:
        subprocess.run(command("pub", "-p", broker.port, "-t", "a", "-l"), stdin=stdin, check=True, timeout=20)
        assert sub.communicate(timeout=10)[0] == b"1\n\n2\n"


@mosquitto
def test_acknowledged_is_what_was_printed(broker: Broker) -> None:
    """`-C 1` of a kept session takes one message; the next run takes the next, though more was on its way."""
    session = ("-p", broker.port, "-t", "a", "-q", 1, "-c", "-i", "reader")
    assert run("sub", *session, "-W", 0.5).returncode == 27
    lines = [b"%d" % number + b"." * 60_000 + b"\n" for number in range(40)]
    assert run("pub", "-p", broker.port, "-t", "a", "-l", "-q", 1, stdin=b"".join(lines)).returncode == 0
    for line in lines[:3]:
        assert run("sub", *session, "-C", 1, "-W", 10).stdout == line


def test_goodbye_is_no_reset() -> None:
    """What arrives behind the last message wanted is read and dropped: left in the socket, it would turn the close
    into a reset, and a server that meets that first never reads the acknowledgement.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        session = ("-t", "a", "-q", 1, "-V", "311", "-C", 1)
        with running("sub", "-p", listening.getsockname()[1], *session) as sub:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(10)
                assert connection.recv(65_536)
                connection.sendall(encode(ConnAck(), V311))
                for first, body in Splitter().split(connection.recv(65_536)):
                    subscribe = decode(first, body, V311)
                    assert isinstance(subscribe, Subscribe)
                    granted = SubAck(subscribe.packet_identifier, [ReasonCode.GRANTED_QOS_1])
                    connection.sendall(encode(granted, V311))
                for identifier in range(1, 500):
                    packet = Publish(b"a", b"%d" % identifier + bytes(4096), 1, packet_identifier=identifier)
                    connection.sendall(encode(packet, V311))
                answer = b""
                while data := connection.recv(65_536):  # a reset raises
                    answer += data
            assert answer == encode(PubAck(1), V311) + encode(Disconnect(), V311)
            assert sub.communicate(timeout=10)[1] == b""


@mosquitto
def test_timeout(broker: Broker) -> None:
    result = run("sub", "-p", broker.port, "-t", "a", "-W", 0.3)
    assert (result.returncode, result.stdout, result.stderr) == (27, b"", b"")


@mosquitto
def test_ctrl_c(broker: Broker) -> None:
    with subscribed(broker, "-t", "a") as sub:
        sub.send_signal(signal.SIGINT)
        assert sub.communicate(timeout=10) == (b"", b"")
        assert sub.returncode == 130


@mosquitto
def test_ctrl_c_while_pub_waits_for_lines(broker: Broker) -> None:
    with subscribed(broker, "-t", "a") as sub:
        line = command("pub", "-p", broker.port, "-t", "a", "-l")
        with subprocess.Popen(line, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as pub:
            assert pub.stdin is not None
            assert sub.stdout is not None
            pub.stdin.write(b"one\n")
            pub.stdin.flush()
            assert sub.stdout.readline() == b"one\n"  # before the end of input
            pub.send_signal(signal.SIGINT)
            assert pub.wait(10) == 130
            assert pub.stderr is not None
            assert pub.stderr.read() == b""


@mosquitto
def test_nobody_reads_the_output(broker: Broker) -> None:
    with subscribed(broker, "-t", "a") as sub:
        assert sub.stdout is not None
        assert sub.stderr is not None
        sub.stdout.close()
        for _ in range(2):
            run("pub", "-p", broker.port, "-t", "a", "-m", "x")
        assert sub.wait(10) == 0
        assert sub.stderr.read() == b""


@mosquitto
def test_sub_comes_back_with_the_broker(broker: Broker) -> None:
    with subscribed(broker, "-t", "a", "-C", 2) as sub:
        broker.stop()
        broker.start()
        deadline = time.monotonic() + 15
        while sub.poll() is None and time.monotonic() < deadline:
            run("pub", "-p", broker.port, "-t", "a", "-m", "back")
        output, errors = sub.communicate(timeout=10)
    assert output == b"back\n"
    assert b"connecting again" in errors
    assert b"Traceback" not in errors


@mosquitto
def test_refused(tmp_path: Path) -> None:
    closed = Mosquitto(tmp_path, "allow_anonymous false")
    try:
        for arguments in (("pub", "-m", "x"), ("sub",)):
            result = run(*arguments, "-t", "a", "-p", closed.port)
            assert result.returncode == 1
            assert b"refused the connection: not authorized" in result.stderr
            assert result.stderr.count(b"\n") == 1
    finally:
        closed.stop()


def test_nobody_listens() -> None:
    for arguments in (("pub", "-m", "x"), ("sub",)):
        result = run(*arguments, "-t", "a", "-h", "127.0.0.1", "-p", free_port())
        assert result.returncode == 1
        assert b"connection refused" in result.stderr
        assert b"Traceback" not in result.stderr


def test_bad_usage() -> None:
    result = run("pub", "-t", "a/#", "-m", "x")
    assert result.returncode == 2
    assert result.stderr.startswith(b"oriole pub: a topic name has no wildcards")


class Value(aiocoap.resource.ObservableResource):  # type: ignore[misc]
    """A topic as the server side of the pub/sub draft sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.value = b""

    async def render_put(self, request: aiocoap.Message) -> aiocoap.Message:
        self.value = request.payload
        if self.value == b"end":  # as a server that drops its observers
            self.updated_state(aiocoap.Message(code=aiocoap.SERVICE_UNAVAILABLE))
        else:
            self.updated_state()
        return aiocoap.Message(code=aiocoap.CHANGED)

    async def render_delete(self, request: aiocoap.Message) -> aiocoap.Message:
        self.value = b""
        return aiocoap.Message(code=aiocoap.DELETED)

    async def render_get(self, request: aiocoap.Message) -> aiocoap.Message:
        return aiocoap.Message(payload=self.value)


@pytest.fixture
def coap_port() -> Iterator[int]:
    """The port of a CoAP server with the topic `a/b`, in a thread with a loop of its own."""
    port = free_port()
    started = threading.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> aiocoap.Context:
        site = aiocoap.resource.Site()
        site.add_resource(["ps", "data", "a", "b"], Value())
        return await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", port))

    def work() -> None:
        context = loop.run_until_complete(serve())
        started.set()
        loop.run_forever()
        loop.run_until_complete(context.shutdown())
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(10)
    with ExitStack() as stack:
        stack.callback(thread.join, 10)
        stack.callback(loop.call_soon_threadsafe, loop.stop)
        yield port


def test_coap(coap_port: int) -> None:
    url = f"coap://127.0.0.1:{coap_port}/a/b"
    assert run("pub", "--url", url, "-m", "21.5", "-q", 1).returncode == 0
    with running("sub", "--url", url, "-v", "-C", 2) as sub:
        assert sub.stdout is not None
        assert sub.stdout.readline() == b"a/b 21.5\n"  # the value from before
        assert run("pub", "--url", url, "-m", "22").returncode == 0
        assert sub.communicate(timeout=10) == (b"a/b 22\n", b"")
        assert sub.returncode == 0
    assert run("pub", "--url", url, "-n", "-r").returncode == 0
    assert run("sub", "--url", url, "-C", 1, "-W", 1).returncode == 27, "there is no value any more"


def test_coap_observes_again(coap_port: int) -> None:
    """The server ends the observation: the next registration brings the value that has come meanwhile."""
    url = f"coap://127.0.0.1:{coap_port}/a/b"
    assert run("pub", "--url", url, "-m", "1").returncode == 0
    with running("sub", "--url", url, "-C", 3) as sub:
        assert sub.stdout is not None
        assert sub.stdout.readline() == b"1\n"
        assert run("pub", "--url", url, "-m", "end").returncode == 0
        assert sub.stdout.readline() == b"end\n"  # asked for, not notified
        assert run("pub", "--url", url, "-m", "2").returncode == 0
        assert sub.communicate(timeout=10) == (b"2\n", b"")


def test_coap_refusals(coap_port: int) -> None:
    result = run("pub", "--url", f"coap://127.0.0.1:{coap_port}/other", "-m", "x")
    assert (result.returncode, result.stderr.count(b"\n")) == (1, 1)
    assert b"4.04" in result.stderr
    result = run("sub", "--url", f"coap://127.0.0.1:{coap_port}/other")
    assert result.returncode == 1
    assert b"4.04" in result.stderr
    result = run("sub", "--url", f"coap://127.0.0.1:{coap_port}/a/+")
    assert result.returncode == 2
    assert b"no wildcards" in result.stderr


@mosquitto
def test_an_output_that_cannot_be_written_is_said_in_words(broker: Broker) -> None:
    assert run("pub", "-p", broker.port, "-t", "full", "-m", "x", "-r").returncode == 0
    with Path("/dev/full").open("wb") as full:
        line = command("sub", "-p", broker.port, "-t", "full")
        sub = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, timeout=20, check=False)
    assert sub.returncode == 1
    assert sub.stderr == b"oriole sub: cannot write to standard output: No space left on device\n"
