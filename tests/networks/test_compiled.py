"""Programs are made once for a key and JAX's settings, bounded in number, and let go in order of last use."""

import jax

from jaxsat.networks.compiled import Programs


def test_a_program_is_made_once_and_the_one_unused_longest_goes_first():
    made, programs = [], Programs(most=2)

    def get(key):
        return programs.get(key, lambda: made.append(key) or len(made))

    assert [get(key) for key in ("a", "b", "a", "c", "a", "b")] == [1, 2, 1, 3, 1, 4]
    assert made == ["a", "b", "c", "b"]
    assert len(programs) == 2
    programs.clear()
    assert get("a") == 5


def test_settings_of_jax_are_part_of_the_key():
    programs = Programs(most=8)
    double = programs.get("a", lambda: jax.numpy.result_type(float))
    with jax.enable_x64(False):
        single = programs.get("a", lambda: jax.numpy.result_type(float))
    with jax.default_matmul_precision("float32"):
        programs.get("a", lambda: None)
    assert (double, single, len(programs)) == ("float64", "float32", 3)


def test_a_key_without_hash_is_not_kept():
    programs = Programs(most=8)
    assert programs.get(["a"], lambda: 1) == 1
    assert len(programs) == 0
