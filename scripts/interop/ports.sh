# Ports of the interop suites: one that is free, and waiting for one to be listened on. To be sourced.

# Below those that the kernel gives to connections, any of which could take it before whom it is for has it; and no port twice.
free_port() {
    python3 - "${work:-${dir:-}}" <<'PY'
import os, random, socket, sys
end = int(open("/proc/sys/net/ipv4/ip_local_port_range").read().split()[0])
file = sys.argv[1] and sys.argv[1] + "/ports"
given = open(file).read().split() if file and os.path.exists(file) else []
while True:
    port = random.randrange(max(1024, end - 20000), end) if end > 2048 else 0
    if str(port) in given:
        continue
    with socket.socket() as taken:
        try:
            taken.bind(("127.0.0.1", port))
        except OSError:
            continue
        port = taken.getsockname()[1]
    if file:
        open(file, "a").write(f"{port}\n")
    print(port)
    break
PY
}

# Waits until somebody listens: for five minutes: a JVM on a busy machine may take two.
await() {
    python3 - "$1" <<'PY'
import socket, sys, time
end = time.monotonic() + 300
while time.monotonic() < end:
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1).close()
        sys.exit(0)
    except OSError:
        time.sleep(0.05)
sys.exit("nobody listens on port " + sys.argv[1])
PY
}
