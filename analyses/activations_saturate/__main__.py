"""Run as ``python -m analyses.activations_saturate``."""

from __future__ import annotations

import dataclasses
import functools

import analyses.activations_saturate as question
from analyses.shared import command


def main(options: question.Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **question.QUICK)
    question.check(options)
    from analyses.activations_saturate import captions, figure, measuring
    from analyses.shared.captions import Drawing
    from analyses.shared.layouts import MOST_PANELS
    from jaxsat import activations

    def drawings(options: question.Options) -> dict[str, Drawing]:
        found = {
            "": Drawing(figure.draw_points, captions.of_points),
            "autodiff": Drawing(figure.draw_autodiff, captions.of_autodiff),
        }
        names = options.activations or activations.names()
        for number, first in enumerate(range(0, len(names), MOST_PANELS), start=1):
            some = {"shown": names[first : first + MOST_PANELS]}
            found[f"curves_{number}"] = Drawing(
                functools.partial(figure.draw_curves, **some), functools.partial(captions.of_curves, **some)
            )
        return found

    command.produce(options, question.NAME, measuring.measure, drawings)


if __name__ == "__main__":
    command.run(question.Options, main, question.__doc__)
