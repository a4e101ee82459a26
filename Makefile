# Each target sets up what it needs in .venv; PYTHON chooses the interpreter (3.10 to 3.13), JOBS how many tests run at
# the same time (0: in one process).
PYTHON ?= python3
DEVICE ?= cpu
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
# a file's tests stay together, since they share what is slow to make; tests/conftest.py has the order of the files;
# each process has one core
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

.PHONY: demo test coverage slow-test life-cycle lint typecheck docs package matrix clean

demo: $(VENV)/.demo
	$(BIN)/nnUNetv2_dualagg demo -o demo -device $(DEVICE)

test: $(VENV)/.dev
	$(PYTEST) $(ARGS)

# the tests, and which lines they do not reach
coverage: $(VENV)/.dev
	$(PYTEST) --cov --cov-report=term $(ARGS)

# what takes more than a minute: the demo, the report in a browser, the workflow, SLURM where it is installed
slow-test: $(VENV)/.dev
	$(PYTEST) --slow -m slow $(ARGS)

# nnU-Net's commands from planning to prediction with our trainers; starts anew each time
life-cycle: $(VENV)/.dev
	rm -rf life_cycle
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/life_cycle.sh life_cycle

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: $(VENV)/.dev
	$(BIN)/mypy

# the documentation as pages below site/, with the API from the docstrings; a broken link is an error
docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict

# wheel and source distribution in dist/, installed into an empty environment and tried there
package: $(VENV)/.dev
	BIN="$(CURDIR)/$(BIN)" PYTHON="$(PYTHON)" scripts/try_package.sh

# the fast tests with the lowest versions allowed on the oldest interpreter there is, and with the newest on the newest;
# downloads about 12 GB
matrix: $(VENV)/.dev
	BIN="$(CURDIR)/$(BIN)" scripts/test_matrix.sh $(ARGS)

clean:
	rm -rf $(VENV) .matrix build demo dist life_cycle site *.egg-info

$(VENV)/.demo: pyproject.toml | $(VENV)
	$(BIN)/pip install -e ".[demo]"
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)
	$(BIN)/pip install -e ".[dev]"
	touch $@

$(VENV)/.docs: pyproject.toml | $(VENV)
	$(BIN)/pip install -e ".[docs]"
	touch $@

$(VENV):
	$(PYTHON) -m venv $@
