"""docs/energy.md, written from the radios and the anchors: `python -m firmware_sim.energy.reference`."""

from collections.abc import Sequence

from firmware_sim.energy.anchors import Anchor, anchors
from firmware_sim.energy.handshake import HANDSHAKES
from firmware_sim.energy.parameter import Provenance
from firmware_sim.energy.profile import Profile, Stage
from firmware_sim.energy.radios import RADIOS

_INTRODUCTION = """\
# Energy

<!-- Written by `make docs` from firmware_sim/energy. -->

A profile in a scenario may name a `radio` and a `battery_mwh`. What the radio would have spent is then worked out from
what the device sent and received, and when, and a report says **modelled** next to it. Nothing is measured.

A radio is a staircase of stages that it goes down while nothing happens. Its charge has seven causes: **rest** (asleep,
idle, off), **poll** (beacons, data polls, connection events, paging), **wake** (from rest to where something can be
sent), **transmit** and **receive** (bytes, headers and gaps on the air), **tail** (awake after the last message) and
**handshake** (what setting up a session takes besides messages). Charge times supply voltage is energy, and a battery
is its energy.

Not modelled: the rest of the device (processor, sensors, screen); cryptography; signal strength and what it changes;
what the link layer repeats (what a protocol repeats is sent again, and counted); TCP's bare acknowledgements; record
headers of TLS; waiting for a poll before something arrives; self-discharge and ageing of batteries. A device in power
saving mode, whom no network can reach, is charged a wake for what reaches it all the same. Polls are charged by time,
without a phase.
"""

_ANCHORS = """\
## How far to believe it

Published figures for whole radios against the model's. *Reproduced*: predicted, from numbers that know nothing of the
figure. *Fitted*: a number was chosen so that it comes out; it proves nothing. *Arithmetic*: the figure is made of
numbers that the model was given; it shows that the machine adds up.

Nordic's totals and their parts come from one measurement: agreement shows that the parts are all there. Of TR 45.820's
two lives only one is a prediction. What it takes to leave power saving mode is assumed; with anything from nothing to
twice as much, and the bit rate fitted again, the predicted life stays within 15 %. The report's own durations were not
to be had; at the 160 bit/s that its study asked for at least, the two lives would be 0.55 and 10.1 years.
"""

_PARAMETERS = """\
## Every number

Units are at the end of the names. *Sourced*: published, or arithmetic on what is. *Fitted*: to the anchors named.
*Assumed*: neither. A fleet's joules are no better than the assumed numbers among them; comparisons of two runs with the
same radio are better than either.
"""


def markdown() -> str:
    """The whole page."""
    return "\n".join(
        (
            _INTRODUCTION,
            "## Radios\n",
            _table(
                ("`radio`", "what it is", "stages after a message", "while its device sleeps"),
                [_radio_row(name, profile) for name, profile in RADIOS.items()],
            ),
            _ANCHORS,
            _table(("figure", "published", "model", "off by", "", "by"), [_anchor_row(anchor) for anchor in anchors()]),
            _PARAMETERS,
            _table(("radios", "numbers", "", "from"), _parameter_rows()),
            "Handshakes, by what carries the session:\n",
            _table(
                ("handshake", "bytes sent", "bytes received", "", "from"),
                [
                    (name, _sizes(each.sent_bytes), _sizes(each.received_bytes), *_origin(each.provenance))
                    for name, each in HANDSHAKES.items()
                ],
            ),
        )
    )


def _radio_row(name: str, profile: Profile) -> tuple[str, ...]:
    stages = ", then ".join(_stage(stage) for stage in profile.stages)
    return f"`{name}`", profile.description, stages, _stage(profile.off) if profile.off else "the same"


def _stage(stage: Stage) -> str:
    parts = [stage.name]
    if stage.lasts_ms is not None:
        parts.append(f"{stage.lasts_ms.value / 1000:g} s")
    parts += [f"{poll.name} every {poll.every_ms.value / 1000:.4g} s" for poll in stage.polls]
    return parts[0] + (f" ({', '.join(parts[1:])})" if parts[1:] else "")


def _anchor_row(anchor: Anchor) -> tuple[str, ...]:
    unit = anchor.unit
    return (
        anchor.what,
        f"{anchor.asked:g} {unit}",
        f"{anchor.model():.4g} {unit}",
        f"{round(100 * anchor.error, 1) + 0.0:+.1f} %",  # adding nothing makes -0.0 a 0.0
        anchor.status,
        anchor.publication,
    )


def _parameter_rows() -> list[tuple[str, ...]]:
    """Numbers that the same radios have from the same source share a row."""
    holders: dict[tuple[str, float, Provenance], list[str]] = {}
    for name, profile in RADIOS.items():
        for label, parameter in profile.parameters():
            holders.setdefault((label, parameter.value, parameter.provenance), []).append(name)
    rows: dict[tuple[tuple[str, ...], Provenance], list[str]] = {}
    for (label, value, provenance), names in holders.items():
        rows.setdefault((tuple(names), provenance), []).append(f"{label} {round(value, 2):,.12g}")
    return [
        (_pattern(names), "; ".join(numbers), *_origin(provenance)) for (names, provenance), numbers in rows.items()
    ]


def _origin(provenance: Provenance) -> tuple[str, str]:
    to = f" ({', '.join(provenance.anchors)})" if provenance.anchors else ""
    return provenance.origin, provenance.why + to


def _pattern(names: Sequence[str]) -> str:
    """The names, by what they begin with where that says the same."""
    first = names[0]
    ends = range(len(first), 0, -1)
    prefix = next((first[:end] for end in ends if all(name.startswith(first[:end]) for name in names)), "")
    if len(names) > 1 and [name for name in RADIOS if name.startswith(prefix)] == list(names):
        return f"`{prefix}*`"
    return ", ".join(f"`{name}`" for name in names)


def _sizes(sizes: tuple[int, ...]) -> str:
    return ", ".join(map(str, sizes)) or "none"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    print(markdown(), end="")
