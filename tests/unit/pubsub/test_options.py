"""Command lines: what they mean, and what a person is told about those that mean nothing."""

import io
from pathlib import Path

import pytest

from oriole.pubsub.failure import USAGE, Failure
from oriole.pubsub.options import read_pub, read_sub

NOTHING = io.BytesIO()


def test_pub_as_with_mosquitto() -> None:
    line = "-h broker -p 1884 -t a/b -m on -q 1 -r -u me -P secret -i lamp -k 5 -V mqttv311 -W 2.5"
    options = read_pub(line.split(), NOTHING)
    connection = options.connection
    assert (options.topic, options.payload, options.qos, options.retain) == ("a/b", b"on", 1, True)
    assert str(connection.endpoint) == "mqtt://broker:1884"
    assert (connection.username, connection.password) == ("me", "secret")
    assert (connection.client_identifier, connection.keep_alive) == ("lamp", 5)
    assert (connection.version, connection.timeout_s) == (4, 2.5)


def test_defaults() -> None:
    options = read_sub(["-t", "a"])
    assert str(options.connection.endpoint) == "mqtt://localhost:1883"
    assert (options.connection.version, options.qos, options.count) == (5, 0, None)
    assert options.connection.username is None


def test_url() -> None:
    options = read_pub(["--url", "mqtt://me:p%40ss@broker:1999/a/b", "-n"], NOTHING)
    assert (options.topic, options.payload) == ("a/b", b"")
    assert (options.connection.username, options.connection.password) == ("me", "p@ss")
    assert options.connection.endpoint.port == 1999
    assert read_sub(["--url", "coap://host/a/b", "-t", "c"]).topic_filters == ["c", "a/b"]
    assert read_sub(["--url", "mqtt://host/a/#"]).topic_filters == ["a/#"]
    assert read_sub(["--url", "mqtt://me:x@host/a", "-P", "y"]).connection.password == "y"


def test_sub() -> None:
    options = read_sub(["-t", "a/#", "-t", "b", "-C", "3", "-v", "--json", "-c", "-i", "me", "-q", "1", "-R"])
    assert options.topic_filters == ["a/#", "b"]
    assert (options.count, options.verbose, options.json) == (3, True, True)
    assert (options.keep_session, options.skip_retained) == (True, True)


def test_sources_of_messages(tmp_path: Path) -> None:
    file = tmp_path / "message"
    file.write_bytes(b"\x00\xff")
    assert read_pub(["-t", "a", "-f", str(file)], NOTHING).payload == b"\x00\xff"
    assert read_pub(["-t", "a", "-s"], io.BytesIO(b"a\nb\n")).payload == b"a\nb\n"
    assert read_pub(["-t", "a", "-l"], NOTHING).payload is None
    assert read_pub(["-t", "a", "-m", ""], NOTHING).payload == b""
    assert read_pub(["-t", "a", "-m", "\udcff"], NOTHING).payload == b"\xff"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("-m x", "no topic"),
        ("--url mqtt://h/a -t b -m x", "two topics, 'b' and 'a' in --url"),
        ("--url coap://h/a -u me -m x", "CoAP has no user names"),
        ("-t a", "no message"),
        ("-t a -m x -n", "not allowed with"),
        ("-t a/# -m x", "wildcards"),
        ("-t a -m x -q 3", "invalid choice"),
        ("-t a -m x -p 0", "1 to 65535"),
        ("-t a -m x -p http", "1 to 65535"),
        ("-t a -m x -V 31", "invalid choice"),
        ("-t a -m x --url http://h", "http"),
        ("-t a -m x --url mqtt://h -h g", "leave out -h"),
        ("-t a -f /does/not/exist", "No such file"),
        ("-t a -m x -P secret -V 311", "user name"),
        ("-t a -m x --frob", "--frob"),
    ],
)
def test_bad_pub(line: str, says: str) -> None:
    with pytest.raises(Failure, match=says) as failure:
        read_pub(line.split(), NOTHING)
    assert failure.value.status == USAGE


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "no topic"),
        ("-t a#", "wildcard"),
        ("-t a -C 0", "from 1"),
        ("-t a -c", "needs -i"),
        ("-t a -W -1", "0.001"),
    ],
)
def test_bad_sub(line: str, says: str) -> None:
    with pytest.raises(Failure, match=says) as failure:
        read_sub(line.split())
    assert failure.value.status == USAGE
