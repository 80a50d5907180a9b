#!/usr/bin/env bash
# TLS as others see it: openssl, GnuTLS, curl, Python and Go clients, and two scanners (sslyze, testssl), each where it is installed.
# A finding of a scanner that is not in tls.allow fails. Says at the end what it ran and what it skipped.
#
#   scripts/interop/tls.sh [--binary PATH] [--quick]     --quick: without testssl, which takes a minute or more
set -uo pipefail
cd "$(dirname "$0")/../.."

binary=
quick=
while (($# > 0)); do
    case $1 in
    --binary) binary=$2; shift 2 ;;
    --quick) quick=1; shift ;;
    *) echo "usage: $0 [--binary PATH] [--quick]" >&2; exit 2 ;;
    esac
done
if [[ -z $binary ]]; then
    cargo build --quiet --bin ringway || exit 1
    binary=${CARGO_TARGET_DIR:-target}/debug/ringway
fi

work=$(mktemp -d)
pid=
trap '[[ -n $pid ]] && kill "$pid" 2>/dev/null; rm -rf "$work"' EXIT
. scripts/interop/lib.sh

have openssl || { echo "openssl is not installed: it makes the certificates" >&2; exit 1; }

# An authority, and two certificates of it for one name. Validity as browsers take it.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=ringway test authority" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
leaf() {
    local name=$1
    shift
    openssl req -newkey "$@" -nodes -subj "/CN=localhost" -keyout "$work/$name.key" -out "$work/$name.csr" 2>/dev/null
    openssl x509 -req -in "$work/$name.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 90 -out "$work/$name.pem" \
        -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\nkeyUsage=digitalSignature\nbasicConstraints=CA:FALSE\n') 2>/dev/null
}
leaf ec ec -pkeyopt ec_paramgen_curve:P-256
leaf rsa rsa:2048

cat >"$work/ringway.yaml" <<YAML
process: { cores: 2 }
admin: { address: "unix:$work/admin.sock" }
listeners:
  - name: web
    address: 127.0.0.1:0
    tls: { certificates: [{ cert: $work/ec.pem, key: $work/ec.key }, { cert: $work/rsa.pem, key: $work/rsa.key }] }
    routes:
      - match: { prefix: / }
        respond: { status: 200, body: "hello\n" }
        response_headers: { set: { strict-transport-security: "max-age=31536000" } }
YAML
"$binary" run -c "$work/ringway.yaml" >"$work/log" 2>&1 &
pid=$!
listeners() { curl -sf --unix-socket "$work/admin.sock" http://localhost/listeners; }
for _ in $(seq 100); do
    at=$(listeners) && [[ -n $at ]] && break
    sleep 0.1
done
port=${at##*:}
[[ -n $port ]] || { echo "the proxy did not start" >&2; cat "$work/log" >&2; exit 1; }

request='GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
# A request by openssl, with these of its options; it must trust the certificate and get the answer.
by_openssl() {
    printf '%b' "$request" | timeout 20 openssl s_client -connect "127.0.0.1:$port" -servername localhost -CAfile "$work/ca.pem" -verify_return_error \
        -ign_eof -quiet "$@" 2>"$work/errors" | grep -q hello
}
refused_by_openssl() { ! by_openssl "$@"; }
resumed_by_openssl() {
    printf '%b' "$request" | timeout 20 openssl s_client -connect "127.0.0.1:$port" -servername localhost -ign_eof -sess_out "$work/session" "$@" >/dev/null 2>&1
    [[ -s $work/session ]] || return 1
    printf '%b' "$request" | timeout 20 openssl s_client -connect "127.0.0.1:$port" -servername localhost -ign_eof -sess_in "$work/session" "$@" 2>/dev/null | grep -q '^Reused'
}
check "openssl: TLS 1.3" by_openssl -tls1_3
check "openssl: TLS 1.2, ECDSA" by_openssl -tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256
check "openssl: TLS 1.2, RSA" by_openssl -tls1_2 -cipher ECDHE-RSA-CHACHA20-POLY1305
check "openssl: TLS 1.1 is refused" refused_by_openssl -tls1_1 -cipher 'DEFAULT@SECLEVEL=0'
check "openssl: no forward secrecy is refused" refused_by_openssl -tls1_2 -cipher AES128-GCM-SHA256
check "openssl: a ticket of TLS 1.3" resumed_by_openssl -tls1_3
check "openssl: a ticket of TLS 1.2" resumed_by_openssl -tls1_2
# Waits for so many lines that match in what the client below says.
says() {
    for _ in $(seq 150); do
        (($(grep -cE "$1" "$work/talk") >= $2)) && return
        sleep 0.1
    done
}
key_updates() {
    : >"$work/talk"
    # One command a read: each waits for the one before. The first update is ours alone, the second asks for the server's too.
    { says 'Verify return code' 1; printf 'k\n'; says '^KEYUPDATE' 1; printf 'K\n'; says '^KEYUPDATE' 2; printf '%b' "$request"; says '^hello' 1; } |
        timeout 60 openssl s_client -connect "127.0.0.1:$port" -servername localhost -tls1_3 >>"$work/talk" 2>&1
    (($(grep -c '^KEYUPDATE' "$work/talk") == 2)) && grep -q '^hello' "$work/talk" || { cat "$work/talk"; return 1; }
}
check "openssl: updates of keys" key_updates

if have gnutls-cli; then
    by_gnutls() {
        printf '%b' "$request" | timeout 20 gnutls-cli --x509cafile "$work/ca.pem" --port "$port" --priority "$1" localhost 2>"$work/errors" | grep -q hello
    }
    check "gnutls: TLS 1.3" by_gnutls NORMAL:-VERS-ALL:+VERS-TLS1.3
    check "gnutls: TLS 1.2" by_gnutls NORMAL:-VERS-ALL:+VERS-TLS1.2
else
    skip "gnutls-cli"
fi

by_curl() { curl -sS --max-time 20 --cacert "$work/ca.pem" "$@" "https://localhost:$port/" | grep -q hello; }
check "curl: HTTP/1.1" by_curl --http1.1
if curl --version | grep -q HTTP2; then
    by_curl2() { [[ $(curl -sS --max-time 20 --cacert "$work/ca.pem" --http2 -o /dev/null -w '%{http_version}' "https://localhost:$port/") == 2 ]]; }
    check "curl: HTTP/2 by ALPN" by_curl2
else
    skip "curl with HTTP/2"
fi

if have python3; then
    cat >"$work/client.py" <<'PYTHON'
import socket, ssl, sys
port, ca = int(sys.argv[1]), sys.argv[2]
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["http/1.1"])
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port), 20), server_hostname="localhost", suppress_ragged_eofs=False) as s:
        assert s.selected_alpn_protocol() == "http/1.1"
        s.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := s.recv(65536):
            answer += piece
        # The end was a close_notify: a ragged one raises.
        assert answer.endswith(b"hello\n"), answer
PYTHON
    check "python: both versions, ends in order" python3 "$work/client.py" "$port" "$work/ca.pem"
else
    skip "python3"
fi

if have go; then
    mkdir "$work/go"
    cat >"$work/go/main.go" <<'GO'
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	pem, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	sessions := tls.NewLRUClientSessionCache(8)
	for i := 0; i < 4; i++ {
		transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool, ClientSessionCache: sessions}}
		response, err := (&http.Client{Transport: transport}).Get("https://localhost:" + os.Args[1] + "/")
		if err != nil {
			panic(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || string(body) != "hello\n" || response.ProtoMajor != 2 || response.TLS.DidResume != (i > 0) {
			panic(fmt.Sprint(err, string(body), response.Proto, response.TLS.DidResume, i))
		}
		transport.CloseIdleConnections()
	}
}
GO
    by_go() { (cd "$work/go" && GO111MODULE=off GOFLAGS= GOCACHE="$work/go/cache" go run main.go "$port" "$work/ca.pem"); }
    check "go: HTTP/2, then three times by a ticket" by_go
else
    skip "go"
fi

# What a scanner says, less what tls.allow accepts: each line there is an extended regular expression, with its reason behind a #.
unaccepted() { grep -vE -f <(sed -e 's/[[:space:]]*#[[:space:]].*//' -e '/^$/d' scripts/interop/tls.allow) || true; }
if have sslyze; then
    by_sslyze() {
        sslyze --mozilla_config=intermediate --certinfo_ca_file "$work/ca.pem" "localhost:$port" >"$work/sslyze" 2>&1
        local findings
        findings=$(sed -n '/COMPLIANCE AGAINST/,$p' "$work/sslyze" | grep -E '^ +\* ' | unaccepted)
        [[ -s $work/sslyze ]] && grep -q 'COMPLIANCE AGAINST' "$work/sslyze" && [[ -z $findings ]] || { cat "$work/sslyze"; return 1; }
    }
    check "sslyze: Mozilla's intermediate profile" by_sslyze
else
    skip "sslyze"
fi
testssl=$(command -v testssl || command -v testssl.sh)
if [[ -n $testssl && -z $quick ]]; then
    by_testssl() {
        (cd "$work" && timeout 600 "$testssl" --quiet --color 0 --warnings off --add-ca "$work/ca.pem" --jsonfile "$work/testssl.json" -p -s -f -S -P -U --ip one "localhost:$port" >"$work/testssl" 2>&1)
        [[ -s $work/testssl.json ]] || { cat "$work/testssl"; return 1; }
        local findings
        findings=$(python3 - "$work/testssl.json" <<'PYTHON' | unaccepted
import json, sys
for one in json.load(open(sys.argv[1])):
    if one["severity"] not in ("OK", "INFO"):
        print(one["id"], one["severity"], one["finding"])
PYTHON
        )
        [[ -z $findings ]] || { echo "$findings"; return 1; }
    }
    check "testssl: protocols, ciphers, certificates, vulnerabilities" by_testssl
else
    skip "testssl"
fi

kill -0 "$pid" 2>/dev/null || { echo "FAILED: the proxy ended"; failed=$((failed + 1)); }
if grep -q panic "$work/log"; then
    echo "FAILED: a panic"
    cat "$work/log"
    failed=$((failed + 1))
fi
echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
