# What a contributor types; README.md and CONTRIBUTING.md say more. Nothing is needed but Python 3.10 or newer.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# Two workers on two cores leave one thread for each; torch and OpenCV would otherwise start two apiece.
# Who is done takes half of what the other has left: a file of minutes is not one worker's alone.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

.PHONY: help install demo test lint format wheel-test api-test docs clean

help:
	@echo "make install     a virtual environment in .venv with everything"
	@echo "make demo        export and run a shipped model"
	@echo "make test        the fast tests"
	@echo "make lint        ruff and mypy"
	@echo "make format      let ruff rewrite the code"
	@echo "make wheel-test  build the wheel and run a bundle with it where torch and onnx are absent"
	@echo "make api-test    check every call to TensorRT against the API of 10.3, 10.16, 11.4 and TensorRT for RTX"
	@echo "make docs        write docs/commands.md from the commands"
	@echo "make clean       remove .venv and all that was built"

install: $(STAMP)

$(STAMP): pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "edgeseg needs Python 3.10 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[export,cpu,rtx,openvino,track,web,report,nvml]" --group dev
# Without the opencv-python that it asks for: that wants libGL, and its files would replace those of the one here.
	$(BIN)/python -m pip install --quiet --no-deps "trackers>=2.6,<3"
# The stubs let mypy check calls to TensorRT without TensorRT. Among the packages they would pass for TensorRT
# itself, so they lie apart; two mistakes of their generator, which no parser accepts, are mended.
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target .venv/stubs "tensorrt-stubs==10.13.*"
	sed -i.bak -e 's/ in: list\[/ in_: list[/' -e 's/channel_axis: int) ->/channel_axis: int = ...) ->/' .venv/stubs/tensorrt_bindings/tensorrt.pyi
	@$(BIN)/python -c 'import importlib.util as i; i.find_spec("tensorrt_rtx_bindings") or print("TensorRT for RTX is installed on Linux on x86-64 only: its tests will be skipped.")'
	@touch $@

demo: install
	$(BIN)/edgeseg demo --force

test: install
	$(PYTEST)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel-test: install
	$(BIN)/pytest -m slow tests/test_wheel.py

api-test: install
	$(BIN)/pytest -m slow tests/tensorrt_api

docs: install
	$(BIN)/python -m edgeseg.tools.reference docs/commands.md

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache edgeseg-model edgeseg-demo edgeseg-output
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
