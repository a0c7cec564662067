# Two commands: `make demo` shows what translatekit does, `make test` runs the tests. Both make .venv first.

PYTHON ?= python3
PIP_TIMEOUT ?= 180
BIN := .venv/bin

.PHONY: demo test test-fast test-matrix test-avx2 lint types contracts wheel check clean

demo: .venv/installed
	@$(BIN)/translatekit demo

# Three workers for two cores: they wait half of the time, for programs, servers and browsers.
test: .venv/tested
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal $(TESTS)

# What one runs while working: no browsers, no programs, no training.
test-fast: .venv/tested
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -q -m "not slow and not browser and not subprocess" \
		--ignore tests/testing --ignore tests/docs --ignore tests/tools --ignore tests/training --ignore tests/seams

# Combinations of which `make test` runs a few.
test-matrix: export TRANSLATEKIT_TEST_MATRIX = 1
test-matrix: .venv/tested
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m matrix

# What depends on the processor, as if this one had neither AVX-512 nor VNNI nor bf16.
test-avx2: export ONEDNN_MAX_CPU_ISA = AVX2
test-avx2: export ATEN_CPU_CAPABILITY = avx2
test-avx2: export MKL_ENABLE_INSTRUCTIONS = AVX2
test-avx2: .venv/tested
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal tests/test_precision.py \
		tests/training/test_precision.py tests/plugins/test_parity.py tests/tools/backends/torch/test_translator.py \
		tests/tools/compile/test_precision.py tests/tools/compile/test_compile.py

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

check: lint types contracts test test-avx2 wheel

.venv/installed: pyproject.toml
	@test -d .venv || $(PYTHON) -m venv .venv
	@echo "installing translatekit into .venv (once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --timeout $(PIP_TIMEOUT) -e '.[all]'
	@touch $@

.venv/tested: .venv/installed
	@echo "installing what the tests need (once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --timeout $(PIP_TIMEOUT) -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv .azurite dist build
