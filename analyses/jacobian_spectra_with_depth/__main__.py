"""Run as ``python -m analyses.jacobian_spectra_with_depth``."""

from __future__ import annotations

import dataclasses
import functools

import analyses.jacobian_spectra_with_depth as question
from analyses.shared import command


def main(options: question.Options) -> None:
    if options.quick:
        options = dataclasses.replace(options, **question.QUICK)
    question.check(options)
    from analyses.jacobian_spectra_with_depth import captions, figure, measuring
    from analyses.shared.captions import Drawing

    ridges = {
        ensemble: Drawing(
            functools.partial(figure.draw_ridges, ensemble=ensemble),
            functools.partial(captions.of_ridges, ensemble=ensemble),
        )
        for ensemble in question.ENSEMBLES
    }
    drawings = {
        "": ridges["gaussian"],
        "orthogonal": ridges["orthogonal"],
        "spread": Drawing(figure.draw_spread, captions.of_spread),
        "accuracy": Drawing(figure.draw_truth, captions.of_truth),
    }
    command.produce(options, question.NAME, measuring.measure, drawings)


if __name__ == "__main__":
    command.run(question.Options, main, question.__doc__)
