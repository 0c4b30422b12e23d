"""The input pipeline for Keras: image sets larger than memory, each image once per epoch.

    import infeed

    train = infeed.image_dataset_from_manifest("train.json", "images/", image_size=(224, 224))
    model.fit(train, epochs=100)

Nothing is imported before it is used: `import infeed` costs next to nothing, and Keras is
loaded only by the two functions that hand over to it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from infeed.version import __version__

if TYPE_CHECKING:
    from infeed.batch_stream import BatchStream
    from infeed.cache import Cache
    from infeed.errors import (
        BadImageError,
        DecodeError,
        InfeedError,
        LoaderClosedError,
        ManifestError,
        ResumeError,
        StalledError,
        StorageError,
        TooManyBadImagesError,
    )
    from infeed.loader import Loader
    from infeed.manifest import Manifest, Record
    from infeed.order import BatchPlan, ClassMembers, Cursor, Sampler, Shard
    from infeed.read import LocalStorage, MemoryStorage, RetryingStorage, Storage
    from infeed.sample import Recipe
    from infeed.stream import BadImage, Batch
    from infeed.trainers.keras import BackupAndRestore as BackupAndRestore
    from infeed.trainers.keras import ImageDataset as ImageDataset
    from infeed.trainers.keras import InputMonitor as InputMonitor
    from infeed.trainers.keras import image_dataset_from_directory as image_dataset_from_directory
    from infeed.trainers.keras import image_dataset_from_manifest as image_dataset_from_manifest

_HOMES = {
    "BackupAndRestore": "infeed.trainers.keras",
    "BadImage": "infeed.stream",
    "BadImageError": "infeed.errors",
    "Batch": "infeed.stream",
    "BatchPlan": "infeed.order",
    "BatchStream": "infeed.batch_stream",
    "Cache": "infeed.cache",
    "ClassMembers": "infeed.order",
    "Cursor": "infeed.order",
    "DecodeError": "infeed.errors",
    "ImageDataset": "infeed.trainers.keras",
    "InfeedError": "infeed.errors",
    "InputMonitor": "infeed.trainers.keras",
    "Loader": "infeed.loader",
    "LoaderClosedError": "infeed.errors",
    "LocalStorage": "infeed.read",
    "Manifest": "infeed.manifest",
    "ManifestError": "infeed.errors",
    "MemoryStorage": "infeed.read",
    "Recipe": "infeed.sample",
    "Record": "infeed.manifest",
    "ResumeError": "infeed.errors",
    "RetryingStorage": "infeed.read",
    "Sampler": "infeed.order",
    "Shard": "infeed.order",
    "StalledError": "infeed.errors",
    "Storage": "infeed.read",
    "StorageError": "infeed.errors",
    "TooManyBadImagesError": "infeed.errors",
    "image_dataset_from_directory": "infeed.trainers.keras",
    "image_dataset_from_manifest": "infeed.trainers.keras",
}

# What `from infeed import *` brings: all but the names that import Keras.
__all__ = [
    "BadImage",
    "BadImageError",
    "Batch",
    "BatchPlan",
    "BatchStream",
    "Cache",
    "ClassMembers",
    "Cursor",
    "DecodeError",
    "InfeedError",
    "Loader",
    "LoaderClosedError",
    "LocalStorage",
    "Manifest",
    "ManifestError",
    "MemoryStorage",
    "Recipe",
    "Record",
    "ResumeError",
    "RetryingStorage",
    "Sampler",
    "Shard",
    "StalledError",
    "Storage",
    "StorageError",
    "TooManyBadImagesError",
    "__version__",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'infeed' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*_HOMES, *__all__})
