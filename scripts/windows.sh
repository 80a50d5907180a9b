#!/bin/sh
# A GiB up and a GiB down over a path with delay, in HTTP/1.1 and in HTTP/2: between the client and the proxy, and between the proxy and
# its upstream. Says how fast each is, and what the proxy had in memory at most; fails where HTTP/2 is much slower than HTTP/1.1, or where
# memory was not bounded. The path is a relay that passes bytes on as late as it is told, and no faster: no kernel has to know how, and
# nobody has to be root. Without a rate the processors are the limit, of Go's HTTP/2 at both ends above all, and windows show little.
#
#   scripts/windows.sh [RINGWAY]     the binary; default target/release/ringway
#   MIB=1024 DELAY=20                how much, and the milliseconds of a round trip
#   RATE=250                         MB/s that the path carries each way (2 Gbit/s); 0: as much as the machine can
#   RATIO=0.9 MEMORY=192             what is too slow, and the MiB that are too much
#
# Needs go and python3.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
ringway=${1:-$root/target/release/ringway}
mib=${MIB:-1024} delay=${DELAY:-20} rate=${RATE:-250} ratio=${RATIO:-0.9} memory=${MEMORY:-192}
command -v go >/dev/null || { echo "left out: go is not there"; exit 0; }
dir=$(mktemp -d)
pids=
stop() {
    for pid in $pids; do kill "$pid" 2>/dev/null || :; done
    rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM

cat >"$dir/main.go" <<'GO'
// A server that takes and gives bytes in either version, a client that asks for them, and a path with delay.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// Larger than the path holds, so that only the proxy's windows are measured.
const window = 16 << 20

func serve(address string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, make([]byte, 1<<20))
			fmt.Fprint(w, n)
			return
		}
		n, _ := strconv.ParseInt(r.URL.Query().Get("bytes"), 10, 64)
		w.Header().Set("Content-Length", fmt.Sprint(n))
		io.CopyBuffer(struct{ io.Writer }{w}, io.LimitReader(zeros{}, n), make([]byte, 1<<20))
	})
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := http.Server{Addr: address, Handler: mux, Protocols: protocols, HTTP2: &http.HTTP2Config{
		MaxReceiveBufferPerStream: window, MaxReceiveBufferPerConnection: 2 * window}}
	return server.ListenAndServe()
}

func ask(version, direction, url string, bytes int64) error {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(version == "1")
	protocols.SetUnencryptedHTTP2(version == "2")
	transport := &http.Transport{Protocols: protocols, WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: window, MaxReceiveBufferPerConnection: 2 * window}}
	client := http.Client{Transport: transport}
	// The connection is there before anything is measured.
	if answer, err := client.Get(url + "?bytes=1"); err != nil {
		return err
	} else {
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
	}
	began := time.Now()
	var moved int64
	if direction == "up" {
		request, _ := http.NewRequest("POST", url, io.LimitReader(zeros{}, bytes))
		request.ContentLength = bytes
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		text, _ := io.ReadAll(answer.Body)
		moved, _ = strconv.ParseInt(string(text), 10, 64)
	} else {
		answer, err := client.Get(fmt.Sprintf("%s?bytes=%d", url, bytes))
		if err != nil {
			return err
		}
		moved, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, answer.Body, make([]byte, 1<<20))
		if err != nil {
			return err
		}
	}
	if moved != bytes {
		return fmt.Errorf("%d bytes of %d", moved, bytes)
	}
	fmt.Printf("%.1f\n", float64(bytes)/1e6/time.Since(began).Seconds())
	return nil
}

type piece struct {
	bytes []byte
	due   time.Time
}

// Bytes one way, each as late as the delay says and no sooner than the rate (MB/s, or 0) lets them. What is under way is bounded, as it
// is on a path and in its sockets.
func late(to, from *net.TCPConn, delay time.Duration, rate int) {
	pieces := make(chan piece, 16<<20/(64<<10))
	go func() {
		defer close(pieces)
		free := time.Now()
		for {
			bytes := make([]byte, 64<<10)
			n, err := from.Read(bytes)
			if n > 0 {
				if now := time.Now(); free.Before(now) {
					free = now
				}
				pieces <- piece{bytes[:n], free.Add(delay)}
				if rate > 0 {
					free = free.Add(time.Duration(n) * time.Microsecond / time.Duration(rate))
				}
			}
			if err != nil {
				return
			}
		}
	}()
	for piece := range pieces {
		time.Sleep(time.Until(piece.due))
		if _, err := to.Write(piece.bytes); err != nil {
			from.CloseRead()
		}
	}
	to.CloseWrite()
}

func path(address, target string, delay time.Duration, rate int) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		near, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			far, err := net.Dial("tcp", target)
			if err != nil {
				near.Close()
				return
			}
			go late(far.(*net.TCPConn), near.(*net.TCPConn), delay, rate)
			late(near.(*net.TCPConn), far.(*net.TCPConn), delay, rate)
		}()
	}
}

func main() {
	var err error
	if os.Args[1] == "serve" {
		err = serve(os.Args[2])
	} else if os.Args[1] == "path" {
		delay, _ := time.ParseDuration(os.Args[4])
		rate, _ := strconv.Atoi(os.Args[5])
		err = path(os.Args[2], os.Args[3], delay, rate)
	} else {
		bytes, _ := strconv.ParseInt(os.Args[4], 10, 64)
		err = ask(os.Args[1], os.Args[2], os.Args[3], bytes)
	}
	if err != nil {
		log.Fatal(err)
	}
}
GO
(cd "$dir" && GOFLAGS= GO111MODULE=off go build -o pipe main.go)

# Ports that nobody has.
ports=$(python3 -c 'import socket
sockets = [socket.socket() for _ in range(4)]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))')
set -- $ports
origin=127.0.0.1:$1 far=127.0.0.1:$2 edge=127.0.0.1:$3 near=127.0.0.1:$4

cat >"$dir/ringway.yaml" <<YAML
process: { cores: 1, drain_delay: 0s, drain_timeout: 1s }
listeners:
  - name: edge
    address: $edge
    routes:
      - { match: { prefix: /one }, cluster: one, timeout: 0s }
      - { match: { prefix: /far }, cluster: far-one, timeout: 0s }
      - { match: { prefix: /two }, cluster: far-two, timeout: 0s }
clusters:
  - { name: one, protocol: http1, endpoints: ["$origin"] }
  - { name: far-one, protocol: http1, endpoints: ["$far"] }
  - { name: far-two, protocol: http2, endpoints: ["$far"] }
YAML
half=$(awk "BEGIN { print $delay / 2 }")ms
"$dir/pipe" serve "$origin" &
pids="$pids $!"
"$dir/pipe" path "$far" "$origin" "$half" "$rate" &
pids="$pids $!"
"$dir/pipe" path "$near" "$edge" "$half" "$rate" &
pids="$pids $!"

# One transfer: sets `speed` (MB/s) and `most` (MiB in memory, of a proxy that did nothing else).
transfer() { # version of the client, URL, direction
    "$ringway" run -c "$dir/ringway.yaml" 2>"$dir/ringway.log" &
    pid=$!
    pids="$pids $pid"
    tries=0
    until "$dir/pipe" 1 down "http://$edge/one" 1 >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || { cat "$dir/ringway.log"; exit 1; }
    done
    speed=$(timeout 300 "$dir/pipe" "$1" "$3" "$2" $((mib << 20)))
    most=$(awk '/^VmHWM/ { print int($2 / 1024) }' /proc/$pid/status)
    kill -TERM $pid
    wait $pid || :
}

bad=0
compare() { # where the delay is, direction, then version and URL of HTTP/1.1 and of HTTP/2
    transfer "$3" "$4" "$2"
    one=$speed one_most=$most
    transfer "$5" "$6" "$2"
    printf '%-28s %-5s %8s MB/s %4s MiB  %8s MB/s %4s MiB  %s\n' "$1" "$2" "$one" "$one_most" "$speed" "$most" \
        "$(awk "BEGIN { printf \"%.2f\", $speed / $one }")"
    awk "BEGIN { exit !($speed / $one < $ratio || $most > $memory) }" && bad=1 || :
}

printf '%-28s %-5s %22s  %22s  %s\n' "$mib MiB, $delay ms, $rate MB/s" "" "HTTP/1.1" "HTTP/2" "ratio"
for direction in up down; do compare "between client and proxy" $direction 1 "http://$near/one" 2 "http://$near/one"; done
for direction in up down; do compare "between proxy and upstream" $direction 1 "http://$edge/far" 1 "http://$edge/two"; done
[ $bad = 0 ] || { echo "too slow (below $ratio of HTTP/1.1), or too much memory (above $memory MiB)"; exit 1; }
