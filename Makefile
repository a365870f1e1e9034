# Two commands on a machine with Python 3.11 or later:
#   make demo   segments synthetic videos, prints scores, writes pictures
#   make test   the whole test suite
# Both set up .venv first. PYTHON=python3.12 chooses another interpreter.
# While working: `make test-fast` leaves out what takes over ten seconds.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: demo test test-fast test-newest test-cuda-aot lint format wheel clean

demo: $(VENV)/.demo
	$(BIN)/sgmg demo --out out/demo --overwrite

# A file's tests share compiled programs, so files are what processes share out.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
FAST := -m "not slow and not tpu_aot and not cuda_aot"

test: $(VENV)/.test
	$(BIN)/pytest $(PARALLEL) $(ARGS)

test-fast: $(VENV)/.test
	$(BIN)/pytest $(PARALLEL) $(FAST) $(ARGS)

# The fast tests with the newest versions that setup.cfg admits, on PYTHON.
test-newest: $(VENV)-newest/.test
	$(VENV)-newest/bin/pytest $(PARALLEL) $(FAST) $(ARGS)

# Compiles the GPU kernels for cards that need not be here; 5.5 GB, so it has
# an environment of its own.
test-cuda-aot: $(VENV)-cuda/.test
	$(VENV)-cuda/bin/pytest -m cuda_aot tests/kernels/cuda_aot_test.py \
	  tests/training/gpu_topology_test.py $(ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Builds the source archive, from that the wheel, and imports every package
# from the wheel, not from the tree.
wheel: $(VENV)/.test
	rm -rf build dist
	$(BIN)/python -m build --outdir dist . > /dev/null
	$(PIP) --no-deps --target build/wheel dist/*.whl
	cd build && PYTHONPATH=wheel $(abspath $(BIN))/python ../tests/import_wheel.py wheel

clean:
	rm -rf $(VENV) $(VENV)-newest $(VENV)-cuda build dist out/demo

$(VENV)/bin/python:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and \
	  'sgmg_jax needs Python 3.11 or later; PYTHON=... chooses one')"
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip

# constraints.txt holds the tested versions, for Python 3.11.
$(VENV)/.demo: $(VENV)/bin/python setup.cfg constraints.txt
	@echo "Setting up $(VENV) (once, some minutes)"
	$(PIP) --constraint constraints.txt --editable .
	touch $@

$(VENV)/.test: $(VENV)/bin/python setup.cfg constraints.txt
	@echo "Setting up $(VENV) for tests (once, some minutes)"
	$(PIP) --constraint constraints.txt --editable ".[analysis,convert,data,dev,gcs]"
	touch $@ $(VENV)/.demo

# torch, of which newer Pythons get builds of several GB, is left out.
$(VENV)-newest/.test: setup.cfg
	@echo "Setting up $(VENV)-newest (once, some minutes)"
	$(PYTHON) -m venv $(VENV)-newest
	$(VENV)-newest/bin/python -m pip --disable-pip-version-check install \
	  --quiet --upgrade --editable ".[analysis,data,dev,gcs]"
	touch $@

$(VENV)-cuda/.test: setup.cfg constraints.txt
	@echo "Setting up $(VENV)-cuda (once, 5.5 GB)"
	$(PYTHON) -m venv $(VENV)-cuda
	$(VENV)-cuda/bin/python -m pip --disable-pip-version-check install \
	  --quiet --constraint constraints.txt --editable ".[cuda]" pytest
	touch $@
