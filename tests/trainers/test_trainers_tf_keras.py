"""The tutorial's call, word for word, in the Keras that still has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(
    find_spec("tf_keras") is None, reason="tf_keras is missing: `make test-backends` installs it"
)

# Pictures 0..21 of grey 5 * position, labels position % 2; a model that learns nothing but
# counts the greys, one that tells them.
PROGRAM = """
import json, sys, warnings
import tensorflow as tf, tf_keras, infeed
from tensorflow import keras

assert keras.Model is tf_keras.Model  # TF_USE_LEGACY_KERAS
warnings.filterwarnings("ignore", "`Model.*_generator` is deprecated")

def data(shuffle):
    return infeed.image_dataset_from_manifest(
        sys.argv[1], image_size=(8, 8), batch_size=4, shuffle=shuffle, seed=3, verbose=False
    )

def grey_of(images):
    return tf.cast(images[:, 0, 0, :1], tf.float32) / 5

class Seen(keras.layers.Layer):
    def build(self, shape):
        self.times = self.add_weight(shape=(22,), initializer="zeros", trainable=False)
    def call(self, images):
        positions = tf.cast(grey_of(images)[:, 0], tf.int32)
        self.times.assign_add(tf.reduce_sum(tf.one_hot(positions, 22), axis=0))
        return grey_of(images)

train, val = data(True), data(False)
seen = Seen()
model = keras.Sequential([keras.Input((8, 8, 3), dtype=tf.uint8), seen, keras.layers.Dense(2)])
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
history = model.fit_generator(
    train.loader.forever(),
    steps_per_epoch=len(train),
    epochs=3,
    verbose=0,
)
told = {"epochs": len(history.history["loss"]), "times": seen.times.numpy().tolist()}
image = keras.Input((8, 8, 3), dtype=tf.uint8)
grey = keras.Model(image, keras.layers.Lambda(grey_of)(image))
grey.compile(loss="mae")
with_labels, images = val.loader.forever(), (batch[:1] for batch in val.loader.forever())
told["mae"] = grey.evaluate_generator(with_labels, steps=len(val))
told["predicted"] = grey.predict_generator(images, steps=len(val))[:, 0].tolist()
print(json.dumps(told))
"""


@pytest.fixture
def manifest(tmp_path):
    rows = []
    for position in range(22):
        name = f"叶 {position}.png"
        grey = np.full((16, 16, 3), 5 * position, np.uint8)
        (tmp_path / name).write_bytes(cv2.imencode(".png", grey)[1].tobytes())
        rows.append({"image_id": name, "disease_class": position % 2})
    path = tmp_path / "train.json"
    path.write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
    return path


def test_fit_generator_evaluate_generator_and_predict_generator_take_the_endless_generator(
    manifest,
):
    said = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", PROGRAM, str(manifest)],
        capture_output=True,
        text=True,
        env=os.environ | {"TF_USE_LEGACY_KERAS": "1"},
        check=False,
    )
    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout.splitlines()[-1])
    assert told["epochs"] == 3
    assert told["mae"] == pytest.approx(np.mean([p - p % 2 for p in range(22)]))
    assert told["predicted"] == pytest.approx(list(range(22)))
    # The generator's queue of 10 batches reads ahead; what is trained is 3 epochs exactly.
    assert told["times"] == [3.0] * 22
