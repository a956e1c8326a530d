"""What most tests of the probe do not need: compiling one program for each small model."""

import dataclasses

import jax
import pytest

from jaxsat.probing.prober import Prepared


def pytest_generate_tests(metafunc):
    """Quick cases of tests that ask for `how` run a probe's program operation by operation; compiled, they are slow cases."""
    if "how" in metafunc.fixturenames:
        compiled = (
            "compiled"
            if metafunc.definition.get_closest_marker("slow")
            else pytest.param("compiled", marks=pytest.mark.slow)
        )
        quick = [] if compiled == "compiled" else ["interpreted"]
        metafunc.parametrize("how", [*quick, compiled], indirect=True)


@pytest.fixture
def how(request, monkeypatch):
    """How the program of a probe is run. The function is read and traced as ever."""
    if request.param == "interpreted":
        report = Prepared._report

        def interpreted(self, arrays):
            on_device = dataclasses.replace(self, _constants=jax.device_put(self._constants))
            with jax.disable_jit():
                return report(on_device, jax.device_put(arrays))

        monkeypatch.setattr(Prepared, "_report", interpreted)
    return request.param
