"""What `import jaxsat` may and may not do, seen from a fresh interpreter."""

import subprocess
import sys

SCRIPT = """
import sys, jax
before = dict(jax.config.values)
import jaxsat
changed = {k for k, v in jax.config.values.items() if before.get(k) != v}
assert not changed, changed
heavy = {"matplotlib", "xarray", "zarr", "pandas", "sklearn", "tqdm", "tyro", "flax", "equinox", "haiku"} & set(sys.modules)
assert not heavy, heavy
missing = [name for name in jaxsat.__all__ if not hasattr(jaxsat, name)]
assert not missing, missing
"""


def test_import_is_light_and_changes_no_configuration():
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
