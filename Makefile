# `make figures` and `make test` need nothing but Python >= 3.11: they make their own environment in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUTPUT ?= figures
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q

MAIN := gradients_vanish_with_depth
GALLERY := activations_saturate jacobian_spectra_with_depth lyapunov_exponents phase_diagram correlations_converge \
	spectra_against_free_probability finite_width_fluctuations born_dead saturation_during_training dying_relu \
	trainability remedies claims gradients_vanish_in_time memory_of_cells

# The site has an environment of its own, without JAX: what `make test` needs stays quick to install.
DOCS := .venv-docs
# So have the benchmarks, with what jaxsat is compared with.
BENCH := .venv-bench
SOURCES := $(shell find jaxsat -name '*.py')
TUTORIALS := $(patsubst docs/tutorials/%.py,build/tutorials/%.json,$(wildcard docs/tutorials/*.py))

.PHONY: figures gallery gallery-quick test test-all lint bench docs clean

figures: $(VENV)/ready  ## the main figure, in full
	$(BIN)/python -m analyses.$(MAIN) --output $(OUTPUT) $(FLAGS)

gallery: $(VENV)/ready  ## all other figures
	@for name in $(GALLERY); do $(BIN)/python -m analyses.$$name --output $(OUTPUT) $(FLAGS) || exit $$?; done

# One figure keeps one core busy, compiling: as many figures as WORKERS are made at the same time. The output of each comes
# when it is done, where make can do that.
gallery-quick: $(VENV)/ready  ## every figure, the main one too, in its small form
	@$(MAKE) --no-print-directory --jobs=$(WORKERS) $(if $(findstring output-sync,$(.FEATURES)),--output-sync) \
		$(addprefix quick/,$(MAIN) $(GALLERY))

quick/%: $(VENV)/ready
	@$(BIN)/python -m analyses.$* --output $(OUTPUT) --quick $(FLAGS)

test: $(VENV)/ready  ## every kind of check once
	$(PYTEST)

test-all: $(VENV)/ready  ## more cases of each kind, too
	$(PYTEST) -m "slow or not slow"

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(BENCH)/ready  ## speed beside named alternatives, written to docs/benchmarks.md; leave the machine alone meanwhile
	$(BENCH)/bin/python -m benchmarks

docs: $(DOCS)/ready $(TUTORIALS) build/catalogues/measures.md  ## the site, into build/site: open build/site/index.html, with or without a network
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --strict

build/catalogues/measures.md: website/catalogues.py $(SOURCES) | $(VENV)/ready
	$(BIN)/python -m website.catalogues $(@D)

build/tutorials/%.json: docs/tutorials/%.py website/run_tutorial.py $(SOURCES) | $(VENV)/ready
	JAX_COMPILATION_CACHE_DIR=$(VENV)/compiled $(BIN)/python -m website.run_tutorial $< $@

clean:
	rm -rf $(VENV) $(DOCS) $(BENCH) $(OUTPUT) build

$(VENV)/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "jaxsat needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	@touch $@

$(DOCS)/ready: pyproject.toml
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check "pip>=25.1"
	$(DOCS)/bin/python -m pip install --quiet --group docs
	@touch $@

$(BENCH)/ready: pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check "pip>=25.1"
	$(BENCH)/bin/python -m pip install --quiet --editable ".[analyses]" --group bench
	@touch $@
