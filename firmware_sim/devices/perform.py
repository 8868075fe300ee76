"""What a plan does to a device: its own steps, and what others do to it."""

from .device import Device
from .stamp import Values


def perform(device: Device, verb: str, values: Values) -> None:
    """Do what is planned for now; `values` is what the verb needs."""
    match verb:
        case "power_on":
            device.power_on()
        case "power_off":
            device.power_off()
        case "fail":
            device.fail(values["keeps_state"], values["silently"])
        case "pause" | "go_on":
            device.pause(verb == "pause")
        case "slow" | "read_on":
            device.stall(verb == "slow")
        case "roam":
            device.roam()
        case _:
            device.do(verb, values)
