# `make demo`, `make test` and `make life-cycle` set up what they need in .venv; PYTHON chooses the interpreter (3.10 to 3.13).
PYTHON ?= python3
DEVICE ?= cpu
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test life-cycle lint clean

demo: $(VENV)/.demo
	$(BIN)/nnUNetv2_dualagg demo -o demo -device $(DEVICE)

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(ARGS)

# nnU-Net's commands from planning to prediction with our trainers; starts anew each time
life-cycle: $(VENV)/.dev
	rm -rf life_cycle
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/life_cycle.sh life_cycle

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) demo life_cycle

$(VENV)/.demo: pyproject.toml | $(VENV)
	$(BIN)/pip install -e ".[demo]"
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)
	$(BIN)/pip install -e ".[dev]"
	touch $@

$(VENV):
	$(PYTHON) -m venv $@
