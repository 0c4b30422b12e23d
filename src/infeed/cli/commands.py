"""`infeed`: the command that holds the others."""

from __future__ import annotations

import click

from infeed.cli.bench import bench
from infeed.cli.cache import cache
from infeed.cli.demo import demo
from infeed.cli.replay import replay
from infeed.cli.train import train
from infeed.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="infeed")
def commands() -> None:
    """Feed Keras from image sets larger than memory.

    \b
    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the data has problems,
    130 interrupted by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
    """


commands.add_command(demo)
commands.add_command(train)
commands.add_command(bench)
commands.add_command(replay)
commands.add_command(cache)
