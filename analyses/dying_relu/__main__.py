"""Run as ``python -m analyses.dying_relu``."""

from __future__ import annotations

import dataclasses

import analyses.dying_relu as question
from analyses.shared import command


def main(options: question.Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **question.QUICK)
    question.check(options)
    from analyses.dying_relu import figure, measuring

    command.produce(options, question.NAME, measuring.measure, figure.draw)


if __name__ == "__main__":
    command.run(question.Options, main, question.__doc__)
