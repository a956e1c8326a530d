"""The command ``jaxsat``: compute sweeps into stores as batch jobs, and look at such stores.

jaxsat run JOB.toml --store PATH   compute a sweep, or continue it; --dry-run says what it would cost
jaxsat status PATH                 what is done, missing and failed, and how fast it goes; --watch looks again and again
jaxsat verify PATH                 read everything and say what is damaged
jaxsat repair PATH                 mark what is damaged to be computed again
jaxsat plot PATH                   draw the default figure of what is stored
jaxsat export PATH --to FORMAT     write what is stored as tidy tables: csv, parquet, nc
jaxsat figures [NAME]              run an analysis and draw its figures; without NAME: say which there are
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from jaxsat import checks
from jaxsat.results import zarr_files
from jaxsat.results.locations import METADATA, Location, location_of
from jaxsat.results.store import STATE, Store, unit_name
from jaxsat.results.verify import damages, repair
from jaxsat.sweeps import cost, engines, job_file
from jaxsat.sweeps.plan import Plan
from jaxsat.sweeps.sweep_request import SweepRequest
from jaxsat.sweeps.sweeping import sweep

LAST_OUT = 5.0  # seconds that the process which coordinates others stays after its work


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line. A mistake in it is reported in one line, with exit code 2; failed work has exit code 1."""
    chosen = _parser().parse_args(arguments)
    try:
        chosen.do(chosen)
    except (ValueError, TypeError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (OSError, RuntimeError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; the same command continues from here", file=sys.stderr)
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("jaxsat", description="Sweeps over networks as batch jobs, and their stores.")
    commands = parser.add_subparsers(required=True, metavar="command")
    run = commands.add_parser("run", help="compute a sweep into a store, or continue it", description=_run.__doc__)
    run.add_argument("config", type=pathlib.Path, help="TOML file with the names of jaxsat.sweep")
    run.add_argument("--store", help="path or address of the store; needed unless --dry-run")
    run.add_argument("--dry-run", action="store_true", help="say what it would cost, and compute nothing")
    run.add_argument(
        "--distributed", action="store_true",
        help="join jax.distributed first, which finds SLURM, Open MPI and Kubernetes itself: one process for each GPU",
    )  # fmt: skip
    run.add_argument("--engine", help="who computes: processes:N, dask://HOST:PORT or slurm; default: this process")
    run.add_argument(
        "--allow-mixed", action="store_true",
        help="accept a machine of other instructions or XLA_FLAGS than the one that began the store; the data say so",
    )  # fmt: skip
    run.add_argument("--quiet", action="store_true", help="show no progress")
    run.set_defaults(do=_run)
    status = commands.add_parser(
        "status", help="say what is done, missing and failed, and how fast it goes", description=_status.__doc__
    )
    status.add_argument("store", help="path or address of the store")
    status.add_argument("--json", action="store_true", help="print JSON, for programs")
    status.add_argument("--watch", type=float, metavar="SECONDS", help="look again and again, until nothing is missing")
    status.set_defaults(do=_status)
    verify = commands.add_parser("verify", help="read everything, say what is damaged", description=_verify.__doc__)
    verify.add_argument("store", help="path or address of the store")
    verify.set_defaults(do=_verify)
    repair = commands.add_parser(
        "repair", help="mark what is damaged to be computed again", description=_repair.__doc__
    )
    repair.add_argument("store", help="path or address of the store")
    repair.set_defaults(do=_repair)
    plot = commands.add_parser("plot", help="draw what is stored", description=_plot.__doc__)
    plot.add_argument("store", help="path or address of the store")
    plot.add_argument("--output", type=pathlib.Path, help="file of the figure; default: beside the store, .png")
    plot.set_defaults(do=_plot)
    export = commands.add_parser("export", help="write what is stored as tables", description=_export.__doc__)
    export.add_argument("store", help="a store of a sweep, or the .zarr of an analysis")
    export.add_argument("--to", default="csv", help="csv, parquet or nc")
    export.add_argument("--output", type=pathlib.Path, help="file to write; default: beside the store")
    export.set_defaults(do=_export)
    figures = commands.add_parser("figures", help="run an analysis, draw its figures", description=_figures.__doc__)
    figures.add_argument("name", nargs="?", help="of the analysis; none lists them")
    figures.add_argument("options", nargs=argparse.REMAINDER, help="of the analysis: --help lists them")
    figures.set_defaults(do=_figures)
    return parser


def _run(chosen: argparse.Namespace) -> None:
    """Compute a sweep into a store. Several processes may do so at once; each takes chunks that nobody has."""
    wanted = job_file.read_job(chosen.config)
    if chosen.store is None and not chosen.dry_run:
        raise ValueError("run: --store PATH is needed, or --dry-run.")
    if chosen.distributed:
        jax.config.update("jax_enable_recoverability", True)  # a process that dies takes no other with it
        jax.distributed.initialize()
    if wanted.x64:
        jax.config.update("jax_enable_x64", True)
    given = wanted.arguments(chosen.config.parent)
    if chosen.dry_run:
        request = SweepRequest.of(**given)
        request.check_size(wanted.memory_budget)
        print(_costs(Plan.of(request)))
        return
    with engines.executor_of(chosen.engine) if chosen.engine else contextlib.nullcontext() as executor:
        options = {"executor": executor, "progress": not chosen.quiet, "memory_budget": wanted.memory_budget}
        sweep(**given, store=chosen.store, allow_mixed=chosen.allow_mixed, **options)
    print(chosen.store)
    if chosen.distributed:
        _leave_distributed()


def _leave_distributed() -> None:
    """Leave jax.distributed in an order that aborts no process: the one that coordinates goes last.

    Each process sees within a second that the store is complete. JAX aborts a process that signs off when the coordinator
    is gone already; one that just ends is not missed.
    """
    if jax.process_index() == 0:
        time.sleep(LAST_OUT)
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _costs(plan: Plan) -> str:
    found = cost.estimate(plan)
    grid = " x ".join(f"{len(values)} {name}" for name, values in plan.grid.over.items()) or "one network"
    return "\n".join(
        [
            f"grid      {grid} x {plan.request.seeds} seeds",
            f"networks  {found.networks}",
            f"memory    {found.device_bytes / 2**20:.0f} MiB a tile on each device, {found.result_bytes / 2**20:.0f} MiB "
            "of results, uncompressed",
            f"FLOPs     {found.flops:.3g}, decompositions not counted",
            f"time      {found.seconds:.3g} s on this machine, and {found.compile_seconds:.3g} s of compilation",
        ]
    )


def _status(chosen: argparse.Namespace) -> None:
    """Print how many chunks and networks of a store are done, missing and failed, and how fast the runs were."""
    if chosen.watch is not None:
        checks.number("status", "--watch", chosen.watch, above=0.0)
    store = location_of("status", chosen.store)
    while True:
        found = _standing(Store(store))
        print(json.dumps(found) if chosen.json else _in_words(found), flush=True)
        if chosen.watch is None or not found["chunks"]["missing"]:
            return
        time.sleep(chosen.watch)


def _standing(opened: Store) -> dict[str, Any]:
    """Return how far the work on a store is, in plain JSON."""
    units, done, failed = set(opened.layout.units()), opened.done(), opened.failures()
    total = sum(map(opened.layout.networks, units))
    counts, runs = opened.counts(), opened.runs()
    seconds = sum(run["seconds"] for run in runs)
    return {
        "chunks": {"done": len(done), "missing": len(units - done), "failed": len(failed)},
        "networks": {"done": counts["networks"], "missing": total - counts["networks"]},
        "nan_networks": {name: counts[name] for name in opened.variables},
        "networks_per_second": round(sum(run["networks"] for run in runs) / seconds, 3) if seconds else None,
        "runs": len(runs),
        "errors": {unit_name(unit): error for unit, error in failed.items()},
    }


def _in_words(found: Mapping[str, Any]) -> str:
    chunks, networks, rate = found["chunks"], found["networks"], found["networks_per_second"]
    return "\n".join(
        [
            f"chunks    {chunks['done']} done, {chunks['missing']} missing, {chunks['failed']} of those failed",
            f"networks  {networks['done']} done of {networks['done'] + networks['missing']}",
            f"NaN       {', '.join(f'{n} in {name}' for name, n in found['nan_networks'].items())}",
            f"rate      {'unknown' if rate is None else f'{rate:g} networks/s of one process'}, {found['runs']} runs",
            *(f"failed    {unit}: {error}" for unit, error in found["errors"].items()),
        ]
    )


def _verify(chosen: argparse.Namespace) -> None:
    """Read every chunk of a store, of a sweep or of a training, and say what is damaged; exit code 1 if something is."""
    from jaxsat.training import checkpoints

    store = location_of("verify", chosen.store)
    if checkpoints.is_result(store):
        _verify_training(store)
        return
    found = damages(Store(store))
    for damage in found:
        print(damage.what)
    if found:
        raise RuntimeError(f"{len(found)} damages in {chosen.store}. `jaxsat repair` marks them to be computed again.")
    print(f"{chosen.store} is sound")


def _verify_training(store: Location) -> None:
    try:
        zarr_files.read_whole(store)
    except ValueError as error:
        raise RuntimeError(f"{error}. Move it away: the same call of `train` makes it anew.") from error
    print(f"{store} is sound")


def _repair(chosen: argparse.Namespace) -> None:
    """Take the marks of damaged chunks away, so that the next run computes them again. Nothing else is changed."""
    opened = Store(location_of("repair", chosen.store))
    found = damages(opened)
    repair(opened, found)
    print(f"{len(found)} damages mended or marked; run the sweep again to compute what is missing")


def _plot(chosen: argparse.Namespace) -> None:
    """Draw each measure of a store against its own axis, or a swept scale: medians over seeds with bands."""
    store = location_of("plot", chosen.store)
    opened = Store(store)
    if not opened.done():
        raise ValueError(f"plot: {chosen.store} has nothing to draw yet: no chunk of it is done.")
    from jaxsat.plotting import default_figure

    output = chosen.output or _beside(store, ".png")
    if output.exists() and chosen.output is None:
        raise ValueError(f"plot: {output} exists. Name another file with --output, or this one to write over it.")
    default_figure.draw(opened.dataset(), store.name).savefig(output, bbox_inches="tight")
    print(output)


def _export(chosen: argparse.Namespace) -> None:
    """Write a store, or the dataset of an analysis, as tidy tables: a row for each combination of coordinates."""
    import xarray

    from jaxsat.results import tidy

    checks.one_of("export", "--to", chosen.to, tidy.EXPORT_FORMATS)
    store = location_of("export", chosen.store)
    if (store / METADATA).exists() and not (store / STATE).exists():
        dataset = xarray.open_zarr(zarr_files.store_of(store), chunks=None)
    else:
        dataset = Store(store).dataset()
    output = chosen.output or _beside(store, f".{chosen.to}")
    for path in tidy.write_tables(dataset, output, chosen.to):
        print(path)


def _beside(store: Location, suffix: str) -> pathlib.Path:
    """Return the default path of what is made of a store: beside it or, of an address, in the folder where we are."""
    return (store if isinstance(store, pathlib.Path) else pathlib.Path(store.name)).with_suffix(suffix)


def _figures(chosen: argparse.Namespace) -> None:
    """Run an analysis of jaxsat, for example: jaxsat figures phase_diagram --quick --output figures"""
    folder = _analyses()
    names = sorted(
        path.stem for path in folder.iterdir() if not path.stem.startswith(("_", ".")) and path.stem != "shared"
    )
    if chosen.name is None:
        print("\n".join(names))
        return
    checks.one_of("figures", "NAME", chosen.name, names)
    sys.path.insert(0, str(folder.parent))
    sys.argv = [f"jaxsat figures {chosen.name}", *chosen.options]
    try:
        importlib.import_module("analyses.shared.command").run_named(chosen.name)
    except ModuleNotFoundError as error:
        raise ImportError(f"figures: {error.name} is missing. Install it: pip install 'jaxsat[analyses]'") from None


def _analyses() -> pathlib.Path:
    """Return the folder of the analyses: inside an installed package, or beside the package in a clone."""
    package = pathlib.Path(__file__).parent
    installed = package / "bundled" / "analyses"
    return installed if installed.is_dir() else package.parent / "analyses"


if __name__ == "__main__":
    main()
