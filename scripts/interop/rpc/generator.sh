#!/bin/sh
# Holds the benchmark's load generator against a real server: FORM SERVER PROXY COUNT...
# For a second it calls the server at the port SERVER, for another through the proxy at the port PROXY; before and after the server is
# asked, by the command COUNT, how often it was called ("echoed N"). The difference must be what the generator counted, and no more
# beside than its connections had in flight at the two ends.
set -eu

form=$1 server=$2 proxy=$3
shift 3
connections=8 asked=0
case $form in
    bolt) whose="--service EchoService" ;;
    dubbo) whose="--service EchoService --group blue" ;;
    *) exit 2 ;;
esac
load() {
    # shellcheck disable=SC2086
    "$RINGWAY_LOAD" load --form "$form" --target "127.0.0.1:$1" --connections $connections --warmup "$2" --seconds 1 --length 1024 $whose
}
echoed() { sed -n 's/^echoed //p'; }

# Its first calls a server for Java serves at its leisure.
load "$server" 4 >/dev/null
before=$("$@" | echoed)
for port in "$server" "$proxy"; do
    said=$(load "$port" 0)
    number() { echo "$said" | sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"; }
    requests=$(number requests) errors=$(number errors)
    if [ "$errors" = 0 ] && [ "$requests" -gt 0 ]; then
        echo "ok   $requests calls in a second at port $port"
    else
        echo "FAIL at port $port: $said"
        exit 1
    fi
    asked=$((asked + requests))
done
served=$(($("$@" | echoed) - before))
beside=$((served - asked))
if [ "$beside" -ge 0 ] && [ "$beside" -le $((2 * connections)) ]; then
    echo "ok   the server counted $served calls, $beside of them in flight at the end"
else
    echo "FAIL the server counted $served calls, the generator $asked"
    exit 1
fi
