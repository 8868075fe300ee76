"""Every kind of device. A new kind is a file and a line here."""

from .button import Button
from .dashboard import Dashboard
from .device import Device
from .herald import Herald
from .lamp import Lamp
from .lock import Lock
from .meter import Meter
from .motion import Motion
from .poisonous import Poisonous
from .relay import Relay
from .remote import Remote
from .thermostat import Thermostat
from .tracker import Tracker
from .updater import Updater
from .watch import Watch

KINDS: dict[str, type[Device]] = {
    kind.kind: kind
    for kind in (
        Lamp, Thermostat, Lock, Motion, Button, Meter, Watch, Tracker, Relay, Dashboard, Remote, Herald, Updater,
        Poisonous,
    )
}  # fmt: skip
