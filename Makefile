# libp2pgo. `make` lists the targets. Needs Go 1.26, gcc, Python >= 3.9, Node >= 20 and make; whatever else a target needs, it installs.

SHELL := /bin/bash
BUILD := build
PREFIX ?= /usr/local
DESTDIR ?=
PYTHON ?= python3

ABI := $(shell sed -n 's/^.define P2P_ABI \([0-9]*\)/\1/p' include/libp2p.h)
VERSION := $(shell sed -n 's/^.define P2P_VERSION "\(.*\)"/\1/p' include/libp2p.h)
SONAME := libp2pgo.so.$(ABI)

VENV := $(BUILD)/venv
NODE := bindings/node

GO_SOURCES := $(shell find core capi -name '*.go' -not -name '*_test.go') $(wildcard capi/*.c capi/*.h) capi/exports.map include/libp2p.h go.mod go.sum
GO_BUILD := CGO_ENABLED=1 go build -buildmode=c-shared -trimpath -buildvcs=false -tags netgo,osusergo
LINK := -Wl,-soname,$(SONAME) -Wl,--version-script=$(CURDIR)/capi/exports.map -Wl,-z,now

.DEFAULT_GOAL := help
.PHONY: help build demo test bench lint install clean setup

help: ## list the targets
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | column -t -s '|'

build: $(BUILD)/libp2pgo.so $(BUILD)/libp2pgo.pc ## the library, its header and pkg-config file, in build/

$(BUILD)/libp2pgo.so: $(GO_SOURCES)
	@mkdir -p $(BUILD)/include
	$(GO_BUILD) -ldflags "-s -w -extldflags '$(LINK)'" -o $@.new ./capi
	@mv $@.new $@ && rm -f $@.h $(BUILD)/libp2pgo.so.h
	@ln -sf libp2pgo.so $(BUILD)/$(SONAME)
	@cp include/libp2p.h $(BUILD)/include/

$(BUILD)/libp2pgo.pc: capi/libp2pgo.pc.in capi/install.sh include/libp2p.h | $(BUILD)/libp2pgo.so
	sh capi/install.sh $(VERSION) --pc

# The library with address sanitizer, for the C suite.
$(BUILD)/asan/libp2pgo.so: $(GO_SOURCES)
	@mkdir -p $(BUILD)/asan
	$(GO_BUILD) -asan -ldflags "-extldflags '$(LINK)'" -o $@ ./capi
	@rm -f $(BUILD)/asan/*.h && ln -sf libp2pgo.so $(BUILD)/asan/$(SONAME)

demo: build $(NODE)/dist ## set up, build, and watch a Python, a Node.js and a C program work together
	@$(PYTHON) examples/demo/run

test: setup build ## set up, build and run every test; SUITE=name runs one, REPEAT=20 runs each so often
	@$(VENV)/bin/python tests/run.py $(if $(SUITE),--suite $(SUITE)) $(if $(REPEAT),--repeat $(REPEAT))

bench: build $(NODE)/dist ## measure against native go-libp2p; prints a table and writes build/bench.json
	@$(PYTHON) bench/run.py

PYRIGHT := pyright@1.1.414

lint: setup ## check formatting, types and style of every language
	@test -z "$$(gofmt -l core capi bench | tee /dev/stderr)"
	go vet ./...
	cd bindings/python && ../../$(VENV)/bin/ruff check . && ../../$(VENV)/bin/ruff format --check . && ../../$(VENV)/bin/mypy --strict src
	cd bindings/python && npx --yes $(PYRIGHT) --pythonpath ../../$(VENV)/bin/python src tests/test_types.py
	cd $(NODE) && npm run --silent lint

install: build ## install the library, header, pkg-config and CMake files: PREFIX=, DESTDIR=
	sh capi/install.sh $(VERSION) $(PREFIX) $(DESTDIR)

clean: ## remove what was built
	rm -rf $(BUILD) $(NODE)/dist $(NODE)/node_modules

## What the tests need, beyond the toolchains.

setup: $(BUILD)/.system $(VENV)/.done $(NODE)/dist

SYSTEM_PACKAGES := pkg-config cmake valgrind iproute2 nftables ethtool conntrack python3-venv

$(BUILD)/.system:
	@mkdir -p $(BUILD)
	@missing=; for p in $(SYSTEM_PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing; fi
	@touch $@

$(VENV)/.done: bindings/python/requirements-dev.txt
	@mkdir -p $(BUILD)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(NODE)/node_modules/.done: $(NODE)/package.json $(NODE)/package-lock.json
	cd $(NODE) && npm ci --silent --no-fund --no-audit
	@touch $@

$(NODE)/dist: $(NODE)/node_modules/.done $(wildcard $(NODE)/src/*.ts) $(NODE)/tsconfig.json
	cd $(NODE) && npm run --silent build
	@touch $@
