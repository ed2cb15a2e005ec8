# Everything runs in .venv, which the first target makes. Needs Python 3.11 or newer and make.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
INSTALLED_BENCH := .venv/installed-bench
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

# Small networks run best with one thread per process and one process per core, four at most.
PYTEST := OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m pytest -n logical --maxprocesses=4

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint house docs browser bench check clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 18

$(INSTALLED): pyproject.toml setup.cfg constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) -e '.[dev]'
	touch $@

$(INSTALLED_BENCH): $(INSTALLED)
	$(INSTALL) -e '.[dev,bench]'
	touch $@

# An example ends with plt.show(), for the gallery; it saves its figures where NEURALOT_FIGURES names a folder.
demo: $(INSTALLED)  ## recover two plans and recolour a photograph; figures in build/demo
	mkdir -p build/demo
	NEURALOT_FIGURES=build/demo MPLBACKEND=Agg $(BIN)/python examples/why/plot_recovery.py
	NEURALOT_FIGURES=build/demo MPLBACKEND=Agg $(BIN)/python examples/images/plot_colour_transfer.py

test: $(INSTALLED)  ## run the tests and doctests, without the slow ones
	$(PYTEST)

test-slow: $(INSTALLED)  ## run the slow tests only
	$(PYTEST) -m slow

lint: $(INSTALLED)  ## check style, format, types and spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/codespell

house: $(INSTALLED)  ## print the measures of the code
	$(BIN)/python tools/house.py

docs: $(INSTALLED)  ## build the site in build/docs, with every warning an error
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/sphinx-build -W --keep-going -b html -d build/doctrees docs build/docs

browser: $(INSTALLED)  ## look at the built site with Chromium; screenshots in build/screenshots
	$(PYTEST) -m browser tests/test_site.py

bench: $(INSTALLED_BENCH)  ## run the short forms of the benchmarks
	MPLBACKEND=Agg $(BIN)/python benchmarks/recovery.py --quick
	MPLBACKEND=Agg $(BIN)/python benchmarks/w2.py --quick
	$(BIN)/python benchmarks/high_dimension.py --quick
	$(BIN)/python benchmarks/scale.py --quick
	$(BIN)/python benchmarks/otnet.py --quick
	$(BIN)/python benchmarks/adaptation.py --quick
	$(BIN)/python benchmarks/unbalanced.py --quick
	$(BIN)/python benchmarks/step.py --quick
	$(BIN)/python benchmarks/gpu.py --quick
	$(BIN)/python benchmarks/distributed.py --quick
	$(BIN)/python benchmarks/certificates.py --quick
	$(BIN)/python benchmarks/uncertainty.py --quick
	$(BIN)/python benchmarks/conditions.py --quick
	$(BIN)/python benchmarks/tabular.py --quick
	$(BIN)/python benchmarks/streams.py --quick
	$(BIN)/python benchmarks/trajectories.py --quick
	$(BIN)/python benchmarks/million.py --quick
	$(BIN)/python benchmarks/reliability.py --quick
	$(BIN)/python benchmarks/soak.py --quick
	MPLBACKEND=Agg $(BIN)/python benchmarks/papers.py --quick

check: lint test docs browser  ## lint, test, docs and browser

clean:  ## remove what the other targets built, but not .venv
	rm -rf build docs/auto_examples docs/generated docs/sg_execution_times.rst .hypothesis .mypy_cache .pytest_cache .ruff_cache
