"""An environment for each peer, so that no library meets another's version of a third."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from catalogue import PEERS

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).parent / "requirements"


def interpreter(name: str, work: Path) -> Path:
    """The Python of the peer's environment, which is made where it is missing or out of date.

    Args:
        name: of the peer.
        work: the folder of all environments.

    Raises:
        RuntimeError: it cannot be made; with what pip said.
    """
    requirements = REQUIREMENTS / f"{PEERS[name].requirements}.txt"
    folder = work.absolute() / PEERS[name].requirements
    python = folder / "bin" / "python"
    wanted = _fingerprint(requirements)
    made = folder / "made_from"
    if python.exists() and made.exists() and made.read_text() == wanted:
        return python
    print(f"{name}: making {folder}", file=sys.stderr, flush=True)
    _call(name, [sys.executable, "-m", "venv", "--clear", str(folder)])
    _call(
        name,
        [
            str(python),
            *["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"],
            str(requirements),
        ],
    )
    made.write_text(wanted)
    return python


def _fingerprint(requirements: Path) -> str:
    texts = [requirements, ROOT / "constraints.txt", ROOT / "pyproject.toml"]
    digest = hashlib.sha256(sys.version.encode())
    for text in texts:
        digest.update(text.read_bytes())
    return digest.hexdigest()


def _call(name: str, command: list[str]) -> None:
    # The project's own requirement, `-e .`, is relative to where pip runs.
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"The environment of {name} cannot be made:\n{done.stderr.strip()}\n"
            f"Leave it out with --peers, or name a Python that has it: --python {name}=PATH"
        )
