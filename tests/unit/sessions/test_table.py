"""Sessions for a person: who is most behind comes first, columns line up, and no name can pass for something else."""

from __future__ import annotations

import pytest

from oriole.sessions.row import SessionRow, Totals
from oriole.sessions.table import lines, shown, width


def row(client: str, queued: int = 0, **more: object) -> SessionRow:
    facts = {"subscriptions": 1, "queued_bytes": 100 * queued, "in_flight": 0, "is_full": False}
    return SessionRow(client=client, queued=queued, **{**facts, **more})  # type: ignore[arg-type]


def test_a_table() -> None:
    rows = [
        row("lamp", peer="127.0.0.1:5000", in_flight=3),
        row("设备 7", 12_000, away_s=7200, ends_in_s=86_400, is_full=True),
        row("oriole-edge-attic", 1, away_s=5, node="attic"),
    ]
    rows.sort(key=lambda row: row.rank)
    assert list(lines(rows, Totals.of(rows))) == [
        "CLIENT             STATE               ENDS IN  SUBSCRIPTIONS  QUEUED    BYTES  IN FLIGHT",
        '"设备 7"           away for 2 h 0 min  1 d 0 h              1  12,000  1.1 MiB          0  full',
        "oriole-edge-attic  away for 5 s          never              1       1    100 B          0  node attic",
        "lamp               connected                                1       0      0 B          3",
        "",
        "3 sessions, 1 connected; 12,001 queued (1.1 MiB), 3 in flight; 1 full: nothing more is taken for them",
    ]


def test_no_sessions() -> None:
    assert list(lines([], Totals.of([]))) == ["0 sessions, 0 connected; 0 queued (0 B), 0 in flight"]


def test_who_is_most_behind_comes_first() -> None:
    rows = [row("a"), row("d", 5), row("c", 5, queued_bytes=9999), row("b", in_flight=1)]
    assert [each.client for each in sorted(rows, key=lambda row: row.rank)] == ["c", "d", "b", "a"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lamp-1", "lamp-1"),
        ("灯", "灯"),
        ("", '""'),
        ("a b", '"a b"'),
        ("a\nb", r'"a\nb"'),
        ("\x1b[2J", r'"\x1b[2J"'),
        ("a\u202eb", r'"a\u202eb"'),
        ("e\u0301", r'"e\u0301"'),
        ("a\\nb", r'"a\\nb"'),
        ("\U000e0001", r'"\U000e0001"'),
    ],
)
def test_a_name_is_shown_so_that_it_is_nothing_else(name: str, words: str) -> None:
    assert shown(name) == words


def test_a_long_name_is_shortened_to_what_fits() -> None:
    for client in ("x" * 60_000, "灯" * 60_000):
        line = next(line for line in lines([row(client)], Totals.of([])) if "…" in line)
        assert width(line.partition("…")[0]) in (46, 47)
