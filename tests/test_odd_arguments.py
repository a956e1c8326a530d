"""Odd arguments to the whole public API: every answer is right, or it is one line that says where and what came.

They are tried in a process of its own (`tests/odd_arguments`), without the type checks of the other tests.
"""

import os
import subprocess
import sys

import pytest

from tests.conftest import CACHE

WALKS = [
    # Most are refused before anything is compiled, so that they cost a millisecond. All others compile.
    "250 refused 15 answer",
    pytest.param("6000 refused", marks=pytest.mark.slow),
    pytest.param("300 answer same nan any", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("walks", WALKS)
def test_every_answer_is_right_or_one_line(walks):
    settings = {"JAX_COMPILATION_CACHE_DIR": str(CACHE), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
    arguments = [sys.executable, "-m", "tests.odd_arguments", *walks.split()]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=os.environ | settings)
    assert done.returncode == 0, "\n".join(done.stderr.splitlines()[-12:])
