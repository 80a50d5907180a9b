#!/bin/bash
# Upstreams that fail under load, end to end: three hosts of which one is killed, stopped, slowed, resetting or cut off; hosts
# replaced 1,000 times; packets dropped in the middle of a request. What is promised follows from the configuration and is said.
#
#   scripts/drills.sh [--binary RINGWAY] [DRILL...]      the binary: target/release/ringway, else target/debug/ringway
#
# Drills: killed stopped slowed resetting half_open, killed-http2 stopped-http2 killed-tls killed-bolt with hosts that speak these,
# reloads names user_timeout; without any, all of them. Needs Python 3.11; half_open and user_timeout also root, ip and nft, for a network
# namespace of their own, and killed-tls openssl: they are left out without.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
binary=
if [ "${1:-}" = --binary ]; then
    binary=${2:?--binary needs a path}
    shift 2
fi
for built in "${CARGO_TARGET_DIR:-$root/target}"/{release,debug}/ringway; do
    [ -n "$binary" ] || [ ! -x "$built" ] || binary=$built
done
[ -x "$binary" ] || { echo "no binary: cargo build, or --binary RINGWAY" >&2; exit 2; }
command -v python3 >/dev/null || { echo "python3 is missing" >&2; exit 2; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
echo "with $binary"
PYTHONDONTWRITEBYTECODE=1 python3 "$root/scripts/drills/main.py" "$binary" "$work" "$@"
