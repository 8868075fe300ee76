"""Log lines: readable, split by a program, and not to be forged by a peer."""

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oriole.logging import Log, set_up


@pytest.fixture(autouse=True)
def restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def written(level: str, event: str, **fields: object) -> str:
    stream = io.StringIO()
    set_up("debug", stream)
    getattr(Log("mqtt"), level)(event, **fields)
    return stream.getvalue()


def test_a_line() -> None:
    line = written("info", "client gone", client="lamp", reason="keep alive timeout", bytes=3, topic=b"a/\xff")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info mqtt client gone "
        r'client=lamp reason="keep alive timeout" bytes=3 topic=a/\\xff\n',
        line,
    )


def test_levels() -> None:
    stream = io.StringIO()
    set_up("warning", stream)
    log = Log("mqtt")
    log.info("unseen")
    log.warning("seen")
    assert [line.split()[1:] for line in stream.getvalue().splitlines()] == [["warning", "mqtt", "seen"]]


def test_libraries_speak_from_warning_on() -> None:
    stream = io.StringIO()
    set_up("debug", stream)
    logging.getLogger("asyncio").info("unseen")
    logging.getLogger("asyncio").warning("100%% %s", "seen")
    assert [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()] == ["warning asyncio 100% seen"]


def test_warnings_of_python_are_lines() -> None:
    stream = io.StringIO()
    set_up("info", stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert "py.warnings" in stream.getvalue()


def test_an_error_keeps_its_traceback() -> None:
    try:
        raise ValueError("inside")
    except ValueError as error:
        lines = written("error", "tick failed", error=error).splitlines()
    assert lines[0].endswith("error mqtt tick failed")
    assert lines[-1] == "ValueError: inside"


@given(st.text())
def test_a_value_stays_one_value_on_one_line(value: str) -> None:
    text = written("info", "refused", client=value, last="x")
    assert len(text.splitlines()) == 1
    assert text.endswith(" last=x\n")
    shown = text.split(" client=", 1)[1].removesuffix(" last=x\n")
    assert (json.loads(shown) if shown.startswith('"') else shown) == value
