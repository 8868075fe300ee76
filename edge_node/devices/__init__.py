"""Devices on serial lines: recipients and publishers like any other, behind ports that come and go."""

from edge_node.devices.port import Port, log_noise
from edge_node.devices.registry import DeviceLimits, Devices

__all__ = ["DeviceLimits", "Devices", "Port", "log_noise"]
