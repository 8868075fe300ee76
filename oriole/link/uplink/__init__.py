"""The uplink's stream between two Oriole nodes: an MQTT 5 profile (docs/uplink.md).

Messages carry stamps as user properties: where they stand in the sender's numbering, where in the centre's order, which
nodes they have passed. Any MQTT 5 broker carries them; an Oriole centre reads them.
"""

from oriole.link.uplink.marks import Mark, Marks
from oriole.link.uplink.stamps import EPOCH, MOST_STAMP_BYTES, NODE, SNAPSHOT_END, Greeting, Stamp, StampError
from oriole.link.uplink.window import Window

__all__ = [
    "EPOCH",
    "MOST_STAMP_BYTES",
    "NODE",
    "SNAPSHOT_END",
    "Greeting",
    "Mark",
    "Marks",
    "Stamp",
    "StampError",
    "Window",
]
