"""Files that a run leaves behind: whether they can be written is found out before the run, not after."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path


def writable(text: str) -> Path:
    """A command line's path of a file to write, which is left as it was. Raises `argparse.ArgumentTypeError`."""
    path = Path(text)
    try:
        is_new = not path.exists() and not path.is_symlink()
        path.open("ab").close()
        if is_new:
            path.unlink()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot write {text}: {error.strerror}") from error
    return path


def write(program: str, files: Mapping[Path, bytes]) -> bool:
    """Write the files. False, and said on stderr: one cannot be written after all (a full disk, a folder that went)."""
    are_written = True
    for path, content in files.items():
        try:
            path.write_bytes(content)
        except OSError as error:
            print(f"{program}: cannot write {path}: {error.strerror}", file=sys.stderr)
            are_written = False
    return are_written
