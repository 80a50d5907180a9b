#!/usr/bin/env bash
# The PROXY protocol with others: HAProxy and nginx in front, which tell the proxy whose connections they pass on (both versions, with
# every field that HAProxy knows, over TLS too), and HAProxy and nginx behind, which are told. Says at the end what it ran and skipped.
#
#   scripts/interop/proxy_protocol.sh [--binary PATH]     NGINX: another nginx than the one on PATH
set -uo pipefail
cd "$(dirname "$0")/../.."

binary=
nginx=${NGINX:-nginx}
while (($# > 0)); do
    case $1 in
    --binary) binary=$2; shift 2 ;;
    *) echo "usage: $0 [--binary PATH]" >&2; exit 2 ;;
    esac
done
if [[ -z $binary ]]; then
    cargo build --quiet --bin ringway || exit 1
    binary=${CARGO_TARGET_DIR:-target}/debug/ringway
fi
for tool in curl openssl python3; do
    command -v "$tool" >/dev/null || { echo "$tool is not installed" >&2; exit 1; }
done

work=$(mktemp -d)
pids=()
trap '((${#pids[@]})) && kill "${pids[@]}" 2>/dev/null; rm -rf "$work"' EXIT
. scripts/interop/lib.sh

# Ports that are free now; all are taken before any is given, so that no two are the same.
read -r in in_tls out_nginx1 out_nginx2 out_haproxy out_haproxy_tls out_tcp h_v1 h_v2 h_tls h_accept h_accept_tls n_accept n_stream < <(python3 - <<'PYTHON'
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(14)]
print(*(s.getsockname()[1] for s in sockets))
PYTHON
)
await() {
    for _ in $(seq 200); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
        sleep 0.05
    done
    echo "nobody listens on $1" >&2
    return 1
}

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=ringway test authority" \
    -addext "keyUsage=critical,keyCertSign" -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
# A certificate of that authority: its file's name, its common name.
leaf() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" -keyout "$work/$1.key" -out "$work/$1.csr" 2>/dev/null
    openssl x509 -req -in "$work/$1.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 2 -out "$work/$1.pem" \
        -extfile <(printf 'subjectAltName=DNS:%s\nbasicConstraints=CA:FALSE\n' "$2") 2>/dev/null
}
leaf site localhost
leaf partner partner.test
cat "$work/site.pem" "$work/site.key" >"$work/both.pem"

says='response_headers: { set: { x-said: "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_PORT% %PROXY_PROTOCOL_TLV(authority)% %PROXY_PROTOCOL_TLV(unique_id)% %PROXY_PROTOCOL_TLV(alpn)%" } }'
cat >"$work/ringway.yaml" <<YAML
process: { cores: 2 }
listeners:
  - name: in
    address: 127.0.0.1:$in
    proxy_protocol: { trusted: [127.0.0.0/8] }
    routes: [{ match: { prefix: / }, respond: { status: 200, body: "hello\n" }, $says }]
  - name: in_tls
    address: 127.0.0.1:$in_tls
    proxy_protocol: { trusted: [127.0.0.0/8] }
    tls: { certificates: [{ cert: $work/site.pem, key: $work/site.key }] }
    routes: [{ match: { prefix: / }, respond: { status: 200, body: "hello\n" }, $says }]
  - { name: out_nginx1, address: "127.0.0.1:$out_nginx1", routes: [{ match: { prefix: / }, cluster: nginx1 }] }
  - { name: out_nginx2, address: "127.0.0.1:$out_nginx2", routes: [{ match: { prefix: / }, cluster: nginx2 }] }
  - name: out_haproxy
    address: 127.0.0.1:$out_haproxy
    tls: { certificates: [{ cert: $work/site.pem, key: $work/site.key }], client_ca: $work/ca.pem, client_certificate: optional }
    routes: [{ match: { prefix: / }, cluster: haproxy }]
  - { name: out_haproxy_tls, address: "127.0.0.1:$out_haproxy_tls", routes: [{ match: { prefix: / }, cluster: haproxy_tls }] }
  - { name: out_tcp, address: "127.0.0.1:$out_tcp", tcp: { cluster: nginx2 } }
clusters:
  - { name: nginx1, endpoints: ["127.0.0.1:$n_accept"], proxy_protocol: v1 }
  - { name: nginx2, endpoints: ["127.0.0.1:$n_accept"], proxy_protocol: v2 }
  - { name: haproxy, endpoints: ["127.0.0.1:$h_accept"], proxy_protocol: { version: v2, fields: [authority, alpn, ssl, crc32c] } }
  - { name: haproxy_tls, endpoints: ["127.0.0.1:$h_accept_tls"], proxy_protocol: v2, tls: { server_name: localhost, ca: $work/ca.pem } }
YAML
"$binary" run -c "$work/ringway.yaml" >"$work/log" 2>&1 &
pids+=($!)
ringway=$!
await "$in" || { cat "$work/log"; exit 1; }

# Asks; `said` has the answer's x-said or its body, `mine` the port of this end.
ask() {
    curl -sS --max-time 10 -D "$work/head" -o "$work/body" -w '%{local_port}\n' "$@" >"$work/mine" || return 1
    mine=$(cat "$work/mine")
    said=$(sed -n 's/^x-said: //p' "$work/head" | tr -d '\r')
    [[ -n $said ]] || said=$(cat "$work/body")
    echo "said: $said; this end: $mine"
}

if have haproxy; then
    cat >"$work/haproxy.cfg" <<CFG
global
    stats socket $work/haproxy.sock
defaults
    timeout connect 5s
    timeout client 10s
    timeout server 10s
listen v1
    mode tcp
    bind 127.0.0.1:$h_v1
    server ringway 127.0.0.1:$in send-proxy
listen v2
    mode tcp
    bind 127.0.0.1:$h_v2
    server ringway 127.0.0.1:$in_tls send-proxy-v2
listen ssl
    mode http
    unique-id-format %ci_%cp_id
    bind 127.0.0.1:$h_tls ssl crt $work/both.pem ca-file $work/ca.pem verify optional alpn http/1.1
    server ringway 127.0.0.1:$in send-proxy-v2-ssl-cn proxy-v2-options crc32c,unique-id,authority,ssl,cert-cn,cert-sig,cert-key,ssl-cipher
listen accept
    mode http
    bind 127.0.0.1:$h_accept accept-proxy
    http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst_port] %[fc_pp_authority]\n"
listen accept_tls
    mode http
    bind 127.0.0.1:$h_accept_tls accept-proxy ssl crt $work/both.pem
    http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst_port] -\n"
CFG
    haproxy -f "$work/haproxy.cfg" -db >"$work/haproxy.log" 2>&1 &
    pids+=($!)
    await "$h_accept_tls" || { cat "$work/haproxy.log"; exit 1; }
    front_v1() { ask "http://127.0.0.1:$h_v1/" && [[ $said == "127.0.0.1:$mine $h_v1 "* ]]; }
    front_v2() { ask --cacert "$work/ca.pem" "https://localhost:$h_v2/" --resolve "localhost:$h_v2:127.0.0.1" && [[ $said == "127.0.0.1:$mine $h_v2 "* ]]; }
    front_ssl() {
        ask --cacert "$work/ca.pem" "$@" --resolve "localhost:$h_tls:127.0.0.1" "https://localhost:$h_tls/" &&
            [[ $said == "127.0.0.1:$mine $h_tls localhost 127.0.0.1_${mine}_id "* ]]
    }
    check "HAProxy in front: version 1" front_v1
    check "HAProxy in front: version 2, TLS behind the header" front_v2
    check "HAProxy in front: every field and a checksum" front_ssl
    check "HAProxy in front: the same with a client's certificate" front_ssl --cert "$work/partner.pem" --key "$work/partner.key"
    behind() {
        ask --cacert "$work/ca.pem" "$@" --resolve "localhost:$out_haproxy:127.0.0.1" "https://localhost:$out_haproxy/" &&
            [[ $said == "127.0.0.1 $mine $out_haproxy localhost" ]]
    }
    check "HAProxy behind: version 2 with fields and a checksum" behind
    check "HAProxy behind: the same with a client's certificate" behind --cert "$work/partner.pem" --key "$work/partner.key"
    behind_tls() { ask "http://127.0.0.1:$out_haproxy_tls/" && [[ $said == "127.0.0.1 $mine $out_haproxy_tls -" ]]; }
    check "HAProxy behind: version 2 before TLS" behind_tls
else
    skip "HAProxy"
fi

if have "$nginx"; then
    stream=
    if "$nginx" -V 2>&1 | grep -q -- '--with-stream=dynamic'; then
        stream=$(find /usr/lib/nginx/modules /usr/share/nginx/modules -name 'ngx_stream_module.so' 2>/dev/null | head -1)
    elif "$nginx" -V 2>&1 | grep -q -- '--with-stream'; then
        stream=built-in
    fi
    {
        [[ $stream == /* ]] && echo "load_module $stream;"
        echo "daemon off; pid $work/nginx.pid; error_log $work/nginx.log; worker_processes 1; events { }"
        [[ -n $stream ]] && echo "stream { server { listen 127.0.0.1:$n_stream; proxy_pass 127.0.0.1:$in; proxy_protocol on; } }"
        cat <<CONF
http {
    access_log off;
    client_body_temp_path $work/t1; proxy_temp_path $work/t2; fastcgi_temp_path $work/t3; uwsgi_temp_path $work/t4; scgi_temp_path $work/t5;
    server {
        listen 127.0.0.1:$n_accept proxy_protocol;
        location / { return 200 "\$proxy_protocol_addr \$proxy_protocol_port \$proxy_protocol_server_port\n"; }
    }
}
CONF
    } >"$work/nginx.conf"
    "$nginx" -c "$work/nginx.conf" -p "$work" >"$work/nginx.out" 2>&1 &
    pids+=($!)
    await "$n_accept" || { cat "$work/nginx.out" "$work/nginx.log"; exit 1; }
    behind_nginx() { ask "http://127.0.0.1:$1/" && [[ $said == "127.0.0.1 $mine $1" ]]; }
    check "nginx behind: version 1" behind_nginx "$out_nginx1"
    check "nginx behind: version 2" behind_nginx "$out_nginx2"
    check "nginx behind: version 2, bytes passed on" behind_nginx "$out_tcp"
    if [[ -n $stream ]]; then
        front_nginx() { ask "http://127.0.0.1:$n_stream/" && [[ $said == "127.0.0.1:$mine $n_stream "* ]]; }
        check "nginx in front: version 1" front_nginx
    else
        skip "nginx in front: this one has no stream module"
    fi
else
    skip "nginx"
fi

kill -0 "$ringway" 2>/dev/null || { echo "FAILED: the proxy ended"; failed=$((failed + 1)); }
if grep -q panic "$work/log"; then
    echo "FAILED: a panic"
    cat "$work/log"
    failed=$((failed + 1))
fi
echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
