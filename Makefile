# Two commands: `make demo` shows what translatekit does, `make test` runs the tests. Both make .venv first.

PYTHON ?= python3
PIP_TIMEOUT ?= 180
BIN := .venv/bin

.PHONY: demo test lint types contracts wheel check clean

demo: .venv/installed
	@$(BIN)/translatekit demo

test: .venv/tested
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/tested
	$(BIN)/mypy

contracts: .venv/tested
	$(BIN)/lint-imports

# The built wheel in an environment that never saw this folder.
wheel: .venv/tested
	$(BIN)/python -m build --wheel --outdir dist .
	$(BIN)/python .ci/check_wheel.py dist

check: lint types contracts test wheel

.venv/installed: pyproject.toml
	@test -d .venv || $(PYTHON) -m venv .venv
	@echo "installing translatekit into .venv (once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --timeout $(PIP_TIMEOUT) -e '.[onnx,paint]'
	@touch $@

.venv/tested: .venv/installed
	@echo "installing what the tests need (once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --timeout $(PIP_TIMEOUT) -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv dist build
