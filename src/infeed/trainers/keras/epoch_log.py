"""The metrics of each epoch in a table, which is right after any interruption."""

from __future__ import annotations

import csv
import io
import logging
from pathlib import Path
from typing import Any

from infeed.trainers.keras.framework import keras
from infeed.whole_file import write_text

logger = logging.getLogger(__name__)


class EpochLog(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Writes a CSV file with a row for each epoch, like `keras.callbacks.CSVLogger`.

    The file is written whole after each epoch, from rows that a backup keeps: an epoch that is
    trained again after an interruption has one row, not two.

    Args:
        path: the file.

    Attributes:
        rows: what Keras told of each epoch, `epoch` included.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.rows: list[dict[str, Any]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.rows.append({"epoch": epoch, **(logs or {})})
        try:
            self._write()
        except OSError as error:
            # The next epoch writes this row, too.
            logger.warning("The log lacks epoch %d: %s", epoch + 1, error)

    def on_train_end(self, logs: Any = None) -> None:
        if self.rows:
            self._write()

    def _write(self) -> None:
        names = sorted({name for row in self.rows for name in row} - {"epoch"})
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, ["epoch", *names], restval="NA")
        table.writeheader()
        table.writerows(self.rows)
        write_text(self.path, text.getvalue())

    def state_dict(self) -> dict[str, Any]:
        """For a backup: the rows."""
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a backup: the rows."""
        self.rows = list(state["rows"])
