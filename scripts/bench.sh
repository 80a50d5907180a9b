#!/bin/sh
# The load benchmark: builds Ringway, the origin and the load generator, and runs Ringway beside its peers.
# Installs nothing: peers that are not here are left out. `scripts/bench.sh --help` has the options, bench/README.md the method.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}

packages="-p ringway-bench-load -p ringway"
for word in "$@"; do
    case $word in
    --ringway | --ringway=*) packages="-p ringway-bench-load" ;;
    esac
done
# shellcheck disable=SC2086 # two options, not one with blanks
cargo build --release --quiet $packages

exec python3 bench/load/run.py --tool "$target/release/bench-load" --ringway "$target/release/ringway" "$@"
