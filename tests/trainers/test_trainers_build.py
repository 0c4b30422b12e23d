"""From a manifest or a folder to a data set, with the argument names of Keras."""

from __future__ import annotations

import inspect
import json

import cv2
import keras
import numpy as np
import pytest

from infeed import (
    Manifest,
    ManifestError,
    TooManyBadImagesError,
    image_dataset_from_directory,
    image_dataset_from_manifest,
)

CLASSES = ("健康", "rust", "scab")


def names_in(*datasets):
    """The images that one epoch of each data set holds."""
    return [
        dataset.loader.manifest.uri(int(position))
        for dataset in datasets
        for number in range(len(dataset))
        for position in dataset.loader.batch(0, number).positions
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven pictures a class, each of another grey."""
    root = tmp_path_factory.mktemp("照片")
    for label, name in enumerate(CLASSES):
        (root / name).mkdir()
        for number in range(7):
            grey = np.full((20, 30, 3), 10 * number + 80 * label, np.uint8)
            (root / name / f"{number}.png").write_bytes(cv2.imencode(".png", grey)[1].tobytes())
    return root


@pytest.fixture(scope="module")
def manifest_file(folder):
    rows = [
        {"image_id": f"{name}/{number}.png", "disease_class": name, "certainty": number / 4}
        for name in CLASSES
        for number in range(7)
    ]
    path = folder / "train.json"
    path.write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
    return path


def from_folder(folder, **arguments):
    arguments = {"verbose": False, "seed": 1, "image_size": (8, 8)} | arguments
    return image_dataset_from_directory(folder, **arguments)


def from_manifest(path, *positional, **arguments):
    arguments = {"verbose": False, "seed": 1, "image_size": (8, 8)} | arguments
    return image_dataset_from_manifest(path, *positional, **arguments)


def test_every_argument_of_keras_is_there_with_the_same_default():
    theirs = inspect.signature(keras.utils.image_dataset_from_directory).parameters
    ours = inspect.signature(image_dataset_from_directory).parameters
    of_tensorflow_data_only = {"format", "data_format"}
    for name in theirs.keys() - of_tensorflow_data_only:
        assert name in ours
        assert ours[name].default == theirs[name].default, name


def test_the_folders_are_the_classes(folder):
    dataset = from_folder(folder, shuffle=False)
    assert dataset.class_names == sorted(CLASSES)
    assert dataset.num_classes == 3
    assert len(names_in(dataset)) == 21


def test_class_names_choose_and_order_the_folders(folder):
    dataset = from_folder(folder, class_names=["scab", "健康"], shuffle=False)
    assert dataset.class_names == ["scab", "健康"]
    labels = dataset.loader.manifest.labels
    names = [dataset.loader.manifest.uri(position) for position in range(14)]
    assert [name.split("/")[0] for name in names] == [["scab", "健康"][label] for label in labels]


def test_labels_may_be_given_for_each_image_in_the_order_of_their_paths(folder):
    given = [position % 2 for position in range(21)]
    dataset = from_folder(folder, labels=given, shuffle=False)
    assert dataset.loader.manifest.labels.tolist() == given
    assert names_in(dataset) == sorted(names_in(dataset))


@pytest.mark.parametrize("arguments", [{"labels": None}, {"label_mode": None}])
def test_without_labels_every_image_is_taken(folder, arguments):
    dataset = from_folder(folder, shuffle=False, **arguments)
    assert len(names_in(dataset)) == 21
    assert dataset.class_names == []
    assert [len(batch) for batch in dataset] == [1]


def test_a_manifest_of_the_same_images_is_the_same_data_set(folder, manifest_file):
    one = from_folder(folder, shuffle=False)
    other = from_manifest(manifest_file, class_names=one.class_names, shuffle=False)
    assert sorted(names_in(one)) == sorted(names_in(other))
    by_name = [dict(zip(names_in(each), each[0][1].tolist(), strict=True)) for each in (one, other)]
    assert by_name[0] == by_name[1]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
def test_both_parts_of_a_split_are_the_whole_set_once(folder, shuffle, share):
    both = from_folder(folder, validation_split=share, subset="both", shuffle=shuffle)
    assert sorted(names_in(*both)) == sorted(names_in(from_folder(folder)))
    assert len(both[1].loader.manifest) == int(21 * share)


def test_training_and_validation_taken_apart_are_those_taken_together(folder):
    train, validation = from_folder(folder, validation_split=0.3, subset="both")
    apart = [
        from_folder(folder, validation_split=0.3, subset=subset)
        for subset in ("training", "validation")
    ]
    assert sorted(names_in(apart[0])) == sorted(names_in(train))
    assert sorted(names_in(apart[1])) == sorted(names_in(validation))
    assert train.class_names == validation.class_names == sorted(CLASSES)


def test_the_validation_part_of_both_comes_in_the_order_of_the_manifest(folder):
    _, validation = from_folder(folder, validation_split=0.5, subset="both")
    assert names_in(validation) == sorted(names_in(validation))


@pytest.mark.parametrize(
    ("arguments", "form", "labels"),
    [
        ({}, ("uint8", (5, 8, 8, 3)), ("int32", (5,))),
        ({"label_mode": "categorical"}, ("uint8", (5, 8, 8, 3)), ("float32", (5, 3))),
        ({"color_mode": "grayscale"}, ("uint8", (5, 8, 8, 1)), ("int32", (5,))),
        ({"color_mode": "rgba"}, ("uint8", (5, 8, 8, 4)), ("int32", (5,))),
        ({"image_size": 6, "dtype": "float32"}, ("float32", (5, 6, 6, 3)), ("int32", (5,))),
        ({"image_size": (4, 6)}, ("uint8", (5, 4, 6, 3)), ("int32", (5,))),
    ],
)
def test_a_batch_has_the_form_that_was_asked_for(folder, arguments, form, labels):
    x, y = from_folder(folder, batch_size=5, **arguments)[0]
    assert ((x.dtype, x.shape), (y.dtype, y.shape)) == (form, labels)


def test_scaled_pixels_lie_between_0_and_1(folder):
    x, _ = from_folder(folder, dtype="float32", scale=1 / 255, batch_size=21)[0]
    assert (x.min(), x.max()) == (0, np.float32(220) / np.float32(255))


@pytest.mark.parametrize(
    ("arguments", "fit"),
    [
        ({}, "stretch"),
        ({"crop_to_aspect_ratio": True}, "crop"),
        ({"pad_to_aspect_ratio": True}, "pad"),
    ],
)
def test_the_aspect_ratio_arguments_choose_the_fit(folder, arguments, fit):
    assert from_folder(folder, **arguments).loader.recipe.fit == fit


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [({}, 2), ({"remainder": "pad"}, 3), ({"on_bad_image": "mask"}, 3), ({"weights": True}, 3)],
)
def test_weights_are_delivered_where_they_may_differ_from_one(folder, arguments, parts):
    assert len(from_folder(folder, **arguments)[0]) == parts


def test_a_weight_column_is_delivered(manifest_file):
    dataset = from_manifest(manifest_file, weight_column="certainty", shuffle=False)
    assert dataset[0][2].tolist() == [number / 4 for number in range(7)] * 3


def test_the_order_is_that_of_the_seed_and_a_drawn_seed_is_told(folder):
    drawn = from_folder(folder, seed=None)
    again = from_folder(folder, seed=drawn.loader.sampler.seed)
    assert names_in(drawn) == names_in(again)
    assert names_in(from_folder(folder, seed=1)) != names_in(from_folder(folder, seed=2))


def test_sampling_takes_the_place_of_shuffle(folder):
    assert from_folder(folder, sampling="sequential").loader.sampler.sampling == "sequential"
    assert from_folder(folder, shuffle=False).loader.sampler.sampling == "sequential"
    assert from_folder(folder).loader.sampler.sampling == "shuffle"


def test_classes_are_weighted_by_name_or_number(folder):
    by_name = from_folder(folder, sampling={"健康": 1, "rust": 0, "scab": 2.5})
    by_number = from_folder(folder, sampling={2: 1, 0: 0, 1: 2.5})
    assert by_name.loader.sampler == by_number.loader.sampler
    assert from_folder(folder, sampling="sqrt").loader.members is not None
    with pytest.raises(ValueError, match=r"sampling names the class 'must'; the classes are \['"):
        from_folder(folder, sampling={"健康": 1, "rust": 0, "must": 2.5})
    with pytest.raises(ManifestError, match="sampling='balanced' needs labels"):
        from_folder(folder, sampling="balanced", labels=None)


@pytest.mark.parametrize("subset", ["validation", "both"])
def test_validation_data_that_is_split_off_is_whole_whatever_the_classes_weigh(folder, subset):
    split = from_folder(folder, sampling="balanced", validation_split=0.4, subset=subset)
    validation = split[1] if subset == "both" else split
    assert validation.loader.sampler.sampling == "sequential"
    assert len(set(names_in(validation))) == len(names_in(validation)) == 8


def test_verbose_says_what_a_sampling_by_class_means(folder, capsys):
    from_folder(folder, verbose=True, sampling={"健康": 1, "rust": 0, "scab": 2})
    assert capsys.readouterr().out.splitlines() == [
        "Found 21 images belonging to 3 classes.",
        (
            "sampling by weights: every epoch draws 21 images, from 7 to 14 from a class. Class "
            "'scab' has 7 images, each of which comes 2 times an epoch. Class '健康' has 7 images, "
            "each of which comes once an epoch. Left out, with weight 0: 'rust', 7 images."
        ),
    ]


def test_verbose_says_what_was_found(folder, capsys):
    from_folder(folder, verbose=True, validation_split=0.4, subset="both")
    from_folder(folder, verbose=True, labels=None)
    assert capsys.readouterr().out.splitlines() == [
        "Found 21 images belonging to 3 classes.",
        "Using 13 for training and 8 for validation.",
        "Found 21 images.",
    ]
    from_folder(folder)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"labels": "infered"}, "labels must be 'inferred', None, or one label for each image"),
        ({"labels": [0, 1]}, "one label for each of the 21 images in .*, got 2"),
        (
            {"labels": None, "class_names": ["rust"]},
            "class_names can be given only with labels='inferred'",
        ),
        ({"subset": "training"}, "validation_split must be a share between 0 and 1 .* got None"),
        (
            {"subset": "training", "validation_split": 1.0},
            "validation_split must be a share between 0 and 1 .* got 1.0",
        ),
        (
            {"validation_split": 0.5},
            "subset must be 'training', 'validation' or 'both' .* got None",
        ),
        (
            {"validation_split": 0.5, "subset": "validation", "seed": None},
            "give a seed, the same in both calls: .* subset='both'",
        ),
        (
            {"validation_split": 0.01, "subset": "validation"},
            "no image is left; a manifest has at least one",
        ),
        (
            {"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True},
            "Only one of crop_to_aspect_ratio and pad_to_aspect_ratio can be set",
        ),
        ({"scale": 1 / 255}, "needs dtype='float32'.*keras.layers.Rescaling"),
        ({"label_mode": "binary"}, "label_mode='binary' needs exactly 2 classes, there are 3"),
        ({"label_mode": "one_hot"}, "label_mode must be one of .*'categorical'.* got 'one_hot'"),
        ({"color_mode": "gray"}, "color_mode.*'gray'"),
        ({"interpolation": "cubic"}, "interpolation.*'cubic'"),
        ({"batch_size": 0}, "batch_size.*0"),
        ({"image_size": (0, 8)}, "height.*0"),
        (
            {"threads": 0},
            "threads must be a whole number, at least 1, or None for all cores, got 0",
        ),
        ({"max_bad": 1.5}, "max_bad must be a count .* got 1.5"),
        ({"augment": keras.layers.RandomFlip()}, r"RandomFlip.* Keras layer belongs in"),
        ({"on_bad_image": "skip"}, "on_bad_image must be one of .* got 'skip'"),
        ({"remainder": "drop", "batch_size": 22}, "leaves no batch of 21 records"),
    ],
)
def test_a_wrong_argument_is_refused_with_its_value_and_what_is_right(folder, arguments, text):
    with pytest.raises(ValueError, match=text):
        from_folder(folder, **arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"images": "elsewhere"}, {"class_names": ["a"]}, {"label_column": "a"}, {"image_column": "b"}],
)
def test_what_belongs_to_a_manifest_is_refused_beside_one(arguments):
    manifest = Manifest.from_rows(["a.png"], ["a"])
    with pytest.raises(ValueError, match="give them to the function that makes the Manifest"):
        from_manifest(manifest, **arguments)


def test_a_manifest_without_an_image_folder_is_refused_with_the_cure():
    with pytest.raises(ValueError, match=r"no image folder. Give it one \(images=...\)"):
        from_manifest(Manifest.from_rows(["a.png"], ["a"]))


def test_a_missing_folder_or_manifest_is_refused_by_name(tmp_path, folder):
    with pytest.raises(ManifestError, match="gone"):
        from_folder(tmp_path / "gone")
    with pytest.raises(ManifestError, match=r"gone\.json"):
        from_manifest(tmp_path / "gone.json", folder)
    with pytest.raises(ManifestError, match="gone"):
        from_manifest(folder / "train.json", tmp_path / "gone")


def test_a_label_that_training_does_not_know_is_refused(manifest_file):
    with pytest.raises(ManifestError, match="'scab'"):
        from_manifest(manifest_file, class_names=["健康", "rust"])


def test_class_weights_are_delivered_and_make_all_classes_count_alike(tmp_path):
    for name, count in (("common", 6), ("rare", 2)):
        (tmp_path / name).mkdir()
        for number in range(count):
            grey = np.full((8, 8, 3), number, np.uint8)
            (tmp_path / name / f"{number}.png").write_bytes(cv2.imencode(".png", grey)[1].tobytes())
    dataset = from_folder(tmp_path, class_weight="balanced", shuffle=False, batch_size=8)
    _, labels, weights = dataset[0]
    assert weights[labels == 0].sum() == weights[labels == 1].sum() == 4
    assert dataset.class_weight == {0: 8 / 12, 1: 2.0}
    with pytest.raises(ValueError, match="class_weight must be 'balanced', a dict or None"):
        from_folder(tmp_path, class_weight="equal")


def test_a_missing_image_is_found_at_once_on_request(manifest_file, tmp_path):
    rows = json.loads(manifest_file.read_text("utf-8"))
    rows.append({"image_id": "gone.png", "disease_class": "rust", "certainty": 1})
    path = tmp_path / "gone.json"
    path.write_text(json.dumps(rows), "utf-8")
    from_manifest(path, manifest_file.parent)
    with pytest.raises(ManifestError, match=r"gone\.png"):
        from_manifest(path, manifest_file.parent, check_images=True)


def test_images_that_are_links_are_read_from_a_folder_and_refused_from_a_manifest(folder, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").symlink_to(folder / "rust" / "1.png")
    assert from_folder(tmp_path, max_bad=0)[0][0].shape == (1, 8, 8, 3)
    path = tmp_path / "m.json"
    path.write_text('[{"image": "a/1.png", "label": "rust"}]', "utf-8")
    with pytest.raises(TooManyBadImagesError, match="leads out of"):
        from_manifest(path)[0]
    assert from_manifest(path, outside=True)[0][0].shape == (1, 8, 8, 3)


@pytest.mark.parametrize("image_size", [(8,), (8, 8, 3), 8.0, None, "8"])
def test_an_image_size_that_is_no_pair_is_refused(folder, image_size):
    with pytest.raises(ValueError, match=r"image_size must be \(height, width\), or one number"):
        from_folder(folder, image_size=image_size)


def test_the_cure_for_missing_labels_is_an_argument_that_exists(tmp_path):
    path = tmp_path / "n.json"
    path.write_text('[{"image": "a.png", "label": null}]', "utf-8")
    with pytest.raises(ManifestError, match="or pass label_mode=None"):
        from_manifest(path)
    assert from_manifest(path, label_mode=None).num_classes == 0
    (tmp_path / "b.png").touch()
    with pytest.raises(ManifestError, match="pass label_mode=None for images without labels"):
        from_folder(tmp_path)
