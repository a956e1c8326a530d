# `make figures` and `make test` need nothing but Python >= 3.11: they make their own environment in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUTPUT ?= figures
WORKERS ?= 2

.PHONY: figures figures-quick test test-all lint bench clean
ANALYSES := activations_saturate gradients_vanish_with_depth jacobian_spectra_with_depth lyapunov_exponents \
	phase_diagram correlations_converge spectra_against_free_probability finite_width_fluctuations born_dead \
	saturation_during_training dying_relu trainability remedies claims

figures: $(VENV)/ready
	@for name in $(ANALYSES); do $(BIN)/python -m analyses.$$name --output $(OUTPUT) $(FLAGS) || exit $$?; done

figures-quick:
	@$(MAKE) --no-print-directory figures FLAGS=--quick

test: $(VENV)/ready
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q

test-all: $(VENV)/ready
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q -m "slow or not slow"

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(VENV)/ready
	@for name in gradient_sweep jacobian_spectra stored_sweep training compilation imports probe; do $(BIN)/python -m benchmarks.$$name || exit $$?; done

clean:
	rm -rf $(VENV) $(OUTPUT)

$(VENV)/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "jaxsat needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	@touch $@
