"""A sweep of few small networks, the comparison of two results, and an executor whose calls fail."""

import concurrent.futures
import contextlib

import xarray

import jaxsat
from jaxsat.results.store import Store

NET = jaxsat.MLP(depth=6, width=8)
OVER = {"activation": ["tanh", "relu"], "weight_scale": [0.5, 1.0, 3.0]}
MEASURES = ["log_gradient_norms", "dead_fraction"]


def run(over=None, seeds=20, net=NET, measure=MEASURES, **options):
    return jaxsat.sweep(net, measure, OVER if over is None else over, seeds=seeds, progress=False, **options)


def same(found, expected):
    """Bit for bit, and in dtype, labels and units."""
    xarray.testing.assert_identical(found.load().drop_attrs(), expected.drop_attrs())
    for name in expected.variables:
        assert found[name].dtype == expected[name].dtype or expected[name].dtype.kind == "U"
        assert found[name].attrs == expected[name].attrs


def chunk_files(path, *names):
    return sorted(file for name in names for file in path.glob(f"{name}/c/**/*") if file.is_file())


class Unreliable:
    """Threads whose first calls fail, as if their worker had died."""

    def __init__(self, failures):
        self.failures, self.calls, self.threads = failures, 0, concurrent.futures.ThreadPoolExecutor(2)

    def submit(self, fn, /, *args):
        self.calls += 1
        if self.calls <= self.failures:
            return self.threads.submit(self.die)
        return self.threads.submit(fn, *args)

    @staticmethod
    def die():
        raise OSError("the worker is gone")


@contextlib.contextmanager
def writes_fail(monkeypatch, error, after):
    """Let no more than some chunks be written; give the list of chunks that were tried, growing as it does."""
    write, tried = Store.write, []

    def fail(self, unit, arrays):
        tried.append(unit)
        if len(tried) > after:
            raise error
        return write(self, unit, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", fail)
        yield tried
