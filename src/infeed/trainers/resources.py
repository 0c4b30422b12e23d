"""What this process has used."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    import resource


def peak_rss_mb() -> float:
    """The largest resident memory of this process so far, in MiB; 0 where the system hides it."""
    if sys.platform == "win32":
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024) if sys.platform == "darwin" else peak / 1024
