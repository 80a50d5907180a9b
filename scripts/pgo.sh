#!/usr/bin/env bash
# Builds the release binary guided by a profile: an instrumented one is put under the benchmark's loads, and what it counted tells the
# compiler what is hot. Takes two whole builds. The binary's path is the last line on standard output.
#
#   scripts/pgo.sh                    needs llvm-profdata of an LLVM that reads the compiler's profiles: `rustup component add llvm-tools`, or
#                                     one on the PATH, or LLVM_PROFDATA=FILE; python3; and h2load for the loads over TLS and HTTP/2
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/pgo
host=$(rustc -vV | sed -n 's/^host: //p')

# Of the loads those that their generator is here for.
loads=1k,64k,close,bolt-1k,dubbo-1k
if command -v h2load >/dev/null; then
    loads+=,tls-1k,tls-64k,h2,h2-h2,grpc
else
    echo "without h2load (Debian: nghttp2-client): TLS and HTTP/2 stay without a profile" >&2
fi

profdata=${LLVM_PROFDATA:-$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata}
[[ -x $profdata ]] || profdata=$(command -v llvm-profdata) || {
    echo "no llvm-profdata: rustup component add llvm-tools, or name one by LLVM_PROFDATA" >&2
    exit 1
}

# For a named target, so that build scripts and macros, which run here and now, are built without.
build() {
    RUSTFLAGS="${RUSTFLAGS:-} $1" cargo build --release --quiet --target "$host" --target-dir "$target/$2" -p ringway
    echo "$target/$2/$host/release/ringway"
}

rm -rf "$target/raw"
instrumented=$(build "-Cprofile-generate=$target/raw" instrumented)
scripts/bench.sh --ringway "$instrumented" --peers ringway --rounds 1 --seconds 2 --warmup 0.5 --repeats 0 \
    --cases "$loads" --output "$target/bench" >&2
"$profdata" merge --output "$target/merged.profdata" "$target"/raw/*.profraw
build "-Cprofile-use=$target/merged.profdata" guided
