"""Run as ``python -m analyses.claims``."""

from __future__ import annotations

import dataclasses
import functools

import analyses.claims as question
from analyses.shared import command


def main(options: question.Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **question.QUICK)
    question.check(options)
    from analyses.claims import captions, figure, judging, measuring, statements
    from analyses.shared.captions import Drawing

    drawings = {"": Drawing(figure.draw_verdicts, captions.of_verdicts)}
    for number, first in enumerate(range(0, len(statements.CLAIMS), question.TOGETHER), start=1):
        some = {"first": first, "last": first + question.TOGETHER}
        drawings[f"effects_{number}"] = Drawing(
            functools.partial(figure.draw_effects, **some), functools.partial(captions.of_effects, **some)
        )
    command.produce(options, question.NAME, measuring.measure, drawings, table=judging.table)


if __name__ == "__main__":
    command.run(question.Options, main, question.__doc__)
