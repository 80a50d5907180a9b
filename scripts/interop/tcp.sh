#!/bin/sh
# Passes real peers through the proxy, in the clear and by SNI: OpenSSL and GnuTLS servers and clients, and a GiB whose hash must be
# the same at both ends, spliced and copied, under both I/O drivers. Fails at the first thing that is not as it should be.
#
#   scripts/interop/tcp.sh [RINGWAY]      the binary; default target/debug/ringway
#
# Needs openssl and python3; gnutls-serv and gnutls-cli are left out where they are not there, and that is said.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
ringway=${1:-${CARGO_TARGET_DIR:-$root/target}/debug/ringway}
dir=$(mktemp -d)
pids=
stop() {
    for pid in $pids; do kill "$pid" 2>/dev/null || :; done
    rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM

. "$root/scripts/interop/ports.sh"

certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$1" -addext "subjectAltName=DNS:$1" \
        -keyout "$dir/$1.key" -out "$dir/$1.pem" 2>"$dir/openssl.log" || { cat "$dir/openssl.log"; exit 1; }
}

certificate one.example.test
certificate two.example.test
one=$(free_port)
openssl s_server -accept "127.0.0.1:$one" -cert "$dir/one.example.test.pem" -key "$dir/one.example.test.key" -www -quiet >/dev/null 2>&1 &
pids="$pids $!"
await "$one"
two=$(free_port)
if command -v gnutls-serv >/dev/null; then
    gnutls-serv --http --quiet --port "$two" --x509certfile "$dir/two.example.test.pem" --x509keyfile "$dir/two.example.test.key" >/dev/null 2>&1 &
else
    echo "left out: gnutls-serv is not there, openssl takes its place"
    openssl s_server -accept "127.0.0.1:$two" -cert "$dir/two.example.test.pem" -key "$dir/two.example.test.key" -www -quiet >/dev/null 2>&1 &
fi
pids="$pids $!"
await "$two"

# What a client sees of a server's certificate through the proxy, and the first line of its page.
ask_openssl() {
    printf 'GET / HTTP/1.0\r\n\r\n' | timeout 20 openssl s_client -connect "127.0.0.1:$1" -servername "$2" -CAfile "$dir/$2.pem" \
        -verify_return_error -ign_eof 2>"$dir/client.log" >"$dir/page" || { cat "$dir/client.log" "$dir/page"; exit 1; }
    grep -q 'Verify return code: 0' "$dir/page" && grep -q '^HTTP/1.0 200' "$dir/page" || { cat "$dir/page"; exit 1; }
    echo "  openssl s_client -> $2: verified, answered"
}

ask_gnutls() {
    command -v gnutls-cli >/dev/null || { echo "  left out: gnutls-cli is not there"; return; }
    printf 'GET / HTTP/1.0\r\n\r\n' | timeout 20 gnutls-cli --port "$1" --sni-hostname "$2" --verify-hostname "$2" --x509cafile "$dir/$2.pem" \
        127.0.0.1 >"$dir/page" 2>&1 || :
    grep -q 'certificate is trusted' "$dir/page" && grep -q '^HTTP/1.0 200' "$dir/page" || { cat "$dir/page"; exit 1; }
    echo "  gnutls-cli -> $2: verified, answered"
}

# A GiB from a client through the proxy to a sink, and a word back: hashes and counts must agree.
cat >"$dir/gib.py" <<'PY'
import hashlib, os, socket, sys, threading
sink, proxy = int(sys.argv[1]), int(sys.argv[2])
listener = socket.create_server(("127.0.0.1", sink))
seen = {}
def take():
    peer, _ = listener.accept()
    digest, total = hashlib.sha256(), 0
    while piece := peer.recv(1 << 20):
        digest.update(piece)
        total += len(piece)
    seen["got"] = (total, digest.hexdigest())
    peer.sendall(digest.digest())
    peer.close()
taker = threading.Thread(target=take)
taker.start()
client, digest = socket.create_connection(("127.0.0.1", proxy)), hashlib.sha256()
block = os.urandom((1 << 20) + 17)
for _ in range(1024):
    client.sendall(block)
    digest.update(block)
client.shutdown(socket.SHUT_WR)
answer = b""
while piece := client.recv(4096):
    answer += piece
taker.join()
if seen["got"] != (1024 * len(block), digest.hexdigest()) or answer != digest.digest():
    sys.exit("other bytes came than went")
print("  %d bytes, sha256 %s: the same" % (seen["got"][0], digest.hexdigest()[:16]))
PY

for driver in io_uring epoll; do
    for pipes in 64 0; do
        echo "== $driver, splice_pipes $pipes"
        edge=$(free_port) plain=$(free_port) sink=$(free_port)
        cat >"$dir/ringway.yaml" <<YAML
process: { io_driver: $driver, splice_pipes: $pipes, drain_delay: 0s, drain_timeout: 1s }
listeners:
  - name: edge
    address: 127.0.0.1:$edge
    chains:
      - { match: { sni: [one.example.test] }, tcp: { cluster: one } }
      - { match: { sni: ["*.example.test"] }, tcp: { cluster: two } }
      - routes: [{ redirect: { scheme: https } }]
  - { name: plain, address: 127.0.0.1:$plain, tcp: { cluster: sink } }
clusters:
  - { name: one, endpoints: [127.0.0.1:$one] }
  - { name: two, endpoints: [127.0.0.1:$two] }
  - { name: sink, endpoints: [127.0.0.1:$sink] }
YAML
        "$ringway" run -c "$dir/ringway.yaml" 2>"$dir/ringway.log" &
        proxy=$!
        pids="$pids $proxy"
        await "$edge" || { cat "$dir/ringway.log"; exit 1; }
        for name in one.example.test two.example.test; do
            ask_openssl "$edge" "$name"
            ask_gnutls "$edge" "$name"
        done
        python3 "$dir/gib.py" "$sink" "$plain"
        kill -TERM "$proxy"
        wait "$proxy" || { cat "$dir/ringway.log"; exit 1; }
    done
done
echo "all as it should be"
