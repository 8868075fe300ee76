"""`oriole fleet check`: what a scenario would be, in a few lines, without running it."""

from collections import Counter
from collections.abc import Iterator

from firmware_sim.scenario.file import Scenario
from firmware_sim.scenario.plan import plan
from firmware_sim.scenario.roster import roster


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
    actions = Counter(action.do for action in plan(scenario, members, scenario.seed))
    verbs = ", ".join(f"{count} {verb}" for verb, count in actions.most_common())
    yield f"  planned   {sum(actions.values())} actions: {verbs}"
    for expectation in scenario.expectations:
        waits = f" (waiting for {expectation.waits_for})" if expectation.waits_for else ""
        yield f"  expects   {expectation}{waits}"
