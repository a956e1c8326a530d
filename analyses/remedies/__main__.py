"""Run as ``python -m analyses.remedies``."""

from __future__ import annotations

import dataclasses

import analyses.remedies as question
from analyses.shared import command


def main(options: question.Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **question.QUICK)
    question.check(options)
    from analyses.remedies import captions, figure, judging, measuring
    from analyses.shared.captions import Drawing

    drawings = {
        "": Drawing(figure.draw, captions.caption),
    }
    command.produce(options, question.NAME, measuring.measure, drawings, judging.table)


if __name__ == "__main__":
    command.run(question.Options, main, question.__doc__)
