# Ports of the interop suites: one that is free, and waiting for one to be listened on. To be sourced.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Waits until somebody listens.
await() {
    python3 - "$1" <<'PY'
import socket, sys, time
for _ in range(1200):
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1).close()
        sys.exit(0)
    except OSError:
        time.sleep(0.05)
sys.exit("nobody listens on port " + sys.argv[1])
PY
}
