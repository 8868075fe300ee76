"""Names of devices and places: levels of topics, and no more than every protocol carries."""

import pytest

from firmware_sim.devices.names import check_name
from oriole.wire.topics import TopicError


@pytest.mark.parametrize("name", ["lamp", "ground floor/lamp", "灯", "a$b", 64 * "x"])
def test_a_name(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name", ["", "a/#", "+", "a\0b", "$SYS", "a//b", "/a", "a/", "two\nlines", 65 * "x", 22 * "灯", "\udcff"]
)
def test_no_name(name: str) -> None:
    with pytest.raises(TopicError):
        check_name(name)
