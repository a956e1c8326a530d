"""Progress of long work: a bar in a terminal or a notebook, plain lines now and then in a batch log."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator

FIRST_LINE, LINES_APART = 5.0, 30.0  # seconds


@contextlib.contextmanager
def reported(total: int, unit: str, show: bool = True, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Report progress: yield a function to call with how many more are done.

    In a notebook it is the bar of ipywidgets if that is installed, and else a line of text. Elsewhere it goes to stderr.

    Args:
        total: how many there are.
        unit: of what, in the plural.
        show: whether to write anything.
        done: how many were done before.
    """
    if not show:
        yield lambda more: None
    elif in_notebook() or sys.stderr.isatty():
        if in_notebook() and importlib.util.find_spec("ipywidgets"):
            from tqdm.notebook import tqdm
        else:
            from tqdm import tqdm

        with tqdm(total=total, initial=done, unit=f" {unit}", unit_scale=True) as bar:

            def advance(more: int) -> None:
                bar.update(more)

            yield advance
    else:
        lines = _Lines(total, unit, done)
        yield lines.add
        lines.say()


def in_notebook() -> bool:
    """Return whether the program runs in a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")


class _Lines:
    def __init__(self, total: int, unit: str, done: int):
        self.total, self.unit, self.before, self.done = total, unit, done, done
        self.started = time.monotonic()
        self.next = self.started + FIRST_LINE

    def add(self, more: int) -> None:
        self.done += more
        if time.monotonic() >= self.next:
            self.next = time.monotonic() + LINES_APART
            self.say()

    def say(self) -> None:
        seconds = time.monotonic() - self.started
        rate = (self.done - self.before) / max(seconds, 1e-9)
        left = f", {(self.total - self.done) / rate:.0f} s left" if rate > 0 and self.done < self.total else ""
        print(f"{self.done} of {self.total} {self.unit}, {rate:.3g} {self.unit}/s{left}", file=sys.stderr, flush=True)
