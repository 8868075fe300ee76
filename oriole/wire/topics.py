"""Topic names and topic filters: what is well formed, and what matches what.

MQTT 5.0 §4.7 and §4.8.2; version 3.1.1 says the same in other words. `matches` is the reference: short, slow and
plainly right. The broker's trie is tested against it.
"""

from typing import Final

MAX_TOPIC_BYTES: Final = 65_535
"""What the two-byte length in front of a string can say. [MQTT-4.7.3-3]"""

MAX_TOPIC_LEVELS: Final = 128
"""Ours: a walk over levels must not be as deep as a peer likes (CVE-2019-11779 was 65,000 slashes)."""

SHARE_PREFIX: Final = "$share/"


class TopicError(ValueError):
    """A topic name or filter that is not well formed; the text says why."""


class TooManyLevels(TopicError):  # noqa: N818 - says what is wrong
    """Well formed, but with more than MAX_TOPIC_LEVELS levels."""


def check_topic_name(topic: str) -> None:
    """Raise TopicError unless a message may be published to `topic`. [MQTT-4.7.0-1] [MQTT-4.7.3-1]"""
    _check_text(topic, "topic name")
    if "+" in topic or "#" in topic:
        raise TopicError(f"a topic name has no wildcards: {topic!r}")


def check_topic_filter(filter: str) -> None:
    """Raise TopicError unless `filter` may be subscribed to; `$share/NAME/FILTER` included. [MQTT-4.7.1-1]"""
    _check_text(filter, "topic filter")
    levels = split_share(filter)[1].split("/")
    if "#" in levels[:-1]:
        raise TopicError(f"'#' is only allowed as the last level: {filter!r}")
    if any(len(level) > 1 and ("+" in level or "#" in level) for level in levels):
        raise TopicError(f"a wildcard fills its whole level: {filter!r}")


def split_share(filter: str) -> tuple[str | None, str]:
    """`$share/NAME/FILTER` -> (NAME, FILTER); any other filter -> (None, filter).

    Raises TopicError when NAME or FILTER is missing or NAME has a wildcard. [MQTT-4.8.2-1] [MQTT-4.8.2-2]
    """
    if not filter.startswith(SHARE_PREFIX):
        return None, filter
    name, _, shared = filter.removeprefix(SHARE_PREFIX).partition("/")
    if not name or not shared or "+" in name or "#" in name:
        raise TopicError(f"a shared subscription is $share/NAME/FILTER, NAME without wildcards: {filter!r}")
    return name, shared


def matches(filter: str, topic: str) -> bool:
    """Whether a message to `topic` is for `filter`; both well formed, `filter` without its `$share/NAME/`.

    A filter that starts with a wildcard matches no topic that starts with `$`. [MQTT-4.7.2-1]
    """
    if topic.startswith("$") and filter[0] in "+#":
        return False
    wanted, levels = filter.split("/"), topic.split("/")
    if wanted[-1] == "#":  # matches its parent too: "a/#" is for "a"
        wanted.pop()
        levels = levels[: len(wanted)]
    return len(wanted) == len(levels) and all(want in ("+", level) for want, level in zip(wanted, levels, strict=True))


def _check_text(text: str, what: str) -> None:
    if not text:
        raise TopicError(f"a {what} has at least one character")
    if "\0" in text:
        raise TopicError(f"a {what} has no null character: {text!r}")  # [MQTT-4.7.3-2]
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise TopicError(f"a {what} has no surrogates: {text!r}") from None
    if length > MAX_TOPIC_BYTES:
        raise TopicError(f"a {what} is at most {MAX_TOPIC_BYTES} bytes long, this one has {length}")
    if text.count("/") >= MAX_TOPIC_LEVELS:
        raise TooManyLevels(f"a {what} has at most {MAX_TOPIC_LEVELS} levels, this one has {text.count('/') + 1}")
