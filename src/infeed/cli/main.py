"""`infeed`: the one place where errors and signals become exit codes."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from infeed.cli.exits import DATA_PROBLEM, FAILED, USAGE

if TYPE_CHECKING:
    from infeed.cli.interrupt import Interrupt


def main() -> NoReturn:
    """The console script."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until ours is there, without a traceback; and that is before anything takes its time.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _have_standard_streams()  # before any file is opened
    from infeed.cli.interrupt import Interrupt

    interrupt = Interrupt()
    code = FAILED
    try:
        interrupt.install()
        code = run(sys.argv[1:], interrupt)
        interrupt.over()
    except KeyboardInterrupt:
        # It is raised once, so that nothing can come between.
        interrupt.over(is_interrupted=True)
    interrupt.end(code)


def run(arguments: list[str], interrupt: Interrupt | None = None) -> int:
    """The exit code of one command line; prints errors in words, on standard error.

    Where a signal has ended the command, whatever came of it says nothing: many a library turns
    the `KeyboardInterrupt` into an error of its own.

    Raises:
        KeyboardInterrupt: there was a signal.
    """
    debug = "--debug" in arguments
    import click

    from infeed.cli.commands import commands
    from infeed.cli.interrupt import Interrupt
    from infeed.errors import InfeedError, ResumeError

    interrupt = interrupt or Interrupt()
    try:
        code = commands.main(arguments, prog_name="infeed", standalone_mode=False, obj=interrupt)
    except click.exceptions.Abort as abort:
        interrupt.check()
        if isinstance(abort.__cause__, EOFError):  # click takes it for the end of a dialogue
            return _failed(abort.__cause__, FAILED, interrupt, debug=debug)
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        interrupt.check()
        # What was typed, or what a shell found in a folder.
        from infeed.printable import printable

        vars(error).update(message=printable(error.message))
        error.show()
        return error.exit_code
    except BrokenPipeError:
        interrupt.check()
        # Whoever read our output, such as `head`, has seen enough. Python would complain
        # again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except ResumeError as error:
        return _failed(error, USAGE, interrupt, debug=debug)
    except InfeedError as error:
        return _failed(error, DATA_PROBLEM, interrupt, debug=debug)
    except ValueError as error:
        return _failed(error, USAGE, interrupt, debug=debug)
    except (OSError, ImportError, RuntimeError, MemoryError) as error:
        return _failed(error, FAILED, interrupt, debug=debug)
    except Exception as error:  # noqa: BLE001 - a mistake of ours or of a model's author
        interrupt.check()
        if not debug:
            print("This was not foreseen; run again with --debug to see where.", file=sys.stderr)
        return _failed(error, FAILED, interrupt, debug=debug)
    return code if isinstance(code, int) else 0


def _failed(error: Exception, code: int, interrupt: Interrupt, *, debug: bool) -> int:
    interrupt.check()
    import traceback

    from infeed.cli.output import as_options
    from infeed.printable import printable, printable_lines

    if debug:
        print(printable_lines(traceback.format_exc()), file=sys.stderr)
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = ": ".join(filter(None, (printable(str(error.filename or "")), error.strerror)))
        if error.errno in (errno.EMFILE, errno.ENFILE):
            text += ". Let this process open more files (`ulimit -n`), or pass fewer --threads."
    if isinstance(error, RuntimeError) and text == "can't start new thread":
        text += ": the system gives this process no more (`ulimit -u`, or -v for their memory)"
    lines = [text, *getattr(error, "__notes__", [])]
    # Names in it may hold what steers a terminal; the lines are ours.
    shown = printable_lines(as_options("\n".join(lines)))
    print("infeed: " + shown, file=sys.stderr)
    return code


def _have_standard_streams() -> None:
    """Has all three standard streams open, and able to say any name.

    Where one is closed, the next file that is opened would be taken for it: an image of a cache,
    into which codecs and Python then write their warnings.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, which is this one.
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding lacks is no reason to stop.
            stream.reconfigure(errors="backslashreplace")
