# Everything runs from .venv, made on first use; `make` alone lists the targets.
# The same steps without make, and on Windows: docs/development.md.

PYTHON ?= python3
PYTHON_IN_VENV := .venv/bin/python

# pip runs only when pyproject.toml is newer than the stamp that the last installation left.
USER_STAMP := .venv/.installed
DEVELOPER_STAMP := .venv/.installed-dev

# Compiled modules are kept: the suite starts more than a hundred processes, each of which would compile them again.
unexport PYTHONDONTWRITEBYTECODE

# Four workers on one thread each, for two processors: many tests wait for a page or a process, and torch's own threads
# would only get in each other's way. A file stays with one worker, so that what it sets up is set up once.
# The quick tests never wait, so that a third worker would only import everything once more.
PYTEST := OMP_NUM_THREADS=1 $(PYTHON_IN_VENV) -m pytest --dist loadfile --no-loadscope-reorder

# Where nothing is cached, types take one processor for twenty seconds: they are checked beside the tests.
define TYPES_AND_TESTS
@said=$$(mktemp); $(PYTHON_IN_VENV) -m mypy > $$said 2>&1 & types=$$!; \
$(PYTEST) -n 4 $(1); tests=$$?; \
wait $$types || tests=1; cat $$said; rm $$said; exit $$tests
endef

# The checks of one thing called NAME: its kind, an example, the tests that are searched, and further words that select.
define CHECK_NAMED
@test -n "$(NAME)" || { echo "name the $(1): make $(1)-check NAME=$(2)"; exit 2; }
$(PYTHON_IN_VENV) -m ruff check
OMP_NUM_THREADS=1 $(PYTHON_IN_VENV) -m pytest tests/test_complete.py tests/test_house.py $(3) \
	-k "complete or house or $(NAME) or $(subst -,_,$(NAME))$(4)"
endef

.PHONY: help demo ui check test test-all install-check lock option-check method-check family-check setting-check lint style explore messages image bench growth bench-card soak breaks clients quality samples starter clean
.NOTPARALLEL:
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 12

demo: $(USER_STAMP) ## install, then train a style from the bundled images and draw it
	.venv/bin/velatura demo

ui: $(USER_STAMP) ## install, then open the studio in a browser on this machine
	.venv/bin/velatura ui --open

check: lint ## lint, types and the quick tests: no browser, no studio, no trainings
	$(PYTEST) -n 2 -m "not browser and not process and not slow and not thorough"

test: style ## lint, types and the test suite
	$(call TYPES_AND_TESTS,-m "not thorough")

test-all: style ## make test, and the tests that take longest
	$(call TYPES_AND_TESTS)

option-check: $(DEVELOPER_STAMP) ## the tests of the options of a generation, in a minute
	$(PYTHON_IN_VENV) -m ruff check
	OMP_NUM_THREADS=1 $(PYTHON_IN_VENV) -m pytest tests/test_complete.py tests/test_house.py tests/app/studio/generation \
	tests/trainers/sampling/test_sample.py tests/app/test_generate.py -m "not thorough"

method-check: $(DEVELOPER_STAMP) ## the tests of one method, NAME=…, and what it lacks in the lists, in a minute
	$(call CHECK_NAMED,method,lora,tests/trainers/adapters tests/trainers/formats/write tests/trainers/formats/test_clients.py \
	tests/trainers/training/test_train.py tests/trainers/training/test_resume.py tests/trainers/training/knobs)

family-check: $(DEVELOPER_STAMP) ## the tests of one family of bases, NAME=…, and what it lacks in the lists, in a minute
	$(call CHECK_NAMED,family,z-image,tests/test_tiny_flow.py tests/trainers/models tests/trainers/formats/programs \
	tests/trainers/formats/test_transformers.py -m "not thorough")

setting-check: $(DEVELOPER_STAMP) ## the tests of one setting, NAME=loss.kind, and what it lacks in the lists, in a minute
	$(call CHECK_NAMED,setting,loss.kind,tests/trainers/config tests/trainers/training/knobs tests/trainers/training/step, \
	or config or refusals or test_$(firstword $(subst ., ,$(NAME))))

lint: style ## style, formatting and types
	$(PYTHON_IN_VENV) -m mypy

style: $(DEVELOPER_STAMP) ## style and formatting
	$(PYTHON_IN_VENV) -m ruff check
	$(PYTHON_IN_VENV) -m ruff format --check

explore: $(DEVELOPER_STAMP) ## the property tests, with examples never tried before
	$(PYTEST) -n 3 -m hypothesis --hypothesis-profile=explore

messages: $(DEVELOPER_STAMP) ## write what is generated from texts: catalogues of the languages, tables of the documentation
	$(PYTHON_IN_VENV) -m tools.tables
	$(PYTHON_IN_VENV) -m tools.messages

install-check: $(DEVELOPER_STAMP) ## install.sh with all its downloads in a home of its own, update, back, uninstall; TORCH=cpu: less of them
	$(PYTHON_IN_VENV) -m tests.installer.whole $(if $(TORCH),--torch "$(TORCH)")

lock: $(DEVELOPER_STAMP) ## write requirements.lock, the packages of an installation with their hashes
	$(PYTHON_IN_VENV) -m pip install -q -e '.[lock]'
	$(PYTHON_IN_VENV) -m tools.lock

image: ## build the CPU image without a registry, and train two steps in it (needs root, debootstrap, buildah)
	tools/image.sh

bench: $(DEVELOPER_STAMP) ## time and memory of each method against PEFT and LyCORIS
	$(PYTHON_IN_VENV) -m benchmarks.speed attn
	$(PYTHON_IN_VENV) -m benchmarks.speed full

growth: $(DEVELOPER_STAMP) ## how time and memory grow with rank, resolution, pictures, runs and more (20 minutes)
	$(PYTHON_IN_VENV) -m benchmarks.growth

bench-card: $(DEVELOPER_STAMP) ## on an NVIDIA card, in ten minutes: what no test can check without one (writes docs/card.md)
	$(PYTHON_IN_VENV) -m benchmarks.card

soak: $(DEVELOPER_STAMP) ## kill real runs, servers and nodes at random for about an hour, and check what is promised
	$(PYTHON_IN_VENV) -m tests.soak
	$(PYTHON_IN_VENV) -m tests.soak.connections
	$(PYTHON_IN_VENV) -m tests.soak.cluster
	$(PYTHON_IN_VENV) -m pip install -q -e '.[soak]'
	$(PYTHON_IN_VENV) -m tests.soak.cluster --storage
	@if command -v slurmctld > /dev/null; then $(PYTHON_IN_VENV) -m tests.soak.slurm; \
	else echo "Slurm was not tried: apt-get install slurm-wlm munge"; fi

breaks: $(DEVELOPER_STAMP) ## break a copy of the code on purpose, and check that the tests find each break
	$(PYTHON_IN_VENV) -m tests.breaks

clients: $(DEVELOPER_STAMP) ## train every method shortly and draw with its files in other programs; COMFYUI=/path: its own loader, too
	$(PYTHON_IN_VENV) -m benchmarks.clients
	@if [ -n "$(COMFYUI)" ]; then COMFYUI="$(abspath $(COMFYUI))" $(PYTHON_IN_VENV) -m pytest -k comfyui_itself \
	tests/trainers/formats/programs/test_flows.py; fi

quality: $(DEVELOPER_STAMP) ## train every method on six styles and measure what was learned (a night; goes on where it was)
	$(PYTHON_IN_VENV) -m benchmarks.styles

samples: $(DEVELOPER_STAMP) ## redraw the bundled image sets from their sources (needs npm)
	$(PYTHON_IN_VENV) -m tools.samples.build

starter: $(DEVELOPER_STAMP) ## train a base like the bundled one from nothing (needs npm; takes most of a day on two cores)
	$(PYTHON_IN_VENV) -m tools.starter.build

clean: ## remove .venv, caches and build products; outputs/ stays
	rm -rf .venv build dist velatura.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find app trainers presets tools tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} +

.venv/.created:
	$(PYTHON) -m venv .venv
	touch $@

$(USER_STAMP): pyproject.toml | .venv/.created
	$(PYTHON_IN_VENV) -m pip install -e .
	touch $@

$(DEVELOPER_STAMP): pyproject.toml | .venv/.created
	$(PYTHON_IN_VENV) -m pip install -e '.[dev]'
	touch $(USER_STAMP) $@
