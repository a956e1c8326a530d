"""Run as ``python -m analyses.saturation_during_training``."""

from __future__ import annotations

import dataclasses

import analyses.saturation_during_training as question
from analyses.shared import command


def main(options: question.Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **question.QUICK)
    question.check(options)
    from analyses.saturation_during_training import figure, measuring

    command.produce(options, question.NAME, measuring.measure, figure.draw)


if __name__ == "__main__":
    command.run(question.Options, main, question.__doc__)
