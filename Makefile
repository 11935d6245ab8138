# What a person runs here, and what CI runs. `make` prints the list.

.DEFAULT_GOAL := help
.PHONY: help setup setup-test demo test bench fuzz clean

ARGS ?=
TARGET ?=
SECONDS ?= 60

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 \2/p' Makefile \
		| awk '{ name = $$1 " " $$2; sub(/^ *make [a-z-]* /, ""); printf "  %-16s %s\n", name, $$0 }'

setup: ## what `make demo` needs: cargo and PostgreSQL's server programs
	@scripts/setup cargo postgres

setup-test: setup ## what `make test` needs besides: Chromium
	@scripts/setup chromium

demo: setup ## a throw-away PostgreSQL, the bridge and a page to try them with
	cargo run --release --locked -- demo

test: setup-test ## everything CI runs
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --locked
	cargo test --locked
	# Each benchmark once, small: as a test it measures nothing, and needs no optimized build.
	cargo test --locked --bench '*'

bench: setup ## run the benchmarks: make bench ARGS="--seconds 2 --rounds 15 --only burst"
	cargo bench --locked --bench decoder --bench encode --bench fan_out --bench index --bench pg_codec
	cargo bench --locked --bench end_to_end -- $(ARGS)

fuzz: ## run one fuzz target: make fuzz TARGET=client_bytes SECONDS=60
	@scripts/fuzz "$(TARGET)" "$(SECONDS)"

clean: ## remove what was built
	cargo clean
	rm -rf fuzz/target fuzz/artifacts fuzz/coverage
