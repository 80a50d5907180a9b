#!/usr/bin/env bash
# All interop suites, one after the other: real clients and servers of others through the proxy. Each installs what it needs into a folder
# of its own where it is not there yet; says at the end what each ran, and whatever any of them left out. Fails if one fails.
#
#   scripts/interop.sh [-d DRIVER] [SUITE...]
#     -d DRIVER   io_uring or epoll, for the suites of RPC protocols; the others run both, or what the proxy takes
#     SUITE       rpc, transcode, grpc, tcp, tls, proxy_protocol; default: all
#
# The binary is target/debug/ringway, which is built first; RINGWAY names another.
set -uo pipefail
cd "$(dirname "$0")/.."

driver=()
while getopts d: option; do
    case $option in
        d) driver=(-d "$OPTARG") ;;
        *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
suites=("$@")
((${#suites[@]} > 0)) || suites=(rpc transcode grpc tcp tls proxy_protocol)

# Whole paths: the suites work in folders of their own.
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
ringway=$(realpath -m "${RINGWAY:-$target/debug/ringway}")
[[ -n ${RINGWAY:-} ]] || cargo build --quiet -p ringway || exit 1
cargo build --quiet -p ringway-bench-load || exit 1

said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT
trap 'exit 130' INT TERM
failed=0
summary=()
for suite in "${suites[@]}"; do
    case $suite in
        rpc) command=(scripts/interop/rpc.sh "${driver[@]}" "$ringway" "$target/debug/bench-load") ;;
        transcode) command=(scripts/interop/transcode.sh "${driver[@]}" "$ringway") ;;
        grpc | tcp) command=(scripts/interop/$suite.sh "$ringway") ;;
        tls) command=(scripts/interop/tls.sh --quick --binary "$ringway") ;;
        proxy_protocol) command=(scripts/interop/proxy_protocol.sh --binary "$ringway") ;;
        *) echo "there is no suite $suite" && exit 2 ;;
    esac
    printf '\n=== %s\n' "${command[*]}"
    began=$SECONDS
    if "${command[@]}" 2>&1 | tee "$said/$suite"; then
        summary+=("passed  $suite ($((SECONDS - began)) s): $(tail -1 "$said/$suite")")
    else
        summary+=("FAILED  $suite ($((SECONDS - began)) s)")
        failed=1
    fi
done

printf '\n=== summary (%d s)\n' "$SECONDS"
printf '%s\n' "${summary[@]}"
for suite in "${suites[@]}"; do
    sed -n "s/^ *\(left out\|skipped\): /left out of $suite: /p" "$said/$suite"
done
exit $failed
