"""PyTorch's own random generators: layers such as dropout draw from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from infeed.trainers.torch.framework import torch


def captured() -> list[np.ndarray]:
    """The states of the generators of the CPU and of every CUDA device: uint8, (bytes,) each."""
    states = [torch.get_rng_state()]
    if torch.cuda.is_available():
        states += torch.cuda.get_rng_state_all()
    return [state.numpy().copy() for state in states]


def restore(states: Sequence[np.ndarray]) -> None:
    """Sets the generators to captured states; devices that were not there keep theirs."""
    cpu, *devices = [torch.from_numpy(state) for state in states]
    torch.set_rng_state(cpu)
    if torch.cuda.is_available():
        for device, state in zip(range(torch.cuda.device_count()), devices, strict=False):
            torch.cuda.set_rng_state(state, device)
