"""The place of the data set that `fit` validates on, as JSON, and back."""

from __future__ import annotations

from typing import Any

from infeed.identity import check_same
from infeed.order import Cursor
from infeed.trainers.keras.dataset import ImageDataset


def captured(dataset: ImageDataset) -> dict[str, Any]:
    """Where the next validation begins, what its order depends on, and its bad images.

    For a moment when nothing is validated: a pass that is still open is over.
    """
    # With validation_steps the last pass is left in its middle, on TensorFlow with batches read
    # ahead that nobody will see. The next validation is a whole epoch further, whatever was read.
    dataset.settle()
    return {
        "identity": _identity(dataset),
        "cursor": dataset.cursor.to_json(),
        "bad_images": dataset.loader.quarantine.state_dict(),
    }


def restore(dataset: ImageDataset, state: dict[str, Any], what: str) -> None:
    """Lets the next validation begin where it would have.

    Args:
        dataset: made as it was then.
        state: as `captured` gave it.
        what: what the state was saved in, as a message calls it.

    Raises:
        ResumeError: it is another data set, or has another order; names what differs.
    """
    check_same(state["identity"], _identity(dataset), f"the validation data of {what}")
    dataset.loader.quarantine.load_state_dict(state["bad_images"])
    # A validation that was interrupted in this process is over.
    dataset.settle()
    dataset.seek(Cursor.from_json(state["cursor"]))


def _identity(dataset: ImageDataset) -> dict[str, Any]:
    return {**dataset.loader.identity(), "weights": dataset.weights}
