"""`infeed`: the command that holds the others, and the one place where errors become exit codes."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from typing import NoReturn

import click

from infeed.cli.bench import bench
from infeed.cli.cache import cache
from infeed.cli.demo import demo
from infeed.cli.exits import DATA_PROBLEM, FAILED, INTERRUPTED, USAGE
from infeed.cli.output import as_options
from infeed.cli.replay import replay
from infeed.cli.train import train
from infeed.errors import InfeedError, ResumeError
from infeed.printable import printable, printable_lines
from infeed.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="infeed")
def commands() -> None:
    """Feed Keras from image sets larger than memory.

    \b
    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the data has problems,
    130 interrupted by Ctrl-C.
    """


commands.add_command(demo)
commands.add_command(train)
commands.add_command(bench)
commands.add_command(replay)
commands.add_command(cache)


def main() -> NoReturn:
    """The console script."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal's encoding lacks is no reason to stop.
        sys.stdout.reconfigure(errors="backslashreplace")
    code = run(sys.argv[1:])
    if code == INTERRUPTED:
        # All of ours is ended and written; but JAX may still compile in threads of its own,
        # and they crash when an orderly exit takes their client away.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """The exit code of one command line; prints errors in words, on standard error."""
    debug = "--debug" in arguments
    try:
        code = commands.main(arguments, prog_name="infeed", standalone_mode=False)
    except click.exceptions.Abort:
        return _interrupted()
    except KeyboardInterrupt:
        return _interrupted()
    except click.ClickException as error:
        # What was typed, or what a shell found in a folder.
        vars(error).update(message=printable(error.message))
        error.show()
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output, such as `head`, has seen enough. Python would complain
        # again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except ResumeError as error:
        return _failed(error, USAGE, debug=debug)
    except InfeedError as error:
        return _failed(error, DATA_PROBLEM, debug=debug)
    except ValueError as error:
        return _failed(error, USAGE, debug=debug)
    except (OSError, ImportError, RuntimeError, MemoryError) as error:
        return _failed(error, FAILED, debug=debug)
    except Exception as error:  # noqa: BLE001 - a mistake of ours or of a model's author
        if not debug:
            print("This was not foreseen; run again with --debug to see where.", file=sys.stderr)
        return _failed(error, FAILED, debug=debug)
    return code if isinstance(code, int) else 0


def _failed(error: Exception, code: int, *, debug: bool) -> int:
    if debug:
        print(printable_lines(traceback.format_exc()), file=sys.stderr)
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = ": ".join(filter(None, (printable(str(error.filename or "")), error.strerror)))
    lines = [text, *getattr(error, "__notes__", [])]
    # Names in it may hold what steers a terminal; the lines are ours.
    shown = printable_lines(as_options("\n".join(lines)))
    print("infeed: " + shown, file=sys.stderr)
    return code


def _interrupted() -> int:
    print("infeed: interrupted", file=sys.stderr)
    return INTERRUPTED
