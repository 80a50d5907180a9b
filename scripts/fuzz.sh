#!/bin/sh
# Builds the codecs' fuzz targets with a stable compiler and runs each, or those that are named, for SECONDS (60). Fails if one finds a crash, and says where
# the input is: make it a golden test, then fix. What a run learns stays out of the corpus in git, which holds small seeds.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]
set -eu

seconds=${1:-60}
[ $# = 0 ] || shift
[ $# != 0 ] || set -- request response chunks http2_request http2_frames hpack client_hello proxy_protocol bolt dubbo tars thrift dubbo_thrift hessian
root=$(cd "$(dirname "$0")/.." && pwd)
fuzz=$root/protocols/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
target_dir=${CARGO_TARGET_DIR:-$fuzz/target}
learnt=$(mktemp -d)
trap 'rm -rf "$learnt"' EXIT
trap 'exit 130' INT TERM

# What cargo-fuzz asks a nightly compiler for, without the sanitizers that only a nightly has.
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1" \
    cargo build --release --manifest-path "$fuzz/Cargo.toml" --target "$host" --target-dir "$target_dir"

mkdir -p "$fuzz/artifacts"
for target; do
    mkdir -p "$learnt/$target"
    echo "== $target, $seconds s"
    "$target_dir/$host/release/$target" "$learnt/$target" "$fuzz/corpus/$target" \
        -max_total_time="$seconds" -max_len=1024 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$fuzz/artifacts/$target-" 2>"$learnt/log" || {
        tail -40 "$learnt/log"
        echo "$target: crashed; the input is in $fuzz/artifacts"
        exit 1
    }
    grep -E '^(Done|stat::number_of_executed|stat::average)' "$learnt/log"
done
