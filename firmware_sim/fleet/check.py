"""`oriole fleet check`: what a scenario would be, in a few lines, without running it."""

import math
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from firmware_sim.scenario.file import Scenario
from firmware_sim.scenario.plan import Action, plan
from firmware_sim.scenario.roster import roster
from firmware_sim.scenario.values import SECOND_NS, Duration

MOST_COUNTED = 1_000_000
"""Actions are drawn one by one, a million in a second or two: a year of short beats has more than anybody waits for."""


def describe(scenario: Scenario) -> Iterator[str]:
    """Lines for people."""
    members = roster(scenario)
    bulk = sum(member.population.bulk for member in members)
    kinds = Counter(member.kind.kind for member in members)
    yield f"{scenario.name}: {scenario.about}" if scenario.about else scenario.name
    real = scenario.compressed().length
    compressed = f"; on real sockets compressed by {scenario.compress:g} to {real}" if scenario.compress != 1 else ""
    yield f"  length    {scenario.length}{compressed}"
    nodes = (
        f"{name} ({node.kind}{f' of {node.uplink}' if node.uplink else ''})" for name, node in scenario.nodes.items()
    )
    yield f"  nodes     {', '.join(nodes)}"
    if scenario.links:
        yield f"  links     {', '.join(scenario.links)}"
    by_kind = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    yield f"  devices   {len(members)}: {by_kind}{f'; {bulk} of them in bulk' if bulk else ''}"
    yield f"  planned   {_planned(plan(scenario, members, scenario.seed))}"
    for expectation in scenario.expectations:
        waits = f" (waiting for {expectation.waits_for})" if expectation.waits_for else ""
        yield f"  expects   {expectation}{waits}"


def _planned(actions: Iterator[Action]) -> str:
    """How many actions there are, by verb; of very many, how soon there are so many."""
    counts: Counter[str] = Counter()
    at_ns = 0
    for action in islice(actions, MOST_COUNTED):
        counts[action.do] += 1
        at_ns = action.at_ns
    total = f"{counts.total()} actions"
    if next(actions, None) is not None:
        total = f"more than {total}, so many within {Duration(60 * math.ceil(at_ns / (60 * SECOND_NS)))}"
    return f"{total}: {', '.join(f'{count} {verb}' for verb, count in counts.most_common())}"
