"""Run as ``python -m analyses.dying_relu``."""

from __future__ import annotations

import dataclasses

import analyses.dying_relu as question
from analyses.shared import command


def main(options: question.Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **question.QUICK)
    question.check(options)
    from analyses.dying_relu import captions, figure, measuring
    from analyses.shared.captions import Drawing

    drawings = {
        "": Drawing(figure.draw_rates, captions.of_rates),
        "layers": Drawing(figure.draw_layers, captions.of_layers),
        "leaks": Drawing(figure.draw_leaks, captions.of_leaks),
    }
    command.produce(options, question.NAME, measuring.measure, drawings)


if __name__ == "__main__":
    command.run(question.Options, main, question.__doc__)
