"""A wall clock that can jump, for one program: a small library is loaded before its libc (`clock.c`)."""

import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")
SECOND_NS = 1_000_000_000


class WallClock:
    """The clock of one program, in `folder`. Raises OSError where it cannot be made: it needs a C compiler."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            raise OSError("a clock that jumps needs a C compiler (cc)")
        self._offset_ns = 0
        self._file = folder / "clock"
        self._library = folder / "clock.so"
        self._write()
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(self._library), str(SOURCE), "-ldl"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"the clock that jumps does not compile: {done.stderr.strip()}")

    @property
    def environment(self) -> dict[str, str]:
        """What the program is to be started with."""
        return {"LD_PRELOAD": str(self._library), "ORIOLE_CLOCK_FILE": str(self._file)}

    def jump(self, by_s: float) -> None:
        """From now on it is so much later, or earlier."""
        self._offset_ns += round(by_s * SECOND_NS)
        self._write()

    def _write(self) -> None:
        """In place: the program has the file mapped."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", self._offset_ns))
