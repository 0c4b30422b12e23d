"""Everything that touches Keras: the data set, the functions that make it, the training job.

Importing this package imports Keras, which starts its back end.
"""

from infeed.trainers.keras.backup import BackupAndRestore
from infeed.trainers.keras.build import image_dataset_from_directory, image_dataset_from_manifest
from infeed.trainers.keras.dataset import ImageDataset
from infeed.trainers.keras.monitor import InputMonitor

__all__ = [
    "BackupAndRestore",
    "ImageDataset",
    "InputMonitor",
    "image_dataset_from_directory",
    "image_dataset_from_manifest",
]
