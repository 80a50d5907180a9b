#!/bin/sh
# Real gRPC through the proxy: the interop clients and servers of grpc-go and of gRPC's C core (Debian's ruby-grpc carries them), in every
# pair, under both I/O drivers. What passes between two of them directly must pass from HTTP/2 to HTTP/2 through the proxy: plainly, at
# servers that take one stream at a time on a connection, and while connections end at either side all the time; and no call of a long row
# may fail while one of two servers, or one of two proxies, is told to stop.
#
#   scripts/interop/grpc.sh [RINGWAY]      the binary; default target/debug/ringway
#
# Needs python3, and of go and ruby-grpc at least one: what is not there is left out, and that is said. grpc-go is built once, from the
# module proxy, into INTEROP_CACHE (~/.cache/ringway-interop).
set -eu

GRPC_GO=v1.76.0
root=$(cd "$(dirname "$0")/../.." && pwd)
ringway=${1:-${CARGO_TARGET_DIR:-$root/target}/debug/ringway}
cache=${INTEROP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ringway-interop}/grpc-go-$GRPC_GO
dir=$(mktemp -d)
pids=
stop() {
    for pid in $pids; do kill "$pid" 2>/dev/null || :; done
    rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM

# A port that nobody has, and that is given to nobody twice.
free_port() {
    python3 - "$dir/ports" <<'PY'
import os, socket, sys
given = set(open(sys.argv[1]).read().split()) if os.path.exists(sys.argv[1]) else set()
while True:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    if port not in given:
        break
open(sys.argv[1], "a").write(port + "\n")
print(port)
PY
}

# Waits until somebody listens.
await() {
    python3 - "$1" <<'PY'
import socket, sys, time
for _ in range(400):
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1).close()
        sys.exit(0)
    except OSError:
        time.sleep(0.025)
sys.exit("nobody listens on port " + sys.argv[1])
PY
}

# Waits until the proxy with that admin port has served so many requests.
served() {
    python3 - "$1" "$2" <<'PY'
import sys, time, urllib.request
url, wanted = "http://127.0.0.1:%s/stats/prometheus" % sys.argv[1], float(sys.argv[2])
for _ in range(800):
    lines = urllib.request.urlopen(url, timeout=5).read().decode().splitlines()
    if sum(float(l.split()[-1]) for l in lines if l.startswith("ringway_listener_downstream_rq_total{")) >= wanted:
        sys.exit(0)
    time.sleep(0.025)
sys.exit("not so many calls in 20 s")
PY
}

# --- the peers ------------------------------------------------------------------------------------------------------------------

peers=
if command -v go >/dev/null; then
    if [ ! -x "$cache/server" ] || [ ! -x "$cache/client" ] || [ ! -x "$cache/limited" ]; then
        echo "building grpc-go's interop client and server $GRPC_GO"
        mkdir -p "$cache/src/limited"
        cat >"$cache/src/go.mod" <<MOD
module interop
go 1.24
require google.golang.org/grpc $GRPC_GO
tool google.golang.org/grpc/interop/client
tool google.golang.org/grpc/interop/server
MOD
        # The same service, with what the official server has no flags for.
        cat >"$cache/src/limited/main.go" <<'GO'
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"
)

func main() {
	port := flag.Int("port", 0, "where to listen")
	streams := flag.Uint("streams", 0, "streams at once on a connection")
	age := flag.Duration("age", 0, "how old a connection gets")
	flag.Parse()
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	var options []grpc.ServerOption
	if *streams > 0 {
		options = append(options, grpc.MaxConcurrentStreams(uint32(*streams)))
	}
	if *age > 0 {
		grace := 30 * time.Second
		options = append(options, grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: *age, MaxConnectionAgeGrace: grace}))
	}
	server := grpc.NewServer(options...)
	pb.RegisterTestServiceServer(server, interop.NewTestServer())
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	go func() {
		<-asked
		server.GracefulStop()
	}()
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}
GO
        (cd "$cache/src" && GOFLAGS=-mod=mod go mod tidy -e >"$dir/go.log" 2>&1 &&
            go build -o "$cache/client" google.golang.org/grpc/interop/client &&
            go build -o "$cache/server" google.golang.org/grpc/interop/server &&
            go build -o "$cache/limited" ./limited) >>"$dir/go.log" 2>&1 || { cat "$dir/go.log"; exit 1; }
    fi
    peers="go"
else
    echo "left out: go is not there"
fi
ruby_dir=${RUBY_GRPC:-$(dpkg -L ruby-grpc 2>/dev/null | sed -n 's,/pb/test/client.rb$,/pb/test,p')}
if command -v ruby >/dev/null && [ -n "$ruby_dir" ]; then
    peers="$peers ruby"
else
    echo "left out: ruby-grpc is not there"
fi
[ -n "$peers" ] || { echo "no peer is there"; exit 1; }

GO_CASES="empty_unary large_unary client_streaming server_streaming ping_pong empty_stream timeout_on_sleeping_server cancel_after_begin
    cancel_after_first_response status_code_and_message special_status_message custom_metadata unimplemented_method
    unimplemented_service rpc_soak channel_soak"
RUBY_CASES="empty_unary large_unary client_compressed_unary client_streaming client_compressed_streaming server_streaming ping_pong
    timeout_on_sleeping_server empty_stream cancel_after_begin cancel_after_first_response unimplemented_method
    unimplemented_service status_code_and_message custom_metadata"

cases_of() { if [ "$1" = go ]; then echo $GO_CASES; else echo $RUBY_CASES; fi; }

# Starts a server of that kind on a port of its own: sets `port` and `pid`. More arguments go to the one with limits.
serve() {
    port=$(free_port)
    case $1 in
    go) "$cache/server" -port="$port" >/dev/null 2>&1 & ;;
    ruby) ruby "$ruby_dir/server.rb" --port "$port" >/dev/null 2>&1 & ;;
    limited) shift && "$cache/limited" -port="$port" "$@" >/dev/null 2>&1 & ;;
    esac
    pid=$!
    pids="$pids $pid"
    await "$port"
}

# One case of a client at a port; its words are in $dir/case.
ask() {
    case $1 in
    go) timeout 60 "$cache/client" -server_host=127.0.0.1 -server_port="$2" -test_case="$3" \
        -soak_iterations=20 -soak_overall_timeout_seconds=30 >"$dir/case" 2>&1 ;;
    ruby) timeout 60 ruby "$ruby_dir/client.rb" --server_host 127.0.0.1 --server_port "$2" --use_tls false --test_case "$3" \
        >"$dir/case" 2>&1 ;;
    esac
}

# Starts a proxy to these ports: sets `edge`, `admin` and `proxy`. $1: keys of the listener, $2: keys of the cluster.
through() {
    listener=$1 cluster=$2
    shift 2
    edge=$(free_port) admin=$(free_port) endpoints=
    for to in "$@"; do endpoints="$endpoints${endpoints:+, }127.0.0.1:$to"; done
    cat >"$dir/ringway-$edge.yaml" <<YAML
process: { io_driver: $driver, drain_delay: 0s, drain_timeout: 20s }
admin: { address: 127.0.0.1:$admin }
listeners:
  - { name: edge, address: 127.0.0.1:$edge$listener, routes: [{ match: { prefix: / }, cluster: calls }] }
clusters:
  - { name: calls, protocol: http2, endpoints: [$endpoints]$cluster }
YAML
    "$ringway" run -c "$dir/ringway-$edge.yaml" 2>"$dir/ringway-$edge.log" &
    proxy=$!
    pids="$pids $proxy"
    await "$edge" || { cat "$dir/ringway-$edge.log"; exit 1; }
}

# Stops a process, which must end well.
end() {
    kill -TERM "$1"
    wait "$1" || { echo "process $1 ended with $?"; cat "$dir"/ringway-*.log; exit 1; }
}

# All cases of a client at a port that are in $dir/passed-CLIENT-NAME, or, where there is no such file, all that pass, which makes it.
run_cases() {
    client=$1 at=$2 name=$3 bad=0 good=0
    for case in $(cat "$dir/passed-$client-$name"); do
        if ask "$client" "$at" "$case"; then
            good=$((good + 1))
        else
            bad=$((bad + 1))
            echo "  FAILED: $client's $case"
            sed 's/^/    /' "$dir/case" | tail -20
        fi
    done
    [ "$bad" = 0 ] || exit 1
    echo "  $client's client: $good cases"
}

# What passes without a proxy between.
for server in $peers; do
    serve "$server"
    eval "port_$server=$port"
    for client in $peers; do
        passed=
        for case in $(cases_of "$client"); do
            if ask "$client" "$port" "$case"; then passed="$passed $case"; else echo "does not pass directly: $client to $server, $case"; fi
        done
        echo "$passed" >"$dir/passed-$client-$server"
    done
done

for driver in io_uring epoll; do
    for server in $peers; do
        echo "== $driver, $server's server"
        eval "port=\$port_$server"
        through "" "" "$port"
        for client in $peers; do run_cases "$client" "$edge" "$server"; done
        end "$proxy"
    done
    case $peers in *go*) ;; *) echo "left out: drills with limited servers want go" && continue ;; esac

    echo "== $driver, one stream at a time"
    serve limited -streams=1
    through "" "" "$port"
    for client in $peers; do run_cases "$client" "$edge" go; done
    end "$proxy"

    echo "== $driver, connections that end all the time at both sides"
    serve limited -age=150ms
    through ", http2: { max_age: 150ms }" ", pool: { max_age: 250ms }" "$port"
    for client in $peers; do run_cases "$client" "$edge" go; done
    end "$proxy"

    # A row of calls on one channel, of which not one may fail.
    soak() {
        timeout 120 "$cache/client" -server_host=127.0.0.1 -server_port="$1" -test_case=rpc_soak -soak_iterations=400 \
            -soak_num_threads=8 -soak_max_failures=0 -soak_per_iteration_max_acceptable_latency_ms=30000 -soak_min_time_ms_between_rpcs=10 -soak_overall_timeout_seconds=60 >"$dir/soak" 2>&1 &
        soaking=$!
        pids="$pids $soaking"
    }
    soaked() { wait "$soaking" || { tail -20 "$dir/soak"; exit 1; } }

    echo "== $driver, one of two servers stops in the middle"
    serve limited
    first=$pid one=$port
    serve limited
    through "" "" "$one" "$port"
    soak "$edge"
    served "$admin" 100
    end "$first"
    soaked
    end "$proxy"
    echo "  400 calls, none failed"

    echo "== $driver, one of two proxies stops in the middle"
    serve limited
    through "" "" "$port"
    one=$edge one_admin=$admin first=$proxy
    through "" "" "$port"
    other=$edge second=$proxy
    front=$(free_port)
    cat >"$dir/front.yaml" <<YAML
process: { io_driver: $driver, drain_delay: 0s, drain_timeout: 1s }
listeners:
  - { name: front, address: 127.0.0.1:$front, tcp: { cluster: proxies } }
clusters:
  - { name: proxies, balance: round_robin, endpoints: [127.0.0.1:$one, 127.0.0.1:$other] }
YAML
    "$ringway" run -c "$dir/front.yaml" 2>"$dir/ringway-front.log" &
    third=$!
    pids="$pids $third"
    await "$front"
    # One channel has one connection: whichever of the two it is on, both are told to stop, one after the other, and come back.
    soak "$front"
    python3 - "$one_admin" "$admin" >"$dir/on" <<'PY'
import sys, time, urllib.request
for _ in range(800):
    for number, port in enumerate(sys.argv[1:]):
        text = urllib.request.urlopen("http://127.0.0.1:%s/stats/prometheus" % port, timeout=5).read().decode()
        if any(float(l.split()[-1]) >= 100 for l in text.splitlines() if l.startswith("ringway_listener_downstream_rq_total{")):
            print(number)
            sys.exit(0)
    time.sleep(0.025)
sys.exit("not so many calls in 20 s")
PY
    if [ "$(cat "$dir/on")" = 0 ]; then end "$first" && last=$second; else end "$second" && last=$first; fi
    soaked
    end "$last"
    end "$third"
    echo "  400 calls, none failed"
done
echo "all as it should be"
