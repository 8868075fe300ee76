"""The journal of a real process on a real disk: one that is killed, and one whose disk is full."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

from integration.test_fleet_worlds import need_root

from broker.journal.reading import Reading

ROUNDS = 20

WRITER = """
import os, sys
from pathlib import Path
from time import sleep
from broker.core.promises import JournalError
from broker.journal.disk import DiskJournal

def report(position):
    os.write(1, b"%d\\n" % position)

journal = DiskJournal(Path(sys.argv[1]), report, print, print, node=bytes(16), epoch=bytes(16), segment_bytes=1 << 16)
report(journal.committed)
while True:
    try:
        journal.append(b"%d " % (journal.committed // 1000) * 20)
    except JournalError:
        sleep(0.001)
"""


def test_what_a_killed_process_reported_is_read_again(tmp_path: Path) -> None:
    chance = random.Random(1)
    folder = tmp_path / "journal"
    folder.mkdir()
    reported = 0
    for _ in range(ROUNDS):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            began = int(child.stdout.readline())
            assert began >= reported
            time.sleep(chance.uniform(0, 0.05))
            child.kill()
            lines = child.stdout.read().splitlines(keepends=True)
        reported = max([began, *(int(line) for line in lines if line.endswith("\n"))])
        reading = Reading(folder, set_aside=False)
        positions = [frame.position for frame in reading]
        assert reading.damages == []
        assert positions == list(range(1, len(positions) + 1))
        assert len(positions) >= reported
    assert reported > ROUNDS


CROWDED = """
import json, os, sys
from pathlib import Path
from threading import Event
from broker.core.promises import JournalError
from broker.journal.disk import DiskJournal
from broker.journal.reading import Reading

folder = Path(sys.argv[1])
ballast = folder / "ballast"
ballast.write_bytes(bytes(400_000))
commits, failures, failed, recovered, done = [], [], Event(), Event(), Event()

def on_commit(position):
    commits.append(position)
    if recovered.is_set():
        done.set()

def on_failure(reason):
    failures.append(reason)
    failed.set()

journal = DiskJournal(
    folder, on_commit, on_failure, recovered.set, node=bytes(16), epoch=bytes(16), segment_bytes=1 << 17
)
taken = 0
try:
    while True:
        taken = journal.append(bytes(1000))
except JournalError:
    pass
assert failed.wait(20)
safe = journal.committed
journal.resume()
is_early = recovered.wait(1.5)
ballast.unlink()
assert recovered.wait(20)
again = journal.append(b"after")
assert done.wait(20)
journal.close()
reading = Reading(folder)
frames = [(frame.position, len(frame.blob)) for frame in reading]
print(json.dumps([taken, safe, is_early, failures, again, commits[-1], frames, len(reading.damages)]))
"""


def test_a_full_disk_costs_nothing_that_was_safe_and_is_left_when_there_is_room(tmp_path: Path) -> None:
    need_root()
    command = 'mount -t tmpfs -o size=1m none "$1" && exec "$2" -c "$3" "$1"'
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command, "sh", tmp_path, sys.executable, CROWDED],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert ran.returncode == 0, ran.stderr
    taken, safe, is_early, failures, again, last, frames, damages = json.loads(ran.stdout)
    assert 0 < safe < taken
    assert failures == [f"{tmp_path}: No space left on device"]
    assert (is_early, again, last, damages) == (False, safe + 1, safe + 1, 0)
    assert frames == [*([position, 1000] for position in range(1, safe + 1)), [safe + 1, 5]]
