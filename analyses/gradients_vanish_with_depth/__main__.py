"""Run as ``python -m analyses.gradients_vanish_with_depth``."""

from __future__ import annotations

import dataclasses

import analyses.gradients_vanish_with_depth as question
from analyses.shared import command


def main(options: question.Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **question.QUICK)
    question.check(options)
    from analyses.gradients_vanish_with_depth import captions, figure, measuring
    from analyses.shared.captions import Drawing

    drawings = {
        "": Drawing(figure.draw_curves, captions.of_curves),
        "growth": Drawing(figure.draw_growth, captions.of_growth),
        "saturation": Drawing(figure.draw_saturation, captions.of_saturation),
        "exact_zeros": Drawing(figure.draw_zeros, captions.of_zeros),
    }
    command.produce(options, question.NAME, measuring.measure, drawings)


if __name__ == "__main__":
    command.run(question.Options, main, question.__doc__)
