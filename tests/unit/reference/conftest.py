"""Lets tests import the reference, and of the device what a board would have in its file system."""

import sys
from pathlib import Path

REFERENCE = Path(__file__).parents[3] / "reference"
sys.path += [str(REFERENCE), str(REFERENCE / "micropython")]
