"""Class names: from the labels that occur, or given."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

# At most 4000 digits: `int` refuses more than 4300.
_CANONICAL_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,3999}")


def sorted_class_names(labels: Iterable[str]) -> tuple[str, ...]:
    """The distinct labels in class order: as numbers if all are whole numbers, else as text.

    >>> sorted_class_names(["10", "9"]), sorted_class_names(["10", "9", "007"])
    (('9', '10'), ('007', '10', '9'))
    """
    distinct = set(labels)
    if all(_CANONICAL_INTEGER.fullmatch(label) for label in distinct):
        return tuple(sorted(distinct, key=int))
    return tuple(sorted(distinct))


def given_class_names(class_names: Iterable[str | int]) -> tuple[str, ...]:
    """Class names that a caller gives, as text, in the caller's order.

    Raises:
        TypeError: one is neither text nor a whole number.
        ValueError: there is none, one is empty, or one occurs twice.

    >>> given_class_names([0, 1, "NA"])
    ('0', '1', 'NA')
    """
    if isinstance(class_names, str | bytes):
        raise TypeError(f"class_names must be a list of names, got the text {class_names!r}")
    texts = tuple(_as_text(name) for name in class_names)
    if not texts:
        raise ValueError("class_names is empty. Leave it out to take the labels that occur.")
    seen: set[str] = set()
    for text in texts:
        if not text.strip():
            raise ValueError(f"class_names holds an empty name: {text!r}")
        if text in seen:
            raise ValueError(f"class_names holds {text!r} twice")
        seen.add(text)
    return texts


def class_codes(class_names: tuple[str, ...]) -> dict[str, int]:
    """The number of each label that may occur, for given class names.

    A label is a class name. Where no class name is a number, a label may also be the number of
    a class, from 0: many manifests say 3, and a file beside them says that 3 is "rust".

    >>> class_codes(("healthy", "rust"))
    {'healthy': 0, 'rust': 1, '0': 0, '1': 1}
    >>> class_codes(("3", "rust"))
    {'3': 0, 'rust': 1}
    """
    codes = {name: code for code, name in enumerate(class_names)}
    if not any(_CANONICAL_INTEGER.fullmatch(name) for name in class_names):
        codes |= {str(code): code for code in range(len(class_names))}
    return codes


def _as_text(name: object) -> str:
    if isinstance(name, str):
        return str(name)
    # numpy integers have __index__ too; so does bool, which is no name.
    if hasattr(name, "__index__") and not isinstance(name, bool):
        return str(name.__index__())
    raise TypeError(f"class_names must hold texts or integers, got {name!r}")
