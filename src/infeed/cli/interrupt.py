"""Ctrl-C, SIGTERM and SIGHUP: one exception, and an end that is never far."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn, final

from infeed.whole_file import remove_partial_files

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

WORDS: Final = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    **({signal.SIGHUP: "its terminal was closed"} if hasattr(signal, "SIGHUP") else {}),
}

# The main thread may be in a compiler or a disk that takes minutes. From the signal to the end
# there are two seconds: so much for an orderly end, and the rest to tidy up after it.
GRACE_SECONDS: Final = 1.4
TIDY_SECONDS: Final = 0.3

# Whatever started us may pass a Ctrl-C on that the terminal has sent us, too.
PRESS_SECONDS: Final = 0.1

# After that an object is dead whose death has swallowed an exception.
_DROPPED_SECONDS: Final = 0.01

_IMPORTING: Final = "<frozen importlib._bootstrap>"  # where Python's own code for it comes from

_WAKE: Final = 0  # no signal has this number
_SHOW_CURSOR: Final = b"\x1b[?25h"


@final
class Interrupt:
    """The signals that end a command, for as long as the command runs.

    The first raises one `KeyboardInterrupt` in the main thread, whichever signal it was. If that
    has not ended the command in time, or if a second signal comes, a thread of this object removes
    unfinished files and ends the process, whatever the main thread is busy with. While the main
    thread imports a module the first one does that: many a native module crashes when an exception
    comes out of what it calls while it begins. A signal that somebody has chosen to ignore, as
    `nohup` does, stays ignored.

    Life cycle: `install` in the main thread; `over` when the command is done, after which a signal
    ends the process at once; `end` ends it. A command reaches it by `Interrupt.current()`.

    Args:
        leave: ends the process with an exit code, at once.
        grace_seconds: how long an orderly end may take.
        press_seconds: signals within that time are one.

    Attributes:
        number: of the first signal; None while there was none.
    """

    def __init__(
        self,
        *,
        leave: Callable[[int], Any] = os._exit,
        grace_seconds: float = GRACE_SECONDS,
        press_seconds: float = PRESS_SECONDS,
    ) -> None:
        self.number: int | None = None
        self._leave = leave
        self._grace = grace_seconds
        self._press = press_seconds
        self._folders: list[tuple[Path, int]] = []
        self._old: dict[int, Any] = {}
        self._old_hook: Callable[[UnraisableHookArgs], object] = sys.unraisablehook
        self._pipe: tuple[int, int] | None = None
        self._process = os.getpid()
        self._main = threading.main_thread().ident or 0
        self._temporary: str | None = None
        self._begun = 0.0
        self._raised = False
        self._dropped = False
        self._echoes = 0  # signals that are our own, to raise a dropped exception again
        self._is_over = False
        self._is_told = False
        self._leaving = threading.Lock()
        self._mask: set[signal.Signals | int] = set()

    @classmethod
    def current(cls) -> Interrupt:
        """That of the command that is running; one that nothing interrupts where none is."""
        import click

        context = click.get_current_context(silent=True)
        found = None if context is None else context.find_object(cls)
        return found or cls()

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal, as shells count."""
        return 128 + (self.number or 0)

    def install(self) -> None:
        """Takes over the signals that nobody else has taken over or ignores."""
        self._watch()
        self._old_hook = sys.unraisablehook
        sys.unraisablehook = self._on_dropped
        for number in WORDS:
            old = signal.getsignal(number)
            if old in (signal.SIG_DFL, signal.default_int_handler):
                self._old[number] = old
                signal.signal(number, self._on_signal)

    def remove(self) -> None:
        """Gives the signals back; for a process that goes on."""
        for number, old in self._old.items():
            signal.signal(number, old)
        self._old.clear()
        sys.unraisablehook = self._old_hook
        if self._pipe is not None:
            signal.set_wakeup_fd(-1)
            writing, self._pipe = self._pipe[1], None
            os.close(writing)  # the thread sees it, and closes the other end

    def check(self) -> None:
        """Raises `KeyboardInterrupt` if there was a signal and the command still runs."""
        if self.number is not None and not self._is_over:
            raise KeyboardInterrupt

    def tidies(self, folder: Path, *, depth: int = 0) -> None:
        """Notes a folder in which the end removes this process' unfinished files.

        Args:
            folder: need not exist.
            depth: how far below it, too.
        """
        self._folders.append((folder, depth))

    @contextlib.contextmanager
    def temporary_folder(self) -> Iterator[None]:
        """Within, temporary files lie in a folder of their own, which goes with the process.

        Keras saves a model through temporary files that a sudden end would leave behind.
        """
        before = tempfile.tempdir
        try:
            # Where there is no place for temporary files, whoever needs one says so.
            with contextlib.suppress(OSError):
                name = f"infeed-{os.getpid()}-{secrets.token_hex(4)}"
                # Known before it is there, so that it is never left behind.
                self._temporary = str(Path(tempfile.gettempdir(), name))
                Path(self._temporary).mkdir(mode=0o700)
                tempfile.tempdir = self._temporary
            yield
        finally:
            tempfile.tempdir = before
            if self._temporary is not None:
                shutil.rmtree(self._temporary, ignore_errors=True)

    def over(self, *, is_interrupted: bool = False) -> None:
        """The command is done: from here on a signal ends the process at once."""
        self._is_over = True
        if is_interrupted:
            self._begin(signal.SIGINT)

    def end(self, code: int) -> NoReturn:
        """Ends the process: in order, or where a signal came without waiting for anything."""
        if self.number is None:
            sys.exit(code)
        # All of ours is ended and written. But JAX may still compile in threads of its own, and
        # they crash when an orderly exit takes their client away.
        self._leave_now()
        # The other thread is about to.
        time.sleep(2 * TIDY_SECONDS)
        self._leave(self.exit_code)
        raise SystemExit(self.exit_code)

    def tell(self) -> None:
        """Says once, in one line, that the command was ended from outside."""
        if not self._is_told:
            self._is_told = True
            assert self.number is not None
            line = f"infeed: {WORDS[signal.Signals(self.number)]}\n"
            # A bar has hidden the cursor; and nobody may be there to read this.
            for descriptor, text in ((1, b""), (2, line.encode())):
                with contextlib.suppress(OSError):
                    is_shown = os.isatty(descriptor)
                    os.write(descriptor, (_SHOW_CURSOR if is_shown else b"") + text)

    # In the main thread

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._is_over:
            if self.number is None:
                # Nothing is left to tidy up, and threads can no longer be started.
                self.number = number
                self.tell()
                self._leave(self.exit_code)
            # Else it ends in a moment: sooner would be before its last word.
        elif self._dropped or not self._raised:
            self._begin(number)
            if _is_importing(frame):
                self._leave_now()
                return
            self._raised, self._dropped = True, False
            raise KeyboardInterrupt
        elif self._pipe is None and self._is_another():
            self._leave_now()

    def _on_dropped(self, dropped: UnraisableHookArgs) -> None:
        """Python drops an exception that is raised while an object dies.

        A training loop spends much of its time there: one Ctrl-C in six had no effect.
        """
        if self.number is None:
            self._old_hook(dropped)
        elif issubclass(dropped.exc_type, KeyboardInterrupt):
            self._dropped = True
            if self._pipe is not None:
                os.write(self._pipe[1], bytes([_WAKE]))

    # In the thread that reads what the system's own handler writes

    def _watch(self) -> None:
        """Starts the thread: Python's handlers wait for the main thread, and it may be long."""
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        try:
            threading.Thread(target=self._read, name="infeed-interrupt", daemon=True).start()
        except RuntimeError:  # no more threads: then the main thread must do
            for descriptor in self._pipe:
                os.close(descriptor)
            self._pipe = None
            return
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=self._after_fork,
            after_in_child=self._in_child,
        )

    def _read(self) -> None:
        assert self._pipe is not None
        reading = self._pipe[0]
        signals = 0
        while True:
            numbers = b""
            if select.select([reading], [], [], self._seconds_left())[0]:
                numbers = os.read(reading, 64)
                if not numbers:
                    os.close(reading)
                    return
            for number in numbers:
                if number not in WORDS:
                    continue
                if self._echoes:
                    self._echoes -= 1
                    continue
                self._begin(number)
                signals += 1
                if signals > 1 and self._is_another():
                    self._leave_now()
            if self._seconds_left() == 0:
                self._leave_now()
            if self._dropped:
                time.sleep(_DROPPED_SECONDS)
                self._echoes += 1
                # A real one, which also wakes whatever the main thread waits for.
                signal.pthread_kill(self._main, self.number or signal.SIGINT)

    def _seconds_left(self) -> float | None:
        if self.number is None:
            return None
        return max(0.0, self._begun + self._grace - time.monotonic())

    # In either

    def _begin(self, number: int) -> None:
        """Notes the first signal."""
        if self.number is None:
            self._begun = time.monotonic()
            self.number = number

    def _is_another(self) -> bool:
        """Whether a signal that comes now is another one than the first."""
        return time.monotonic() - self._begun > self._press

    def _leave_now(self) -> None:
        """Ends the process, after what can be tidied up in a moment."""
        if not self._leaving.acquire(blocking=False):
            return
        tidying = threading.Thread(target=self._tidy, name="infeed-tidy", daemon=True)
        try:
            tidying.start()
            tidying.join(TIDY_SECONDS)  # a disk or a reader that hangs does not hold us
        except RuntimeError:
            self._tidy()
        self._leave(self.exit_code)

    def _tidy(self) -> None:
        with contextlib.suppress(OSError):  # what cannot be listed
            for folder, depth in self._folders:
                remove_partial_files(folder, process=self._process)
                for level in range(1, depth + 1):
                    for below in folder.glob("/".join("*" * level) + "/"):
                        remove_partial_files(below, process=self._process)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
        self.tell()
        # Last: whoever reads our output may have stopped to.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, RuntimeError):
                stream.flush()

    # Around a fork, such as a model's author may do

    def _before_fork(self) -> None:
        """Signals wait: the child has our pipe, and one of its own would be told to us."""
        if self._pipe is not None:
            self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, WORDS)

    def _after_fork(self) -> None:
        if self._pipe is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _in_child(self) -> None:
        """The child's signals are its own."""
        if self._pipe is not None:
            reading = self._pipe[0]
            self.remove()
            os.close(reading)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


def _is_importing(frame: FrameType | None) -> bool:
    """Whether this frame, or one that it was called from, is in the middle of an import."""
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False
