"""Imports PyTorch, or says what is missing."""

from __future__ import annotations

from typing import Any


def import_torch() -> Any:
    """The module `torch`.

    Raises:
        ImportError: PyTorch is not installed; names the cure.
    """
    try:
        import torch
        import torch.utils.data
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ImportError(
            "Handing batches to PyTorch needs PyTorch: pip install 'infeed[torch]'"
        ) from None
    return torch


torch: Any = import_torch()
