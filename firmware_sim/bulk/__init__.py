"""Devices in bulk: tens of thousands in a process of their own, which says how late it was itself.

They are the very devices of a fleet, with the same plan and the same stamps. What is thin is their client (Oriole's own
instead of paho) and their books (ranges of numbers instead of a line per message). A report says so.
"""

from firmware_sim.bulk.config import BulkConfig, Group, TargetOf
from firmware_sim.bulk.handle import Bulk, BulkError
from firmware_sim.bulk.orders import Do, Progress
from firmware_sim.bulk.plan import Step, planned
from firmware_sim.bulk.result import BulkResult

__all__ = ["Bulk", "BulkConfig", "BulkError", "BulkResult", "Do", "Group", "Progress", "Step", "TargetOf", "planned"]
