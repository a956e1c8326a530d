"""``slow`` marks more cases of what is tested quickly too: `make test` leaves no kind of check out."""

from tests import quick_cases

# Test functions without a quick case, and why.
EXCUSED: dict[str, str] = {
    "test_killed_at_any_moment_it_ends_the_same": "kills processes, five times",
    "test_devices_do_not_matter": "a process with eight simulated devices",
    "test_processes_share_a_store": "two processes, one killed",
    "test_hosts_of_jax_distributed_share_a_store": "three processes of jax.distributed",
    "test_jobs_through_submitit": "starts jobs through submitit",
    "test_killed_for_good_and_resumed_equals_the_undisturbed_run": "kills processes",
}


def test_every_test_function_has_a_quick_case():
    without = {function.split("::")[-1]: function for function in quick_cases.slow_only}
    unexcused = sorted(function for name, function in without.items() if name not in EXCUSED)
    assert not unexcused, "give each a quick case, or a reason in EXCUSED"


def test_no_case_is_marked_slow_twice():
    """A mark of the function beside a mark of its case cancels the cases that were meant to stay."""
    assert not quick_cases.marked_twice
