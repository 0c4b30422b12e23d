"""Two measurements side by side, and files that hold none."""

from __future__ import annotations

import json
import os

import pytest

from infeed.bench.comparison import compare, read_measurement

EPOCH = {"epoch": 0, "images": 100, "seconds": 1.0, "images_per_second": 100.0, "source": "decoded"}
RUN = {
    "epochs": [EPOCH | {"stages": {"decode": 0.5, "read": 0.01, "augment": 0.0}}],
    "limit_images_per_second": 110.0,
    "decoded_images_per_second": 100.0,
    "ratio": 100 / 110,
    "cached_images_per_second": None,
    "peak_rss_mb": 200.0,
    "settings": {"threads": 2, "recipe": {"height": 224}},
    "set": {"records": 100, "fingerprint": "a"},
    "machine": {"cpu": "X", "versions": {"numpy": "2.0"}},
}


def ratios(comparison):
    return {figure.name: figure.ratio for figure in comparison.figures}


def test_every_figure_that_both_have_gets_a_ratio():
    now = RUN | {"decoded_images_per_second": 150.0, "cached_images_per_second": 9.0}
    found = compare(RUN, now)
    assert ratios(found) == {
        "decoded": 1.5,
        "the decoder alone": 1.0,
        "decoded / the decoder": 1.0,
        "decoded: decode": 1.0,
        "decoded: read": 1.0,
        "memory at most": 1.0,
    }
    assert found.differences == ()


def test_stages_are_compared_by_image_and_kind_of_epoch():
    more = EPOCH | {"images": 400, "stages": {"decode": 1.0}}
    cold = EPOCH | {"is_cold": True, "stages": {"read": 3.0}}
    found = compare(RUN, RUN | {"epochs": [more, cold]})
    assert ratios(found)["decoded: decode"] == pytest.approx(0.5)
    assert "decoded, cold: read" not in ratios(found)


def test_training_steps_are_compared():
    fit = {"memory_step_ms": 10.0, "fed_step_ms": 12.0, "ratio": 1.2}
    found = compare(RUN | {"fit": fit}, RUN | {"fit": fit | {"fed_step_ms": 6.0}})
    assert ratios(found)["fit fed"] == 0.5
    assert not [name for name in ratios(compare(RUN, RUN | {"fit": fit})) if "fit" in name]


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("settings", {"threads": 4, "recipe": {"height": 224}}, "setting threads was 2 and is 4"),
        (
            "settings",
            {"threads": 2, "recipe": {"height": 64}},
            "setting recipe.height was 224 and is 64",
        ),
        ("set", {"records": 100, "fingerprint": "b"}, "set's fingerprint was 'a' and is 'b'"),
        ("machine", {"cpu": "Y", "versions": {"numpy": "2.0"}}, "machine's cpu was 'X' and is 'Y'"),
        ("machine", {"cpu": "X", "versions": {}}, "versions.numpy was '2.0' and is not told"),
    ],
)
def test_what_makes_them_two_things_is_said(part, value, said):
    (difference,) = compare(RUN, RUN | {part: value}).differences
    assert said in difference


def test_a_figure_that_was_0_has_no_ratio():
    then = RUN | {"peak_rss_mb": 0.0}
    assert ratios(compare(then, RUN))["memory at most"] is None


def test_figures_that_are_no_numbers_are_left_out():
    odd = RUN | {"decoded_images_per_second": "fast", "peak_rss_mb": 10**400, "ratio": True}
    names = set(ratios(compare(RUN, odd)))
    assert names.isdisjoint({"decoded", "memory at most", "decoded / the decoder"})


def test_a_measurement_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "früher.json"
    path.write_text(json.dumps(RUN), "utf-8")
    assert read_measurement(path) == RUN


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe\x00", "decode"),
        (b"epoch  images\n", "Expecting value"),
        (b"[]", "an object was expected, got list"),
        (b"{}", "no epochs"),
        (b'{"epochs": 3}', "no epochs"),
        (b'{"epochs": [3]}', "no images"),
        (b'{"epochs": [{"images": 0, "source": "decoded"}]}', "no images"),
        (b'{"epochs": [{"images": 1, "source": "\\u001b[2J"}]}', "no source"),
        (b'{"epochs": [{"images": 1, "source": []}]}', "no source"),
        (b'{"epochs": [{"images": 1, "source": "cache"}]}', "no limit_images_per_second"),
        (b'{"epochs": NaN}', "NaN is no number"),
        (b"[" * 100_000, "not what `infeed bench --json` prints"),
    ],
)
def test_a_file_that_holds_something_else_is_refused_with_the_cure(tmp_path, content, said):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"infeed bench \.\.\. --json > FILE") as caught:
        read_measurement(path)
    assert said in str(caught.value)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is a pipe, not a file"):
        read_measurement(tmp_path / "pipe")
