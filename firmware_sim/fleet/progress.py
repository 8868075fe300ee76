"""Where a run is, while it runs: a bar at a terminal, a line now and then elsewhere. It goes by the wall's clock, also
where the run's own is virtual, and takes no part in the run.
"""

import sys
import threading

from .fleet import Fleet

BAR_S = 0.2
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
            while not self._over.wait(BAR_S):
                bar.update(task, completed=self._fleet.share_done, description=self._fleet.progress(), refresh=True)

    def _show_lines(self) -> None:
        while not self._over.wait(CONNECTING_S if self._fleet.phase in ("starting", "connecting") else LINE_S):
            print(self._fleet.progress(), file=sys.stderr, flush=True)
