# Everything sets itself up in .venv: Python 3.11 or later with pip, and make, are all that is needed.
PYTHON ?= python3
VENV := .venv
CODE := src tests bench scripts
BIN := $(VENV)/bin
ROUNDS ?= 50
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(2 * (os.cpu_count() or 1))')
FUZZ_SECONDS ?= 600
SOAK_MINUTES ?= 30
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo serve test chaos clients check bench format clean

demo: $(VENV)/.runtime  ## try it without an account
	@$(BIN)/fittengate demo $(ARGS)

serve: $(VENV)/.runtime  ## run the gateway
	@$(BIN)/fittengate serve $(ARGS)

# More workers than cores, for tests wait a lot. Compiled code is kept, whatever the environment says: tests start hundreds
# of processes. What tests/meta holds is held by `make check`.
test: $(VENV)/.dev  ## all tests but the long ones
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --ignore=tests/meta $(ARGS)

chaos: $(VENV)/.dev  ## the long ones: faults at every byte, ROUNDS kills, FUZZ_SECONDS of fuzzing, a soak of SOAK_MINUTES
	@CHAOS_ROUNDS=$(ROUNDS) FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest -n 2 --timeout 1800 \
		--junitxml=build/chaos.xml --ignore=tests/long/test_soak.py tests/chaos tests/fuzz tests/long $(ARGS)
	@CHAOS_ROUNDS=$(ROUNDS) SOAK_MINUTES=$(SOAK_MINUTES) $(BIN)/python -m pytest -s --timeout 86400 \
		--junitxml=build/soak.xml tests/long/test_soak.py

clients: $(VENV)/.runtime  ## SDKs of Node against the gateway; needs Node 20 or later with npm
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null \
		|| { echo "make clients: NOTHING WAS TESTED. It needs Node 20 or later on the PATH." >&2; exit 1; }
	@npm --version > /dev/null 2>&1 || { echo "make clients: NOTHING WAS TESTED. It needs npm on the PATH." >&2; exit 1; }
	@npm --prefix tests/clients ci --loglevel=error > /dev/null
	@FITTENGATE=$(CURDIR)/$(BIN)/fittengate node --test --test-reporter=spec $(ARGS) tests/clients/*.test.mjs

check: $(VENV)/.dev  ## format, lint, types, floors, sizes, docs
	@$(BIN)/ruff format --check --quiet $(CODE)
	@$(BIN)/ruff check --quiet $(CODE)
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo --no-cache > .lint-imports.out || (cat .lint-imports.out; exit 1)
	@$(BIN)/python -m pytest tests/meta
	@echo "check: all good"

bench: $(VENV)/.dev  ## CPU time against nginx; needs Debian's nginx and wrk
	@$(BIN)/python bench/run.py $(ARGS)

format: $(VENV)/.dev
	@$(BIN)/ruff format --quiet $(CODE)
	@$(BIN)/ruff check --fix --quiet $(CODE)

$(VENV)/.runtime: requirements.lock pyproject.toml
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fittengate needs Python 3.11 or later")'
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

clean:
	rm -rf $(VENV) tests/clients/node_modules build dist .hypothesis .mypy_cache .ruff_cache .import_linter_cache
