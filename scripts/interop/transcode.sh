#!/usr/bin/env bash
# HTTP with JSON (curl) through the proxy to real servers of Dubbo and SOFARPC: values of all kinds both ways, exceptions, what nobody
# serves, timeouts, a server that is gone; and to a provider on hessian.js, so that what is written and read of Hessian is held against
# two other implementations. Fails if anything is not as it should be.
#
#   scripts/interop/transcode.sh [-d DRIVER] [RINGWAY]
#     -d DRIVER   io_uring or epoll; default: what the proxy takes
#     RINGWAY     the binary; default target/debug/ringway
#
# Installs the peers with npm and mvn into a folder of its own ($RINGWAY_PEERS, default ~/.cache/ringway/rpc-peers) where they are not
# yet; what cannot be had is left out, and that is said.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=scripts/interop/lib.sh
. "$here/lib.sh"
driver=
while getopts d: option; do
    case $option in
        d) driver=$OPTARG ;;
        *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
ringway=${1:-${CARGO_TARGET_DIR:-$root/target}/debug/ringway}
work=$(mktemp -d)
started=()
stop() {
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null || :
        wait "$pid" 2>/dev/null || :
    done
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM

. "$here/ports.sh"
# shellcheck source=scripts/interop/peers.sh
. "$here/peers.sh"
install_node
install_jvm

# Starts a server: NAME PORT COMMAND...
serve() {
    local name=$1 port=$2
    shift 2
    "$@" >"$work/$name.log" 2>&1 &
    started+=($!)
    await "$port" || { cat "$work/$name.log"; exit 1; }
}

# What it is called, the status and the JSON (or, after `has:`, a part; after `file:`, where it is) of the answer, then what curl is given; the path comes last.
ask() {
    local name=$1 status=$2 expect=$3 path=${!#}
    set -- "${@:4:$#-4}"
    check "$name" answers "$status" "$expect" "$@" "http://127.0.0.1:$port$path"
}
answers() {
    local status=$1 expect=$2
    shift 2
    curl -sS --max-time 20 -o "$work/body" -w '%{http_code} %{content_type}' "$@" >"$work/status"
    python3 - "$status" "$expect" "$work" <<'PY'
import json, sys
status, expect, work = sys.argv[1:]
said = open(work + "/status").read()
body = open(work + "/body", encoding="utf-8").read()
fits = said == status + " application/json"
got = json.loads(body)
if expect.startswith("has:"):
    fits = fits and expect[4:] in body
elif expect.startswith("file:"):
    fits = fits and got == json.load(open(expect[5:], encoding="utf-8"))
else:
    fits = fits and got == json.loads(expect)
if not fits:
    sys.exit(f"wanted {status} {expect[:300]}\ngot {said} {body[:600]}")
PY
}

dubbo_port=$(free_port) sofa_port=$(free_port) node_port=$(free_port) gone_port=$(free_port) port=$(free_port)
route() { # PREFIX CLUSTER FILTER [TIMEOUT]
    echo "      - { match: { prefix: $1 }, cluster: $2, timeout: ${4:-20s}, filters: [{ transcode: $3 }] }"
}
{
    echo "process: { cores: 2, drain_delay: 0s, drain_timeout: 1s${driver:+, io_driver: $driver} }"
    echo "admin: { address: \"unix:$work/admin.sock\" }"
    echo "listeners:"
    echo "  - name: api"
    echo "    address: 127.0.0.1:$port"
    echo "    routes:"
    users='to: dubbo, service: Users, version: 1.0.0, group: blue'
    route /users/ dubbo "{ $users, method: find, parameters: [{ type: long, from: path.2 }, { type: java.lang.String, from: query.fields }] }"
    route /save dubbo "{ $users, method: save, parameters: [{ type: Users\$User, from: body }] }"
    route /longs dubbo "{ $users, method: mixed, parameters: [], longs: text, class_names: true }"
    route /echo dubbo "{ $users, method: echo, parameters: [{ type: java.lang.String }], max_body: 8MiB }"
    route /tenant dubbo "{ $users, method: tenant, parameters: [], headers: { tenant: x-tenant } }"
    route /slow dubbo "{ $users, method: slow, parameters: [{ type: int }] }" 1s
    route /missing dubbo "{ to: dubbo, service: Nobody, method: x, parameters: [] }"
    route /gone gone "{ $users, method: nothing, parameters: [] }"
    route /open/ dubbo "{ $users, method: \"{path.2}\" }"
    route /node/ node "{ to: dubbo, service: any, group: g, method: \"{path.2}\" }"
    route /sofa/ sofa "{ to: bolt, service: \"Users:1.0\", method: \"{path.2}\" }"
    route /sofa-slow sofa "{ to: bolt, service: \"Users:1.0\", method: slow }" 1s
    route /sofa-find/ sofa "{ to: bolt, service: \"Users:1.0\", method: find, parameters: [{ type: long, from: path.2 }, { type: java.lang.String, from: query.fields }] }"
    route /sofa-missing sofa "{ to: bolt, service: \"Nobody:1.0\", method: x }"
    echo "clusters:"
    echo "  - { name: dubbo, protocol: dubbo, endpoints: [\"127.0.0.1:$dubbo_port\"] }"
    echo "  - { name: node, protocol: dubbo, endpoints: [\"127.0.0.1:$node_port\"] }"
    echo "  - { name: gone, protocol: dubbo, endpoints: [\"127.0.0.1:$gone_port\"] }"
    echo "  - { name: sofa, protocol: bolt, endpoints: [\"127.0.0.1:$sofa_port\"] }"
} >"$work/ringway.yaml"
serve ringway "$port" "$ringway" run -c "$work/ringway.yaml"
json='content-type: application/json'
emoji='"J\u00fcrgen \ud83d\ude00"'
user='{"id": 42, "name": "a b", "colour": "BLUE", "born": 1700000000000, "balance": 12345678901234567890.10, "picture": "AQI=",
    "tags": ["a", "J\u00fcrgen \ud83d\ude00"], "scores": {"x": 1}, "friend": {"id": 1, "name": "friend", "colour": null, "born": null, "balance": null,
    "picture": null, "tags": null, "scores": null, "friend": null}}'
python3 -c 'print("\"" + "x\u4e2d\U0001f600" * 100000 + "\"", end="")' >"$work/long"
{ printf '['; cat "$work/long"; printf ']'; } >"$work/list"

if [ -n "$java_dubbo" ]; then
    # shellcheck disable=SC2086
    serve dubbo "$dubbo_port" $java_dubbo DubboPeer server "$dubbo_port"
    ask "Dubbo: an object, from the path and the query" 200 "$user" '/users/42?fields=a%20b'
    ask "Dubbo: an object there and back" 200 'has:"name":"b!"' -H "$json" -d '{"id": 9007199254740993, "name": "a", "colour": "RED", "tags": ["x"], "friend": {"name": "b"}}' /save
    ask "Dubbo: all digits of a long" 200 'has:9007199254740993' -H "$json" -d '{"id": 9007199254740993, "born": 5}' /save
    ask "Dubbo: longs as texts" 200 'has:"9007199254740993"' /longs
    ask "Dubbo: values of all kinds" 200 '{"long": 9007199254740993, "double": 1.5, "null": null, "list": [1, "a", true], "ints": [1, 2, 3]}' -d '{"types": [], "values": []}' /open/mixed
    ask "Dubbo: an object that is there three times" 200 'has:"id":7' -d '{"types": ["int"], "values": [3]}' /open/all
    ask "Dubbo: bytes" 200 '"AQID"' -d '{"types": ["byte[]"], "values": ["AQID"]}' /open/bytes
    ask "Dubbo: nothing" 200 null -d '{"types": [], "values": []}' /open/nothing
    ask "Dubbo: an object within itself" 502 '{"error": {"message": "a value of the answer lies within itself, which JSON cannot say"}}' -d '{"types": [], "values": []}' /open/loop
    ask "Dubbo: letters of all planes" 200 "$emoji" -d "[$emoji]" /echo
    check "Dubbo: a text of 800 KB" answers 200 "file:$work/long" --data-binary "@$work/list" "http://127.0.0.1:$port/echo"
    ask "Dubbo: an attachment" 200 '"red"' -H 'x-tenant: red' /tenant
    ask "Dubbo: an exception" 500 '{"error": {"message": "boom", "exception": "java.lang.IllegalStateException"}}' -d '{"types": ["java.lang.String"], "values": ["boom"]}' /open/fail
    ask "Dubbo: an exception of the service's own" 500 'has:"exception":"Users$Refused"' -d '{"types": ["java.lang.String"], "values": ["no"]}' /open/refuse
    ask "Dubbo: a timeout" 504 'has:too long' -d '[6000]' /slow
    ask "Dubbo: after the timeout" 200 5 -d '{"types": ["int", "int"], "values": [2, 3]}' /open/plus
    ask "Dubbo: from a client of HTTP/2" 200 7 --http2-prior-knowledge -d '{"types": ["int", "int"], "values": [3, 4]}' /open/plus
    ask "Dubbo: an unknown method" 500 'has:error' -d '{"types": [], "values": []}' /open/unknown
    ask "Dubbo: an unknown service" 404 'has:error' /missing
    ask "Dubbo: an argument that the method does not take" 400 'has:parameter 1 (int)' -d '{"types": ["int"], "values": ["x"]}' /open/slow
    many() { # clients at once, on one connection
        seq 200 | xargs -P 20 -I{} curl -sS "http://127.0.0.1:$port/users/{}?fields=n{}" | grep -o '"id":[0-9]*,"name":"n[0-9]*"\|"name":"n[0-9]*"' | sort -u | wc -l | grep -qx 200
    }
    check "Dubbo: 200 calls at once" many
else
    skip "Dubbo for Java, as was said"
fi
ask "a provider that is gone" 503 '{"error": {"message": "the upstream could not be reached"}}' /gone
ask "no JSON" 400 'has:the body is not JSON' -d '<a/>' /echo

if [ -n "$java_sofa" ]; then
    # shellcheck disable=SC2086
    serve sofa "$sofa_port" $java_sofa SofaPeer server "$sofa_port"
    ask "SOFARPC: an object, from the path and the query" 200 "$user" '/sofa-find/42?fields=a%20b'
    ask "SOFARPC: an object there and back" 200 'has:"name":"b!"' -H "$json" -d '{"id": 9007199254740993, "name": "a", "colour": "RED", "tags": ["x"], "friend": {"name": "b"}}' /sofa/save
    ask "SOFARPC: one argument, and letters of all planes" 200 "$emoji" -d "$emoji" /sofa/echo
    ask "SOFARPC: two" 200 5 -d '[2, 3]' /sofa/plus
    ask "SOFARPC: none" 200 '""' -d '[]' /sofa/tenant
    ask "SOFARPC: an exception" 500 '{"error": {"message": "boom"}}' -d '"boom"' /sofa/fail
    ask "SOFARPC: an exception of the service's own" 500 '{"error": {"message": "no"}}' -d '"no"' /sofa/refuse
    ask "SOFARPC: a timeout" 504 'has:too long' -d '6000' /sofa-slow
    ask "SOFARPC: after the timeout" 200 7 -d '[3, 4]' /sofa/plus
    ask "SOFARPC: an argument that the method does not take" 400 'has:arguments' -d '{"a": 1}' /sofa/plus
    ask "SOFARPC: an unknown service" 400 'has:error' -d '[]' /sofa-missing
else
    skip "SOFARPC for Java, as was said"
fi

if [ -n "$node" ]; then
    serve node "$node_port" node "$here/rpc/generic.js" "$node_port"
    echoes() { # the values as JSON
        answers 200 "{\"method\": \"\$invoke\", \"name\": \"echo\", \"types\": $2, \"values\": $1, \"generic\": \"true\", \"group\": \"g\"}" \
            -d "{\"types\": $2, \"values\": $1}" "http://127.0.0.1:$port/node/echo"
    }
    check "hessian.js: truths, nulls, texts" echoes '[true, false, null, "", "J\u00fcrgen \ud83d\ude00"]' '["a", "b", "c", "d", "e"]'
    check "hessian.js: numbers around every border" echoes '[0, -16, 47, 48, -17, 2047, -2048, 2048, 262143, -262144, 262144, 2147483647, -2147483648]' '["a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a"]'
    check "hessian.js: longs" echoes '[1, -8, 15, 16, 2047, 2048, 262144, 2147483648, 1099511627776, 9007199254740991]' '["long", "long", "long", "long", "long", "long", "long", "long", "long", "long"]'
    check "hessian.js: numbers with fractions" echoes '[0.5, -1.25, 3.141592653589793]' '["double", "x", "x"]'
    check "hessian.js: lists and maps in each other" echoes '[[[], [1, [2]], {}], {"a": {"b": [null, {"c": "d"}]}}, [1, 2, 3, 4, 5, 6, 7, 8, 9]]' '["a", "b", "c"]'
else
    skip "hessian.js, as was said"
fi

echo "$passed as they should be, $failed not, $skipped left out"
[ "$failed" = 0 ]
