"""A number of the energy model, and what it rests on: somebody's publication, a fit, or an assumption.

A fit names the anchors (`anchors.py`) that it used up. It does not know whether the model then meets others.
"""

from typing import Literal

import msgspec

Origin = Literal["sourced", "fitted", "assumed"]


class Provenance(msgspec.Struct, frozen=True):
    """Where a number is from."""

    origin: Origin
    """`sourced`: published; `fitted`: chosen so that the model meets anchors; `assumed`: neither."""
    why: str
    """The publication, how it was fitted, or what speaks for it."""
    anchors: tuple[str, ...] = ()
    """The keys of the anchors that a fit used; these prove nothing afterwards."""


class Parameter(msgspec.Struct, frozen=True):
    """A value, in the unit that the name of its field ends with."""

    value: float
    """The number."""
    provenance: Provenance
    """What it rests on."""


def sourced(value: float, publication: str) -> Parameter:
    """A number that stands in a publication, or follows from numbers there by arithmetic."""
    return Parameter(value, Provenance("sourced", publication))


def fitted(value: float, how: str, *anchors: str) -> Parameter:
    """A number chosen so that the model meets `anchors`."""
    return Parameter(value, Provenance("fitted", how, anchors))


def assumed(value: float, reason: str) -> Parameter:
    """A number that nobody published for this radio."""
    return Parameter(value, Provenance("assumed", reason))
