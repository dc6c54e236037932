# Two commands do everything: `make demo` and `make test`. Each makes .venv first if it is
# missing or older than constraints.txt. Needed: Python 3.11 to 3.13, make, and the network
# for the first run. All paths are relative, so the folder's name may hold spaces.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# How long one watches `make demo`.
SECONDS ?= 30
# How many runs with faults `make chaos` does, and the first one's seed.
SEEDS ?= 20
FIRST_SEED ?= 1
# How many processes share all tests, each with a Kafka: make tests JOBS=3. One runs what ARGS chooses.
JOBS = 1
SHARED = -n auto --maxprocesses $(JOBS) --dist loadfile --no-loadscope-reorder
# More arguments for the command that the target runs, e.g. make tests ARGS="-k window".
ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
PIP := -m pip --disable-pip-version-check --no-input
# Each stamp is touched when its step is complete, so that a broken-off one is done again.
VENV_STAMP := $(VENV)/.dependencies-installed
PACKAGE_STAMP := $(VENV)/.package-installed
KERNELS_STAMP := $(VENV)/.kernels-compiled
KERNEL_SOURCES := $(wildcard stream_infer/windows/*.py stream_infer/traffic/*.py) \
	$(wildcard stream_infer/events/*.py stream_infer/records/*.py) \
	stream_infer/features/silence.py stream_infer/features/linked.py

# Sets $$python. A name on the path may be a shim that runs nothing, so each is tried.
define FIND_PYTHON
for candidate in "$(PYTHON)" python3 python3.13 python3.12 python3.11; do \
	if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		>/dev/null 2>&1; then python=$$candidate; break; fi; \
done; \
if [ -z "$${python:-}" ]; then \
	echo "error: no Python 3.11, 3.12 or 3.13 found (python3 is: $$(python3 --version 2>&1 | head -n 1))." >&2; \
	echo "  fix: install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.13" >&2; \
	exit 2; \
fi
endef

.PHONY: help install demo test lint types tests chaos format bench evaluate-all lock clean

help: ## Show what there is to make
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | \
		while IFS='|' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

install: $(PACKAGE_STAMP) $(KERNELS_STAMP) ## Make .venv with everything, kernels compiled

demo: install ## Kafka, payments, roads, workers and an audit to watch: make demo SECONDS=30
	$(VENV)/bin/stream-infer demo --seconds $(SECONDS) $(ARGS)

test: lint types tests ## Lint, types and all tests

lint: $(VENV_STAMP) ## Lint and formatting
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(PACKAGE_STAMP) ## Strict types
	$(PY) -m mypy stream_infer tests $(wildcard benchmarks/*.py benchmarks/*/*.py docs/*.py examples/*.py)

tests: install ## All tests, without lint and types
	$(PY) -m pytest $(or $(ARGS),$(if $(filter-out 1,$(JOBS)),$(SHARED)))

chaos: install ## Kills, zombies and broken lines on a real Kafka, judged: make chaos SEEDS=20 FIRST_SEED=1
	@PYTHONPATH=tests:. $(PY) -m chaos.run --seeds $(SEEDS) --first-seed $(FIRST_SEED) $(ARGS)

format: $(VENV_STAMP) ## Write the formatting that lint asks for
	$(PY) -m ruff check --fix-only --quiet .
	$(PY) -m ruff format .

bench: install ## Throughput, latency and memory on this machine
	$(VENV)/bin/stream-infer bench $(ARGS)

evaluate-all: install ## The figures of docs/models.md from public data, by the commands a user has
	@$(PY) -m benchmarks.evaluate_all $(ARGS)

# constraints.txt: every package of every extra and of the development group, for Python 3.11 to
# 3.13, with exact versions and sha256 hashes and no download address. deploy/constraints.txt: of
# the same versions, those that the image of a worker needs. Versions that still fit are kept.
# Fewest versions: numpy's types and results must not differ between the Pythons we support.
COMPILE := -m uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--fork-strategy fewest --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	--quiet
lock: ## Write the constraints anew; UPGRADE=1 takes newer versions
	@set -e; $(FIND_PYTHON); \
	room=$$(mktemp -d); trap 'rm -rf "$$room"' EXIT; \
	"$$python" -m venv "$$room"; \
	"$$room/bin/python" $(PIP) install --quiet uv; \
	"$$room/bin/python" $(COMPILE) --all-extras --group dev \
		--output-file constraints.txt $(if $(UPGRADE),--upgrade); \
	"$$room/bin/python" $(COMPILE) --constraint constraints.txt --upgrade \
		--output-file deploy/constraints.txt; \
	for file in constraints.txt deploy/constraints.txt; do \
		if grep -nE '://|index-url|find-links' $$file; then \
			echo "error: $$file names a download address." >&2; exit 1; \
		fi; \
		echo "$$file: $$(grep -c == $$file) packages"; \
	done

clean: ## Remove .venv, caches and compiled kernels
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find stream_infer tests -name __pycache__ -prune -exec rm -rf {} +

# Only wheels whose hash is pinned: nothing is built, and nothing comes in by another way.
$(VENV_STAMP): constraints.txt
	@set -e; $(FIND_PYTHON); \
	echo "Making $(VENV) with $$("$$python" --version), some 90 pinned packages"; \
	"$$python" -m venv --clear $(VENV) || { \
		echo "error: $$python cannot make a virtual environment." >&2; \
		echo "  fix: install its venv module (on Debian and Ubuntu the package python3-venv)." >&2; \
		exit 2; }
	@$(PY) $(PIP) install --quiet --require-hashes --only-binary :all: -r constraints.txt
	@touch $@

# The package itself: without dependencies (they are there) and without build isolation (so is
# hatchling, pinned). It is editable: only a change of pyproject.toml asks for another install.
$(PACKAGE_STAMP): $(VENV_STAMP) pyproject.toml
	@$(PY) $(PIP) install --quiet --no-index --no-deps --no-build-isolation --editable .
	@touch $@

# Kernels compile here, once, and not in the first second of the first run.
$(KERNELS_STAMP): $(PACKAGE_STAMP) $(KERNEL_SOURCES)
	@echo "Compiling kernels"
	@$(PY) -m stream_infer.precompile
	@touch $@
