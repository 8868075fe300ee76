"""What becomes of the socket of a device that has lost its power: it hears nothing, and says no goodbye.

Closing it would not be silent: the kernel says goodbye, and refuses what comes afterwards. So its owner keeps it open,
behind a filter that lets no packet in. That is to be had on Linux, without any privilege.
"""

import contextlib
import ctypes
import socket
import struct

SO_ATTACH_FILTER = 26
NOTHING = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0), 8)
"""A packet filter of one instruction, BPF_RET | BPF_K: keep 0 bytes of the packet, which drops it."""
PROGRAM = struct.pack("HP", 1, ctypes.addressof(NOTHING))


def silence(sock: socket.socket) -> None:
    """Let nothing in any more, not even acknowledgements. Where that cannot be done, nothing happens."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, PROGRAM)


def abort(sock: socket.socket) -> None:
    """Close a TCP socket without waiting for what it has not yet got rid of."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
