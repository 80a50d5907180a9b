#!/usr/bin/env bash
# Holds the proxy against the HTTP/1.1 corpus: scripts/conformance.sh [DIR]
#
# DIR (default ../shared/conformance beside the source tree) holds h1/run.py, which plays the client and the upstream.
# Fails if any outcome is unsafe, or if fewer than 95 % of the requests or 96 % of the responses are safe.
# RINGWAY_BIN names a built binary; without it a release build is made. RINGWAY_DRIVER: auto (default), io_uring, epoll.
set -euo pipefail
cd "$(dirname "$0")/.."

corpus=${1:-../shared/conformance}
if [[ ! -f $corpus/h1/run.py ]]; then
    echo "conformance: skipped, there is no corpus at $corpus/h1"
    exit 0
fi
if ! command -v python3 >/dev/null; then
    echo "conformance: skipped, there is no python3 to run it"
    exit 0
fi

if [[ -z ${RINGWAY_BIN:-} ]]; then
    cargo build --release --quiet --bin ringway
    RINGWAY_BIN=${CARGO_TARGET_DIR:-target}/release/ringway
fi

work=$(mktemp -d)
proxy=
trap '[[ -z $proxy ]] || kill "$proxy" 2>/dev/null || true; rm -rf "$work"' EXIT

# A free port for the proxy; the corpus' own upstream listens where its cases expect it.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$work/ringway.yaml" <<YAML
process: { cores: 1, io_driver: ${RINGWAY_DRIVER:-auto}, drain_delay: 0s, drain_timeout: 1s }
listeners:
  - name: corpus
    address: 127.0.0.1:$port
    routes:
      - { match: { prefix: / }, cluster: upstream, retry: { retries: 0 } }
clusters:
  - { name: upstream, endpoints: ["127.0.0.1:18480"] }
admin: { address: "unix:$work/admin.sock" }
YAML
"$RINGWAY_BIN" run -c "$work/ringway.yaml" >"$work/out" 2>"$work/log" &
proxy=$!
for _ in $(seq 200); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    kill -0 "$proxy" 2>/dev/null || { cat "$work/log"; echo "conformance: the proxy does not start"; exit 1; }
    sleep 0.05
done

# The exit code is 1 whenever one case is not safe; what counts is judged below.
python3 "$corpus/h1/run.py" "127.0.0.1:$port" --listen 127.0.0.1:18480 --name ringway --json "$work/rows.jsonl" || true
kill -0 "$proxy" 2>/dev/null || { tail -50 "$work/log"; echo "conformance: the proxy died on the way"; exit 1; }

python3 - "$work/rows.jsonl" <<'PY'
import json, sys

FLOOR = {"request": 95.0, "response": 96.0}  # percent safe: the best peers' share
try:
    rows = [json.loads(line) for line in open(sys.argv[1])]
except FileNotFoundError:
    sys.exit("conformance: the corpus did not run")
failed = False
for kind, floor in FLOOR.items():
    of = [row for row in rows if row["kind"] == kind]
    safe = sum(row["verdict"] == "safe" for row in of)
    unsafe = [row["id"] for row in of if row["verdict"] == "unsafe"]
    share = 100 * safe / max(1, len(of))
    good = bool(of) and share >= floor and not unsafe
    failed |= not good
    print(f"conformance: {kind}s {share:.1f} % safe (floor {floor:.0f} %), {len(unsafe)} unsafe {' '.join(unsafe)}: {'good' if good else 'BAD'}")
sys.exit(1 if failed else 0)
PY
