#!/bin/sh
# Proves deploy/seccomp/ringway.json by loading it: the built binary runs under it with each I/O driver, serves, forwards, reloads and
# stops; and under the profile without the calls of io_uring it falls back to epoll and says why. Loopback only, no privileges.
# Needs Python 3 and libseccomp.so.2 (Debian: libseccomp2). `scripts/seccomp.sh BINARY` takes one that is built already.
set -eu
cd "$(dirname "$0")/.."

if [ $# -gt 0 ]; then
    binary=$1
else
    cargo build --quiet --bin ringway
    binary=${CARGO_TARGET_DIR:-target}/debug/ringway
fi
exec python3 scripts/seccomp.py deploy/seccomp/ringway.json "$binary"
