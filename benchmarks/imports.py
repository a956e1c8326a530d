"""What `import jaxsat` adds to `import jax`, in fresh interpreters."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.clock import median_seconds


def main() -> None:
    def seconds(code: str) -> float:
        return median_seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True), repeats=7)

    jax_alone, with_jaxsat = seconds("import jax"), seconds("import jax, jaxsat")
    print(f"import jax {jax_alone:.2f} s, with jaxsat {with_jaxsat:.2f} s: adds {with_jaxsat - jax_alone:.2f} s")


if __name__ == "__main__":
    main()
