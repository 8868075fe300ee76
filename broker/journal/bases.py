"""A base: one file that stands for all segments up to a number, so that these can go.

What is in it (a node's state as batches) is up to who writes it. It has its name only when it is whole, and it ends
with an empty frame, so that one that was cut short later is not believed to be all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from broker.journal.files import HEADER_BYTES, boottime_ms, create, drop_superseded, name, new_header, publish, write
from broker.journal.frames import head, mark

_PIECE_BYTES = 1 << 20


def write_base(folder: Path, upto: int, position: int, blobs: Iterable[bytes], *, node: bytes, epoch: bytes) -> None:
    """Make the base that stands for segments up to number `upto`, and drop what it stands for. Raises OSError.

    `blobs` are its batches, none of them empty; together they are the sum of all batches up to `position`. Batches up
    to there that lie in later segments are not read any more. The segments up to `upto` must be closed, and read by
    nobody.
    """
    header = new_header(upto, position, node, epoch)
    file = create(folder, "base", header)
    try:
        begins = mark("base", upto)
        now, offset = boottime_ms(), HEADER_BYTES
        piece = bytearray()
        for blob in blobs:
            piece += head(begins, position, position, now, blob)
            piece += blob
            if len(piece) >= _PIECE_BYTES:
                write(file, bytes(piece), offset)
                offset += len(piece)
                piece.clear()
        piece += head(begins, position, position, now, b"")
        write(file, bytes(piece), offset)
        publish(folder, "base", header, file)
    except OSError:
        (folder / f"{name('base', upto)}.new").unlink(missing_ok=True)  # room that others need
        raise
    finally:
        os.close(file)
    drop_superseded(folder)
