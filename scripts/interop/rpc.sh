#!/bin/sh
# Calls of real clients of Bolt, Dubbo, Tars and Thrift through the proxy to real servers, none of them ours: plain and large calls,
# many at once and out of order, exceptions, what nobody serves, timeouts, one-way calls, heartbeats, clients with equal ids on one
# upstream connection, an upstream that dies, a reload and a drain in the middle of a call, servers that call their clients, under TLS
# on both sides. Fails if anything is not as it should be.
#
#   scripts/interop/rpc.sh [-d DRIVER] [-o WORD] [RINGWAY]
#     -d DRIVER   io_uring or epoll; default: what the proxy takes
#     -o WORD     only what has these words in its name
#     RINGWAY     the binary; default target/debug/ringway
#
# Installs the peers with npm, pip, go and mvn into a folder of its own ($RINGWAY_PEERS, default ~/.cache/ringway/rpc-peers) where they
# are not yet; what cannot be had is left out, and that is said.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
driver= only=
while getopts d:o: option; do
    case $option in
        d) driver=$OPTARG ;;
        o) only=$OPTARG ;;
        *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
ringway=${1:-${CARGO_TARGET_DIR:-$root/target}/debug/ringway}
peers=${RINGWAY_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/ringway/rpc-peers}
mkdir -p "$peers"
dir=$(mktemp -d)
server= proxy= failed=0
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
    rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM

. "$here/ports.sh"

# --- the peers ---

node= python= java_dubbo= java_sofa= tars_go=
install_node() {
    command -v npm >/dev/null || { echo "left out: npm is not there"; return; }
    set -- sofa-rpc-node@2.10.0 sofa-bolt-node@2.0.1 dubbo-remoting@2.1.4 dubbo2.js@2.3.9 apache-dubbo-js@3.0.0-rc6 @tars/rpc@2.0.15 @tars/stream@2.0.3 \
        @apachedubbo/dubbo@3.0.0-alpha @apachedubbo/dubbo-node@3.0.0-alpha
    if [ "$(cat "$peers/node/ready" 2>/dev/null)" != "$*" ]; then
        mkdir -p "$peers/node"
        npm --prefix "$peers/node" install --no-audit --no-fund --ignore-scripts "$@" >"$peers/node.log" 2>&1 \
            || { echo "left out: npm install failed ($peers/node.log)"; return; }
        echo "$*" >"$peers/node/ready"
    fi
    node=yes
    export NODE_PATH="$peers/node/node_modules"
}

install_python() {
    command -v python3 >/dev/null || { echo "left out: python3 is not there"; return; }
    if [ ! -e "$peers/python/ready" ]; then
        { python3 -m venv "$peers/python" && "$peers/python/bin/pip" install --quiet setuptools==65.5.0 anthunder==0.8.1 dubbo-py==0.2.2 \
            dubbo-ssl-python==0.9.6 thrift==0.25.0 thriftpy2==0.7.1; } >"$peers/python.log" 2>&1 \
            || { echo "left out: pip install failed ($peers/python.log)"; return; }
        touch "$peers/python/ready"
    fi
    python=$peers/python/bin/python
}

install_go() {
    command -v go >/dev/null || { echo "left out: go is not there"; return; }
    mkdir -p "$peers/go"
    cp "$here/rpc/tars_peer.go" "$peers/go/"
    (
        cd "$peers/go"
        { [ -e go.mod ] || go mod init peers; } && go get github.com/TarsCloud/TarsGo/tars@v1.4.5 && go build -o tars_peer tars_peer.go
    ) >"$peers/go.log" 2>&1 || { echo "left out: TarsGo ($peers/go.log)"; return; }
    tars_go=$peers/go/tars_peer
}

# A folder with these jars and what they need, and the classes of these files.
install_java() {
    to=$peers/$1 from=$2
    shift 2
    if [ ! -e "$to/ready" ]; then
        mkdir -p "$to/classes"
        {
            echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
            echo "<groupId>peers</groupId><artifactId>peers</artifactId><version>1</version><dependencies>"
            for artifact; do
                echo "$artifact" | sed 's|\(.*\):\(.*\):\(.*\)|<dependency><groupId>\1</groupId><artifactId>\2</artifactId><version>\3</version></dependency>|'
            done
            echo '</dependencies></project>'
        } >"$to/pom.xml"
        (cd "$to" && mvn -q -B dependency:copy-dependencies -DoutputDirectory=lib) >"$to.log" 2>&1 || return 1
        touch "$to/ready"
    fi
    javac -encoding UTF-8 -nowarn -cp "$to/lib/*" -d "$to/classes" "$here/rpc/Check.java" "$here/rpc/EchoService.java" "$here/rpc/Echo.java" "$here/rpc/$from.java" \
        >"$to.javac.log" 2>&1
}

install_jvm() {
    # Quick to start rather than quick in the end; and Bolt's own heartbeats so often that calls of some seconds see them.
    java="java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Djava.net.preferIPv4Stack=true -Dbolt.tcp.heartbeat.interval=700"
    command -v mvn >/dev/null && command -v javac >/dev/null || { echo "left out: mvn or javac is not there"; return; }
    if install_java dubbo DubboPeer org.apache.dubbo:dubbo:3.3.6; then
        java_dubbo="$java -cp $peers/dubbo/classes:$peers/dubbo/lib/*"
    else
        echo "left out: Dubbo for Java ($peers/dubbo.log, $peers/dubbo.javac.log)"
    fi
    if install_java sofa SofaPeer com.alipay.sofa:sofa-rpc-all:5.13.2; then
        java_sofa="$java --add-opens=java.base/java.lang=ALL-UNNAMED -cp $peers/sofa/classes:$peers/sofa/lib/*"
    else
        echo "left out: SOFARPC for Java ($peers/sofa.log, $peers/sofa.javac.log)"
    fi
}

# --- a proxy and a server for each pair of peers ---

certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
        -addext basicConstraints=critical,CA:FALSE -addext "subjectAltName=DNS:localhost,IP:127.0.0.1" -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>"$dir/openssl.log" \
        || { cat "$dir/openssl.log"; exit 1; }
}

# A proxy for that protocol before a port: in the clear, and under TLS on both sides. Of a name with a suffix: -any takes every call, -bound
# gives clients connections of their own, -quiet sends no heartbeats to speak of.
start_proxy() {
    plain=$(free_port) secure=$(free_port) inner=$(free_port) admin=$(free_port)
    protocol=${1%-*} rpc="heartbeat: 30s"
    upstream=$protocol
    # Triple is a protocol of HTTP, and what it wants are HTTP's keys.
    [ "$1" != triple ] || protocol=http upstream=http2
    # After a reload heartbeats are so many that a call may be in flight for longer than a connection lives on which none is answered.
    case $1 in *-quiet) reloaded="heartbeat: 29s" ;; *) reloaded="heartbeat: 300ms, heartbeat_timeout: 700ms" ;; esac
    case $1 in
        bolt | bolt-quiet) routes='[{ match: { rpc: { service: "com.test.*" } }, cluster: up }, { match: { rpc: { service: "EchoService:1.0" } }, cluster: up }, { match: { rpc: { service: "EchoService:1.0:missing" } }, cluster: up }]' ;;
        dubbo | dubbo-quiet) routes='[{ match: { rpc: { service: "com.test.*" } }, cluster: up }, { match: { rpc: { service: EchoService, version: 1.0.0, group: blue } }, cluster: up }]' ;;
        tars) routes='[{ match: { rpc: { service: "Test.*" } }, cluster: up, request_headers: { set: { tenant: blue } } }]' ;;
        thrift) routes='[{ match: { rpc: { method: nowhere } }, cluster: up, filters: [{ fault: { abort: { status: 404 } } }] }, { match: { rpc: { service: Echo } }, cluster: up }, { match: { rpc: { method: slow } }, cluster: up, timeout: 500ms }, { match: { rpc: { method: "*" } }, cluster: up }]' ;;
        triple) routes='[{ match: { rpc: { service: com.test.Echo, version: 1.0.0, group: blue } }, cluster: up }, { match: { rpc: { service: com.test.Plain } }, cluster: up }, { match: { rpc: { service: com.test.Missing } }, cluster: up }]' ;;
        *-any) routes='[{ cluster: up }]' ;;
        *-bound) routes='[{ cluster: up }]' rpc="$rpc, bound: true" ;;
    esac
    cat >"$dir/ringway.yaml" <<YAML
process: { cores: 1, drain_delay: 0s, drain_timeout: 10s${driver:+, io_driver: $driver} }
admin: { address: 127.0.0.1:$admin }
listeners:
  - { name: plain, address: "127.0.0.1:$plain", protocol: $protocol, routes: $routes }
  - name: secure
    address: 127.0.0.1:$secure
    protocol: $protocol
    tls: { certificates: [{ cert: $dir/cert.pem, key: $dir/key.pem }] }
    routes: [{ cluster: inner }]
  - name: inner
    address: 127.0.0.1:$inner
    protocol: $protocol
    tls: { certificates: [{ cert: $dir/cert.pem, key: $dir/key.pem }] }
    routes: $routes
clusters:
  - { name: up, protocol: $upstream, endpoints: ["127.0.0.1:$2"], rpc: { $rpc } }
  - { name: inner, protocol: $upstream, endpoints: ["127.0.0.1:$inner"], tls: { server_name: localhost, ca: $dir/cert.pem } }
YAML
    "$ringway" run -c "$dir/ringway.yaml" >"$dir/ringway.log" 2>&1 &
    proxy=$!
    stats="curl -sf http://127.0.0.1:$admin/stats/prometheus -o $dir/stats.new && mv $dir/stats.new $dir/stats"
    # What a client has done to the proxy in the middle of a call.
    export RINGWAY_RELOAD="sed -i 's/heartbeat: 30s/$reloaded/' $dir/ringway.yaml && curl -sf -X POST http://127.0.0.1:$admin/reload"
    export RINGWAY_DRAIN="$stats; kill -TERM $proxy; while $stats; do sleep 0.1; done >/dev/null 2>&1 &"
    await "$plain"
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

# The sum of a number of the cluster's.
count() { sed -n "s/^ringway_cluster_$1_total{cluster=\"up\".*} //p" "$dir/stats" | awk '{ n += $1 } END { print n + 0 }'; }

# One client against the server of a pair, through a proxy of its own.
client() {
    rm -f "$dir/stats"
    start_proxy "$1" "$2"
    command=$(echo "$3" | sed "s|PORT|$plain|; s|SECURE|$secure|; s|CA|$dir/cert.pem|")
    echo "-- ${3#"$peers"/}" | sed "s|$here/rpc/||; s| -[XD-][^ ]*||g; s| -cp [^ ]*||; s|$peers/||g"
    # shellcheck disable=SC2086
    if ! (cd "$here/rpc" && timeout 240 $command) >"$dir/client.log" 2>&1; then
        failed=$((failed + 1))
        grep -v '^ok' "$dir/client.log" | tail -40
        echo "   FAILED; the proxy said:"
        tail -5 "$dir/ringway.log"
    fi
    echo "   $(grep -c '^ok' "$dir/client.log" || :) as they should be, $(grep -c '^FAIL' "$dir/client.log" || :) not"
    [ -e "$dir/stats" ] || sh -c "$stats" || touch "$dir/stats"
    unread=$(count rpc_malformed) lost=$(count upstream_cx_ping_timeout)
    echo "   $(count upstream_cx) upstream connections; $unread frames of theirs could not be read, $lost connections were given up"
    end_proxy
    [ "$unread$lost" = 00 ] || failed=$((failed + 1))
}

# NAME PROTOCOL "SERVER" "CLIENT"...: each with PORT for the port; SECURE and CA stand for the TLS side.
pair() {
    name=$1 protocol=$2 serving=$3
    shift 3
    case $name in *$only*) ;; *) return ;; esac
    echo "== $name"
    port=$(free_port)
    # shellcheck disable=SC2046,SC2086
    start_server $(echo "$serving" | sed "s|PORT|$port|")
    for client; do
        await "$port"
        client "$protocol" "$port" "$client"
    done
    end_server
}

certificate
install_node
install_python
install_go
# The compiler takes its time: only for who wants Java's peers.
case $only in '' | *Java*) install_jvm ;; *) echo "left out: Java's peers, which have the word Java in their names" ;; esac

if [ -n "$node" ]; then
    pair "Bolt: sofa-rpc-node" bolt "node sofa.js bolt server PORT" "node sofa.js bolt client PORT" "node bolt.js client PORT"
    pair "Dubbo: dubbo-remoting" dubbo "node sofa.js dubbo server PORT" "node sofa.js dubbo client PORT" "node dubbo.js dubbo2.js PORT" \
        "node dubbo.js apache-dubbo-js PORT" ${python:+"$python dubbo_peer.py ssl PORT" "$python dubbo_peer.py ssl SECURE CA"}
    pair "Tars: @tars/rpc" tars "node tars.js server PORT" "node tars.js client PORT" ${tars_go:+"$tars_go client PORT @tars/rpc"}
    pair "Triple: @apachedubbo/dubbo" triple "node triple.js server PORT" "node triple.js client PORT"
fi
if [ -n "$python" ]; then
    pair "Bolt: anthunder" bolt "$python anthunder_peer.py server PORT" "$python anthunder_peer.py client PORT"
    # It answers nothing while it serves a call, and loses its place if anything comes behind a call that it has in part.
    pair "Dubbo: dubbo-py" dubbo-quiet "$python dubbo_peer.py server PORT" "$python dubbo_peer.py client PORT"
    for form in framed framed-compact buffered compact header header-compact; do
        second=
        case $form in framed | framed-compact | buffered | compact) second="$python thrift_peer.py client2 $form PORT" ;; esac
        pair "Thrift: $form" thrift "$python thrift_peer.py server $form PORT" "$python thrift_peer.py client $form PORT" ${second:+"$second"}
    done
fi
if [ -n "$tars_go" ]; then
    pair "Tars: TarsGo" tars "$tars_go server PORT" "$tars_go client PORT" ${node:+"node tars.js client PORT"}
    pair "Tars: TarsGo, pushes" tars-bound "$tars_go server PORT" "$tars_go push-client PORT"
fi
if [ -n "$java_dubbo" ]; then
    pair "Dubbo: Java" dubbo "$java_dubbo DubboPeer server PORT" "$java_dubbo DubboPeer client PORT"
    pair "Dubbo: Java, callbacks" dubbo-bound "$java_dubbo DubboPeer server PORT" "$java_dubbo DubboPeer push-client PORT"
    pair "Dubbo: Java, fastjson2" dubbo-any "$java_dubbo DubboPeer server PORT" "$java_dubbo DubboPeer client PORT fastjson2"
fi
if [ -n "$java_sofa" ]; then
    pair "Bolt: SOFARPC for Java" bolt "$java_sofa SofaPeer server PORT" "$java_sofa SofaPeer client PORT"
    pair "Bolt: Java, by itself" bolt-any "$java_sofa SofaPeer bolt-server PORT" "$java_sofa SofaPeer bolt-client PORT"
    pair "Bolt: Java, calls of the server's" bolt-bound "$java_sofa SofaPeer bolt-server PORT" "$java_sofa SofaPeer push-client PORT"
fi
[ "$failed" = 0 ] || { echo "$failed of the peers did not get what they should"; exit 1; }
echo "all as it should be"
