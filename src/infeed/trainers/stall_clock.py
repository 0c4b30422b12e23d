"""`StallClock`: how long training stood still for want of a batch."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Final, final

from infeed.trainers.deliveries import Delivery

# The ends of so many steps are remembered; JAX lets 32 queue.
_ENDS_KEPT: Final = 128


@final
class StallClock:
    """Adds up the time in which a batch was waited for and no step was under way.

    A trainer that dispatches steps without waiting for them may wait for a batch for long while
    the device has work: that is no stall. So each wait for a batch is held against the end of the
    step that the device was busy with, which may become known later, and from another thread.

    Batches come in one of two ways. Where the training thread asks for them itself, nothing else
    happens meanwhile, and the wait is counted from the moment on when the last dispatched step had
    ended. Where another thread reads ahead (tf.data), its waiting is nobody's until the trainer
    has used up what was read: batches and steps are counted, and a step that began before its
    batch was there has waited for it.

    Args:
        asks_in_step: whether the training thread asks for a step's batch after `begin_step`
            (JAX, TensorFlow) or before it (PyTorch).
        is_asynchronous: whether a step may still be computed when the training thread goes on. If
            not, ends need not be told.
        batches_a_step: how many batches a step takes.

    Attributes:
        seconds: so far.
        batches_a_step: as given.
    """

    def __init__(
        self, *, asks_in_step: bool, is_asynchronous: bool, batches_a_step: int = 1
    ) -> None:
        self.seconds = 0.0
        self._asks_in_step = asks_in_step
        self._is_asynchronous = is_asynchronous
        self.batches_a_step = batches_a_step
        self._lock = threading.Lock()
        self._told = threading.Condition(self._lock)
        self._begun = 0  # steps
        self._began = 0.0  # when the last one did
        self._ended = 0  # steps known to have ended
        self._ends: deque[tuple[int, float]] = deque(maxlen=_ENDS_KEPT)
        self._open: deque[tuple[int, float, float]] = deque()  # waits beside a step under way
        self._ahead: deque[Delivery] = deque()  # by another thread, not yet used
        self._left = 0  # batches that the last step begun still takes of these

    def begin_step(self, now: float, deliveries: Iterable[Delivery], thread: int) -> None:
        """The trainer begins a step.

        Args:
            now: in seconds of the clock that all times here are of.
            deliveries: those since the last call.
            thread: the training thread.
        """
        with self._lock:
            self._note(deliveries, thread)
            # What the step before has not found, though it is over, was no batch of ours.
            self._left = self.batches_a_step
            self._begun += 1
            self._began = now
            self._use()

    def end_step(self, number: int, now: float) -> None:
        """A step has ended, and those before it. Called from any thread, in any order.

        Args:
            number: which, from 1.
        """
        with self._lock:
            if number <= self._ended:
                return
            self._ended = number
            self._ends.append((number, now))
            self._told.notify_all()
            while self._open and self._open[0][0] <= number:
                _, asked, delivered = self._open.popleft()
                self.seconds += max(0.0, delivered - max(asked, now))

    def wait_for_end(self, seconds: float) -> None:
        """Waits until the step before the last one that has begun is over, no longer than that.

        So that what is counted at this moment belongs together: the trainer may be many steps
        ahead of the device.
        """
        with self._told:
            if self._is_asynchronous:
                before = self._begun - 1
                self._told.wait_for(lambda: self._ended >= before, seconds)

    def begin_pass(self) -> None:
        """What another thread has read so far belongs to no step to come."""
        with self._lock:
            self._ahead.clear()
            self._left = 0

    def settle(self, deliveries: Iterable[Delivery], thread: int) -> float:
        """The seconds so far, all that is known by now counted in."""
        with self._lock:
            self._note(deliveries, thread)
            self._use()
            return self.seconds

    @property
    def begun(self) -> int:
        """How many steps have begun."""
        return self._begun

    def _note(self, deliveries: Iterable[Delivery], thread: int) -> None:
        for delivery in deliveries:
            if delivery.thread != thread:
                self._ahead.append(delivery)
                continue
            asked, delivered, _ = delivery
            self._count(self._busy_at(asked), asked, delivered)
        self._use()

    def _use(self) -> None:
        """Gives the step under way its batches, as far as another thread has read them."""
        while self._left and self._ahead:
            asked, delivered, _ = self._ahead.popleft()
            self._left -= 1
            if self._asks_in_step:
                asked = max(asked, self._began)
            self._count(self._begun - 1, asked, delivered)

    def _busy_at(self, asked: float) -> int:
        """The last step that was dispatched when the training thread asked for a batch."""
        if not self._asks_in_step:
            return self._begun
        # The last step begun waits for this very batch, unless it has ended by then.
        end = self._end_of(self._begun)
        return self._begun if end is not None and end <= asked else self._begun - 1

    def _count(self, step: int, asked: float, delivered: float) -> None:
        """Counts a wait, of which only what lies after the end of a step is a stall."""
        if not self._is_asynchronous:
            self.seconds += max(0.0, delivered - asked)
            return
        end = self._end_of(step)
        if end is None:
            self._open.append((step, asked, delivered))
        else:
            self.seconds += max(0.0, delivered - max(asked, end))

    def _end_of(self, step: int) -> float | None:
        """When a step is known to have ended: at the latest when a later one had."""
        if step <= 0:
            return 0.0
        if step > self._ended:
            return None
        for number, end in self._ends:
            if number >= step:
                return end
        return 0.0  # before anything that is remembered
