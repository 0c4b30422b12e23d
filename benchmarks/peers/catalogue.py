"""What is compared: a line for each peer, with all that its figure has to be read with."""

from __future__ import annotations

from dataclasses import dataclass, field

LIMIT = "limit"
INFEED = "infeed"

UNIQUE = "exact: a permutation of the whole set"
FULL = "full size"
REDUCED = "1/2, 1/4, 1/8 where large enough"


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to feed a model.

    Attributes:
        title: what the table calls it.
        module: the file beside this one that runs it.
        requirements: the file in `requirements/` that its environment is made from.
        shuffle: how random its order is.
        dtype: of the images that it delivers.
        decode: at which size it decodes a JPEG.
        by: what runs beside the reader.
        packages: whose versions are reported.
        once: whether an epoch delivers every image exactly once.
        reduced: whether it is told to decode at a reduced size.
        environ: environment variables that it needs.
    """

    title: str
    module: str
    requirements: str
    shuffle: str
    dtype: str
    decode: str
    by: str
    packages: tuple[str, ...]
    once: bool = True
    reduced: bool = False
    environ: dict[str, str] = field(default_factory=dict)


_TF_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}

PEERS: dict[str, Peer] = {
    LIMIT: Peer(
        title="bare decode and resize, a process a core",
        module="bare_limit",
        requirements="infeed",
        shuffle="none",
        dtype="uint8",
        decode=REDUCED,
        by="processes",
        packages=("simplejpeg", "opencv-python-headless"),
    ),
    INFEED: Peer(
        title="infeed",
        module="infeed_loader",
        requirements="infeed",
        shuffle=UNIQUE,
        dtype="uint8",
        decode=REDUCED,
        by="threads",
        packages=("infeed", "simplejpeg", "opencv-python-headless"),
    ),
    "tutorial": Peer(
        title="the tutorial's generator",
        module="tutorial_generator",
        requirements="tutorial",
        shuffle="draws with replacement",
        dtype="float32",
        decode=FULL,
        by="nothing",
        packages=("opencv-python-headless",),
        once=False,
    ),
    "keras_directory": Peer(
        title="keras.utils.image_dataset_from_directory",
        module="keras_directory",
        requirements="keras_directory",
        shuffle="a buffer of 8 batches over files that were permuted once",
        dtype="float32",
        decode=FULL,
        by="threads",
        packages=("keras", "tensorflow-cpu"),
        environ={"KERAS_BACKEND": "tensorflow", **_TF_QUIET},
    ),
    "cv2_pydataset": Peer(
        title="PyDataset with cv2, workers",
        module="cv2_pydataset",
        requirements="cv2_pydataset",
        shuffle=UNIQUE,
        dtype="float32",
        decode=FULL,
        by="threads",
        packages=("keras", "jax", "opencv-python-headless"),
        environ={"KERAS_BACKEND": "jax"},
    ),
    "tf_data": Peer(
        title="tf.data",
        module="tf_data",
        requirements="tf_data",
        shuffle=UNIQUE,
        dtype="float32",
        decode=FULL,
        by="threads",
        packages=("tensorflow-cpu",),
        environ=_TF_QUIET,
    ),
    "tf_data_reduced": Peer(
        title="tf.data, told to decode at a reduced size",
        module="tf_data",
        requirements="tf_data",
        shuffle=UNIQUE,
        dtype="float32",
        decode=REDUCED,
        by="threads",
        packages=("tensorflow-cpu",),
        reduced=True,
        environ=_TF_QUIET,
    ),
    "torch_pillow": Peer(
        title="torch DataLoader, Pillow",
        module="torch_pillow",
        requirements="torch_pillow",
        shuffle=UNIQUE,
        dtype="uint8",
        decode=FULL,
        by="processes",
        packages=("torch", "pillow"),
    ),
    "torch_pillow_reduced": Peer(
        title="torch DataLoader, Pillow with draft()",
        module="torch_pillow",
        requirements="torch_pillow",
        shuffle=UNIQUE,
        dtype="uint8",
        decode=REDUCED,
        by="processes",
        packages=("torch", "pillow"),
        reduced=True,
    ),
    "torch_simplejpeg": Peer(
        title="torch DataLoader, simplejpeg",
        module="torch_simplejpeg",
        requirements="torch_simplejpeg",
        shuffle=UNIQUE,
        dtype="uint8",
        decode=FULL,
        by="processes",
        packages=("torch", "simplejpeg", "opencv-python-headless"),
    ),
    "torch_simplejpeg_reduced": Peer(
        title="torch DataLoader, simplejpeg at a reduced size",
        module="torch_simplejpeg",
        requirements="torch_simplejpeg",
        shuffle=UNIQUE,
        dtype="uint8",
        decode=REDUCED,
        by="processes",
        packages=("torch", "simplejpeg", "opencv-python-headless"),
        reduced=True,
    ),
    "grain": Peer(
        title="Grain, simplejpeg at a reduced size",
        module="grain_loader",
        requirements="grain",
        shuffle=UNIQUE,
        dtype="uint8",
        decode=REDUCED,
        by="threads",
        packages=("grain", "simplejpeg", "opencv-python-headless"),
        reduced=True,
    ),
}
