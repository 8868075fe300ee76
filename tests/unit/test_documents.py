"""The pages that a newcomer reads: links lead somewhere, commands exist, and both languages show the same."""

import re
from pathlib import Path

import pytest

from oriole.cli import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "deploy").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def shown(page: str) -> list[str]:
    """What a reader is told to type: the lines of the blocks, without their comments."""
    blocks = re.findall(r"^```.*?\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [re.sub(r"\s+#.*", "", line) for block in blocks for line in block.splitlines()]


def test_both_languages_show_the_same() -> None:
    assert shown("README.zh-CN.md") == shown("README.md")


def test_the_commands_and_targets_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"^(?:`?)oriole (\w+)", "\n".join(shown("README.md")), re.MULTILINE))
    assert commands
    assert commands <= COMMANDS.keys()
    targets = set(re.findall(r"\bmake ([a-z]+)\b", text)) - {"what"}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [target for target in targets if f"\n{target}:" not in makefile] == []
