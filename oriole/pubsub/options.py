"""The command line of both commands, with mosquitto's letters, read into one typed value each."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from oriole.pubsub.failure import USAGE, Failure
from oriole.urls import DEFAULT_PORTS, Endpoint, UrlError
from oriole.wire.mqtt import V5, V311
from oriole.wire.topics import TopicError, check_topic_filter, check_topic_name

VERSIONS: Final = {"5": V5, "mqttv5": V5, "311": V311, "mqttv311": V311}


@dataclass(slots=True, frozen=True)
class Connection:
    """Where to connect and as whom."""

    endpoint: Endpoint
    version: int
    client_identifier: str
    username: str | None
    password: str | None
    keep_alive: int
    """Seconds."""
    timeout_s: float | None
    """Give up after this long."""


@dataclass(slots=True, frozen=True)
class PubOptions:
    """What `oriole pub` was asked for."""

    connection: Connection
    topic: str
    payload: bytes | None
    """None: each line of standard input is a message."""
    qos: int
    retain: bool


@dataclass(slots=True, frozen=True)
class SubOptions:
    """What `oriole sub` was asked for."""

    connection: Connection
    topic_filters: list[str]
    qos: int
    count: int | None
    """Messages after which to end."""
    verbose: bool
    json: bool
    keep_session: bool
    skip_retained: bool


def read_pub(argv: list[str], stdin: Any) -> PubOptions:
    """Raises Failure with USAGE. `stdin` is a binary file, read for `-s`."""
    parser = _parser("pub", "Publish a message to a topic.", "oriole pub -t house/lamp -m on")
    parser.add_argument("-t", "--topic", help="topic to publish to")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("-m", "--message", help="the message")
    source.add_argument("-n", "--null-message", action="store_true", help="an empty message; with -r: forget the value")
    source.add_argument("-f", "--file", type=Path, help="the content of a file is the message")
    source.add_argument("-s", "--stdin-file", action="store_true", help="all of standard input is the message")
    source.add_argument("-l", "--stdin-line", action="store_true", help="each line of standard input is a message")
    parser.add_argument("-r", "--retain", action="store_true", help="the broker keeps it for those who come later")
    arguments = parser.parse_args(argv)
    connection = _connection(arguments)
    path = connection.endpoint.path
    if arguments.topic and path and arguments.topic != path:
        raise Failure(f"two topics, {arguments.topic!r} and {path!r} in --url: say one", USAGE)
    topic = arguments.topic or path
    if not topic:
        raise Failure("no topic: say -t TOPIC, or --url mqtt://HOST/TOPIC", USAGE)
    try:
        check_topic_name(topic)
    except TopicError as error:
        raise Failure(str(error), USAGE) from None
    return PubOptions(connection, topic, _payload(arguments, stdin), arguments.qos, arguments.retain)


def read_sub(argv: list[str]) -> SubOptions:
    """Raises Failure with USAGE."""
    parser = _parser("sub", "Print the messages of topics.", "oriole sub -v -t 'house/#'")
    parser.add_argument("-t", "--topic", action="append", help="topic or filter; may be given more than once")
    parser.add_argument("-C", "--count", type=_positive, help="end after so many messages")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the topic before each message")
    parser.add_argument("--json", action="store_true", help="print each message as a line of JSON")
    parser.add_argument(
        "-c", "--keep-session", action="store_true", help="miss nothing between runs (needs -i and QoS)"
    )
    parser.add_argument("-R", "--no-retained", action="store_true", help="skip values from before")
    arguments = parser.parse_args(argv)
    connection = _connection(arguments)
    path = connection.endpoint.path
    topic_filters = [*(arguments.topic or []), *([path] if path else [])]
    if not topic_filters:
        raise Failure("no topic: say -t TOPIC, or --url mqtt://HOST/TOPIC", USAGE)
    if arguments.keep_session and not connection.client_identifier:
        raise Failure("-c needs -i: the broker knows a session by its client identifier", USAGE)
    if arguments.keep_session and not arguments.qos:
        raise Failure("-c needs -q 1 or -q 2: with QoS 0 nothing is kept between runs", USAGE)
    for topic_filter in topic_filters:
        try:
            check_topic_filter(topic_filter)
        except TopicError as error:
            raise Failure(str(error), USAGE) from None
    return SubOptions(
        connection,
        topic_filters,
        arguments.qos,
        arguments.count,
        arguments.verbose,
        arguments.json,
        arguments.keep_session,
        arguments.no_retained,
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Failure(f"{message} (see `{self.prog} --help`)", USAGE)


def _parser(command: str, description: str, example: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f"oriole {command}",
        description=description,
        epilog=f"example: {example}",
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("--help", action="help", help="show this and end")
    parser.add_argument("-h", "--host", help="broker to connect to (default: localhost)")
    parser.add_argument("-p", "--port", type=_port, help="its port (default: 1883)")
    parser.add_argument("--url", help="mqtt://[user[:password]@]host[:port][/topic] or coap://host[:port][/topic]")
    parser.add_argument("-q", "--qos", type=int, choices=(0, 1, 2), default=0, help="quality of service (default: 0)")
    parser.add_argument("-u", "--username", help="user name")
    parser.add_argument("-P", "--password", "--pw", help="password")
    parser.add_argument("-i", "--id", default="", help="client identifier (default: the broker chooses)")
    parser.add_argument("-k", "--keepalive", type=_keep_alive, default=60, help="seconds between pings (default: 60)")
    parser.add_argument(
        "-V", "--protocol-version", choices=list(VERSIONS), default="5", help="version of MQTT (default: 5)"
    )
    parser.add_argument("-W", "--timeout", type=_seconds, help="give up after so many seconds, exit status 27")
    return parser


def _connection(arguments: argparse.Namespace) -> Connection:
    if arguments.url and (arguments.host or arguments.port):
        raise Failure("--url has host and port: leave out -h and -p", USAGE)
    try:
        endpoint = Endpoint.parse(arguments.url) if arguments.url else None
    except UrlError as error:
        raise Failure(str(error), USAGE) from None
    endpoint = endpoint or Endpoint("mqtt", arguments.host or "localhost", arguments.port or DEFAULT_PORTS["mqtt"])
    username = endpoint.username if arguments.username is None else arguments.username
    password = endpoint.password if arguments.password is None else arguments.password
    if endpoint.scheme == "coap" and (username is not None or password is not None):
        raise Failure("CoAP has no user names and passwords: leave them out", USAGE)
    version = VERSIONS[arguments.protocol_version]
    if password is not None and username is None and version == V311:
        raise Failure("MQTT 3.1.1 has no password without a user name: say -u", USAGE)
    return Connection(endpoint, version, arguments.id, username, password, arguments.keepalive, arguments.timeout)


def _payload(arguments: argparse.Namespace, stdin: Any) -> bytes | None:
    if arguments.stdin_line:
        return None
    if arguments.message is not None:
        message: str = arguments.message
        return message.encode(errors="surrogateescape")  # bytes of the command line, as they came
    if arguments.null_message:
        return b""
    if arguments.file is not None:
        try:
            content: bytes = arguments.file.read_bytes()
        except OSError as error:
            raise Failure(f"cannot read {arguments.file}: {error.strerror}", USAGE) from None
        return content
    if arguments.stdin_file:
        return bytes(stdin.read())
    raise Failure("no message: say -m TEXT, -n, -f FILE, -s or -l", USAGE)


def _number(text: str, smallest: float, largest: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = smallest - 1
    if not smallest <= number <= largest:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from {smallest:g} to {largest:g}")
    return number


def _port(text: str) -> int:
    return int(_number(text, 1, 65_535))


def _keep_alive(text: str) -> int:
    return int(_number(text, 0, 65_535))


def _positive(text: str) -> int:
    return int(_number(text, 1, 1e9))


def _seconds(text: str) -> float:
    return _number(text, 0.001, 1e9)
