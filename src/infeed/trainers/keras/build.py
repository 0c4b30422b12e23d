"""From a manifest or a folder to a data set for Keras, in one call."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from operator import index
from pathlib import Path
from typing import Any, Literal, get_args

from infeed.cache import Cache, EncodingChoice
from infeed.errors import ManifestError
from infeed.loader import READ_TIMEOUT_SECONDS, Augment, Loader, OnBadImage, PixelType
from infeed.manifest import LabelMode, Manifest, balanced_class_weight, split
from infeed.manifest.duplicates import Duplicates
from infeed.order import ClassWeights, Remainder, Sampler, Sampling, Shard, describe
from infeed.printable import printable
from infeed.read import LocalStorage
from infeed.sample import ColorMode, Decode, Interpolation, Recipe
from infeed.trainers.keras.dataset import ImageDataset

Subset = Literal["training", "validation", "both"]


def image_dataset_from_manifest(
    manifest: str | Path | Manifest,
    images: str | Path | None = None,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    weight_column: str | None = None,
    duplicates: Duplicates = "raise",
    label_mode: LabelMode | None = "int",
    class_names: Sequence[str | int] | None = None,
    color_mode: ColorMode = "rgb",
    batch_size: int = 32,
    image_size: tuple[int, int] | int = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: Subset | None = None,
    interpolation: Interpolation = "bilinear",
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    verbose: bool = True,
    dtype: PixelType = "uint8",
    scale: float | None = None,
    decode: Decode = "fast",
    sampling: Sampling | Mapping[int, float] | Mapping[str, float] | None = None,
    remainder: Remainder = "keep",
    weights: bool | None = None,
    class_weight: Literal["balanced"] | Mapping[int, float] | None = None,
    on_bad_image: OnBadImage = "replace",
    augment: Augment | None = None,
    max_bad: int | float = 0.05,
    bad_images: str | Path | None = None,
    read_timeout_seconds: float | None = READ_TIMEOUT_SECONDS,
    check_images: bool = False,
    cache: str | Path | Cache | None = None,
    cache_limit: int | str | None = None,
    cache_encoding: EncodingChoice = "auto",
    threads: int | None = None,
    shard: Shard | None = None,
    outside: bool = False,
) -> Any:
    """A data set for `fit`, `evaluate` and `predict` from a manifest of images.

    Argument names, meanings and defaults are those of `keras.utils.
    image_dataset_from_directory` wherever it has them; the README lists what differs.

    Args:
        manifest: a JSON list, JSON Lines, CSV or TSV file, or a `Manifest`.
        images: the folder that the manifest's names are relative to; by default the folder
            of the manifest file.
        image_column: the column of image names; found by itself when unambiguous.
        label_column: the column of labels; found by itself when unambiguous.
        weight_column: a column of sample weights, finite and not negative; none by default.
        duplicates: what to do with a name that comes twice: `raise`, `keep` both rows, or
            `drop` all but the first.
        label_mode: `int`: int32 (rows,); `categorical`: one-hot float32 (rows, num_classes);
            `binary`: float32 (rows, 1), for two classes; None: no labels.
        class_names: all classes in the order of their numbers, such as `train.class_names`
            for validation data, or names for labels that are numbers from 0; by default the
            sorted labels of the manifest.
        color_mode: `rgb`, `bgr` and `rgba` have 3, 3 and 4 channels, `grayscale` has 1.
        batch_size: rows a batch.
        image_size: (height, width), or one number for both.
        shuffle: a new order every epoch; False: the order of the manifest.
        seed: of the order; drawn at random when None (`dataset.loader.sampler.seed` tells), but 0
            where it has nothing to shuffle or augment.
        validation_split: the share of the manifest to keep for validation, in (0, 1).
        subset: `training`, `validation`, or `both` (two data sets), with `validation_split`.
        interpolation: how images are resized.
        crop_to_aspect_ratio: cut the longer side off instead of distorting.
        pad_to_aspect_ratio: add black borders instead of distorting.
        verbose: print how many images and classes there are.
        dtype: `uint8` (put `keras.layers.Rescaling` first in the model), or `float32`.
        scale: what float32 pixels are multiplied with, such as 1/255.
        decode: `exact`: bit for bit `cv2.imdecode` and `cv2.resize`; `fast`: JPEG decoded at
            reduced size where the target allows it, colours repeated where a picture shrinks.
        sampling: given, it takes the place of `shuffle`. `shuffle`, `sequential`, or
            `replacement` (each row drawn at random); or classes in other shares than the set has
            them, as many images an epoch: `balanced` (all alike), `sqrt` and `effective` (between
            balanced and the set's own; Cui et al. 2019), or {class name or number: weight}. A
            class goes through all its images before one comes again. Validation data that is
            split off is whole and in order then.
        remainder: what becomes of the last, incomplete batch: `keep` it short, `drop` it,
            `pad` it with rows of weight 0, or `carry` its records into the next epoch.
        weights: deliver (images, labels, weights). By default only where weights may differ
            from 1: with a `weight_column`, `class_weight`, `remainder="pad"`,
            `on_bad_image="mask"` or several shards. Keras then takes no `fit(class_weight=...)`.
        class_weight: multiplied into the delivered weights: `balanced`, or weights by the
            number of the class. Validation data that is split off is not weighted.
        on_bad_image: `replace` by a good image of the same class, `mask` by a black row of
            weight 0, or `raise`.
        augment: changes each training image at random, in the threads: a function of the image,
            uint8 (height, width, channels), which it may write to, and a random word that belongs
            to the sample; see `Loader`. Validation data that is split off is left as it is.
        max_bad: how many bad images to bear: a count (int), or a share of the manifest (float).
        bad_images: a file that gets a line of JSON for each bad image, as soon as it is met:
            `position`, `uri`, `reason`, `message`, `when`. What is in it stays.
        read_timeout_seconds: a read that takes longer is given up, and its image is bad. None:
            never.
        check_images: look now whether every image is there, not only when it is read.
        cache: a folder that keeps the fitted images, so that from the second epoch on nothing is
            decoded again; it may be shared with other runs, and thrown away at any time. None:
            nothing is kept. A `Cache` says it all at once.
        cache_limit: the bytes that the folder may have at most, such as `"20GB"`; by default as
            far as the disk goes, but for a reserve.
        cache_encoding: `raw`: pixels; `jpeg`: several times smaller, decoded in every epoch, for
            sets whose pixels would not fit; `auto`: what suits disk and memory.
        threads: how many threads decode; by default one for each core of this process.
        shard: this process' share of the records, where several processes train together.
        outside: let the manifest name files outside `images`.

    Returns:
        An `ImageDataset`; with `subset="both"` two of them, for training and validation.

    Raises:
        ManifestError: the manifest cannot be used; names file, row, value and cure.
        ValueError: an argument that cannot be.
        ImportError: Keras or its back end is missing.
    """
    if not isinstance(manifest, Manifest):
        with _own_argument_names():
            manifest = Manifest.open(
                manifest,
                images=images,
                image_column=image_column,
                label_column=label_column,
                weight_column=weight_column,
                labelled=label_mode is not None,
                class_names=class_names,
                duplicates=duplicates,
            )
    elif (
        images is not None
        or class_names is not None
        or image_column
        or label_column
        or weight_column
    ):
        raise ValueError(
            "images, class_names and column names are read with the file: give them to the "
            "function that makes the Manifest, such as Manifest.from_json"
        )
    if check_images:
        manifest.check_images()
    cache = _cache(cache, cache_limit, cache_encoding)
    if isinstance(class_weight, str) and class_weight != "balanced":
        raise ValueError(f"class_weight must be 'balanced', a dict or None, got {class_weight!r}")
    _check_split(validation_split, subset, shuffle=shuffle, seed=seed)
    order = _sampling_of(manifest, sampling, shuffle=shuffle)
    if seed is None:
        # In the manifest's order it picks nothing but stand-ins for bad images, and with one that
        # is drawn the metrics of a run that is gone on with would be others.
        draws_nothing = order == "sequential" and augment is None
        seed = 0 if draws_nothing else secrets.randbelow(2**31)
    height, width = _height_and_width(image_size)
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError("Only one of crop_to_aspect_ratio and pad_to_aspect_ratio can be set")
    recipe = Recipe(
        height=height,
        width=width,
        color_mode=color_mode,
        fit="crop" if crop_to_aspect_ratio else "pad" if pad_to_aspect_ratio else "stretch",
        interpolation=interpolation,
        decode=decode,
    )
    sampler = Sampler(
        seed=seed,
        batch_size=batch_size,
        sampling=order,
        remainder=remainder,
        shard=shard or Shard(),
    )
    if weights is None:
        weights = (
            manifest.weights is not None
            or class_weight is not None
            or remainder == "pad"
            or on_bad_image == "mask"
            or sampler.shard.count > 1
        )

    def dataset(
        part: Manifest,
        sampler: Sampler,
        class_weight: Mapping[int, float] | None = None,
        augment: Augment | None = None,
    ) -> ImageDataset:
        nonlocal cache
        loader = Loader(
            part,
            recipe,
            sampler,
            storage=None if part.images is None else LocalStorage(part.images, outside=outside),
            cache=cache,
            label_mode=label_mode,
            class_weight=class_weight,
            dtype=dtype,
            scale=scale,
            on_bad_image=on_bad_image,
            augment=augment,
            max_bad=max_bad,
            bad_images=bad_images,
            read_timeout_seconds=read_timeout_seconds,
            threads=threads,
        )
        if loader.cache is not None and loader.cache_choice is not None:
            # Both parts of a split are kept alike.
            cache = replace(loader.cache, encoding=loader.cache_choice.encoding)
        if verbose and loader.cache is not None and loader.cache_choice is not None:
            print(f"Cache in {printable(str(loader.cache.folder))}: {loader.cache_choice}.")
        if verbose and loader.members is not None:
            print(describe(sampler.stored_sampling, loader.members, part.class_names))
        return ImageDataset(loader, weights=weights)

    def weight_of(part: Manifest) -> Mapping[int, float] | None:
        return balanced_class_weight(part) if class_weight == "balanced" else class_weight

    if verbose:
        print(_found(manifest))
    if validation_split is None:
        return dataset(manifest, sampler, weight_of(manifest), augment)
    training, validation = split(manifest, validation_split, seed=seed if shuffle else None)
    if verbose:
        print(f"Using {len(training)} for training and {len(validation)} for validation.")
    if subset == "training":
        return dataset(training, sampler, weight_of(training), augment)
    if subset == "validation" and not sampler.needs_classes:
        return dataset(validation, sampler)
    # All of the validation images, whatever becomes of the last training batch.
    whole: Remainder = "pad" if remainder == "pad" else "keep"
    in_order = replace(sampler, sampling="sequential", remainder=whole)
    if subset == "validation":
        return dataset(validation, in_order)
    return dataset(training, sampler, weight_of(training), augment), dataset(validation, in_order)


def image_dataset_from_directory(
    directory: str | Path,
    *,
    labels: Literal["inferred"] | Sequence[int] | None = "inferred",
    label_mode: LabelMode | None = "int",
    class_names: Sequence[str] | None = None,
    color_mode: ColorMode = "rgb",
    batch_size: int = 32,
    image_size: tuple[int, int] | int = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: Subset | None = None,
    interpolation: Interpolation = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    verbose: bool = True,
    dtype: PixelType = "uint8",
    scale: float | None = None,
    decode: Decode = "fast",
    sampling: Sampling | Mapping[int, float] | Mapping[str, float] | None = None,
    remainder: Remainder = "keep",
    weights: bool | None = None,
    class_weight: Literal["balanced"] | Mapping[int, float] | None = None,
    on_bad_image: OnBadImage = "replace",
    augment: Augment | None = None,
    max_bad: int | float = 0.05,
    bad_images: str | Path | None = None,
    read_timeout_seconds: float | None = READ_TIMEOUT_SECONDS,
    cache: str | Path | Cache | None = None,
    cache_limit: int | str | None = None,
    cache_encoding: EncodingChoice = "auto",
    threads: int | None = None,
    shard: Shard | None = None,
) -> Any:
    """A data set for `fit`, `evaluate` and `predict` from class-named folders of images.

    Args:
        directory: a folder with one folder for each class, and images at any depth in them.
        labels: `inferred`: the names of the folders; None: no labels, images at any depth;
            or a label for each image, in the order of their sorted paths.
        class_names: the folders to take, in the order of their numbers; by default all, sorted.
        follow_links: enter folders that are symbolic links. Images that are links are always
            read, as in Keras: the folder is the caller's own.

    All other arguments, the return value and the errors are those of
    `image_dataset_from_manifest`.
    """
    is_inferred = isinstance(labels, str) and labels == "inferred"
    if class_names is not None and not is_inferred:
        raise ValueError("class_names can be given only with labels='inferred'")
    if isinstance(labels, str) and not is_inferred:
        raise ValueError(
            f"labels must be 'inferred', None, or one label for each image, got {labels!r}"
        )
    with _own_argument_names():
        manifest = Manifest.from_folders(
            directory,
            class_names=class_names if label_mode is not None else None,
            labelled=is_inferred and label_mode is not None,
            follow_links=follow_links,
        )
    if labels is not None and not isinstance(labels, str) and label_mode is not None:
        manifest = _labelled(manifest, labels)
    return image_dataset_from_manifest(
        manifest,
        label_mode=label_mode,
        color_mode=color_mode,
        batch_size=batch_size,
        image_size=image_size,
        shuffle=shuffle,
        seed=seed,
        validation_split=validation_split,
        subset=subset,
        interpolation=interpolation,
        crop_to_aspect_ratio=crop_to_aspect_ratio,
        pad_to_aspect_ratio=pad_to_aspect_ratio,
        verbose=verbose,
        dtype=dtype,
        scale=scale,
        decode=decode,
        sampling=sampling,
        remainder=remainder,
        weights=weights,
        class_weight=class_weight,
        on_bad_image=on_bad_image,
        augment=augment,
        max_bad=max_bad,
        bad_images=bad_images,
        read_timeout_seconds=read_timeout_seconds,
        cache=cache,
        cache_limit=cache_limit,
        cache_encoding=cache_encoding,
        threads=threads,
        shard=shard,
        outside=True,
    )


def _cache(
    cache: str | Path | Cache | None, limit: int | str | None, encoding: EncodingChoice
) -> Cache | None:
    if cache is None or isinstance(cache, Cache):
        if limit is not None or encoding != "auto":
            wanted = "a folder as cache" if cache is None else "them in the Cache"
            raise ValueError(f"cache_limit and cache_encoding: pass {wanted}")
        return cache
    return Cache(cache, encoding=encoding, limit=limit)


@contextlib.contextmanager
def _own_argument_names() -> Iterator[None]:
    """Lets an error name the argument that the caller here has for the manifest's `labelled`."""
    try:
        yield
    except ManifestError as error:
        text = str(error)
        if "labelled=False" not in text:
            raise
        raise ManifestError(text.replace("labelled=False", "label_mode=None")) from None


def _height_and_width(image_size: object) -> tuple[int, int]:
    pair = (image_size, image_size) if isinstance(image_size, int) else image_size
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ValueError(f"image_size must be (height, width), or one number, got {image_size!r}")
    return pair[0], pair[1]


def _labelled(manifest: Manifest, labels: Sequence[int]) -> Manifest:
    """The folder's images with labels given from Python."""
    if len(labels) != len(manifest):
        raise ValueError(
            f"labels must have one label for each of the {len(manifest)} images in "
            f"{manifest.images}, got {len(labels)}"
        )
    names = [manifest.uri(position) for position in range(len(manifest))]
    # The numbers themselves are the classes, as in Keras, also where one does not occur.
    numbers = [index(label) for label in labels]
    if min(numbers) < 0:
        raise ValueError(f"labels must be 0 or more, got {min(numbers)}")
    classes = range(max(numbers) + 1)
    return Manifest.from_rows(names, numbers, images=manifest.images, class_names=classes)


def _check_split(
    validation_split: float | None, subset: Subset | None, *, shuffle: bool, seed: int | None
) -> None:
    if validation_split is None and subset is None:
        return
    if validation_split is None or not 0 < validation_split < 1:
        raise ValueError(
            f"validation_split must be a share between 0 and 1 when subset is given, got "
            f"{validation_split!r}"
        )
    if subset not in get_args(Subset):
        raise ValueError(
            f"subset must be 'training', 'validation' or 'both' when validation_split is given, "
            f"got {subset!r}"
        )
    if subset != "both" and shuffle and seed is None:
        raise ValueError(
            "With validation_split and shuffle, give a seed, the same in both calls: otherwise "
            "training and validation images overlap. Or take both at once: subset='both'."
        )


def _sampling_of(
    manifest: Manifest,
    sampling: Sampling | Mapping[int, float] | Mapping[str, float] | None,
    *,
    shuffle: bool,
) -> Sampling | ClassWeights:
    """The sampling with the numbers of classes in the place of their names."""
    if sampling is None:
        return "shuffle" if shuffle else "sequential"
    if not isinstance(sampling, Mapping):
        return sampling
    numbers = {name: number for number, name in enumerate(manifest.class_names)}
    unknown = [name for name in sampling if isinstance(name, str) and name not in numbers]
    if unknown:
        raise ValueError(
            f"sampling names the class {unknown[0]!r}; the classes are {list(numbers)[:20]}"
            f"{' ...' if len(numbers) > 20 else ''}"
        )
    return tuple(
        (numbers[name] if isinstance(name, str) else name, weight)
        for name, weight in sampling.items()
    )


def _found(manifest: Manifest) -> str:
    if manifest.labels is None:
        return f"Found {len(manifest)} images."
    return f"Found {len(manifest)} images belonging to {manifest.num_classes} classes."
