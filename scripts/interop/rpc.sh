#!/bin/sh
# Calls of real clients of Bolt, Dubbo, Tars and Thrift through the proxy to real servers, none of them ours: plain and large calls,
# many at once and out of order, exceptions, what nobody serves, timeouts, one-way calls, heartbeats, clients with equal ids on one
# upstream connection, an upstream that dies, a reload and a drain in the middle of a call, servers that call their clients, under TLS
# on both sides; and the benchmark's load generator before real servers. README.md says who does what. Fails if anything is not as it
# should be, and shows what each of the three then said.
#
#   scripts/interop/rpc.sh [-d DRIVER] [-o WORD] [-k FOLDER] [RINGWAY [LOAD]]
#     -d DRIVER   io_uring or epoll; default: what the proxy takes
#     -o WORD     only what has these words in its name
#     -k FOLDER   keeps what everybody said there
#     RINGWAY     the binary; default target/debug/ringway
#     LOAD        the load generator; default target/debug/bench-load (cargo build -p ringway-bench-load)
#
# Installs the peers where they are not yet (peers.sh); what cannot be had is left out, and that is said.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
driver= only= keep=
while getopts d:o:k: option; do
    case $option in
        d) driver=$OPTARG ;;
        o) only=$OPTARG ;;
        k) keep=$OPTARG ;;
        *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
built=${CARGO_TARGET_DIR:-$root/target}/debug
ringway=${1:-$built/ringway}
export RINGWAY_LOAD="${2:-$built/bench-load}"
[ -x "$ringway" ] || { echo "no $ringway: cargo build -p ringway"; exit 2; }
dir=$(mktemp -d)
server= proxy= failed=0 count=0
end_server() {
    [ -z "$server" ] || { kill "$server" 2>/dev/null || :; kill "$(cat "$dir/server.pid")" 2>/dev/null || :; wait "$server" 2>/dev/null || :; }
    server=
}
end_proxy() {
    [ -z "$proxy" ] || { kill "$proxy" 2>/dev/null || :; wait "$proxy" 2>/dev/null || :; }
    proxy=
}
stop() {
    end_server
    end_proxy
    [ -z "$keep" ] || { mkdir -p "$keep" && cp "$dir"/*.log "$dir"/*.yaml "$keep"/ 2>/dev/null || :; }
    rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM

# shellcheck source=scripts/interop/ports.sh
. "$here/ports.sh"
# shellcheck source=scripts/interop/peers.sh
. "$here/peers.sh"

# --- a proxy and a server for each pair of peers ---

# One for all: of the proxy, and of peers that have TLS of their own.
certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
        -addext basicConstraints=critical,CA:FALSE -addext "subjectAltName=DNS:localhost,IP:127.0.0.1" -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>"$dir/openssl.log" \
        || { cat "$dir/openssl.log"; exit 1; }
    [ -z "$java_sofa" ] || {
        openssl pkcs12 -export -in "$dir/cert.pem" -inkey "$dir/key.pem" -passout pass:secret -out "$dir/key.p12" \
            && keytool -importcert -noprompt -alias ca -file "$dir/cert.pem" -keystore "$dir/trust.p12" -storetype PKCS12 -storepass secret
    } >"$dir/keytool.log" 2>&1 || { cat "$dir/keytool.log"; exit 1; }
}

# A proxy for that protocol before a port. What it is asked in the clear it passes on in the clear (PORT), what it is asked under TLS goes on
# under TLS to itself, and then in the clear (SECURE), or it begins so with what it is asked in the clear (THROUGH). Words behind the
# protocol, between commas: `any` takes every call, `bound` gives clients connections of their own, `quiet` sends no heartbeats to speak of,
# `tls` has both ends of PORT speak TLS.
start_proxy() {
    plain=$(free_port) secure=$(free_port) inner=$(free_port) through=$(free_port) admin=$(free_port)
    protocol=${1%%,*} words=${1#"$protocol"}, rpc="heartbeat: 30s"
    upstream=$protocol
    # Triple is a protocol of HTTP, and what it wants are HTTP's keys.
    [ "$protocol" != triple ] || { protocol=http upstream=http2; }
    # After a reload heartbeats are so many that a call may be in flight for longer than a connection lives on which none is answered.
    reloaded="heartbeat: 300ms, heartbeat_timeout: 1s"
    case $upstream in
        bolt) routes='[{ match: { rpc: { service: "com.test.*" } }, cluster: up }, { match: { rpc: { service: "EchoService:1.0" } }, cluster: up }, { match: { rpc: { service: "EchoService:1.0:missing" } }, cluster: up }]' ;;
        dubbo) routes='[{ match: { rpc: { service: "com.test.*" } }, cluster: up }, { match: { rpc: { service: EchoService, version: 1.0.0, group: blue } }, cluster: up }]' ;;
        tars) routes='[{ match: { rpc: { service: "Test.*" } }, cluster: up, request_headers: { set: { tenant: blue } } }]' ;;
        thrift) routes='[{ match: { rpc: { method: nowhere } }, cluster: up, filters: [{ fault: { abort: { status: 404 } } }] }, { match: { rpc: { service: Echo } }, cluster: up }, { match: { rpc: { method: slow } }, cluster: up, timeout: 500ms }, { match: { rpc: { method: "*" } }, cluster: up }]' ;;
        http2) routes='[{ match: { rpc: { service: com.test.Echo, version: 1.0.0, group: blue } }, cluster: up }, { match: { rpc: { service: com.test.Plain } }, cluster: up }, { match: { rpc: { service: com.test.Missing } }, cluster: up }]' ;;
    esac
    certificates="tls: { certificates: [{ cert: $dir/cert.pem, key: $dir/key.pem }] }"
    trusted="tls: { server_name: localhost, ca: $dir/cert.pem }" ends= hosts=
    case $words in *,any,*) routes='[{ cluster: up }]' ;; esac
    case $words in *,bound,*) routes='[{ cluster: up }]' rpc="$rpc, bound: true" ;; esac
    case $words in *,quiet,*) reloaded="heartbeat: 29s" ;; esac
    case $words in *,tls,*) ends=", $certificates" hosts=", $trusted" ;; esac
    cat >"$dir/ringway.yaml" <<YAML
process: { cores: 1, drain_delay: 0s, drain_timeout: 30s${driver:+, io_driver: $driver} }
admin: { address: 127.0.0.1:$admin }
listeners:
  - { name: plain, address: "127.0.0.1:$plain", protocol: $protocol, routes: $routes$ends }
  - { name: secure, address: "127.0.0.1:$secure", protocol: $protocol, routes: [{ cluster: inner }], $certificates }
  - { name: through, address: "127.0.0.1:$through", protocol: $protocol, routes: [{ cluster: inner }] }
  - { name: inner, address: "127.0.0.1:$inner", protocol: $protocol, routes: $routes, $certificates }
clusters:
  - { name: up, protocol: $upstream, endpoints: ["127.0.0.1:$2"], rpc: { $rpc }$hosts }
  - { name: inner, protocol: $upstream, endpoints: ["127.0.0.1:$inner"], $trusted }
YAML
    "$ringway" run -c "$dir/ringway.yaml" >"$dir/ringway.log" 2>&1 &
    proxy=$!
    stats="curl -sf http://127.0.0.1:$admin/stats/prometheus -o $dir/stats.new && mv $dir/stats.new $dir/stats"
    # What a client has done to the proxy in the middle of a call.
    export RINGWAY_RELOAD="sed -i 's/heartbeat: 30s/$reloaded/' $dir/ringway.yaml && curl -sf -X POST http://127.0.0.1:$admin/reload"
    export RINGWAY_DRAIN="$stats; kill -TERM $proxy; while $stats; do sleep 0.1; done >/dev/null 2>&1 &"
    await "$plain" || { cat "$dir/ringway.log"; exit 1; }
}

# Serves until it is stopped; a server that ends in order is started again.
start_server() {
    (
        cd "$here/rpc"
        trap 'kill "$(cat "$dir/server.pid")" 2>/dev/null; exit' TERM
        while :; do
            "$@" >>"$dir/server.log" 2>&1 &
            echo $! >"$dir/server.pid"
            wait $! || exit
        done
    ) &
    server=$!
}

# The sum of a number of the clusters'.
count() { sed -n "s/^ringway_cluster_$1_total{cluster=\"[a-z]*\".*} //p" "$dir/stats" | awk '{ n += $1 } END { print n + 0 }'; }

# What three of them said, under a word for each.
show() {
    while [ $# -gt 0 ]; do
        echo "   --- the $1:"
        tail -40 "$2" | cut -c1-400 | sed 's/^/   | /'
        shift 2
    done
}

# One client against the server of a pair, through a proxy of its own.
client() {
    rm -f "$dir/stats"
    count=$((count + 1))
    start_proxy "$1" "$2"
    command=$(echo "$3" | sed "s|SERVER|$port|g; s|PORT|$plain|; s|SECURE|$secure|; s|THROUGH|$through|; s|CA|$dir/cert.pem|")
    short=$(echo "$3" | sed "s|$here/rpc/||; s|$dir/||g; s| -[XD-][^ ]*||g; s| -cp [^ ]*||g; s|$peers/||g")
    echo "-- $short"
    log=$dir/client-$count.log began=$(date +%s) verdict=good
    # shellcheck disable=SC2086
    (cd "$here/rpc" && timeout 600 $command) >"$log" 2>&1 || verdict=failed
    [ -e "$dir/stats" ] || sh -c "$stats" || touch "$dir/stats"
    unread=$(count rpc_malformed) lost=$(count upstream_cx_ping_timeout)
    end_proxy
    good=$(grep -c '^ok' "$log" || :) bad=$(grep -c '^FAIL' "$log" || :) took=$(($(date +%s) - began))
    echo "   $good as they should be, $bad not, in $took s; $(count upstream_cx) upstream connections"
    [ "$unread$lost" = 00 ] || { verdict=failed; echo "   $unread frames of theirs could not be read, $lost connections were given up"; }
    if [ $verdict = failed ]; then
        failed=$((failed + 1))
        echo "   FAILED"
        grep '^FAIL' "$log" | cut -c1-400 | sed 's/^/   | /'
        show client "$log" proxy "$dir/ringway.log" server "$dir/server.log"
    fi
    cp "$dir/ringway.log" "$dir/ringway-$count.log"
    printf '%-8s%4d s%5d ok%4d not  %s\n' $verdict "$took" "$good" "$bad" "$name: $short" >>"$dir/summary"
}

# NAME PROTOCOL "SERVER" "CLIENT"...: each with PORT for the port; a client's SECURE, THROUGH, SERVER and CA are what `start_proxy` says.
pair() {
    name=$1 protocols=$2 serving=$3
    shift 3
    case $name in *"$only"*) ;; *) return ;; esac
    echo "== $name"
    port=$(free_port)
    : >"$dir/server.log"
    # shellcheck disable=SC2046,SC2086
    start_server $(echo "$serving" | sed "s|PORT|$port|")
    for client; do
        if await "$port"; then
            client "$protocols" "$port" "$client"
        else
            failed=$((failed + 1))
            show server "$dir/server.log"
        fi
    done
    end_server
    cp "$dir/server.log" "$dir/server-$count.log"
}

install_node
install_python
install_go
# The compiler takes its time: only for who wants Java's peers.
case $only in '' | *Java*) install_jvm ;; *) echo "left out: Java's peers, which have the word Java in their names" ;; esac
certificate
began_all=$(date +%s)

if [ -n "$node" ]; then
    pair "Bolt: sofa-rpc-node" bolt "node sofa.js bolt server PORT" "node sofa.js bolt client PORT" "node bolt.js client PORT" "node sofa.js bolt client THROUGH"
    pair "Bolt: sofa-bolt-node, TLS" bolt,any,tls "node bolt.js echo PORT $dir" "node bolt.js client PORT $dir"
    pair "Dubbo: dubbo-remoting" dubbo "node sofa.js dubbo server PORT" "node sofa.js dubbo client PORT" "node sofa.js dubbo client THROUGH" "node dubbo.js dubbo2.js PORT" \
        "node dubbo.js apache-dubbo-js PORT" ${python:+"$python dubbo_peer.py ssl PORT" "$python dubbo_peer.py ssl SECURE CA"}
    pair "Tars: @tars/rpc" tars "node tars.js server PORT" "node tars.js client PORT" "node tars.js client THROUGH" ${tars_go:+"$tars_go client PORT @tars/rpc"}
    pair "Triple: @apachedubbo/dubbo" triple "node triple.js server PORT" "node triple.js client PORT"
    pair "Triple: @apachedubbo/dubbo, TLS" triple,tls "node triple.js server PORT $dir" "node triple.js client PORT $dir"
fi
if [ -n "$python" ]; then
    pair "Bolt: anthunder" bolt "$python anthunder_peer.py server PORT" "$python anthunder_peer.py client PORT" "$python anthunder_peer.py client THROUGH"
    # It answers nothing while it serves a call, and loses its place if anything comes behind a call that it has in part.
    pair "Dubbo: dubbo-py" dubbo,quiet "$python dubbo_peer.py server PORT" "$python dubbo_peer.py client PORT"
    for form in framed framed-compact buffered compact header header-compact; do
        second=
        case $form in framed | framed-compact | buffered | compact) second="$python thrift_peer.py client2 $form PORT" ;; esac
        pair "Thrift: $form" thrift "$python thrift_peer.py server $form PORT" "$python thrift_peer.py client $form PORT" ${second:+"$second"}
    done
    pair "Thrift: framed, TLS" thrift,tls "$python thrift_peer.py server framed PORT $dir" "$python thrift_peer.py client framed PORT $dir"
fi
if [ -n "$tars_go" ]; then
    pair "Tars: TarsGo" tars "$tars_go server PORT" "$tars_go client PORT" "$tars_go client THROUGH" ${node:+"node tars.js client PORT"}
    pair "Tars: TarsGo, pushes" tars,bound "$tars_go server PORT" "$tars_go push-client PORT"
fi
load=
if [ -x "$RINGWAY_LOAD" ]; then load=yes; else echo "left out: the load generator, which is not built (cargo build -p ringway-bench-load)"; fi
if [ -n "$java_dubbo" ]; then
    pair "Dubbo: Java" dubbo "$java_dubbo DubboPeer server PORT" ${load:+"./generator.sh dubbo SERVER PORT $java_dubbo DubboPeer count SERVER"} "$java_dubbo DubboPeer client PORT"
    pair "Dubbo: Java, callbacks" dubbo,bound "$java_dubbo DubboPeer server PORT" "$java_dubbo DubboPeer push-client PORT"
    pair "Dubbo: Java, fastjson2" dubbo,any "$java_dubbo DubboPeer server PORT" "$java_dubbo DubboPeer client PORT fastjson2"
    # Its consumer does not tell netty whom it connects to, so that netty could not hold a certificate against a name.
    tls="-Dpeer.tls=$dir -Dio.netty.handler.ssl.defaultEndpointVerificationAlgorithm=NONE"
    pair "Dubbo: Java, TLS" dubbo,tls "$java_dubbo $tls DubboPeer server PORT" "$java_dubbo $tls DubboPeer client PORT"
fi
if [ -n "$java_sofa" ]; then
    pair "Bolt: SOFARPC for Java" bolt "$java_sofa SofaPeer server PORT" ${load:+"./generator.sh bolt SERVER PORT $java_sofa SofaPeer count SERVER"} "$java_sofa SofaPeer client PORT"
    pair "Bolt: Java, by itself" bolt,any "$java_sofa SofaPeer bolt-server PORT" "$java_sofa SofaPeer bolt-client PORT"
    pair "Bolt: Java, calls of the server's" bolt,bound "$java_sofa SofaPeer bolt-server PORT" "$java_sofa SofaPeer push-client PORT"
    ssl() { echo "-Dbolt.$1.ssl.enable=true -Dbolt.$1.ssl.keystore=$dir/$2.p12 -Dbolt.$1.ssl.keystore.password=secret -Dbolt.$1.ssl.keystore.type=PKCS12"; }
    pair "Bolt: SOFARPC for Java, TLS" bolt,tls "$java_sofa $(ssl server key) SofaPeer server PORT" "$java_sofa $(ssl client trust) SofaPeer client PORT"
    pair "Bolt: Java, by itself, TLS" bolt,any,tls "$java_sofa $(ssl server key) SofaPeer bolt-server PORT" "$java_sofa $(ssl client trust) SofaPeer bolt-client PORT"
fi
echo "== summary, after $(($(date +%s) - began_all)) s"
cat "$dir/summary" 2>/dev/null || :
[ "$failed" = 0 ] || { echo "$failed of $count clients did not get what they should"; exit 1; }
echo "all $count clients got what they should"
