# One command per chore, the same on a laptop and in CI. Needs: python3 >= 3.10 and make; everything else goes into .venv.
#   make demo      set up, then the whole road on bundled weather data (under a minute after the set-up)
#   make test      set up, then the tests
# A CPU-only torch on Linux: make install TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check

NATIVE := build/native

.PHONY: help install demo test test-native test-no-torch fuzz native lint format bench docs images clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /make \1\t/' | expand -t 22

install: $(READY)  ## set up .venv with everything, once

# The native core is built with the package, where there is a compiler.
$(READY): pyproject.toml constraints.txt CMakeLists.txt $(wildcard csrc/*.h csrc/*.cpp)
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(0 if sys.version_info >= (3, 10) else f"Tidegate needs Python 3.10 or newer, {sys.executable} is {v}: make install PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV); \
	  $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install --quiet 'pip>=22.3'; } \
	  || { echo "no virtual environment could be made with $(PYTHON): install its venv module (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	$(PIP) install --quiet 'pip>=22.3'
	@if [ -n "$(TORCH_INDEX)" ]; then $(PIP) install --quiet -c constraints.txt torch --index-url "$(TORCH_INDEX)"; fi
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	@touch $(READY)

demo: $(READY)  ## fit, score beside naive forecasts, draw and report, on bundled data; writes demo/
	$(BIN)/tidegate demo

# One thread for each worker: two workers whose torch takes every core wait for each other (60 steps of a small net: 1 s, or 60 s).
test: $(READY)  ## all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-native:  ## the core's own tests under address, undefined-behaviour and thread sanitizers; NEON is compiled
	csrc/tests/run.sh

native: $(READY)  ## rebuild the core alone, quickly, beside the sources
	$(PIP) install --quiet 'nanobind>=2.4' cmake ninja
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/cmake -S . -B $(NATIVE) -G Ninja -DCMAKE_BUILD_TYPE=Release -DPython_EXECUTABLE=$(abspath $(BIN))/python
	$(BIN)/cmake --build $(NATIVE)
	install $(NATIVE)/_native*.so src/tidegate/
	@# An editable install loads its own copy, not the one beside the sources: that one has to be new too.
	@site=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))'); \
	if [ -d "$$site/tidegate" ]; then install $(NATIVE)/_native*.so "$$site/tidegate/"; fi

fuzz: $(READY)  ## 100,000 altered models and checkpoints, each refused or understood; four minutes on one core at most
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.run --count 100000 --seconds 240

test-no-torch: $(READY)  ## the running half in a fresh environment that has no torch
	PYTHON=$(BIN)/python bench/no_torch.sh

lint: $(READY)  ## ruff, strict mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## put the sources into the one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## the rows of bench/*/RESULTS.md that have no result yet (the core's: 20 minutes; the forecaster's: hours, with the data sets)
	$(BIN)/python bench/core/run.py
	$(BIN)/python bench/forecast/run.py all
	$(BIN)/python bench/text/run.py all

docs: $(READY)  ## generate what is generated in docs/, then check links, names and blocks
	$(BIN)/python docs/make_reference.py
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 tests/test_docs.py tests/test_repo.py

images: $(READY)  ## draw the pictures of README and docs anew (trains the demo's model)
	$(BIN)/python docs/make_images.py

clean:  ## remove .venv and everything that was generated beside the sources
	rm -rf $(VENV) build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	rm -f src/tidegate/_native*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
