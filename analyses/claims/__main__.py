"""Run as ``python -m analyses.claims``."""

from __future__ import annotations

import dataclasses

import analyses.claims as question
from analyses.shared import command


def main(options: question.Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **question.QUICK)
    question.check(options)
    from analyses.claims import figure, judging, measuring

    command.produce(options, question.NAME, measuring.measure, figure.draw, table=judging.table)


if __name__ == "__main__":
    command.run(question.Options, main, question.__doc__)
