"""Kinds of measurement: how a proxy is loaded, which figures come of it, and how they are shown.

`run(bench, case, at)` gets the case and where the proxy is (`measure.At`), and returns plain numbers with `others` (the
share of a core that other processes used) and `errors` among them. `columns` are a table's: title, key, digits, divisor.
`plotted` is the key that the plot shows, with its unit. A kind that measures memory alone does not mind noise.
"""

import collections
import json
import os
import socket
import subprocess

import h2load
import handshakes
import system

Kind = collections.namedtuple("Kind", "run columns plotted minds_noise")


def tool(bench, command, port, options, timeout):
    """The answer of the project's own tool to one command."""
    words = [bench.tool, command, "--target", f"127.0.0.1:{port}"]
    for key, value in options.items():
        words += [f"--{key}", str(value)]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, {system.ENDS_CORE}),
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def load(bench, case, at):
    """A load of HTTP/1.1 for some seconds, and the proxy's CPU time meanwhile."""
    options = {"path": f"/bytes/{case.options['length']}", "seconds": bench.seconds, "warmup": bench.warmup}
    options |= {"proxy": at.pid, "origin": at.origin.pid, "cores": f"{system.PROXY_CORE},{system.ENDS_CORE}"}
    result = tool(bench, "load", at.port, options | case.options, bench.seconds + bench.warmup + 30)
    requests = max(1, result["requests"])
    ticks = max(1, result["proxy_user_ticks"] + result["proxy_system_ticks"])
    result["cpu_us"] = result["proxy_nanos"] / 1000 / requests
    result["user_us"] = result["cpu_us"] * result["proxy_user_ticks"] / ticks
    result["requests_per_second"] = result["requests"] / result["seconds"]
    result["errors"] += result["queued"]
    return result


def pour(bench, case, at):
    """One long answer to a client that pauses in its middle: what the proxy holds shows in its peak memory."""
    length = case.options["length"]
    start = system.memory(at.pid, "VmRSS")
    options = {"path": f"/bytes/{length}", "pause-at": length // 4, "pause": 1.0}
    result = tool(bench, "pour", at.port, options, 120)
    growth = system.memory(at.pid, "VmHWM") - start
    whole = result["bytes"] > length
    return {"others": 0.0, "errors": 0 if whole else 1, "seconds": result["seconds"], "growth_kib": growth}


def idle(_bench, case, at):
    """Memory per connection: bare, and after each has been answered once."""
    count = case.options["connections"]
    start = system.settled_rss(at.pid)
    clients = [connect(at) for _ in range(count)]
    bare = system.settled_rss(at.pid)
    answered = sum(ask_in_turns(clients))
    asked = system.settled_rss(at.pid)
    for client in clients:
        client.close()
    return {
        "others": 0.0,
        "errors": count - answered,
        "bare_kib": (bare - start) / count,
        "asked_kib": (asked - start) / count,
    }


def connect(at):
    """A connection to the proxy, with its TLS handshake done where it speaks TLS."""
    client = socket.create_connection(("127.0.0.1", at.port), 5)
    return handshakes.CONTEXT.wrap_socket(client) if at.scheme == "https" else client


def ask_in_turns(clients, turn=50):
    """One request on each connection, a few at a time; 1 for each that is answered with 200."""
    for start in range(0, len(clients), turn):
        batch = clients[start : start + turn]
        for client in batch:
            client.sendall(b"GET /bytes/1024 HTTP/1.1\r\nHost: bench\r\n\r\n")
        for client in batch:
            answer = b""
            while len(answer.partition(b"\r\n\r\n")[2]) < 1024:
                part = client.recv(8192)
                if not part:
                    break
                answer += part
            yield int(answer.startswith(b"HTTP/1.1 200"))


LOAD_COLUMNS = [
    ("CPU µs/request", "cpu_us", 1, 1),
    ("user µs", "user_us", 1, 1),
    ("requests/s", "requests_per_second", 0, 1),
    ("p50 µs", "p50_us", 0, 1),
    ("p99 µs", "p99_us", 0, 1),
    ("peak RSS MiB", "peak_rss_kib", 1, 1024),
    ("upstream connections", "upstream_connections", 0, 1),
]
POUR_COLUMNS = [
    ("peak RSS MiB", "peak_rss_kib", 1, 1024),
    ("of it for the answer, MiB", "growth_kib", 2, 1024),
    ("seconds without the pause", "seconds", 2, 1),
]
IDLE_COLUMNS = [
    ("KiB/connection, nothing asked", "bare_kib", 2, 1),
    ("KiB/connection, after an answer", "asked_kib", 2, 1),
    ("peak RSS MiB", "peak_rss_kib", 1, 1024),
]
HANDSHAKE_COLUMNS = [
    ("CPU µs/handshake", "cpu_us", 1, 1),
    ("user µs", "user_us", 1, 1),
    ("handshakes/CPU s", "per_cpu_second", 0, 1),
    ("peak RSS MiB", "peak_rss_kib", 1, 1024),
]
CPU_PLOT = ("cpu_us", "CPU µs per request")

# By the name that a case gives.
KINDS = {
    "load": Kind(load, LOAD_COLUMNS, CPU_PLOT, True),
    "h2load": Kind(h2load.run, LOAD_COLUMNS, CPU_PLOT, True),
    "handshakes": Kind(handshakes.run, HANDSHAKE_COLUMNS, ("cpu_us", "CPU µs per handshake and request"), True),
    "pour": Kind(pour, POUR_COLUMNS, None, False),
    "idle": Kind(idle, IDLE_COLUMNS, ("asked_kib", "KiB of memory per connection"), False),
}
