"""The saved state of a loader: its place, and the settings that the place belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from infeed.errors import ResumeError
from infeed.identity import check_same
from infeed.order import Cursor

# Counts up when the same state would mean something else.
STATE_VERSION: Final = 1


def save_state(cursor: Cursor, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The place and the identity, as JSON values of less than 4 KB under constant keys."""
    return {
        "state_version": STATE_VERSION,
        "cursor": cursor.to_json(),
        "identity": dict(identity),
    }


def cursor_of(state: Mapping[str, Any], identity: Mapping[str, Any]) -> Cursor:
    """The place in a saved state, if it was saved with the settings of now.

    Args:
        state: what `save_state` returned.
        identity: the identity now.

    Raises:
        ResumeError: it is no such dict, or was saved with other settings; names each of them.
    """
    if not isinstance(state, Mapping) or set(state) != {"state_version", "cursor", "identity"}:
        raise ResumeError(
            "a state is what Loader.state_dict() returned, with the keys state_version, cursor "
            f"and identity; got {list(state) if isinstance(state, Mapping) else state!r}"
        )
    if state["state_version"] != STATE_VERSION:
        raise ResumeError(
            f"the state has version {state['state_version']!r}, this infeed reads version "
            f"{STATE_VERSION}. Continue with the infeed that saved it, or start anew."
        )
    check_same(state["identity"], identity, "The state of the loader")
    try:
        return Cursor.from_json(state["cursor"])
    except (TypeError, ValueError) as error:
        raise ResumeError(f"the state has no place to go on from: {error}") from error
