# Two commands: `make demo` runs the main job and serves the site, `make test` passes the tests.
# Each makes .venv when it is missing. PORT=8001 chooses another port, PYTHON=python3.12 another Python.

SHELL := /bin/bash
PORT ?= 8000
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
# One more than the cores: a test waits for its processes now and then.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')

.PHONY: demo up test lint bench chaos venv clean

demo: .venv/runtime
	@$(BIN)/python manage.py demo --port $(PORT)

up: .venv/runtime
	@$(BIN)/python manage.py up --port $(PORT)

venv: .venv/runtime

test: .venv/test chromium
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not slow"
	TEST_DATABASE=postgres $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not slow and not browser" tests/workspaces tests/pipelines tests/jobs tests/contracts
	$(BIN)/python -m pytest -n 3 -m slow

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports

bench: .venv/test
	$(BIN)/python -m benchmarks

chaos: .venv/test
	CHAOS_ROUNDS=10 $(BIN)/python -m pytest -m slow tests/e2e/test_chaos.py

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache artefacts

# The stamp files hold the moment of the last installation: changed requirements are installed anew.
.venv/runtime: requirements/runtime.txt requirements/uv.txt
	@$(MAKE) --no-print-directory .venv/uv
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --require-hashes -r requirements/runtime.txt
	@touch $@

.venv/test: requirements/test.txt requirements/uv.txt
	@$(MAKE) --no-print-directory .venv/uv
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --require-hashes -r requirements/test.txt
	@touch .venv/runtime $@

.venv/uv: requirements/uv.txt
	@test -n "$(PYTHON)" || { echo "eltsite needs Python 3.11 to 3.13, and none was found. On Debian: apt-get install python3 python3-venv"; exit 1; }
	@command -v git >/dev/null || { echo "git is missing. On Debian: apt-get install git"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing. On Debian: apt-get install python3-venv"; exit 1; }
	@echo "Making .venv with $$($(PYTHON) --version) (once; takes a moment)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

# Browser tests use the system's Chromium. Where we may, we install it; elsewhere the tests say how.
chromium:
	@if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null && ! command -v google-chrome >/dev/null \
		&& [ "$$(id -u)" = 0 ] && [ -f /etc/debian_version ]; then \
		echo "Installing Debian's chromium for the browser tests (once)"; \
		{ apt-get install -y -q chromium || { apt-get update -q && apt-get install -y -q chromium; }; } >/tmp/eltsite-chromium.log 2>&1 \
		|| { tail -5 /tmp/eltsite-chromium.log; echo "chromium could not be installed; the browser tests will say so"; }; fi
.PHONY: chromium
