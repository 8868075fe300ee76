"""The configuration of the programs: typed, one structure per program, every key with a default and a sentence.

One YAML file holds it; the command line overrides the file, the file overrides the defaults. A key whose description
names a `metavar` is also an option of the command line. docs/configuration.md is made from these structures.
"""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from oriole.typed_yaml import ConfigError, convert, load
from oriole.urls import Listener, SerialPort, Uplink
from oriole.wire.topics import SHARE_PREFIX, check_topic_filter

__all__ = ["BrokerConfig", "ConfigError", "EdgeConfig", "Limits", "from_command_line", "load"]

Count = Annotated[int, Meta(ge=1)]
LogLevel = Literal["debug", "info", "warning", "error"]


class NodeName(str):
    """What a node is called: in topics, client identifiers and logs."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
            allowed = "a name has up to 64 letters, digits, `.`, `_`, `-`, the first of them a letter or digit"
            raise ValueError(f"{text!r}: {allowed}")
        return cls(text)


class TopicFilter(str):
    """An MQTT topic filter, not a shared one."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        check_topic_filter(text)
        if text.startswith(SHARE_PREFIX):
            raise ValueError(f"{text!r}: a topic filter without `$share`")
        return cls(text)


class Limits(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a program lets its peers use. Whoever reaches a limit is refused or slowed, and counted."""

    max_connections: Annotated[Count, Meta(description="MQTT connections at once.")] = 10_000
    connect_timeout_s: Annotated[
        Count, Meta(description="Seconds a connection may take until its CONNECT is complete.")
    ] = 10
    max_keep_alive_s: Annotated[
        int,
        Meta(ge=0, le=0xFFFF, description="Longest keep-alive granted to an MQTT 5 client, in seconds; 0 grants any."),
    ] = 0
    max_packet_bytes: Annotated[
        int, Meta(ge=128, le=268_435_460, description="Largest MQTT packet accepted, in bytes, header included.")
    ] = 1 << 20
    receive_maximum: Annotated[
        int,
        Meta(
            ge=1, le=0xFFFF, description="QoS 1 and 2 messages unacknowledged at once, in each direction, per client."
        ),
    ] = 1024
    max_session_expiry_s: Annotated[
        int, Meta(ge=0, le=0xFFFF_FFFF, description="Longest time a session outlives its connection, in seconds.")
    ] = 7 * 86_400
    max_sessions: Annotated[Count, Meta(description="Sessions kept, connected or not.")] = 100_000
    max_subscriptions: Annotated[Count, Meta(description="Subscriptions per session.")] = 10_000
    max_queue_messages: Annotated[Count, Meta(description="Messages that wait for one session.")] = 10_000
    max_queue_bytes: Annotated[Count, Meta(description="Bytes of messages that wait for one session.")] = 16 << 20
    max_retained_messages: Annotated[Count, Meta(description="Retained messages kept.")] = 100_000
    max_retained_bytes: Annotated[Count, Meta(description="Bytes of retained messages kept, topics included.")] = (
        64 << 20
    )


class ProgramConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a broker and an edge have in common."""

    listen: Annotated[
        tuple[Listener, ...],
        Meta(
            description="Where to listen: `mqtt://HOST[:PORT]`, `coap://HOST[:PORT]`. The system chooses for port 0.",
            extra={"metavar": "URL"},
        ),
    ] = (Listener("mqtt", "127.0.0.1", 1883),)
    data: Annotated[
        Path | None,
        Meta(
            description="Folder for what survives a restart, made if missing. Without it nothing does.",
            extra={"metavar": "DIR"},
        ),
    ] = None
    durability: Annotated[
        Literal["strict", "relaxed"],
        Meta(
            description="With `data`: an acknowledgement waits until what it is for is on the disk (`strict`), or "
            "the disk gets that within a second (`relaxed`): see docs/durability.md.",
            extra={"metavar": "MODE"},
        ),
    ] = "strict"
    settlements: Annotated[
        Path | None,
        Meta(
            description="File that a line is appended to for each message taken and for each end that one comes to: "
            "see docs/settlements.md. It grows by a few hundred bytes a message.",
            extra={"metavar": "FILE"},
        ),
    ] = None
    allow_anonymous: Annotated[
        bool,
        Meta(
            description="Let in clients without a name from anywhere; by default only those on this machine. "
            "CoAP clients have no names yet, so from elsewhere they need this.",
            extra={"metavar": ""},
        ),
    ] = False
    users: Annotated[
        dict[str, str],
        Meta(
            description="Names and passwords of MQTT clients from elsewhere; who is on this machine needs none, so let "
            "no proxy here bring in others. Plain text for now: keep the file readable by Oriole alone."
        ),
    ] = {}
    limits: Annotated[Limits, Meta(description="What peers may use.")] = Limits()
    log_level: Annotated[
        LogLevel, Meta(description="Least important log line to show.", extra={"metavar": "LEVEL"})
    ] = "info"


class BrokerConfig(ProgramConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`oriole broker`."""

    def __post_init__(self) -> None:
        """Raises ValueError for a broker that nobody could reach."""
        if not self.listen:
            raise ValueError("`listen` names no address: nobody could reach this broker")


class EdgeConfig(ProgramConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`oriole edge`."""

    name: Annotated[
        NodeName,
        Meta(
            description="Name of this edge, unique below its broker: up to 64 letters, digits, `.`, `_`, `-`, "
            "beginning with a letter or digit.",
            extra={"metavar": "NAME"},
        ),
    ] = NodeName("edge")
    uplink: Annotated[
        tuple[Uplink, ...],
        Meta(
            description="The broker above: `mqtt://[USER[:PASSWORD]@]HOST[:PORT]`. Several are tried in order. "
            "Without one the edge works alone.",
            extra={"metavar": "URL"},
        ),
    ] = ()
    serial: Annotated[
        tuple[SerialPort, ...],
        Meta(description="Serial ports with devices: `serial:///dev/ttyUSB0?baud=115200`.", extra={"metavar": "URL"}),
    ] = ()
    alarms: Annotated[
        tuple[TopicFilter, ...],
        Meta(description="Topic filters of what goes up before everything else.", extra={"metavar": "FILTER"}),
    ] = ()
    bulk: Annotated[
        tuple[TopicFilter, ...],
        Meta(description="Topic filters of what goes up when nothing else waits.", extra={"metavar": "FILTER"}),
    ] = ()
    max_uplink_queue_bytes: Annotated[
        Count,
        Meta(
            description="Bytes of messages that wait for the uplink, in each class (alarms, bulk, the rest), until "
            "publishers are refused or slowed."
        ),
    ] = 16 << 20


C = TypeVar("C", bound=ProgramConfig)


def from_command_line(program: str, argv: list[str], kind: type[C]) -> C:
    """The configuration that `argv` asks for: `--config FILE`, and every key of `kind` that is an option.

    `program` is the name for usage and errors, like `oriole broker`. An error is printed to stderr and exits with
    status 2; `--help` exits with 0. A list given on the command line replaces the file's.
    """
    parser = argparse.ArgumentParser(program, allow_abbrev=False, epilog="Every key of FILE: docs/configuration.md")
    parser.add_argument("--config", metavar="FILE", help="YAML file with the configuration")
    for key in keys(kind):
        if key.metavar is not None:
            _add_option(parser, key)
    options = vars(parser.parse_args(argv))
    file = options.pop("config")
    try:
        config = load(file, kind) if file else kind()
    except ConfigError as error:
        parser.exit(2, f"{program}: {error}\n")
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    return msgspec.structs.replace(config, **given)


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a configuration: what the types say about it. `metavar` is None where it is no option."""

    name: str
    type: Any
    default: Any
    description: str
    metavar: str | None


def keys(kind: type[Struct]) -> Iterator[Key]:
    """The keys of a configuration structure, those of its base first."""
    for field in msgspec.structs.fields(kind):
        default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        meta = next(meta for meta in reversed(get_args(field.type)) if isinstance(meta, Meta) and meta.description)
        yield Key(field.name, field.type, default, meta.description or "", (meta.extra or {}).get("metavar"))


def _add_option(parser: argparse.ArgumentParser, key: Key) -> None:
    """Add `--key-name`; left out, it leaves no trace, so that the file's value stands."""
    option = f"--{key.name.replace('_', '-')}"
    plain = get_args(key.type)[0]
    if plain is bool:
        parser.add_argument(option, action="store_true", default=argparse.SUPPRESS, help=key.description)
        return
    if get_origin(plain) is Literal:
        choices = get_args(plain)
        parser.add_argument(
            option, choices=choices, metavar=key.metavar, default=argparse.SUPPRESS, help=key.description
        )
        return
    many = get_origin(plain) is tuple
    item = get_args(plain)[0] if many else key.type

    def read(text: str) -> object:
        try:
            return convert(text, item)
        except msgspec.ValidationError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    parser.add_argument(
        option,
        type=read,
        action="extend" if many else "store",
        nargs=1 if many else None,
        metavar=key.metavar,
        default=argparse.SUPPRESS,
        help=key.description + (" May be given several times." if many else ""),
    )
