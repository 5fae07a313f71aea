# Every target works on the modules that go.work lists; a new module needs no line here.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BENCHTIME ?= 1s
FUZZTIME ?= 10s
SOAKTIME ?= 2h
FOR ?= 0s

LINT_VERSION := v2.15.0
LINT := .tools/golangci-lint-$(LINT_VERSION)

# How all but the tests with the race detector is built: in one way, so that the go command does it once.
PLAIN := CGO_ENABLED=0 GOFLAGS="$$(go env GOFLAGS) -trimpath"

# Tests of these modules drive other processes, so the race detector sees nothing there. conformance runs bin/reprise.
DRIVERS := /(conformance|bench)(/|$$)

# Tests of these packages watch how long handshakes take while something breaks, so nothing runs beside them.
TIMED := /(store/redis|conformance/fleet)$$

# Prints the packages whose tests do less under the race detector, which they know by this file.
LESS_UNDER_RACE := go list -f '{{range .XTestGoFiles}}{{if eq . "race_off_test.go"}}{{$$.ImportPath}}{{end}}{{end}}' work

.PHONY: help build run demo test test-deps fmt-check vet unit conformance lint bench fuzz soak release-check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

build: ## make bin/reprise
	$(PLAIN) go build -ldflags '-X main.version=$(VERSION)' -o bin/reprise ./cmd/reprise

run: build ## make bin/reprise and serve https://127.0.0.1:8443 with the embedded store under state/
	bin/reprise serve --self-signed --listen 127.0.0.1:8443 --store file:state/sessions --state-dir state

demo: build ## run a fleet of three on this machine, with clients that come back; FOR=1m, else until Ctrl-C
	$(PLAIN) go build -o bin/demo ./conformance/fleet/demo
	exec bin/demo -reprise bin/reprise -for $(FOR)

test: test-deps fmt-check vet unit conformance ## check and test everything; as root, install the Debian packages it needs

test-deps:
	scripts/install-test-deps.sh

fmt-check:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; fi

vet:
	$(PLAIN) go vet work

unit:
	go test -race -vet=off -shuffle=on -timeout 10m $$(go list work | grep -vE '$(DRIVERS)|$(TIMED)')
	go test -race -vet=off -shuffle=on -timeout 10m -p 1 $$(go list work | grep -vE '$(DRIVERS)' | grep -E '$(TIMED)')
	@packages=$$($(LESS_UNDER_RACE)); if [ -n "$$packages" ]; then set -x; $(PLAIN) go test -vet=off -shuffle=on -timeout 10m $$packages; fi

conformance: export REPRISE_BIN = $(CURDIR)/bin/reprise
conformance: build
	$(PLAIN) go test -vet=off -shuffle=on -timeout 10m $$(go list work | grep -E '$(DRIVERS)' | grep -vE '$(TIMED)')
	$(PLAIN) go test -vet=off -shuffle=on -timeout 10m -p 1 $$(go list work | grep -E '$(DRIVERS)' | grep -E '$(TIMED)')

lint: $(LINT) ## run golangci-lint, built on first use, and check every go.mod
	@status=0; scripts/check-modules.sh || status=1; \
	for dir in $$(go list -m -f '{{.Dir}}'); do \
		echo "lint $$dir"; (cd "$$dir" && "$(CURDIR)/$(LINT)" run --config "$(CURDIR)/.golangci.yml" ./...) || status=1; \
	done; exit $$status

$(LINT):
	GOWORK=off GOFLAGS= CGO_ENABLED=0 GOBIN="$(CURDIR)/.tools" go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv .tools/golangci-lint $@

bench: ## run every benchmark, then measure handshakes side by side; BENCHTIME=1s; as root, install the Debian packages it needs
	scripts/install-test-deps.sh bench
	$(PLAIN) go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -timeout 60m work
	$(PLAIN) go test -run '^$$' -bench Lookup -cpu 1,2 -benchtime 300x ./bench
	$(PLAIN) go run ./bench/handshakes
	$(PLAIN) go run ./bench/handshakes -lookups

fuzz: ## run every fuzz target for a short while; FUZZTIME=10s each
	scripts/fuzz.sh $(FUZZTIME)

soak: build ## run the long forms of the tests; SOAKTIME=2h at most
	REPRISE_SOAK=1 REPRISE_BIN="$(CURDIR)/bin/reprise" $(PLAIN) go test -vet=off -shuffle=on -timeout $(SOAKTIME) work

release-check: ## build each module against the others as a release would
	scripts/release-check.sh

clean: ## remove what the targets above made, but neither state/ nor the linter
	rm -rf bin
