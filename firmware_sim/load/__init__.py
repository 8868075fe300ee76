"""The load generator: drives a broker with MQTT clients in bulk, checks every message, measures its process."""

from firmware_sim.load.errors import LoadError
from firmware_sim.load.generator import Generator
from firmware_sim.load.process import ProcessGoneError
from firmware_sim.load.report import Report
from firmware_sim.load.workload import Workload, WorkloadError

__all__ = ["Generator", "LoadError", "ProcessGoneError", "Report", "Workload", "WorkloadError"]
