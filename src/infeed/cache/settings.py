"""`Cache`: where fitted images are kept, and how."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final, get_args

from infeed.cache.space import parse_bytes

Encoding = Literal["raw", "jpeg"]
EncodingChoice = Literal["auto", "raw", "jpeg"]
Identity = Literal["stat", "content"]


@final
@dataclass(frozen=True, slots=True)
class Cache:
    """A folder that keeps fitted images, so that later epochs decode nothing.

    It fills while the first epoch runs, may be shared by any number of processes, manifests and
    recipes, and may be removed, cut short or damaged at any time: an image comes out of it right
    or not at all.

    Args:
        path: the folder; made when the first image is stored. `~` is the home folder.
        encoding: `raw`: the pixels themselves; `jpeg`: encoded at quality 95 without chroma
            subsampling, several times smaller, at the price of decoding these small images in
            every epoch; every image then goes through JPEG, whether it came from the cache or
            not, so that what a run sees never depends on what was kept. `auto`: what the folder
            holds already, or else what suits disk and memory.
        limit: the bytes that all segments in the folder may have together, such as `"20GB"`;
            beyond it no more is stored. None: as far as the disk goes, of which 5 % (at most
            2 GiB) are left free.
        identity: how a source image is known to be the same. `stat`: by path, size and
            modification time; `content`: by its bytes, which are read each time: for sets that
            move, or whose files change and keep their times.

    Raises:
        ValueError: a setting that cannot be.
        NotADirectoryError: `path` is a file.
    """

    path: str | Path
    encoding: EncodingChoice = "auto"
    limit: int | str | None = None
    identity: Identity = "stat"

    def __post_init__(self) -> None:
        if sys.platform == "win32":
            raise ValueError("a cache needs a POSIX system: on Windows, leave cache out")
        for name, choices in (
            ("encoding", get_args(EncodingChoice)),
            ("identity", get_args(Identity)),
        ):
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"Cache.{name} must be one of {list(choices)}, got {value!r}")
        if self.limit is not None:
            try:
                object.__setattr__(self, "limit", parse_bytes(self.limit))
            except ValueError as error:
                raise ValueError(f"cache_limit: {error}") from None
        if not str(self.path):
            raise ValueError("the path of a cache must name a folder, got ''")
        if not isinstance(self.path, str | Path):
            raise ValueError(f"the path of a cache must be a str or a Path, got {self.path!r}")
        path = Path(os.path.abspath(Path(self.path).expanduser()))  # noqa: PTH100 - keeps links
        # By os: what may not be looked at is no reason to stop here.
        if os.path.exists(path) and not os.path.isdir(path):  # noqa: PTH110, PTH112
            raise NotADirectoryError(f"{path} is a file: a cache is a folder. Pass another path.")
        # By os here, too.
        above = next(each for each in path.parents if os.path.exists(each))  # noqa: PTH110
        if not os.path.isdir(above):  # noqa: PTH112
            raise NotADirectoryError(
                f"{above} is a file: {path} cannot be in it. Pass another path."
            )
        object.__setattr__(self, "path", path)

    @property
    def folder(self) -> Path:
        """`path`, absolute."""
        assert isinstance(self.path, Path)
        return self.path

    @property
    def max_bytes(self) -> int | None:
        """`limit` as a number."""
        assert not isinstance(self.limit, str)
        return self.limit
