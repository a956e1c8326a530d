"""Workers of Dask keep their memory: counted in pages that the system has to make anew."""

import os
import platform
import subprocess
import sys

import pytest

from jaxsat.results import worker_memory

PROGRAM = """
import resource
import numpy as np
from jaxsat.results.worker_memory import keep_memory
def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        np.zeros(250_000) + 1  # 2 MB, twice
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
pages()
before = pages()
keep_memory()
pages()
print(before, pages())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_after_it_arrays_take_no_new_pages():
    environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before > 50 * 400  # 488 pages of 4 kB for 2 MB
    assert after < before / 10


def test_a_process_that_dask_has_not_started_is_left_alone(monkeypatch):
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    monkeypatch.setattr(worker_memory.ctypes, "CDLL", None)
    worker_memory.keep_memory()
