"""How the programs of an analysis are compiled."""

import os
import subprocess
import sys

import pytest

from analyses.shared import compiled, theories
from jaxsat.results import machine

# What a process that has imported JAX and an analysis compiles with, after the command line was read.
SCRIPT = """
import dataclasses, sys, jax
from analyses.shared import command
from jaxsat.results import machine

@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    quick: bool = False

def main(options):
    program = jax.jit(lambda x: x + 1).lower(1.0).compile()
    print(machine.this_machine()["xla_flags"])

command.run(Options, main, "")
"""


def flags(*arguments, chosen=None):
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment |= {} if chosen is None else {"XLA_FLAGS": chosen}
    words = [sys.executable, "-c", SCRIPT, *arguments]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=True)
    return done.stdout.split()


def test_only_a_small_study_compiles_with_other_flags_and_its_data_tell_them():
    assert flags("--quick") == sorted(compiled.QUICK_FLAGS.split())
    assert flags() == []
    chosen = "--xla_backend_optimization_level=2"
    assert flags("--quick", chosen=chosen) == [chosen]


def test_subjects_at_the_same_time_give_results_in_their_order(monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 2)
    assert theories.of_each(lambda n: n * n, range(20)) == [n * n for n in range(20)]
    with pytest.raises(ZeroDivisionError):
        theories.of_each(lambda n: 1 / n, [1, 0, 2])
