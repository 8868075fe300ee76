"""Every kind of device. A new kind is a file and a line here."""

from .device import Device
from .herald import Herald
from .lamp import Lamp
from .relay import Relay
from .remote import Remote
from .thermostat import Thermostat
from .watch import Watch

KINDS: dict[str, type[Device]] = {kind.kind: kind for kind in (Lamp, Watch, Thermostat, Relay, Remote, Herald)}
