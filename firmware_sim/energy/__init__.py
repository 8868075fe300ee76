"""What a device's radio spends: modelled charge, cause by cause, from what was sent and received and when.

Pure: time is integer nanoseconds and an argument, nothing is drawn. `docs/energy.md` lists what every number rests on.
"""

from firmware_sim.energy.charge import Charge
from firmware_sim.energy.handshake import HANDSHAKES, Handshake
from firmware_sim.energy.radio import Radio
from firmware_sim.energy.radios import RADIOS, new_radio

__all__ = ["HANDSHAKES", "RADIOS", "Charge", "Handshake", "Radio", "new_radio"]
