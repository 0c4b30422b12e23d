"""What the README says runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infeed.demo import draw_set

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


@pytest.fixture
def leaves_as_in_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the files that the README's examples name."""
    leaves = draw_set(tmp_path / "drawn", train=80, validation=20, size=64)
    for source, name in (
        (leaves.train_manifest, "train.json"),
        (leaves.train_images, "images"),
        (leaves.validation_manifest, "val.json"),
        (leaves.validation_images, "val_images"),
    ):
        shutil.move(source, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_examples_run_one_after_the_other(leaves_as_in_the_readme: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 4
    names: dict[str, object] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"README.md, block {number}", "exec"), names)
    assert len(names["predictions"]) == 20
    names["train"].close()


def test_the_readme_names_only_commands_and_options_that_exist() -> None:
    lines = README.replace("\\\n", " ").splitlines()
    commands = [line.strip() for line in lines if re.match(r"^ {4}infeed \w", line)]
    assert len(commands) >= 4
    for line in commands:
        words = line.split("#")[0].split()
        command = words[1:3] if words[1] == "cache" else words[1:2]
        shown = subprocess.run(
            [str(Path(sys.executable).with_name("infeed")), *command, "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        for option in (word for word in words if word.startswith("--")):
            assert option in shown.stdout, f"{line}: no {option}"


def test_links_lead_somewhere() -> None:
    pages = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")]
    pages += [*(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("README.md")]
    pages += [*(ROOT / "examples").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"


def test_make_targets_that_the_readme_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    named = set(re.findall(r"^ {4}make (\w+)", README, re.MULTILINE))
    assert named == {"demo", "test"}
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
