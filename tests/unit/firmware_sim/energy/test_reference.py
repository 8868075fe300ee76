"""The page about energy is the one that radios and anchors give."""

from pathlib import Path

from firmware_sim.energy import RADIOS
from firmware_sim.energy.reference import markdown

PAGE = Path(__file__).parents[4] / "docs" / "energy.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == markdown(), "run `make docs`"


def test_every_radio_is_on_the_page() -> None:
    page = markdown()
    assert [name for name in RADIOS if page.count(f"\n| `{name}` | {RADIOS[name].description} |") != 1] == []
