"""What a command prints: words for people, or one JSON object for programs."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from infeed.printable import printable_lines

F = TypeVar("F", bound=Callable[..., Any])


def output_options(command: F) -> F:
    """Adds the options that every command has."""
    for option in (
        click.option("--debug", is_flag=True, help="Show the traceback of an error."),
        click.option("-q", "--quiet", is_flag=True, help="Print only errors and the result."),
        click.option(
            "--json", "as_json", is_flag=True, help="Print one JSON object; progress on stderr."
        ),
    ):
        command = option(command)
    return command


class Output:
    """Where a command's words go; nothing in them steers a terminal.

    Args:
        as_json: standard output gets one JSON object, and all words go to standard error.
        quiet: no words but the result.
    """

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.is_quiet = quiet
        self._as_json = as_json
        self.stream = sys.stderr if as_json else sys.stdout

    def say(self, text: str) -> None:
        """A line for people on the way."""
        if not self.is_quiet:
            print(printable_lines(text), file=self.stream, flush=True)

    def result(self, text: str, value: dict[str, Any]) -> None:
        """What the command was called for: in words, or as JSON."""
        if self._as_json:
            json.dump(without_nan(value), sys.stdout, ensure_ascii=True, allow_nan=False)
            sys.stdout.write("\n")
        else:
            sys.stdout.write(printable_lines(text) + "\n")
        sys.stdout.flush()


def without_nan(value: Any) -> Any:
    """The value with null for every number that JSON cannot write, such as a loss of NaN.

    >>> without_nan({"loss": float("nan"), "epochs": [1.5, float("inf")]})
    {'loss': None, 'epochs': [1.5, None]}
    """
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_options(text: str) -> str:
    """A message whose cures are options of a command, not arguments of a function.

    >>> as_options('Pass image_column=<column name>, or duplicates="drop".')
    'Pass --image-column <column name>, or --duplicates drop.'
    >>> as_options("Write it, remove the row, or pass label_mode=None.")
    'Write it, remove the row.'
    >>> as_options("  seed: saved 7, now 8 (without seed=... another one is drawn each time)")
    '  --seed: saved 7, now 8'
    >>> as_options("cache_limit: a size, or pass cache_encoding='raw' or 'jpeg', or cache=PATH")
    '--cache-limit: a size, or pass --cache-encoding raw or jpeg, or --cache PATH'
    """
    # No command does without labels.
    text = re.sub(
        r"[,;]?( or)?( pass)? (labelled=False|label_mode=None)"
        r"( to read the manifest without labels| if it has none| for images without labels)?",
        "",
        text,
    )
    text = text.replace("outside=True to LocalStorage", "--outside")
    text = text.replace(" (without seed=... another one is drawn each time)", "")
    text = re.sub(r"another backup(_dir| folder)", "another --out", text)
    text = re.sub(r"^  (seed|batch)(_size)?: saved", r"  --\1: saved", text, flags=re.MULTILINE)
    text = re.sub(r"^  recipe\.(height|width): saved", "  --size: saved", text, flags=re.MULTILINE)
    text = re.sub(r'duplicates="(\w+)"', r"--duplicates \1", text)
    text = re.sub(r"cache_encoding='(\w+)'(?:( or )'(\w+)')?", _as_encoding, text)
    text = re.sub(r"\b(image_column|label_column|images|threads|cache)=", _as_option, text)
    text = re.sub(r"\bcache_(limit|encoding)\b", r"--cache-\1", text)
    return re.sub(r"(pass a larger )max_bad", r"\1--max-bad", text)


def _as_option(match: re.Match[str]) -> str:
    return "--" + match[1].replace("_", "-") + " "


def _as_encoding(match: re.Match[str]) -> str:
    return "--cache-encoding " + "".join(filter(None, match.groups()))


def count(number: int, noun: str) -> str:
    """A number of things.

    >>> count(1, "epoch"), count(2000, "epoch"), count(61, "class")
    ('1 epoch', '2,000 epochs', '61 classes')
    """
    plural = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{plural}"


def duration(seconds: float) -> str:
    """A time for people: `8.2 s`, `3 min 05 s`, `2 h 07 min`.

    >>> duration(8.24), duration(185), duration(7620)
    ('8.2 s', '3 min 05 s', '2 h 07 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
