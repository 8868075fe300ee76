"""Where behaviour meets protocols: real clients on real sockets (paho-mqtt, aiocoap, pyserial), one class each."""

from firmware_sim.ports.real import Address, Inside, new_port

__all__ = ["Address", "Inside", "new_port"]
