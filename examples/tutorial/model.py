"""The small convolutional network that both scripts train: the same but for its input."""

from __future__ import annotations

import keras

FILTERS = (16, 32, 64, 96)


def build_model(*, size: int, classes: int, scale: float) -> keras.Model:
    """A compiled classifier.

    Args:
        size: both sides of its pictures, in pixels.
        scale: what the pixels are multiplied with before they meet the first weight: 1/255
            for uint8 (0..255), 1.0 for float32 that are in 0..1 already.

    Returns:
        (batch, size, size, 3) -> probabilities (batch, classes), for one-hot labels.
    """
    inputs = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(scale)(inputs)
    for filters in FILTERS:
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.GlobalMaxPooling2D()(x)
    outputs = keras.layers.Dense(classes, activation="softmax")(x)
    model = keras.Model(inputs, outputs)
    model.compile(
        keras.optimizers.Adam(1e-3), loss="categorical_crossentropy", metrics=["accuracy"]
    )
    return model
