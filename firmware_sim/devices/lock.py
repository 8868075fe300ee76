"""A door lock."""

from random import Random

from .device import Device
from .stamp import Values

ACTIONS = ("lock", "unlock")


class Lock(Device):
    """Locks and unlocks, when it is told and not later: nobody wants yesterday's `unlock` obeyed when it comes back."""

    kind = "lock"
    order_lifetime_s = 10

    def reset(self) -> None:
        self.is_locked = True

    @staticmethod
    def an_order(random: Random) -> Values:
        return {"action": random.choice(ACTIONS)}

    def state(self) -> Values:
        return {"locked": self.is_locked}

    def obey(self, order: Values) -> None:
        if order["action"] not in ACTIONS:
            raise ValueError(f"`action` is {order['action']!r}, not one of {', '.join(ACTIONS)}")
        self.is_locked = order["action"] == "lock"
