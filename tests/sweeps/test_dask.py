"""Sweeps on a Dask cluster: the same bits, also where a worker dies, another comes late, and the scheduler is restarted."""

import concurrent.futures
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import dask
import distributed
import pytest

import jaxsat
from jaxsat.results import executors
from jaxsat.sweeps.engines import executor_of
from tests.sweeps.small_sweeps import same

pytestmark = pytest.mark.filterwarnings("ignore")  # of Dask's own: threads and sockets that it closes late

NET = jaxsat.MLP(depth=4, width=6)
OVER = {"activation": ["tanh", "relu"], "weight_scale": [0.5, 1.0, 3.0]}
MANY = OVER | {"activation": ["tanh", "relu", "sigmoid", "gelu", "erf", "elu", "sin", "silu"]}  # a task each


def run(over=OVER, **options):
    return jaxsat.sweep(NET, "log_gradient_norms", over, seeds=9, progress=False, **options)


@pytest.mark.usefixtures("small")
@pytest.mark.slow
def test_a_cluster_within_the_process_gives_the_same_bits(tmp_path):
    expected = run(store=tmp_path / "here").load()
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.Client(**options) as client:
        same(run(store=tmp_path / "there", executor=client.get_executor()), expected)
        for number, executor in enumerate((client, client.get_executor())):
            done = []
            failed = executors.call_all(
                executor, fails_first, {0: (str(tmp_path / f"{number}"),)}, lambda *_: not done.append(1)
            )
            assert (failed, done) == ({}, [1]), "the second call is a call, not the error of the first"


def fails_first(path):
    with open(path, "a") as file:
        file.write("x")
    if os.path.getsize(path) == 1:
        raise OSError("the disk is away")


class Cluster:
    """A scheduler and workers, each a process of its own, which can be killed."""

    def __init__(self):
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.scheduler = self._scheduler()
        self.workers = []

    @property
    def engine(self):
        return f"dask://127.0.0.1:{self.port}"

    def _scheduler(self):
        return started("scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")

    def add_worker(self):
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", "60")
        self.workers.append(started("worker", f"tcp://127.0.0.1:{self.port}", *options))

    def restart(self):
        """A scheduler at the same port that knows nothing of what was asked, and one worker."""
        self.close()
        self.scheduler, self.workers = self._scheduler(), []
        self.add_worker()

    def close(self):
        for process in (*self.workers, self.scheduler):
            kill(process)


def started(*arguments):
    quiet = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, "-m", "dask", *arguments], stdout=quiet, stderr=quiet)


def kill(process):
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def cluster(workers):
    made = Cluster()
    try:
        for _ in range(workers):
            made.add_worker()
        with distributed.Client(f"127.0.0.1:{made.port}") as client:
            client.wait_for_workers(workers, timeout=100)
        yield made
    finally:
        made.close()


def chunks_done(path):
    return len(list(path.glob("chunk_counts/c/*/*/*/*"))) if path.exists() else 0


@pytest.mark.slow
def test_a_worker_dies_and_another_comes_late_and_the_scheduler_is_restarted(tmp_path):
    expected = run(MANY, store=tmp_path / "here").load()
    with cluster(3) as made:

        def replace_a_worker():
            kill(made.workers.pop(0))
            made.add_worker()

        same(disturbed(made, tmp_path / "there", replace_a_worker), expected)
        same(disturbed(made, tmp_path / "half", made.restart), expected)


@pytest.mark.slow
def test_a_scheduler_that_does_not_come_back_is_said(tmp_path):
    impatient = dask.config.set({"distributed.comm.timeouts.connect": "3s"})
    said = pytest.raises(RuntimeError, match="tasks could not be computed by `executor`; the rest is in")
    with cluster(2) as made, impatient, said:
        disturbed(made, tmp_path / "half", made.close)
    same(run(MANY, store=tmp_path / "half"), run(MANY, store=tmp_path / "here").load())


def disturbed(made, store, disturb):
    """Return a sweep that is disturbed when its first chunk is there and one worker stands still, a task in its hand."""

    def wait():
        while chunks_done(store) < 1:
            time.sleep(0.05)
        done = chunks_done(store)
        disturb()
        return done

    os.kill(made.workers[0].pid, signal.SIGSTOP)  # else all the work may be done before the first look
    with concurrent.futures.ThreadPoolExecutor(1) as thread, executor_of(made.engine) as executor:
        disturbance = thread.submit(wait)
        found = run(MANY, store=store, executor=executor)
        assert disturbance.result(60) < len(MANY["activation"]), "it came while there was work"
    return found
