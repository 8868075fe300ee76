"""Where behaviour meets protocols: real clients on real sockets (paho-mqtt, aiocoap, pyserial), one class each.

`session` is what the ports elsewhere that use Oriole's own MQTT client have in common.
"""

from firmware_sim.ports.real import Address, Inside, new_port

__all__ = ["Address", "Inside", "new_port"]
