"""How the programs of an analysis are compiled."""

import os
import subprocess
import sys
import threading
import time

import jax
import pytest

from analyses.shared import compiled, theories
from jaxsat import theory
from jaxsat.linalg import lapack
from jaxsat.results import machine
from tests.quick_cases import quick_first

# Every analysis is imported, then the command line is read, then XLA compiles.
SCRIPT = """
import dataclasses, importlib, sys, jax
from analyses.shared import command, compiled
from jaxsat.results import machine

names, compiled.QUICK_FLAGS = sys.argv[1].split(), sys.argv[2]
del sys.argv[1:3]
for name in names:
    importlib.import_module(f"analyses.{name}")

@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False

def main(options):
    print(jax.jit(lambda x: x + 1)(1.0), machine.this_machine()["xla_flags"])

command.run(Options, main, "")
"""
NAMES = " ".join(path.stem for path in compiled.ENVIRONMENT.parent.glob("analyses/[a-z]*") if path.stem != "shared")


def compiling(*arguments, quick_flags=compiled.QUICK_FLAGS, chosen=None):
    """What a process says, compiled with these flags."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment |= {} if chosen is None else {"XLA_FLAGS": chosen}
    words = [sys.executable, "-c", SCRIPT, NAMES, quick_flags, *arguments]
    return subprocess.run(words, capture_output=True, text=True, env=environment)


@pytest.mark.slow
def test_only_a_small_study_compiles_with_other_flags_and_its_data_tell_them():
    assert compiling("--quick").stdout.split() == ["2.0", *sorted(compiled.QUICK_FLAGS.split())]
    assert compiling().stdout.split() == ["2.0"]
    chosen = "--xla_backend_optimization_level=2"
    assert compiling("--quick", chosen=chosen).stdout.split() == ["2.0", chosen]


@pytest.mark.slow
def test_xla_reads_the_flags_though_jax_and_the_analyses_are_imported_before():
    told = compiling("--quick", quick_flags="--xla_no_such_option=true")
    assert told.returncode != 0
    assert "xla_no_such_option" in told.stderr


@pytest.mark.parametrize("name", quick_first(["sigmoid", "gelu"]))
def test_theory_that_runs_side_by_side_calls_no_lapack(name):
    """Programs with LAPACK calls can hang side by side (see linalg.lapack)."""

    def everything(w):
        field = theory.mean_field(name, w, 0.1)
        return field, theory.log_normal_law(name, 10, 8, w).mean, theory.critical_weight_scale(name, w)

    assert not lapack.holds_lapack_calls(jax.jit(everything).lower(1.0).as_text())


def test_subjects_are_done_at_the_same_time_and_returned_in_their_order(monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 2)
    second_ended = threading.Event()

    def named(n):
        if n == 1:
            assert second_ended.wait(60), "one after the other"
            time.sleep(0.1)  # the second's result is there long before the first's
        second_ended.set()
        return n

    assert theories.of_each(named, [1, 2]) == [1, 2]
    with pytest.raises(ZeroDivisionError):
        theories.of_each(lambda n: 1 / n, [1, 0, 2])
