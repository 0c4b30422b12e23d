"""What makes a run the same run: the settings that its order and its pixels depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from infeed.errors import ResumeError
from infeed.manifest import Manifest
from infeed.order import ORDER_VERSION, Sampler
from infeed.sample import Recipe

# Longer class weights are stored as their digest: a saved state stays small.
_LONGEST_SAMPLING: Final = 1000

_MEANINGS: Final = {
    "seed": " (without seed=... another one is drawn each time)",
    "manifest": " (its fingerprint: names, labels, weights or class names have changed)",
    "reencoding": " (cache_encoding='jpeg' sends all images through JPEG, 'raw' does not)",
    "order_version": " (the same seed gives another order: go on with the infeed that saved it)",
}


def identity(
    manifest: Manifest,
    recipe: Recipe,
    sampler: Sampler,
    *,
    label_mode: str | None,
    dtype: str,
    scale: float | None,
    on_bad_image: str,
    class_weights: list[float] | None,
    reencoding: str | None,
    augment: str | None,
) -> dict[str, Any]:
    """What `check_same` compares, under constant keys, as JSON values of less than 3 KB."""
    return {
        "seed": sampler.seed,
        "batch_size": sampler.batch_size,
        "shards": sampler.shard.count,
        "sampling": _shortened(sampler.to_json()["sampling"]),
        "remainder": sampler.remainder,
        "order_version": ORDER_VERSION,
        "records": len(manifest),
        "manifest": manifest.fingerprint(),
        "recipe": recipe.to_json(),
        "label_mode": label_mode,
        "dtype": dtype,
        "scale": None if scale is None else float(scale),
        "on_bad_image": on_bad_image,
        "class_weights": _shortened(class_weights),
        "reencoding": reencoding,
        "augment": augment,
    }


def _shortened(weights: Any) -> Any:
    """The same, or where it is long a digest of it."""
    text = json.dumps(weights)
    if len(text) <= _LONGEST_SAMPLING:
        return weights
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return f"weights of {len(weights)} classes, BLAKE2b {digest}"


def check_same(saved: Mapping[str, Any], current: Mapping[str, Any], what: str) -> None:
    """Refuses to continue with other settings than those that were saved.

    The number of shards may differ, and so may the batch size where it makes up for that: the
    global batch, batch_size * shards, is then the same.

    Args:
        saved: the identity when it was saved.
        current: the identity now.
        what: what was saved, as the message calls it, such as "the backup in run/backup".

    Raises:
        ResumeError: they differ; names each difference with both values, and the cure.
    """
    if not isinstance(saved, Mapping):
        raise ResumeError(f"{what} names no settings: an identity is a dict, got {saved!r}")
    before, now = _flat(saved), _flat(current)
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    changed = [name for name in names if name != "shards"]
    if "shards" in names and "batch_size" in names and _global_batch(before) == _global_batch(now):
        changed.remove("batch_size")
    if not changed:
        return
    lines = [
        f"  {name}: saved {_shown(before, name)}, now {_shown(now, name)}{_MEANINGS.get(name, '')}"
        for name in changed
    ]
    raise ResumeError(
        f"{what} was saved with other settings than those of now, and going on would give "
        "another run:\n" + "\n".join(lines) + "\nGo back to the saved values, or start anew."
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values with those of inner mappings under names such as `recipe.height`."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _global_batch(flat: Mapping[str, Any]) -> int | None:
    sizes = flat.get("batch_size"), flat.get("shards")
    return sizes[0] * sizes[1] if isinstance(sizes[0], int) and isinstance(sizes[1], int) else None


def _shown(flat: Mapping[str, Any], name: str) -> str:
    return repr(flat[name]) if name in flat else "nothing"
