"""The demo while it runs: a live table on a terminal, plain lines elsewhere."""

import math

from rich.console import Group
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from firmware_sim.devices.clock import SECOND_NS
from firmware_sim.fleet.fleet import Fleet
from firmware_sim.report.accounts import way_name
from firmware_sim.report.latency import summarise

BLOCKS = "▁▂▃▄▅▆▇█"
ROOMY = 130  # columns of a terminal that has room for what each way means
RECENT = 300  # messages per way that the live latencies are of

MEANING = {
    "edge → edge": "inside a house, its edge between",
    "centre → edge": "from the office to a house with an edge",
    "edge → centre": "from a house with an edge to the office",
    "direct → direct": "inside the house without an edge",
    "centre → direct": "from the office to the house without an edge",
    "broadcast → edge": "from the office to all at once, with an edge",
    "broadcast → direct": "from the office to all at once, without",
    "direct → centre": "from the house without an edge to the office",
}


def picture(fleet: Fleet, width: int) -> Group:
    """The whole screen, `width` columns wide."""
    return Group(_head(fleet), _ways(fleet, has_room=width >= ROOMY), _links(fleet), _economy(fleet))


def _head(fleet: Fleet) -> Panel:
    scenario = fleet.scenario
    now_ns = fleet.ended_ns or fleet.clock.now_ns()
    seconds = (now_ns - fleet.began_ns) / SECOND_NS if fleet.began_ns else 0.0
    ready = sum(device.is_ready for device in fleet.devices.values())
    text = Text(f"{fleet.phase}: {ready} devices connected, {len(fleet.ledger.messages)} messages sent, ")
    text.append(f"{fleet.ledger.received_total} received", style="bold")
    if fleet.phase == "connecting" and (missing := fleet.missing()):
        text.append(f"\nwaiting for {missing}")
    bar = ProgressBar(total=scenario.length, completed=min(seconds, scenario.length))
    return Panel(Group(text, bar), title=scenario.name, title_align="left")


def _ways(fleet: Fleet, has_room: bool) -> Table:
    table = Table(box=None, pad_edge=False, title="pushes", title_justify="left", title_style="bold")
    table.add_column("way", no_wrap=True)
    if has_room:
        table.add_column("", no_wrap=True)
    for column in ("due", "arrived", "p50 ms", "p95 ms", "lately"):
        table.add_column(column, justify="right", no_wrap=True)
    for key, way in sorted(fleet.ledger.ways.items()):
        latency = summarise(took for _, took in way.samples[-RECENT:])
        name = way_name(*key)
        behind = way.due - way.first
        table.add_row(
            name,
            *([Text(MEANING.get(name, ""), style="dim")] if has_room else []),
            str(way.due),
            Text(str(way.first), style="yellow" if behind > 10 else "green"),
            f"{latency.p50_ms:.1f}",
            f"{latency.p95_ms:.1f}",
            Text(_sparkline([took for _, took in way.samples[-24:]])),
        )
    return table


def _links(fleet: Fleet) -> Table:
    table = Table(box=None, pad_edge=False, title="\nlinks", title_justify="left", title_style="bold")
    for column in ("link", "state"):
        table.add_column(column)
    for column in ("up KiB", "down KiB"):
        table.add_column(column, justify="right")
    if fleet.looks:
        last = {each.who: each.what for each in fleet.happenings if each.what in ("cut", "heal")}
        for link, count in fleet.looks[-1].links.items():
            state = Text("cut", style="bold red") if last.get(link) == "cut" else Text("carries", style="green")
            table.add_row(link, state, f"{count.up_bytes / 1024:.0f}", f"{count.down_bytes / 1024:.0f}")
    return table


def _economy(fleet: Fleet) -> Table:
    table = Table(box=None, pad_edge=False, title="\nthe same, by connection", title_justify="left", title_style="bold")
    table.add_column("devices")
    for column in (
        *("over links\nKiB", "delivered\nKiB", "link bytes per\nbyte delivered"),
        *("values\nasked for", "p50 ms"),
    ):
        table.add_column(column, justify="right")
    if not fleet.looks:
        return table
    look = fleet.looks[-1]
    for way, links in fleet.scenario.carriers().items():
        carried = sum(look.links[link].total_bytes for link in links if link in look.links)
        delivered = fleet.ledger.delivered_bytes[way]
        times = [took for connection, _, took, found in fleet.ledger.answers if found and connection == way]
        ratio = f"{carried / delivered:.2f}" if delivered else ""
        p50 = f"{summarise(times[-RECENT:]).p50_ms:.1f}"
        table.add_row(way, f"{carried / 1024:.0f}", f"{delivered / 1024:.0f}", ratio, str(len(times)), p50)
    return table


def _sparkline(times_ns: list[int]) -> str:
    """One block for each time, its height the logarithm: from a tenth of a millisecond to ten seconds."""
    return "".join(BLOCKS[min(7, max(0, round(1.4 * math.log10(max(time, 1) / 100_000))))] for time in times_ns)
