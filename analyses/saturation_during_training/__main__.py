"""Run as ``python -m analyses.saturation_during_training``."""

from __future__ import annotations

import dataclasses

import analyses.saturation_during_training as question
from analyses.shared import command


def main(options: question.Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **question.QUICK)
    question.check(options)
    from analyses.saturation_during_training import captions, figure, measuring
    from analyses.shared.captions import Drawing

    drawings = {
        "": Drawing(figure.draw_sigmoid, captions.of_sigmoid),
        "in_time": Drawing(figure.draw_training, captions.of_training),
        "at_the_end": Drawing(figure.draw_end, captions.of_end),
        "at_the_start": Drawing(figure.draw_start, captions.of_start),
        "weight_gradients": Drawing(figure.draw_weight_gradients, captions.of_weight_gradients),
    }
    command.produce(options, question.NAME, measuring.measure, drawings)


if __name__ == "__main__":
    command.run(question.Options, main, question.__doc__)
