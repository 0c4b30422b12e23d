"""Whether `InputMonitor` finds what holds training back, and predicts what its advice brings.

    KERAS_BACKEND=jax|tensorflow|torch python benchmarks/verdicts.py [CASE ...]

Arranges each case for real, through `fit` on drawn pictures: slow storage, slow decoding (large
pictures), decoding at full size where less would do, slow augmentation, a slow model, float32 made
of cached images, a cache that is too small, a case in which all is well, and a device that is
slower than the input. Prints the verdict of the last epoch; where its advice can be
applied, applies it and prints the measured gain (median images/s of the epochs after the first)
beside the predicted one.

Steps sleep, as the host does while an accelerator computes, so that their time is known.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import cv2
import keras
import numpy as np
import numpy.typing as npt

from infeed import Cache, ImageDataset, InputMonitor, Loader, Manifest, Recipe, Sampler
from infeed.read import LocalStorage, Stamp
from infeed.verdict import Verdict


class SlowStorage:
    """A folder behind a slow network: each read takes so much longer, each look does not."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self._local = LocalStorage(folder)
        self._seconds = seconds

    def read(self, uri: str) -> bytes:
        time.sleep(self._seconds)
        return self._local.read(uri)

    def name(self, uri: str) -> bytes:
        return self._local.name(uri)

    def stamps(self, uris: Sequence[str]) -> list[Stamp | None]:
        return self._local.stamps(uris)


class Sleep(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Passes on one pixel in 32 a side; a step takes `seconds` and no processor."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def call(self, images: Any) -> Any:
        few = keras.ops.cast(images[:, ::32, ::32], "float32")
        if not self.seconds:
            return few

        def sleep(value: Any) -> Any:
            time.sleep(self.seconds)
            return np.asarray(value)

        backend = keras.backend.backend()
        if backend == "jax":
            import jax

            return jax.pure_callback(sleep, jax.ShapeDtypeStruct(few.shape, few.dtype), few)
        if backend == "tensorflow":
            import tensorflow as tf

            slept = tf.numpy_function(sleep, [few], tf.float32)
            slept.set_shape(few.shape)
            return slept
        time.sleep(self.seconds)
        return few

    def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], -(-shape[1] // 32), -(-shape[2] // 32), 3)


class Compute(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Passes on one pixel in 32 a side, and multiplies matrices for nothing meanwhile.

    A step of which JAX knows everything is dispatched, and the training thread goes on.
    """

    def __init__(self, products: int) -> None:
        super().__init__()
        self.products = products

    def call(self, images: Any) -> Any:
        few = keras.ops.cast(images[:, ::32, ::32], "float32")
        matrix = keras.ops.ones((256, 256)) * keras.ops.mean(few) / 1e9
        product = keras.ops.fori_loop(
            0, self.products, lambda _, each: keras.ops.tanh(each @ each), matrix
        )
        return few + keras.ops.stop_gradient(keras.ops.mean(product))

    def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], -(-shape[1] // 32), -(-shape[2] // 32), 3)


@dataclass(frozen=True)
class Case:
    """Something that is arranged.

    Attributes:
        folder: of the pictures.
        step: seconds that a step takes.
        products: of matrices, that a step computes instead, if not 0.
        size: of the images, in pixels a side.
        images: how many of the folder.
        batch: images a batch.
        read_seconds: that a read takes longer than from a local disk.
        options: of the loader.
    """

    folder: Path
    step: float = 0.01
    products: int = 0
    size: int = 224
    images: int = 256
    batch: int = 16
    read_seconds: float = 0.0
    decode: Any = "fast"
    options: dict[str, Any] = field(default_factory=dict)

    def with_options(self, **options: Any) -> Case:
        return replace(self, options={**self.options, **options})


@dataclass(frozen=True)
class Run:
    """What came out.

    Attributes:
        images_per_second: the median of the epochs after the first.
        verdict: of the last epoch.
        waited: the share of the time in which a thread waited in our queue, whatever the device
            did meanwhile.
    """

    images_per_second: float
    verdict: Verdict
    waited: float


def run(case: Case, epochs: int = 4) -> Run:
    names = sorted(path.name for path in case.folder.iterdir())[: case.images]
    manifest = Manifest.from_rows(names, [0] * len(names), images=case.folder)
    loader = Loader(
        manifest,
        Recipe(height=case.size, width=case.size, decode=case.decode),
        Sampler(batch_size=case.batch),
        storage=SlowStorage(case.folder, case.read_seconds) if case.read_seconds else None,
        **case.options,
    )
    model = keras.Sequential(
        [
            keras.Input((case.size, case.size, 3), dtype=loader.dtype),
            Compute(case.products) if case.products else Sleep(case.step),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    monitor = InputMonitor(verbose=0)
    with ImageDataset(loader) as dataset:
        begin, waited = time.perf_counter(), loader.meter.read().wait_seconds
        history = model.fit(dataset, epochs=epochs, verbose=0, callbacks=[monitor]).history
        waited = (loader.meter.read().wait_seconds - waited) / (time.perf_counter() - begin)
    assert monitor.verdict is not None
    speed = statistics.median(history["images_per_second"][1:] or [0.0])
    return Run(speed, monitor.verdict, waited)


def blur(image: npt.NDArray[np.uint8], word: int) -> None:
    """An augmentation that takes some milliseconds."""
    for _ in range(3):
        cv2.GaussianBlur(image, (0, 0), 12.0, dst=image)


def draw(folder: Path, count: int, side: int) -> Path:
    """Pictures with something to decode in them: smooth shapes and some noise."""
    folder.mkdir()
    random = np.random.default_rng(7)
    small = random.integers(0, 255, (side // 16, side // 16, 3), np.uint8)
    smooth = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)
    noise = random.integers(0, 12, (side, side, 3), np.uint8)
    picture = cv2.imencode(".jpg", cv2.add(smooth, noise), [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    past = time.time() - 3600  # what has just been written is not kept in a cache
    for number in range(count):
        path = folder / f"{number:05}.jpg"
        path.write_bytes(picture.tobytes())
        os.utime(path, (past, past))
    return folder


def resaved(folder: Path, there: Path, side: int) -> Path:
    """The same pictures with a shorter side of `side` pixels."""
    there.mkdir()
    for path in sorted(folder.iterdir()):
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        picture = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        (there / path.name).write_bytes(picture.tobytes())
    return there


class Arranger:
    """Arranges the cases in one scratch folder, and applies advice."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._folders = 0
        self.small = draw(scratch / "small", 2048, 256)
        self.middle = draw(scratch / "middle", 512, 1024)
        self.large = draw(scratch / "large", 128, 2400)

    def fresh(self) -> Path:
        self._folders += 1
        return self._scratch / str(self._folders)

    def warm(self, case: Case) -> Case:
        """With a cache that holds everything."""
        cached = case.with_options(cache=Cache(self.fresh()))
        run(replace(cached, step=0.0, read_seconds=0.0), epochs=1)
        return cached

    def cases(self) -> dict[str, tuple[Callable[[], Case], str]]:
        """By name: how it is arranged, and the cause that must be found."""
        limit = 20 * 10**6  # of 77 MB
        small, middle, large = self.small, self.middle, self.large
        # PyTorch and TensorFlow take longer for them.
        products = 800 if keras.backend.backend() == "jax" else 100
        many: dict[str, Any] = {"step": 0.0, "images": 2048, "batch": 128}
        return {
            "slow storage": (lambda: Case(small, read_seconds=0.02), "storage"),
            "slow decode": (lambda: Case(large), "decode"),
            "full decode": (lambda: Case(large, decode="exact"), "decode"),
            "one thread": (lambda: Case(large, options={"threads": 1}), "decode"),
            "slow augmentation": (lambda: Case(small, options={"augment": blur}), "augment"),
            "slow model": (lambda: Case(small, step=0.1), "model"),
            "float32": (
                lambda: self.warm(Case(small, options={"dtype": "float32"}, **many)),
                "float32",
            ),
            "cache too small": (
                lambda: Case(
                    middle,
                    step=0.002,
                    images=512,
                    options={"cache": Cache(self.fresh(), encoding="raw", limit=limit)},
                ),
                "cache_too_small",
            ),
            "all is well": (lambda: self.warm(Case(small, step=0.02)), "model"),
            # The host dispatches steps ahead, and then waits for a batch while the device works.
            "slow device": (lambda: Case(small, products=products, read_seconds=0.004), "model"),
        }

    def applied(self, case: Case, verdict: Verdict) -> list[tuple[str, float, Case]]:
        """What each remedy predicts, and the case with it."""
        found: list[tuple[str, float, Case]] = []
        for remedy in verdict.remedies:
            value = remedy.words.partition("=")[2].strip('"')
            changed: Case | None = None
            if remedy.kind == "threads":
                changed = case.with_options(threads=int(value))
            elif remedy.kind == "uint8":
                changed = case.with_options(dtype="uint8")
            elif remedy.kind == "cache":
                changed = self.warm(case)
            elif remedy.kind == "cache_limit":
                cache = replace(case.options["cache"], limit=value)
                changed = case.with_options(cache=cache)
            elif remedy.kind == "reduced_decode":
                changed = replace(case, decode="fast")
            elif remedy.kind == "smaller_files":
                side = int(remedy.words.split("about ")[1].split()[0])
                changed = replace(case, folder=resaved(case.folder, self.fresh(), side))
            elif remedy.kind == "cheaper_augment":
                changed = case.with_options(augment=None)
            elif remedy.kind == "faster_storage":
                changed = replace(case, read_seconds=0.0)
            if changed is not None:
                found.append((remedy.kind, remedy.gain, changed))
        return found


def replaced(case: Case, arranger: Arranger) -> Case:
    """The case once more; a cache that is limited has to be filled again, as it was."""
    cache = case.options.get("cache")
    if cache is None or cache.limit is None:
        return case
    return case.with_options(cache=replace(cache, path=arranger.fresh()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("case", nargs="*")
    parser.add_argument("--rounds", type=int, default=1, help="of before and after, in turns")
    parser.add_argument("--no-advice", action="store_true", help="only judge, apply nothing")
    arguments = parser.parse_args()
    wrong = []
    with tempfile.TemporaryDirectory() as scratch:
        arranger = Arranger(Path(scratch))
        print(keras.backend.backend())
        for name, (arrange, cause) in arranger.cases().items():
            if arguments.case and name not in arguments.case:
                continue
            case = arrange()
            before = run(case)
            verdict = before.verdict
            is_right = verdict.cause == cause
            print(f"\n{name}: {'right' if is_right else f'WRONG, it is {cause}'}")
            print(f"  {verdict}")
            print(
                f"  {before.images_per_second:,.0f} images/s; in our queue was waited "
                f"{before.waited:.1%}, training stood still {verdict.stall_share:.1%}"
            )
            wrong += [] if is_right else [name]
            if arguments.no_advice:
                continue
            for kind, predicted, changed in arranger.applied(case, verdict):
                # The case again for each, since the machine may be another by now.
                gains = []
                for _ in range(arguments.rounds):
                    without = before if arguments.rounds == 1 else run(replaced(case, arranger))
                    gains.append(run(changed).images_per_second / without.images_per_second)
                measured = statistics.median(gains)
                print(f"  {kind}: predicted {predicted:.2f}, measured {measured:.2f}", flush=True)
    raise SystemExit(f"wrong verdicts: {', '.join(wrong)}" if wrong else 0)


if __name__ == "__main__":
    main()
