"""Shows how far fetching and loading a model is: a bar on a terminal, a line for each tenth elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.progress import Progress as Bar

    from actloop.models.embedded import Progress

TITLES = {
    "waiting": "Waiting for another process that fetches the model",
    "fetching": "Fetching the model",
    "checking": "Checking the model",
    "loading": "Loading the model",
}


class ModelProgress:
    """Takes progress reports and shows them on standard error; while it is open."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self._bar: Bar | None = None
        self._phase = ""
        self._tenth = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_bar()

    def __call__(self, progress: Progress) -> None:
        """Show one report."""
        if self._console.is_terminal:
            self._draw(progress)
        else:
            self._tell(progress)

    def _tell(self, progress: Progress) -> None:
        tenth = 10 * progress.done // progress.total if progress.total and progress.phase == "fetching" else 0
        if (progress.phase, tenth) != (self._phase, self._tenth):
            self._phase, self._tenth = progress.phase, tenth
            figures = f": {tenth * 10} % of {progress.total / 1e6:,.0f} MB" if progress.phase == "fetching" else ""
            self._console.print(f"{TITLES[progress.phase]}{figures}", markup=False)

    def _draw(self, progress: Progress) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        if progress.phase != self._phase or self._bar is None:
            self._end_bar()
            self._phase = progress.phase
            columns = [TextColumn("{task.description}"), BarColumn()]
            if progress.phase in ("fetching", "checking"):
                columns += [DownloadColumn(), TimeRemainingColumn()]
            # What takes long leaves its bar behind; what takes seconds does not.
            self._bar = Progress(*columns, console=self._console, transient=progress.phase != "fetching")
            self._bar.add_task(TITLES[progress.phase], total=None)
            self._bar.start()
        (task,) = self._bar.task_ids
        self._bar.update(task, completed=progress.done, total=progress.total or None)

    def _end_bar(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.stop()
