"""Calls through an executor: made again when they fail, and named when they fail for good."""

import concurrent.futures
import time

import pytest

from jaxsat.results import executors
from tests.sweeps.small_sweeps import Unreliable


def test_what_fails_is_called_again_and_what_fails_for_good_is_returned():
    seen = {}

    def ended(key, result):
        seen[key] = result
        return True

    executor = Unreliable(failures=2)
    assert executors.call_all(executor, pow, {"a": (2, 3), "b": (3, 2)}, ended) == {}
    assert seen == {"a": 8, "b": 9}
    assert executor.calls == 4
    gone = Unreliable(10**6)
    failed = executors.call_all(gone, pow, {"a": (2, 3)}, ended)
    assert str(failed["a"]) == "the worker is gone"
    assert gone.calls == 3
    failed = executors.call_all(Unreliable(0), pow, {"a": (2, 3)}, lambda key, result: False)
    assert "its work is not there" in str(failed["a"])


def test_an_executor_that_was_shut_down_takes_no_more():
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        closing = pool.submit(lambda: None)
    closing.result()
    assert executors._again(pool, pow, (2, 3)) is None
    with pytest.raises(RuntimeError, match="after shutdown"):
        executors.call_all(pool, pow, {"a": (2, 3)}, lambda key, result: True)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupt_cancels_what_has_not_begun(error):
    made = []

    def slow(number):
        time.sleep(0.05)
        made.append(number)

    def ended(key, result):
        raise error

    with concurrent.futures.ThreadPoolExecutor(1) as pool, pytest.raises(error):
        executors.call_all(pool, slow, {number: (number,) for number in range(100)}, ended)
    assert len(made) < 10


def test_a_job_that_cannot_be_cancelled_does_not_hide_what_ended_the_work():
    class Stubborn:
        def submit(self, fn, *args):
            job = concurrent.futures.Future()
            if args == (1,):
                job.set_result(fn(*args))
            job.cancel = lambda: 1 / 0
            return job

    def ended(key, result):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        executors.call_all(Stubborn(), abs, {1: (1,), 2: (2,)}, ended)
