"""`Work`: what a window makes, and how far it is."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")
Tool = TypeVar("Tool")
Tool_contra = TypeVar("Tool_contra", contravariant=True)


class Work(Protocol[Tool_contra, T_co]):
    """One thing to be made, in parts that any threads may make in any order."""

    @property
    def parts(self) -> int:
        """How many parts there are, 0 included."""

    def make(self, part: int, tool: Tool_contra, /) -> None:
        """Makes one part. Called from any thread, once for each part.

        Called again for a part whose thread was given up while it waited: see `Watch`.
        """

    def give_up(self, what: Hashable, /) -> None:
        """Notes what must not be waited for again. Called before the part is made again."""

    def result(self) -> T_co:
        """The whole. Called once, by the reader, after all parts were made."""


class Entry(Generic[Tool, T]):
    """One work in the window, and how far it is."""

    def __init__(self, work: Work[Tool, T]) -> None:
        self.work = work
        self.parts = work.parts
        self.claimed = 0
        self.again: list[int] = []  # parts whose threads were given up
        self.made = 0
        self.error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        return self.error is not None or self.made == self.parts

    @property
    def parts_to_take(self) -> int:
        """How many parts nobody has taken."""
        return 0 if self.error is not None else len(self.again) + self.parts - self.claimed

    def take_part(self) -> int:
        if self.again:
            return self.again.pop()
        self.claimed += 1
        return self.claimed - 1


class Nothing:
    """The work of an entry that only carries an error."""

    parts = 0

    def make(self, part: int, tool: object, /) -> None:
        raise AssertionError

    def give_up(self, what: Hashable, /) -> None:
        raise AssertionError

    def result(self) -> T:  # type: ignore[type-var]  # never called: its entry has an error
        raise AssertionError
