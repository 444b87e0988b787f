# `make demo` runs the main job on lab nodes; `make test` runs every test. Both do all set-up.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LAB := $(BIN)/python -m tests.lab

# What the lab needs on the Debian machine itself; nodes are made of none of it.
LAB_PACKAGES := podman crun netavark aardvark-dns conmon catatonit fuse-overlayfs slirp4netns \
  uidmap skopeo dnf python3-dnf rpm createrepo-c debootstrap dpkg-dev nftables iptables iproute2 socat \
  patchelf binutils docker-registry busybox-static gnupg openssh-client gcc libc6-dev git \
  faketime zstd
# The browser of the stories about notebooks.
LAB_PACKAGES += chromium
# Unit tests of R's modules and indexes ask the real R.
LAB_PACKAGES += r-base-core

# The stories wait for nodes and networks half of their time, so three share two processors.
TOGETHER := --numprocesses=3 --no-loadscope-reorder --durations=30

# The machine of `make test-vm`, which is emulated: it needs no virtualization of the processor.
VM_PACKAGES := qemu-system-x86 e2fsprogs

# Molecule's scenarios are pytest tests of tests/e2e, so that one closing line counts everything.
PYTEST_ARGS ?=

.PHONY: help demo test test-vm lint unit lab wheel clean-lab lab-packages
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

demo: $(VENV)/.installed lab-packages ## the whole story: upstreams, nodes, bundle, bootstrap, converge, verify
	$(LAB) demo

test: lint lab ## every test: lint, unit, molecule scenarios and faults on lab nodes
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pytest tests/unit tests/e2e $(TOGETHER) $(PYTEST_ARGS)

test-vm: LAB_PACKAGES += $(VM_PACKAGES)
test-vm: lab ## JupyterHub and a depot in a virtual machine: SELinux enforces, memory is limited
	$(BIN)/pytest tests/vm $(PYTEST_ARGS)

lint: $(VENV)/.installed ## ruff, mypy --strict, yamllint, ansible-lint (profile production)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/yamllint --strict .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint --offline

unit: $(VENV)/.installed lab-packages ## fast tests
	$(BIN)/pytest

lab: $(VENV)/.installed lab-packages ## build the lab's upstreams, node images and the bundle (cached)
	$(LAB) build
	$(LAB) upstreams build
	$(LAB) bundle

wheel: $(VENV)/.installed ## dist/landbridge-*.whl
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean-lab: $(VENV)/.installed ## stop and delete every lab node, cache included
	$(LAB) clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || { apt-get update -q; apt-get install -qy python3-venv; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

# dpkg-query fails where it has never heard of a package, as on a new machine: that one is missing.
lab-packages:
	@missing=$$({ dpkg-query -W -f '$${Package} $${db:Status-Status}\n' $(LAB_PACKAGES) 2>/dev/null || true; } \
	  | awk '$$2 == "installed" {print $$1}' | sort | comm -13 - <(printf '%s\n' $(LAB_PACKAGES) | sort)); \
	command -v npm >/dev/null || missing="$$missing npm"; \
	if [ -n "$$missing" ]; then \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing; \
	fi
