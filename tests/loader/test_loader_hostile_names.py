"""What a loader says of hostile names: log records, errors and examples hold none as it is."""

from __future__ import annotations

import logging

import pytest

from infeed import Loader, Manifest, MemoryStorage, Recipe, Sampler
from infeed.errors import StorageError, TooManyBadImagesError

NAMES = ["\x1b[2J\n\r.jpg", "\x9b31m.jpg", "\u202egpj.jpg", "\udcff\u200b.jpg"]


class Foreign:
    """A storage whose errors tell what a server has said."""

    def read(self, uri: str) -> bytes:
        raise StorageError(f"the server says: {uri}\x1b]8;;x\x07", reason="io")


@pytest.mark.parametrize("storage", [MemoryStorage({}), Foreign()], ids=["ours", "foreign"])
def test_log_records_and_errors_are_printable(storage, caplog):
    manifest = Manifest.from_rows(NAMES, ["\x1b[2J"] * 4, source="train\x1b[2J\n.json")
    loader = Loader(
        manifest, Recipe(height=8, width=8), Sampler(batch_size=4), storage=storage, max_bad=3
    )
    with caplog.at_level(logging.DEBUG, "infeed"), pytest.raises(TooManyBadImagesError) as caught:
        loader.batch(0, 0)
    assert len(caplog.messages) >= 4
    for text in [*caplog.messages, *str(caught.value).split("\n")]:
        assert text.isprintable(), ascii(text)


def test_a_setting_that_does_not_fit_names_the_manifest_printably():
    manifest = Manifest.from_rows(NAMES, source="train\x1b[2J\n.json")
    with pytest.raises(ValueError) as caught:
        Loader(
            manifest,
            Recipe(height=8, width=8),
            Sampler(batch_size=4, sampling="balanced"),
            storage=MemoryStorage({}),
        )
    assert str(caught.value).isprintable()


def test_a_name_of_any_length_makes_short_messages(caplog):
    name = "\u0300" * 1_000_000
    loader = Loader(
        Manifest.from_rows([name]),
        Recipe(height=8, width=8),
        Sampler(batch_size=1),
        storage=MemoryStorage({}),
        on_bad_image="mask",
        max_bad=1.0,
    )
    loader.batch(0, 0)
    (bad,) = loader.quarantine.bad
    assert bad.uri == name
    assert len(bad.message) < 500
    assert max(map(len, caplog.messages)) < 500
