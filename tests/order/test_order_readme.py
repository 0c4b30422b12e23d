from __future__ import annotations

import doctest
from pathlib import Path

import infeed.order


def test_the_examples_of_the_readme_run() -> None:
    readme = Path(infeed.order.__file__).with_name("README.md")
    results = doctest.testfile(str(readme), module_relative=False, encoding="utf-8")
    assert results.attempted > 0
    assert results.failed == 0
