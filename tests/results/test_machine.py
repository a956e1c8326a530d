"""Kinds of machines: told apart by what changes their last bits, and by nothing else."""

import pytest

from jaxsat.results import machine

INTEL = """processor : 0
vendor_id\t: GenuineIntel
cpu MHz\t\t: 2596.146
flags\t\t: fpu vme sse2 avx2 fma avx512f hypervisor lahf_lm
bugs\t\t: spectre_v1

processor : 1
vendor_id\t: GenuineIntel
flags\t\t: fpu sse2
"""
ARM = "processor : 0\nBogoMIPS : 243.75\nFeatures\t: fp asimd sve2 bf16\nCPU implementer\t: 0x41\n"


@pytest.mark.parametrize(
    ("text", "features"), [(INTEL, "GenuineIntel avx2 avx512f fma sse2"), (ARM, "0x41 asimd bf16 fp sve2"), (None, "")]
)
def test_features_are_the_sets_of_instructions_that_compute(text, features, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: "arch")
    monkeypatch.setattr("platform.processor", lambda: "")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert machine.cpu_features().split() == ["arch", *features.split()]


def test_options_count_where_they_change_numbers(tmp_path, monkeypatch):
    given = "--xla_dump_to=/tmp/x --xla_cpu_enable_fast_math=true --xla_force_host_platform_device_count=8 --xla_a=1"
    monkeypatch.setenv("XLA_FLAGS", given)
    assert machine.xla_flags() == "--xla_a=1 --xla_cpu_enable_fast_math=true"
    (tmp_path / "flags").write_text(given)
    monkeypatch.setenv("XLA_FLAGS", str(tmp_path / "flags"))
    assert machine.xla_flags() == "--xla_a=1 --xla_cpu_enable_fast_math=true"
    monkeypatch.delenv("XLA_FLAGS")
    assert machine.xla_flags() == ""


def test_a_difference_is_said_in_one_short_line():
    there = {"instructions": "cpu x86_64 GenuineIntel avx2 fma", "xla_flags": ""}
    here = {
        "instructions": "cpu x86_64 GenuineIntel " + " ".join(f"avx512_{i}" for i in range(9)),
        "xla_flags": "--a=1",
    }
    machine.check_known("sweep: `store` s", there, [here, there])
    with pytest.raises(ValueError, match="must be continued") as caught:
        machine.check_known("sweep: `store` s", here, [there])
    assert str(caught.value) == (
        "sweep: `store` s must be continued on the kind of machine it is from (instructions: avx2 fma there, avx512_0 avx512_1 "
        "avx512_2 avx512_3 avx512_4 avx512_5 and 3 more here; xla_flags: nothing more there, --a=1 here): last bits differ, "
        "and a chaotic network makes them large. Use such a machine, or accept this one with allow_mixed=True "
        "(--allow-mixed), which the data then say."
    )
    with pytest.raises(ValueError, match=r"\(instructions: unknown there; xla_flags: unknown there\)"):
        machine.check_known("train: `store` s", here, [])
