"""Where a run is, while it runs: a bar at a terminal; elsewhere a line when it begins to act or to wait for what is
still due, and one now and then. It goes by the wall's clock, also where the run's own is virtual, and takes no part in
the run.
"""

import sys
import threading

from .fleet import Fleet

LOOK_S = 0.2
LINE_S = 5.0
CONNECTING_S = 2.0  # who waits for a connection wants to know sooner why there is none


class Progress:
    """Shows the progress of `fleet` on stderr until it is closed."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._show, name="progress", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No more."""
        self._over.set()
        self._thread.join()

    def _show(self) -> None:
        if sys.stderr.isatty():
            self._show_bar()
        else:
            self._show_lines()

    def _show_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as bar:
            task = bar.add_task(self._fleet.scenario.name, total=1.0)
            while not self._over.wait(LOOK_S):
                bar.update(task, completed=self._fleet.share_done, description=self._fleet.progress(), refresh=True)

    def _show_lines(self) -> None:
        phase, silent_s = "", 0.0
        while not self._over.wait(LOOK_S):
            before, phase = phase, self._fleet.phase
            silent_s += LOOK_S
            is_news = phase != before and phase in ("running", "draining")
            if is_news or silent_s >= (CONNECTING_S if phase in ("starting", "connecting") else LINE_S):
                print(self._fleet.progress(), file=sys.stderr, flush=True)
                silent_s = 0.0
