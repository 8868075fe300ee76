"""Speaking with a node that runs on this machine, over the socket in its data folder."""

from oriole.control.client import Control, ControlError
from oriole.control.lines import MOST_REQUEST_BYTES, SOCKET_NAME, Answer, Request

__all__ = ["MOST_REQUEST_BYTES", "SOCKET_NAME", "Answer", "Control", "ControlError", "Request"]
