"""FLOW: batches made ahead of their reader. The threads that make them live only here."""

from infeed.stream.batch import Batch
from infeed.stream.buffers import Recycler, aligned_empty
from infeed.stream.cores import usable_cores
from infeed.stream.journal import Journal
from infeed.stream.meter import STAGES, Meter, Reading
from infeed.stream.quarantine import BadImage, Quarantine
from infeed.stream.replacement import replacements
from infeed.stream.watch import GivenUp, Watch, pause
from infeed.stream.window import Window
from infeed.stream.work import Work

__all__ = [
    "STAGES",
    "BadImage",
    "Batch",
    "GivenUp",
    "Journal",
    "Meter",
    "Quarantine",
    "Reading",
    "Recycler",
    "Watch",
    "Window",
    "Work",
    "aligned_empty",
    "pause",
    "replacements",
    "usable_cores",
]
