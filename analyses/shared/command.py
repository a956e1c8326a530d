"""What every analysis shares as a command: typed options, an output folder, figure and dataset written side by side."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import logging
import math
import pathlib
import shlex
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import tyro

from analyses.shared import compiled

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

    from analyses.shared import captions

Options = TypeVar("Options", bound="Output")


@dataclasses.dataclass(frozen=True)
class Output:
    output: pathlib.Path = pathlib.Path("figures")
    """Folder for the figure and its dataset."""
    formats: tuple[Literal["png", "pdf"], ...] = ("png", "pdf")
    """Formats of the figure."""
    store: pathlib.Path | None = None
    """Folder in which sweeps are saved while they run, so that --resume can continue them."""
    resume: bool = False
    """Continue the sweeps that are in --store."""
    draw_only: bool = False
    """Draw the figure again from the dataset in --output, with the options of that dataset. Nothing is computed."""
    figure_width: Literal["column", "page"] = "page"
    """Width of the figures: a column of a paper or its page. Short form: --width column, --width page."""
    style: Literal["paper", "slide"] = "paper"
    """Style of the figures: a slide has larger letters, thicker lines and no footnote."""


def run(options: type[Options], main: Callable[[Options], None], description: str | None) -> None:
    """Parse the command line and call `main`. A mistake in the input is reported in a single line, with exit code 2."""
    chosen = tyro.cli(options, description=description, args=long_form(sys.argv[1:]))
    if getattr(chosen, "quick", False):
        compiled.compile_fast()
    try:
        main(chosen)
    except (ValueError, TypeError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def run_named(name: str) -> None:
    """Run an analysis with the command line of this process, as ``python -m analyses.NAME`` does."""
    question = importlib.import_module(f"analyses.{name}")
    of_main = question if hasattr(question, "main") else importlib.import_module(f"analyses.{name}.__main__")
    run(question.Options, of_main.main, question.__doc__)


def long_form(arguments: Sequence[str]) -> list[str]:
    """Return arguments with --figure-width for --width where a word follows: a number is the width of the networks.

    >>> long_form(["--width", "column", "--width", "64", "--width=page"])
    ['--figure-width', 'column', '--width', '64', '--figure-width=page']
    >>> long_form([])  # as the usual command has it
    []
    """
    following = [*arguments, ""][1:]
    return [
        given.replace("--width", "--figure-width")
        if (given.startswith("--width=") and given[8:].isalpha()) or (given == "--width" and after.isalpha())
        else given
        for given, after in zip(arguments, following, strict=True)
    ]


def flag(name: str) -> str:
    """Return an option as the user types it.

    >>> flag("root_seed")
    '--root-seed'
    """
    return f"--{name.replace('_', '-')}"


def check_output(options: Output, name: str) -> None:
    """Raise unless the results of analysis `name` can be written. Called before any long work."""
    from jaxsat import checks
    from jaxsat.results import zarr_files

    if not options.formats:
        raise ValueError(checks.refusal("--formats", "", "name at least one of png, pdf", checks.Shown("none")))
    zarr_files.check_folder(options.output, "output:")
    _replaceable(options.output / f"{name}.zarr", name)
    if options.resume and options.store is None:
        rule = "come with --store, the folder of the sweeps to continue"
        raise ValueError(checks.refusal("--resume", "", rule, checks.Shown("no --store")))
    if options.store is not None and not options.resume and options.store.exists() and any(options.store.iterdir()):
        remedy = "Add --resume to continue, or choose another folder."
        raise ValueError(checks.refusal("--store", "", "be a new or an empty folder", str(options.store), remedy))


def check_at_least(options: Output, why: str = "", **bounds: int) -> None:
    """Raise unless each named option is an integer of at least its bound; `why` is a sentence for the error."""
    from jaxsat import checks

    for name, bound in bounds.items():
        checks.integer(flag(name), "", getattr(options, name), bound, remedy=why)


def check_numbers(
    options: Output, *names: str, above: float = -math.inf, least: float = -math.inf, most: float = math.inf
) -> None:
    """Raise unless each named option is a number within the bounds, or at least one number, all within them."""
    from jaxsat import checks

    for name in names:
        given = getattr(options, name)
        values = given if isinstance(given, tuple) else (given,)
        if not values:
            raise ValueError(checks.refusal(flag(name), "", "have at least one number", checks.Shown("none")))
        for value in values:
            checks.number(flag(name), "", value, float(least), float(most), float(above))


def check_bounded(names: tuple[str, ...]) -> None:
    """Raise unless there are activations, and all of them have a limit on either side."""
    from jaxsat import activations, checks

    check_named(names)
    for phi in map(activations.get, names):
        if phi.left_limit is None or phi.right_limit is None:
            remedy = "Choose for example sigmoid, tanh or softsign."
            raise ValueError(checks.refusal("--activations", "", "be bounded on both sides", phi.name, remedy))


def check_named(names: tuple[str, ...]) -> None:
    """Raise unless there are activations, and all of them are known."""
    from jaxsat import activations, checks

    if not names:
        raise ValueError(checks.refusal("--activations", "", "name at least one activation", checks.Shown("none")))
    for name in names:
        activations.get(name)


def part(options: Output, name: str, of: str = "sweep") -> pathlib.Path | None:
    """Return where a sweep of analysis `name` is saved while it runs; None without --store."""
    return None if options.store is None else options.store / f"{name}-{of}.zarr"


def produce(
    options: Options, name: str, measure: Callable[[Options], xarray.Dataset],
    drawings: Mapping[str, captions.Drawing] | Callable[[Options], Mapping[str, captions.Drawing]],
    table: Callable[[Options, xarray.Dataset], list[dict[str, Any]]] | None = None,
) -> None:  # fmt: skip
    """Measure, draw and write; or draw again what was written.

    Each figure gets a text NAME.md with its caption and numbers, and NAME.csv with every digit of them. NAME_data.csv has
    every number of the dataset, as means over networks with 95 % intervals.

    Args:
        options: of the analysis.
        name: of the analysis.
        measure: returns the dataset.
        drawings: what to draw from the dataset alone, or a function of the options that returns it. The key "" is the figure
            `name`; another key is added to the name.
        table: rows of the first figure, from the dataset alone: one dict of strings and numbers each, all with the same
            columns. They are printed and take the place of the numbers in NAME.csv. The docstring says how they were made.
    """
    from analyses.shared import tables
    from jaxsat.results import tidy

    path = options.output / f"{name}.zarr"
    for part_of in drawings if isinstance(drawings, Mapping) else drawings(options):
        tables.check_replaceable(options.output, _named(name, part_of), name)
    measured = [] if options.draw_only else _measure(options, name, measure, path)
    # The first figure, too, is drawn from the written dataset, so that drawing again gives the same figure.
    dataset = _written(path, name)
    options = dataclasses.replace(options, **_read(dataset.attrs["options"]))
    for part_of, drawing in (drawings if isinstance(drawings, Mapping) else drawings(options)).items():
        _illustrate(options, name, part_of, dataset, drawing, None if part_of else table)
    if measured:
        # Written after NAME.md, which names the author of both: a run that is stopped in between does not block the next.
        summary = options.output / f"{name}_data.csv"
        tidy.write_summary(dataset[measured], summary)
        print(summary)


def _measure(
    options: Options, name: str, measure: Callable[[Options], xarray.Dataset], path: pathlib.Path
) -> list[Hashable]:
    """Measure and write the dataset, and return its variables in their order, which no store keeps.

    The dataset itself is let go: of the largest, memory does not hold a second one while figures are drawn.
    """
    from jaxsat.results import zarr_files

    compiled.keep_programs()
    dataset = measure(options)
    _replaceable(path, name)
    dataset.attrs |= {"analysis": name, "options": json.dumps(_deciding(options))}
    zarr_files.write(dataset.drop_encoding(), path, mode="w")
    print(path)
    return list(dataset.data_vars)


def _named(name: str, part_of: str) -> str:
    return f"{name}_{part_of}" if part_of else name


def _illustrate(
    options: Output, name: str, part_of: str, dataset: xarray.Dataset, drawing: captions.Drawing, table: Any
) -> None:
    """Draw one figure and write what stands beside it."""
    from matplotlib import pyplot as plt

    from analyses.shared import captions, layouts, symbols, tables

    caption = drawing.caption(options, dataset)
    with layouts.style(options):
        panels = drawing.draw(options, dataset)
        figure = layouts.finish(panels, options, caption.finding, captions.footnote(caption, dataset))
        _save(options, _named(name, part_of), figure)
    rows, below = captions.rows(caption.numbers), ""
    if table is not None:
        rows = table(options, dataset)
        below = tables.markdown(rows, inspect.getdoc(table))
        print(f"\n{below}\n")
    made = captions.Made(typed(options, name), options.figure_width, options.style, options.formats)
    text = captions.markdown(_named(name, part_of), caption, made, dataset, symbols.explained(figure), below)
    tables.write(options.output, _named(name, part_of), name, text, rows)
    print(caption.finding)
    plt.close(figure)


def typed(options: Output, name: str) -> str:
    """Return the command that computes this dataset, with the options that are not the usual ones."""
    usual, words = _deciding(type(options)()), [f"python -m analyses.{name}"]
    if getattr(options, "quick", False):
        usual |= {"quick": True} | sys.modules[type(options).__module__].QUICK
        words.append("--quick")
    chosen = {key: value for key, value in _deciding(options).items() if value != usual[key]}
    for key, value in chosen.items():
        values = value if isinstance(value, tuple) else (value,)
        words.append(" ".join([flag(key), *(shlex.quote(str(one)) for one in values)]))
    return " ".join(words)


def _save(options: Output, name: str, figure: Figure) -> None:
    """Write the figure in every format, and say where."""
    logging.getLogger("fontTools").setLevel(logging.ERROR)  # it warns of the dates in some fonts of matplotlib
    for extension in options.formats:
        path = options.output / f"{name}.{extension}"
        about = {"Title": name, "Software" if extension == "png" else "Creator": f"jaxsat: {shlex.join(sys.argv)}"}
        figure.savefig(path, metadata=about)
        figure.set_layout_engine("none")  # laid out once: the other formats get the same layout
        print(path)


def _deciding(options: Output) -> dict[str, Any]:
    """Return the options that decide what is in a figure."""
    others = {field.name for field in dataclasses.fields(Output)}
    names = [field.name for field in dataclasses.fields(options)]
    return {name: getattr(options, name) for name in names if name not in others}


def _read(options: str) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in json.loads(options).items()}


def _written(path: pathlib.Path, name: str) -> xarray.Dataset:
    from jaxsat import checks
    from jaxsat.results import zarr_files

    rule, remedy = "find a dataset of this analysis", "Run the analysis once without --draw-only."
    if not path.exists():
        raise ValueError(checks.refusal("--draw-only", "", rule, checks.Shown(f"no {path}"), remedy))
    dataset = zarr_files.read_whole(path)
    if dataset.attrs.get("analysis") != name or "options" not in dataset.attrs:
        came = checks.Shown(f"{path}, which was not written by this version")
        raise ValueError(checks.refusal("--draw-only", "", rule, came, remedy))
    return dataset


def _replaceable(path: pathlib.Path, name: str) -> None:
    """Raise if a dataset would be written over that this analysis did not write."""
    if not path.exists():
        return
    import zarr

    attributes: dict[str, Any] = {}
    if (path / "zarr.json").exists():
        attributes = dict(zarr.open_group(str(path), mode="r").attrs)
    if attributes.get("analysis") != name:
        raise ValueError(f"output: {path} exists and was not written by this analysis. Choose another --output.")
