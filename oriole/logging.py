"""Log lines that a person can read and a program can split: `2026-11-23T13:41:37.120Z info mqtt client gone id=lamp`.

Lines go to stderr. A value that comes from a peer cannot end its line or pretend to be another field. Nothing here is
for single messages: those are counted (`oriole.metrics`).
"""

import json
import logging
import re
import sys
import time
from typing import TextIO

_PLAIN = re.compile(r"[^\s\"'=\x00-\x20\x7f-\xa0\u2028\u2029]+")


class Log:
    """The log of one part of a program. A method per level: `log.info("client gone", client=name)`."""

    __slots__ = ("_logger",)

    def __init__(self, part: str) -> None:
        self._logger = logging.getLogger(f"oriole.{part}")

    def debug(self, event: str, **fields: object) -> None:
        """For who looks for a fault in Oriole."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Something changed, as it should."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something is wrong outside, and was dealt with."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, error: BaseException | None = None, **fields: object) -> None:
        """Something is wrong inside, or stays wrong until a person acts; the traceback of `error` follows."""
        self._write(logging.ERROR, event, fields, error)

    def _write(self, level: int, event: str, fields: dict[str, object], error: BaseException | None = None) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", event, extra={"fields": fields}, exc_info=error)


class _Lines(logging.Formatter):
    """One line per record: time in UTC, level, part, event, fields."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        part = record.name.removeprefix("oriole.")
        fields = "".join(f" {name}={_shown(value)}" for name, value in getattr(record, "fields", {}).items())
        event = " ".join(record.getMessage().splitlines())
        line = f"{stamp}.{int(record.msecs):03}Z {record.levelname.lower()} {part} {event}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def set_up(level: str, stream: TextIO | None = None) -> None:
    """Show lines of `level` (debug, info, warning, error) and above, of libraries from warning on.

    To `stream`, or to stderr. Called once, by the program; called again, it replaces what it set.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(_Lines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    logging.getLogger("oriole").setLevel(level.upper())
    logging.captureWarnings(True)


def _shown(value: object) -> str:
    """`value` in one word, or as a JSON string where it is not one."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
