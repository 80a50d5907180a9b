#!/usr/bin/env bash
# What to run before a commit: form, lints, tests. Quicker than .ci/run, which also builds the docs, the demo and the corpus.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --check
cargo clippy --workspace --all-targets -- -D warnings
cargo test "$@"
