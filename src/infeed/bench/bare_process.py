"""A process that does the bare work of a limit, and nothing else."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any, final


@final
class BareProcess:
    """One process of a module such as `bare_decoder`, inside a `with` block, which ends it.

    Args:
        module: what it runs; speaks lines, as `bare_decoder` says.
        order: what it is to do, as JSON values.
    """

    def __init__(self, module: str, order: Mapping[str, Any]) -> None:
        self._module = module
        # A file, not a pipe: codecs may write a warning for each image, and nobody reads them
        # while the process runs.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        self._say(json.dumps(order))

    def __enter__(self) -> BareProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def wait_until_ready(self) -> None:
        """Returns when the process has prepared itself.

        Raises:
            RuntimeError: it failed; with what it said.
        """
        if self._hear() != "ready":
            raise self._failure()

    def go(self) -> None:
        """Lets it begin."""
        self._say("go")

    def result(self) -> tuple[int, float]:
        """(images, seconds), when it is done.

        Raises:
            RuntimeError: it failed; with what it said.
        """
        line = self._hear()
        if not line:
            raise self._failure()
        result = json.loads(line)
        return int(result["images"]), float(result["seconds"])

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it failed: `_failure` says how
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def _failure(self) -> RuntimeError:
        self._process.communicate()
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip()
        what = "copying" if "copier" in self._module else "the decoder"
        return RuntimeError(f"A process that measures {what} failed:\n{said}")
