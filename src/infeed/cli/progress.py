"""Progress: a bar on a terminal, a plain line every ten seconds elsewhere."""

from __future__ import annotations

import logging
import time
from types import TracebackType
from typing import Self

from infeed.cli.interrupt import Interrupt
from infeed.cli.output import Output
from infeed.printable import printable, printable_lines

PLAIN_LINE_SECONDS = 10.0


class ProgressLine:
    """Shows how far a command is; use as a `with` block.

    Within the block, what infeed logs as a warning becomes a line too, and a Ctrl-C that somebody
    has swallowed ends the command at the next update.

    Args:
        output: where it goes; a quiet one shows nothing.
    """

    def __init__(self, output: Output) -> None:
        # Rich takes 50 ms to import: not before something is shown.
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._output = output
        console = Console(file=output.stream, markup=False, highlight=False, soft_wrap=True)
        self._is_bar = console.is_terminal and not output.is_quiet
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[details]}", markup=False),
            console=console,
            transient=True,
            disable=not self._is_bar,
        )
        self._task = self._bar.add_task("", total=None, details="", visible=False)
        self._printed = time.monotonic()
        self._warnings = _WarningLines(self)
        self._interrupt = Interrupt.current()

    def __enter__(self) -> Self:
        logging.getLogger("infeed").addHandler(self._warnings)
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
        logging.getLogger("infeed").removeHandler(self._warnings)

    def update(self, title: str, done: int, total: int, details: str) -> None:
        """Shows that `done` of `total` things of `title` are done; a total of 0 is not known."""
        self._interrupt.check()
        counted = f"{done}/{total}  {details}" if total else details
        if self._is_bar:
            self._bar.update(
                self._task,
                description=printable(title),
                completed=done,
                total=total or None,
                details=printable(counted),
                visible=True,
            )
        elif time.monotonic() - self._printed >= PLAIN_LINE_SECONDS:
            self._printed = time.monotonic()
            self._output.say(f"{title}  {counted}".rstrip())

    def line(self, text: str) -> None:
        """A line that stays, above the bar."""
        self._interrupt.check()
        self.warn(text)

    def warn(self, text: str) -> None:
        """The same, from any thread."""
        if self._is_bar:
            self._bar.console.print(printable_lines(text))
        else:
            self._output.say(text)


class _WarningLines(logging.Handler):
    """Writes warnings between the progress lines instead of across them."""

    def __init__(self, lines: ProgressLine) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.name.startswith("infeed.cache."):
            # Training and validation data may have the same to say of the cache that they share.
            if text in self._said:
                return
            self._said.add(text)
        self._lines.warn(text)
