# The tasks of a person and of CI. `make` prints the list.

.DEFAULT_GOAL := help
.PHONY: help setup setup-test demo static package compare axum packages monitoring test without-tls tables browsers deny public-api semver minimal-versions proxies terminal test-matrix outages group workers users bench autobahn fuzz simulation mutants chaos soak clean

ARGS ?=
TARGET ?=
SECONDS ?= 60
SEEDS ?=
ROUNDS ?=
BINARY ?=
USERS ?=
ACCEPT ?=
NAME ?=
BEGAN := $(shell date +%s)
# Most tests spend most of their time waiting.
export RUST_TEST_THREADS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 8 ? 8 : n)))

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 \2/p' Makefile \
		| awk '{ name = $$1 " " $$2; sub(/^ *make [a-z-]* /, ""); printf "  %-16s %s\n", name, $$0 }'

setup: ## install the tools of `make demo`: cargo and PostgreSQL's server programs
	@scripts/setup cargo postgres

setup-test: setup ## install the further tools of `make test`: pgbouncer, Chromium, Node and openssl
	@scripts/setup pgbouncer chromium node openssl

demo: setup ## a throw-away PostgreSQL, the bridge and a page to try them with
	cargo run --release --locked -- demo

static: ## the program as one static binary, also for a container FROM scratch: target/alle
	@scripts/setup cargo
	@# The host is named as a target: otherwise the build's macros would have to be static, too.
	RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --bin alle \
		--target "$$(rustc -vV | sed -n 's/^host: //p')" --target-dir target/static
	@cp target/static/*/release/alle target/alle && ls -lh target/alle

packages: static ## the Debian package: made, installed, upgraded, purged; and lints of all that is deployed
	@scripts/packages

monitoring: setup ## the alerts and the board, by a real Prometheus that scrapes a bridge in each state
	@scripts/setup prometheus
	cargo test --locked --test contract monitoring -- --include-ignored

proxies: setup ## the bridge behind nginx, haproxy, Apache and Caddy, with the configurations of docs/proxies.md
	@scripts/setup proxies
	cargo test --locked --test contract proxies -- --include-ignored
	cargo test --locked --test contract rolling -- --include-ignored

test: setup-test ## lints, docs and all tests, as CI runs them
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	cargo clippy --lib --bins --no-default-features --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --locked
	@# All tests, those of the command line again without TLS, and each benchmark once.
	scripts/tests-at-once
	@echo "make test: $$(($$(date +%s) - $(BEGAN))) s"

without-tls: setup-test ## all tests of what is built without TLS
	cargo clippy --all-targets --no-default-features --locked -- -D warnings
	cargo test --no-default-features --locked

tables: ## lay the tables of README.md and docs/ out again from their rows in the code
	ALLE_UPDATE_DOCS=1 cargo test --locked --lib --bin alle -- the_table_of

browsers: setup-test ## what needs npm or Firefox: types and size of the module for pages, Deno, Bun, React, axe-core and pictures of the playground
	@scripts/setup firefox
	@scripts/browsers

package: ## the crate as a registry gets it, and a program that is built from the package alone
	@scripts/package

compare: setup ## LISTEN clients for Rust side by side, while their server ends their sessions and restarts
	@# With dependencies of its own, which nothing else needs.
	CARGO_TARGET_DIR=target/compare cargo run --locked --manifest-path compare/Cargo.toml

axum: setup ## the example with axum, tested, and the usual way of doing the same beside it
	@# With dependencies of its own, which nothing else needs.
	CARGO_TARGET_DIR=target/axum cargo test --locked --manifest-path examples/axum/Cargo.toml -- --nocapture

deny: ## check the dependencies: licences, duplicates, sources and, from the network, advisories
	cargo deny check

public-api: ## compare the crate's public items with docs/public-api.txt; make public-api ACCEPT=1 stores them
	@scripts/public-api $(if $(ACCEPT),--accept)

semver: ## whether the library breaks programs made for the last release; make semver SINCE=REVISION
	@scripts/semver $(SINCE)

minimal-versions: ## compile with the oldest versions of the dependencies that Cargo.toml allows
	@scripts/minimal-versions

bench: setup ## run the benchmarks: make bench ARGS="--seconds 2 --rounds 15 --only burst"
	cargo bench --locked --bench decoder --bench encode --bench fan_out --bench index --bench pg_codec
	cargo bench --locked --bench end_to_end -- --spin $(ARGS)

fuzz: ## run one fuzz target, or each: make fuzz TARGET=client_bytes SECONDS=60
	@scripts/fuzz "$(TARGET)" "$(SECONDS)"

autobahn: setup ## the Autobahn test suite's cases against examples/echo.rs, reported by their numbers
	cargo build --locked --example echo
	cargo test --locked --test autobahn -- --nocapture

terminal: setup ## `alle listen` under tmux, the manual page by mandoc, completions in bash, zsh and fish
	@scripts/setup terminal
	@ALLE_TERMINAL=1 cargo test --locked --test cli -- --include-ignored at_a_terminal under_tmux help::

test-matrix: ## the black-box tests on PostgreSQL 13 to 19, from npm and Debian: make test-matrix VERSIONS="14 18"
	@scripts/test-matrix $(VERSIONS)

outages: setup ## harm PostgreSQL in every way, ten times each, while a client publishes: make outages ROUNDS=10
	@ALLE_OUTAGE_ROUNDS=$(or $(ROUNDS),10) cargo test --locked --test contract outages -- \
		--include-ignored --nocapture

group: setup ## kill and replace bridges of a group under load, and join a large one: make group ROUNDS=100 CHANNELS=50000
	@# Optimized, the crowd as well; BINARY, a bridge of another version, makes half of a group.
	@ALLE_GROUP_ROUNDS=$(or $(ROUNDS),20) ALLE_GROUP_CHANNELS=$(or $(CHANNELS),3000) \
		ALLE_GROUP_BINARY=$(BINARY) cargo test --release --locked \
		--test contract -- --nocapture --test-threads 1 --include-ignored \
		--skip haproxy $(if $(BINARY),,--skip another_version) group rolling

workers: setup ## kill and renew workers on one port under load: make workers ROUNDS=50
	@# Optimized, the crowd as well.
	@ALLE_GROUP_ROUNDS=$(or $(ROUNDS),20) cargo test --release --locked --test contract -- --nocapture \
		--test-threads 1 workers::renewals workers_harmed::a_worker_is_killed

users: setup ## let users refresh their tokens under load: make users USERS=10000
	@ALLE_USERS=$(or $(USERS),10000) cargo test --release --locked --test contract \
		users_that_refresh -- --nocapture

simulation: ## simulate any number of runs: make simulation SEEDS=10000
	@# Optimized, with every assertion; in a directory of its own, so that nothing else is rebuilt.
	@ALLE_SIM_SEEDS=$(or $(SEEDS),10000) CARGO_PROFILE_DEV_OPT_LEVEL=2 CARGO_TARGET_DIR=target/simulation \
		cargo test --locked --test simulation -- --nocapture

mutants: ## break the core on purpose; the simulation must find it: make mutants NAME=pass-walks-upwards; ACCEPT=1 stores the rows in the docs
	@scripts/mutants $(if $(ACCEPT),--accept) $(or $(SEEDS),256) $(NAME)

chaos: setup ## the program and PostgreSQL, harmed at random: make chaos SECONDS=600; ALLE_CHAOS_SEED=7 replays a plan
	cargo build --release --locked
	@ALLE_CHAOS_SECONDS=$(SECONDS) ALLE_CHAOS_BINARY=$(CURDIR)/target/release/alle \
		cargo test --locked --test chaos -- --nocapture

soak: setup ## 5,000 good clients, 500 that stall, 200 hostile, PostgreSQL restarting: make soak SECONDS=1200
	@# Optimized, the crowd as well: it shares the machine with the program it measures.
	@ALLE_SOAK_SECONDS=$(SECONDS) cargo test --release --locked --test soak -- --nocapture

clean: ## remove all build products
	cargo clean
	rm -rf fuzz/target fuzz/artifacts fuzz/coverage
