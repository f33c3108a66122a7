# `make help` lists what there is to make.
CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help run build dist test lint bless bench soak needs clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## build and start the quick start: a small shop and the gateway in front of it
	@echo "building yett (the first build takes a few minutes) ..."
	$(CARGO) build --release --locked -p yett
	@echo "starting the quick start ..."
	@exec target/release/yett demo

build: ## build the release binary
	$(CARGO) build --release --locked -p yett

test: needs ## install what the tests need, then run all of them
	$(CARGO) test --locked --workspace

lint: ## format check, clippy, and dependency rules if cargo-deny is there
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked -p yett --no-default-features -- -D warnings
	@if command -v cargo-deny >/dev/null; then cargo deny check bans licenses sources; else echo "cargo-deny is not installed; dependency rules were not checked"; fi

bless: ## write generated files anew: schema, reference, golden reports
	YETT_BLESS=1 $(CARGO) test --locked --workspace

dist: ## build the binary as it is shipped: slower to build, faster to run
	$(CARGO) build --profile dist --locked -p yett

bench: needs dist ## measure against nginx, HAProxy and Envoy in one run; results in bench/results/
	@sh scripts/bench-needs.sh
	python3 bench/run.py
	python3 bench/control_plane.py --save

soak: needs build ## a quarter of an hour under load, with reloads and killed backends
	python3 bench/soak.py

needs: ## install the programs that tests and benchmarks run against (Debian)
	@sh scripts/needs.sh

clean: ## remove what was built
	$(CARGO) clean
