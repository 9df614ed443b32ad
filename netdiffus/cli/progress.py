"""The progress of a command: a bar on a terminal, a line a minute in a log."""

from __future__ import annotations

from functools import partial

from netdiffus import progress
from netdiffus.cli.output import say

bar = partial(progress.bar, tell=say)
