"""A set of pictures to try everything on: drawn, so that it is always at hand."""

from __future__ import annotations

from infeed.demo.leaf_set import LeafSet, draw_set

__all__ = ["LeafSet", "draw_set"]
