"""Devices in bulk: tens of thousands in a process of their own, which says how late it was itself.

They are the very devices of a fleet, with the same plan, the same stamps and the same account. What is thin is their
client: Oriole's own instead of paho's. A report says so.
"""

from firmware_sim.bulk.config import BulkConfig
from firmware_sim.bulk.handle import Bulk, BulkError
from firmware_sim.bulk.histogram import Histogram
from firmware_sim.bulk.orders import Closed, Do, Progress

__all__ = ["Bulk", "BulkConfig", "BulkError", "Closed", "Do", "Histogram", "Progress"]
