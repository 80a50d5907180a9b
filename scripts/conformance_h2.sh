#!/usr/bin/env bash
# Holds the proxy's HTTP/2 against cases, drills and a port of h2spec: scripts/conformance_h2.sh [DIR]
#
# DIR (default ../shared/conformance beside the source tree) holds h2/h2down.py (requests that become ones of HTTP/1) and
# h2/h2attack.py (abuse), which play client and upstream. httpwg (cargo install httpwg-cli) is taken from PATH or HTTPWG.
# Fails if a case is unsafe or incorrect, if a drill leaves its bounds, or if one of httpwg's 107 cases fails.
# RINGWAY_BIN names a built binary; without it a release build is made. RINGWAY_DRIVER: auto (default), io_uring, epoll.
set -euo pipefail
cd "$(dirname "$0")/.."

corpus=${1:-../shared/conformance}
httpwg=${HTTPWG:-$(command -v httpwg || true)}
if ! command -v python3 >/dev/null; then
    echo "conformance_h2: skipped, there is no python3 to run it"
    exit 0
fi
if [[ ! -f $corpus/h2/h2down.py && -z $httpwg ]]; then
    echo "conformance_h2: skipped, there are neither cases at $corpus/h2 nor an httpwg"
    exit 0
fi

if [[ -z ${RINGWAY_BIN:-} ]]; then
    cargo build --release --quiet --bin ringway
    RINGWAY_BIN=${CARGO_TARGET_DIR:-target}/release/ringway
fi

work=$(mktemp -d)
proxy= origin=
trap '[[ -z $proxy ]] || kill "$proxy" 2>/dev/null || true; [[ -z $origin ]] || kill "$origin" 2>/dev/null || true; rm -rf "$work"' EXIT

free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free) upstream=$(free)
cat >"$work/ringway.yaml" <<YAML
process: { cores: 1, io_driver: ${RINGWAY_DRIVER:-auto}, drain_delay: 0s, drain_timeout: 1s }
listeners:
  - name: corpus
    address: 127.0.0.1:$port
    routes:
      - { match: { prefix: / }, cluster: upstream, retry: { retries: 0 } }
clusters:
  - { name: upstream, endpoints: ["127.0.0.1:$upstream"] }
admin: { address: "unix:$work/admin.sock" }
YAML
"$RINGWAY_BIN" run -c "$work/ringway.yaml" >"$work/out" 2>"$work/log" &
proxy=$!
for _ in $(seq 200); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    kill -0 "$proxy" 2>/dev/null || { cat "$work/log"; echo "conformance_h2: the proxy does not start"; exit 1; }
    sleep 0.05
done
alive() { kill -0 "$proxy" 2>/dev/null || { tail -50 "$work/log"; echo "conformance_h2: the proxy died on the way"; exit 1; }; }

failed=0
if [[ -f $corpus/h2/h2down.py ]]; then
    python3 "$corpus/h2/h2down.py" "127.0.0.1:$port" --listen "127.0.0.1:$upstream" --name ringway | tee "$work/down"
    alive
    grep -q ' 0 incorrect, 0 unsafe' "$work/down" || failed=1
    python3 "$corpus/h2/h2attack.py" "127.0.0.1:$port" --listen "127.0.0.1:$upstream" --pid "$proxy" --secs 3 --json "$work/attack.json"
    alive
    python3 - "$work/attack.json" <<'PY' || failed=1
import json, sys

# What stays open absorbs what it is sent, and has to be bounded all the same.
ROWS = json.load(open(sys.argv[1]))
failed = False
for row in ROWS:
    why = []
    if row["upstream_peak"] > (row["announced"] or 128) + 1:
        why.append(f"{row['upstream_peak']} requests in flight upstream")
    if row["clean_fail"] or row["clean_max_ms"] >= 500 or not row["clean_ok"]:
        why.append(f"a clean client failed {row['clean_fail']} times, waited {row['clean_max_ms']} ms")
    if row["rss_kib"][1] - row["rss_kib"][0] > 32 << 10:
        why.append(f"grew from {row['rss_kib'][0]} to {row['rss_kib'][1]} KiB")
    if row["cpu_s"] > 2:
        why.append(f"cost {row['cpu_s']} s")
    if why:
        failed = True
        print(f"conformance_h2: {row['mode']}: {'; '.join(why)}: BAD")
print(f"conformance_h2: {len(ROWS)} drills{'' if failed else ', all within their bounds: good'}")
sys.exit(1 if failed else 0)
PY
else
    echo "conformance_h2: no cases at $corpus/h2: skipped"
fi

if [[ -n $httpwg ]]; then
    python3 - "$upstream" >/dev/null 2>&1 <<'PY' &
import http.server, sys

# Whatever is asked, it answers with a body, as the cases want.
class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers.get("transfer-encoding"):
            while (size := int(self.rfile.readline() or b"0", 16)):
                self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b"" if self.command == "HEAD" else b"hello\n"
        self.send_response(200)
        self.send_header("content-length", "6")
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_POST = do_GET

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Origin).serve_forever()
PY
    origin=$!
    for _ in $(seq 200); do
        (exec 3<>"/dev/tcp/127.0.0.1/$upstream") 2>/dev/null && break
        sleep 0.05
    done
    SEQUENTIAL=1 "$httpwg" -a "127.0.0.1:$port" --connect-timeout 2000 --frame-timeout 1000 >"$work/httpwg" 2>&1 || true
    alive
    sed -i 's/\x1b\[[0-9;]*m//g' "$work/httpwg"
    grep 'Test failed' "$work/httpwg" || true
    passed=$(sed -n 's|.*Passed \([0-9]*\)/107 tests.*|\1|p' "$work/httpwg")
    if ((${passed:-0} >= 107)); then
        echo "conformance_h2: httpwg ${passed}/107 (floor 107): good"
    else
        echo "conformance_h2: httpwg ${passed:-none of}/107 (floor 107): BAD"
        failed=1
    fi
else
    echo "conformance_h2: no httpwg on PATH or in HTTPWG: skipped"
fi
exit $failed
