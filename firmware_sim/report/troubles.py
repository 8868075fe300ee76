"""Who was in what trouble, and from when to when: each incident of a story paired with what ended it.

The devices of a population are one here: what overlaps is one trouble of several of them.
"""

from collections import defaultdict
from dataclasses import dataclass

from firmware_sim.scenario.plan import ENDS

from .accounts import population_of
from .story import Story

WORDS = {
    "cut": "cut",
    "change": "changed",
    "readdress": "new address",
    "kill": "killed",
    "power_cut": "without power",
    "power_off": "switched off",
    "pause": "stood still",
    "fill_disk": "disk full",
    "jump_clock": "clock jumped",
    "slow": "did not read",
    "noise": "noisy line",
    "unplug": "unplugged",
    "roam": "roamed",
    "update": "updated",
}
"""What each is called; what is not here is no trouble, but the end of one."""
_ENDS = {**ENDS, "power_off": "power_on"}
_APART = 300  # so many troubles of one kind and of one population can be told apart in a plot


@dataclass(slots=True, frozen=True)
class Trouble:
    """`who` is a node, a link, or a population, of which so many devices were hit (0: it is none)."""

    who: str
    what: str
    start_ns: int
    end_ns: int
    """The same as `start_ns` for what takes no time."""
    devices: int

    @property
    def words(self) -> str:
        """For people."""
        count = f"{self.devices} × " if self.devices > 1 else ""
        return f"{count}{self.who} {WORDS[self.what]}"


def troubles(story: Story) -> list[Trouble]:
    """All of them, in the order of their beginnings."""
    spells: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)  # by whom or what, by what
    for cut in story.cuts:
        spells[cut.link, "cut"].append((cut.start_ns, cut.end_ns))
    standing: dict[tuple[str, str], int] = {}
    for incident in story.incidents:
        who = incident.who
        for begin, end in _ENDS.items():
            if incident.what == end and (who, begin) in standing:
                spells[who, begin].append((standing.pop((who, begin)), incident.at_ns))
        if incident.what in _ENDS:
            standing.setdefault((who, incident.what), incident.at_ns)
        elif incident.what in WORDS:
            spells[who, incident.what].append((incident.at_ns, incident.at_ns))
    for key, start_ns in standing.items():
        spells[key].append((start_ns, story.ended_ns))
    return sorted(_together(spells, (story.ended_ns - story.began_ns) // _APART), key=lambda each: each.start_ns)


def _together(spells: dict[tuple[str, str], list[tuple[int, int]]], apart_ns: int) -> list[Trouble]:
    """Those of one population merged, where they overlap or nearly do."""
    groups: defaultdict[tuple[str, str], list[tuple[int, int, str]]] = defaultdict(list)
    for (who, what), each in spells.items():
        groups[population_of(who) or who, what] += [(start_ns, end_ns, who) for start_ns, end_ns in each]
    merged: list[Trouble] = []
    for (who, what), members in groups.items():
        start_ns, end_ns, names = 0, 0, dict[str, None]()
        for start, end, name in sorted(members):
            if names and start > end_ns + apart_ns:
                merged.append(Trouble(who, what, start_ns, end_ns, _devices(who, names)))
                names = {}
            start_ns, end_ns = (start_ns, max(end_ns, end)) if names else (start, end)
            names[name] = None
        merged.append(Trouble(who, what, start_ns, end_ns, _devices(who, names)))
    return merged


def _devices(who: str, names: dict[str, None]) -> int:
    return 0 if who in names else len(names)
