"""The page about the configuration is the one that the types give."""

from pathlib import Path

from oriole.config import BrokerConfig, EdgeConfig, Limits, keys
from oriole.config_reference import markdown

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == markdown(), "run `make docs`"


def test_every_key_is_on_the_page_once() -> None:
    page = markdown()
    names = [key.name for kind in (EdgeConfig, Limits) for key in keys(kind)]
    assert {key.name for key in keys(BrokerConfig)} <= set(names)
    assert [name for name in names if page.count(f"\n| `{name}` |") != 1] == []
