"""Run as ``python -m analyses.gradients_vanish_in_time``."""

from __future__ import annotations

import dataclasses

import analyses.gradients_vanish_in_time as question
from analyses.shared import command


def main(options: question.Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **question.QUICK)
    question.check(options)
    from analyses.gradients_vanish_in_time import captions, figure, measuring
    from analyses.shared.captions import Drawing

    drawings = {
        "": Drawing(figure.draw_curves, captions.of_curves),
        "spectra": Drawing(figure.draw_spectra, captions.of_spectra),
        "exact_zeros": Drawing(figure.draw_zeros, captions.of_zeros),
    }
    command.produce(options, question.NAME, measuring.measure, drawings, captions.table)


if __name__ == "__main__":
    command.run(question.Options, main, question.__doc__)
