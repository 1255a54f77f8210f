# make demo    the main job on the lab: from weights on a hub to verified endpoints on two GPU servers
# make demo WEIGHTS=FOLDER PROMPT="..."  the same for a small model of your own, or WEIGHTS=ORG/NAME of the hub
# make test    everything CI runs: lint, unit tests, the report, the alerts, ansible-test sanity, Galaxy's import, molecule
# make check   the fast part of it: lint and unit tests
# make test-gpu  the collection on a real NVIDIA GPU, on a machine set aside for it (docs/gpu.md)
# make reference  docs/reference, anew from what the code says of itself
# make bench   the times of the main job, of rollouts and of fifty names on this machine, beside peers'
# make bench_weights  the way of weights to 16 hosts beside other ways; hours
# make lab     the lab alone
# make clean   take down and remove what all of these have made, and nothing else

PYTHON ?= python3
# For test-gpu: a Python with torch and transformers, and a folder with packages for a machine without a network.
GPU_PYTHON := $(or $(GPU_PYTHON),$(shell command -v python3))
GPU_PACKAGES ?= gpu-packages
# Modules also run on Python 3.8 (Ubuntu 20.04): their tests do too, where one is at hand.
PYTHON38 ?= $(firstword $(wildcard /usr/bin/python3.8 /usr/local/bin/python3.8 $(HOME)/.pyenv/versions/3.8.*/bin/python3.8))
# -E: pip, which fetches the lab's wheels, may be configured by environment. -H: nothing of root's in the user's home.
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo -E -H)

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

.PHONY: help demo test check lint unit browser watch unit38 sanity molecule test-gpu reference bench bench_weights lab clean clean_lab
.NOTPARALLEL:

help:
	@sed -n '/^# make/s/^# //p' Makefile

.venv/run.stamp: requirements.txt
	./lab/prepare python $(PYTHON)
	pip install --quiet --requirement requirements.txt
	touch $@

.venv/dev.stamp: .venv/run.stamp requirements-dev.txt
	pip install --quiet --requirement requirements-dev.txt
	touch $@

lab: .venv/run.stamp
	./lab/prepare engine
	$(SUDO) .venv/bin/ansible-playbook playbooks/lab_up.yml

# By environment, since a prompt may hold whatever a shell would read.
export WEIGHTS PROMPT
demo: lab
ifeq ($(WEIGHTS),)
	ansible-playbook playbooks/deploy.yml -i inventories/lab
	python lab/show.py
else
	$(SUDO) env PATH="$$PATH" python lab/own.py "$$WEIGHTS"
	ansible-playbook playbooks/deploy.yml -i inventories/lab -i inventories/lab_own --limit gpu3
	python lab/show.py own
endif

check: lint unit unit38

lint: .venv/dev.stamp
	ruff check .
	ruff format --check .
	yamllint --strict .
	antsibull-changelog lint
	pre-commit validate-config .pre-commit-config.yaml
	vermin --quiet --target=3.8- --no-tips plugins
	ansible-lint --offline

unit: .venv/dev.stamp
	./lab/prepare tools
	pytest --numprocesses auto

# The report as a browser shows it.
browser: .venv/dev.stamp
	./lab/prepare browser
	pytest --numprocesses auto tests/browser

# The alerts, as the distribution's Prometheus fires them.
watch: .venv/dev.stamp
	./lab/prepare tools prometheus
	pytest --numprocesses auto tests/watch

unit38: .venv/dev.stamp
ifeq ($(PYTHON38),)
	@echo "No Python 3.8 is at hand (PYTHON38=/path/to/python3.8), so vermin alone vouches for it."
else
	tests/unit/on_python38 $(PYTHON38)
endif

# One lab for all scenarios; each makes its servers bare first. The reset makes molecule forget runs of before.
# Another by name, since it fetches AIPerf, of a gigabyte: make molecule SCENARIOS=secrets
SCENARIOS ?= default generations faults weights airgap fleet rollout
# The half of them that make test runs at the same time as the others, in a lab of its own: each mostly waits.
APART := rollout fleet airgap
molecule: .venv/dev.stamp
	./lab/prepare engine browser prometheus
	for scenario in $(SCENARIOS); do \
	    molecule reset --scenario-name $$scenario && \
	    molecule test --scenario-name $$scenario --destroy never || exit 1; \
	done

sanity: .venv/dev.stamp
	tests/sanity
	tests/galaxy

# The lab needs little of what the tests do, so it comes up while that is installed. What computes goes on beside molecule's
# two halves, at a lower priority.
COMPUTES := lint unit unit38 browser watch sanity
test: .venv/run.stamp
	./lab/prepare tools engine browser prometheus
	python tests/side_by_side.py "python=$(MAKE) .venv/dev.stamp" "lab=$(MAKE) lab"
	python tests/side_by_side.py "molecule=$(MAKE) molecule SCENARIOS='$(filter-out $(APART),$(SCENARIOS))'" \
	    "apart=$(SUDO) lab/apart $(MAKE) molecule SCENARIOS='$(APART)'" "computed=nice -n 10 $(MAKE) --keep-going $(COMPUTES)"
	$(MAKE) clean_lab

# Not for CI. It takes the ansible-playbook of .venv, or the one on PATH.
test-gpu:
	$(GPU_PYTHON) tests/gpu/run.py $(GPU_PACKAGES)
	$(GPU_PYTHON) tests/gpu/memory.py

reference: .venv/dev.stamp
	python tests/docs/reference.py

bench: lab .bench/venv.stamp
	python tests/bench/run.py
	python tests/bench/rollout.py
	python tests/bench/fleet/run.py

# The peers' own: the collection is measured with what it needs, and nothing else.
.bench/venv.stamp: tests/bench/fleet/requirements.txt
	$(PYTHON) -m venv --clear .bench/venv
	.bench/venv/bin/pip install --quiet --requirement $<
	touch $@

bench_weights: .venv/dev.stamp
	./lab/prepare bench
	pip install --quiet --requirement tests/bench/weights/requirements.txt
	$(SUDO) .venv/bin/python tests/bench/weights/run.py

# What is in Docker can only be removed while an engine answers.
clean_lab:
	if [ -d .lab ] && [ -x .venv/bin/ansible-playbook ]; then \
	    ./lab/prepare engine && $(SUDO) .venv/bin/ansible-playbook playbooks/lab_down.yml && ./lab/prepare stop; \
	fi

clean: clean_lab
	$(SUDO) rm -rf .venv .lab .ansible .bench build .pytest_cache .ruff_cache .hypothesis
	$(SUDO) find . -name __pycache__ -prune -exec rm -rf {} +
