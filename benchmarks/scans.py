"""Any scan: spectra, gradients and Lyapunov exponents in logarithms, beside what people write.

An LSTM's full log spectrum is compared with ``svd(jacfwd)`` through the same scan, gradient norms at every step with
``jax.grad`` with respect to every state, and exponents with chaotax's ``lyapunov_spectrum`` (QR at every step; the same
method written here if chaotax is not installed). Errors are those of products with known singular values: each factor is
Q_t D_t Q_(t-1)^T with random rotations Q and chosen D, so that ln s is a sum. float64 throughout, as in a program that asks
for it; the spectrum's float32 time is given too.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import jaxsat
from benchmarks.clock import least_seconds

UNITS, STEPS, SEQUENCES = 64, 1000, 32
LONG = 20_000


def lstm(weights, carry, x):
    h, c = carry
    i, g, f, o = jnp.split(weights @ jnp.concatenate([h, x]), 4)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def lstm_case(dtype):
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.normal(size=(4 * UNITS, 2 * UNITS)) / UNITS**0.5, dtype)
    carry = jnp.zeros(UNITS, dtype), jnp.zeros(UNITS, dtype)
    return weights, carry, jnp.asarray(rng.normal(size=(SEQUENCES, STEPS, UNITS)), dtype)


def ready(program, *args):
    return lambda: jax.block_until_ready(program(*args))


def spectra(dtype) -> None:
    weights, start, xs = lstm_case(dtype)

    def dense(xs):
        def last(h, c):
            return jnp.concatenate(jax.lax.scan(lambda s, x: (lstm(weights, s, x), None), (h, c), xs)[0])

        jacobian = jnp.concatenate(jax.jacfwd(last, (0, 1))(*start), axis=1)
        return jnp.linalg.svd(jacobian, compute_uv=False)

    def logs(xs):
        return jaxsat.log_singular_values_of_scan(lambda s, x: lstm(weights, s, x), start, xs)

    programs = {name: ready(jax.jit(jax.vmap(f)), xs) for name, f in (("dense", dense), ("logs", logs))}
    seconds = least_seconds(programs, rounds=1)
    for name, label in (("dense", "svd(jacfwd) through the scan"), ("logs", "log_singular_values_of_scan")):
        print(f"{label:34} {seconds[name] / SEQUENCES * 1e3:8.1f} ms a sequence, {jnp.dtype(dtype).name}")
    print(f"all {2 * UNITS} values of {STEPS} LSTM steps cost {seconds['logs'] / seconds['dense']:.2f} times as much")


def gradients() -> None:
    weights, start, xs = lstm_case(jnp.float64)
    cotangent = jnp.ones(2 * UNITS)

    def energy(shifts, xs):
        def body(carry, at):
            x, shift = at
            return lstm(weights, jax.tree.map(jnp.add, carry, shift), x), None

        return sum(jnp.sum(a) for a in jax.lax.scan(body, start, (xs, shifts))[0])

    def plain(xs):
        parts = jax.grad(energy)((jnp.zeros((STEPS, UNITS)),) * 2, xs)
        return jnp.sqrt(sum(jnp.sum(a**2, axis=1) for a in parts))

    def ours(xs):
        return jaxsat.log_gradient_norms_of_scan(lambda s, x: lstm(weights, s, x), start, xs, cotangent)

    for label, inputs, batch in (("one sequence", xs[0], lambda f: f), (f"{SEQUENCES} sequences", xs, jax.vmap)):
        seconds = least_seconds({f.__name__: ready(jax.jit(batch(f)), inputs) for f in (plain, ours)}, rounds=5)
        print(
            f"gradient norms of {STEPS} steps, {label}: jax.grad {seconds['plain'] * 1e3:.1f} ms, "
            f"log_gradient_norms_of_scan {seconds['ours'] * 1e3:.1f} ms: {seconds['ours'] / seconds['plain']:.2f} times"
        )


def exponents() -> None:
    rng = np.random.default_rng(1)
    w = jnp.asarray(1.5 * rng.normal(size=(UNITS, UNITS)) / UNITS**0.5)
    start = jnp.asarray(rng.normal(size=UNITS))

    def step(h, _=None):
        return jnp.tanh(w @ h)

    def written_here(start, frame):
        def body(carry, _):
            h, frame = carry
            new, push = jax.linearize(step, h)
            frame, r = jnp.linalg.qr(jax.vmap(push, 1, 1)(frame))
            return (new, frame), jnp.log(jnp.abs(jnp.diagonal(r)))

        return jnp.sort(jnp.mean(jax.lax.scan(body, (start, frame), length=LONG)[1], axis=0))[::-1]

    try:
        import chaotax  # pyright: ignore[reportMissingImports]

        name = "chaotax.lyapunov_spectrum"
        spectrum = chaotax.lyapunov_spectrum(step, rollout_steps=LONG, warmup_steps=0, discard_steps=0)

        def theirs(start, frame):
            with jax.ensure_compile_time_eval():  # it multiplies the numbers of a shape in JAX
                return spectrum(start, frame)

    except ImportError:
        name, theirs = "QR at every step, written here", written_here
    ours = lambda start: jaxsat.lyapunov_exponents_of_scan(step, start, None, length=LONG)  # noqa: E731
    programs = {"theirs": ready(jax.jit(theirs), start, jnp.eye(UNITS)), "ours": ready(jax.jit(ours), start)}
    seconds = least_seconds(programs, rounds=2)
    other, own = np.sort(np.asarray(programs["theirs"]()))[::-1], programs["ours"]()
    print(f"{UNITS} exponents of a tanh network, {LONG} steps: {name} {seconds['theirs']:.2f} s, "
          f"lyapunov_exponents_of_scan {seconds['ours']:.2f} s: {seconds['theirs'] / seconds['ours']:.2f} x its speed")  # fmt: skip
    print(
        f"largest difference {np.abs(other - own.exponents).max():.1e}; standard errors up to {own.standard_error.max():.1e}"
    )


def product_with_known_values(n: int, steps: int) -> tuple[jax.Array, np.ndarray]:
    """Return factors (steps, n, n), and ln of the singular values of their product.

    Directions keep their order, but for chance: else rounding the factors would itself change the values.
    """
    rng = np.random.default_rng(n + steps)
    turns = np.linalg.qr(rng.normal(size=(steps + 1, n, n)))[0]
    logs = -4 * (np.arange(n) + rng.uniform(size=(steps, n))) / n
    factors = turns[1:] @ (np.exp(logs)[:, :, None] * np.swapaxes(turns[:-1], 1, 2))
    return jnp.asarray(factors), np.sort(logs.sum(0))[::-1]


@jax.jit
def benettin(factors):
    def body(frame, factor):
        frame, r = jnp.linalg.qr(factor @ frame)
        return frame, jnp.log(jnp.abs(jnp.diagonal(r)))

    return jnp.sort(jnp.sum(jax.lax.scan(body, jnp.eye(factors.shape[-1]), factors)[1], axis=0))[::-1]


@jax.jit
def dense_values(factors):
    product = jax.lax.scan(lambda p, factor: (factor @ p, None), jnp.eye(factors.shape[-1]), factors)[0]
    return jnp.log(jnp.linalg.svd(product, compute_uv=False))


def accuracy() -> None:
    print(
        "worst error of ln s:   n     T    spread |   log_singular_values_of_scan       QR (Benettin)         svd(jacfwd)"
    )
    for n in (8, 64):
        for steps in (100, 1000, 4000):
            factors, true = product_with_known_values(n, steps)
            ours = jaxsat.log_singular_values_of_scan(lambda h, factor: factor @ h, jnp.zeros(n), factors)
            worst = [np.abs(np.asarray(v) - true).max() for v in (ours, benettin(factors), dense_values(factors))]
            print(f"{n:24} {steps:5} {true[0] - true[-1]:9.0f} | {worst[0]:29.1e} {worst[1]:19.1e} {worst[2]:19.1e}")


def main() -> None:
    print(f"{jax.devices()[0].device_kind}")
    spectra(jnp.float32)
    with jax.enable_x64(True):
        spectra(jnp.float64)
        gradients()
        exponents()
        accuracy()


if __name__ == "__main__":
    main()
