"""TLS handshakes, one after the other, each with one request: full ones, or resumed by the tickets that came before.

The client costs as much as the proxy, so that one process of it does not keep the proxy's core busy: what counts is the
proxy's CPU time for each handshake, not their rate.
"""

import json
import os
import socket
import ssl
import subprocess
import sys
import time

import system


def client_context():
    """What is measured is the proxy's work, whoever signed its certificate."""
    context = ssl._create_unverified_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


CONTEXT = client_context()


def run(bench, case, at):
    """Handshakes for some seconds, and the proxy's CPU time meanwhile."""
    words = [sys.executable, os.path.abspath(__file__), str(at.port), str(bench.warmup), str(bench.seconds)]
    words += ["resume"] if case.options["resume"] else []
    child = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {system.ENDS_CORE}),
    )
    with child:
        # It says a line when the measured time begins, and one with its figures when it is over.
        child.stdout.readline()
        before = read(at, child.pid)
        figures = json.loads(child.stdout.readline())
        after = read(at, child.pid)
    wall = after[0] - before[0]
    proxy = after[2].seconds - before[2].seconds
    ticks = after[2].user_ticks - before[2].user_ticks
    all_ticks = max(1, ticks + after[2].system_ticks - before[2].system_ticks)
    count = max(1, figures["handshakes"])
    wrong = figures["resumed"] if not case.options["resume"] else count - figures["resumed"]
    return {
        "others": (2 * wall - (after[1] - before[1]) - proxy - (after[3] - before[3])) / wall,
        "errors": figures["errors"] + wrong,
        "seconds": wall,
        "handshakes": count,
        "cpu_us": proxy * 1e6 / count,
        "user_us": proxy * 1e6 / count * ticks / all_ticks,
        "per_cpu_second": count / proxy,
    }


def read(at, client):
    """Clock, idleness and CPU time of the proxy and of both ends, now."""
    ends = [system.cpu_time(pid).seconds for pid in (client, at.origin.pid)]
    return time.monotonic(), system.idle_seconds(), system.cpu_time(at.pid), sum(ends)


def handshake(port, session):
    """One connection with one request: the session it leaves, and whether it was resumed."""
    raw = socket.create_connection(("127.0.0.1", port), 5)
    with CONTEXT.wrap_socket(raw, session=session) as client:
        client.sendall(b"GET /bytes/1 HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := client.recv(8192):
            answer += piece
        if not answer.startswith(b"HTTP/1.1 200"):
            raise OSError(answer[:40])
        return client.session, client.session_reused


def main(port, warmup, seconds, resume):
    """Warms up, says so, measures, and says what came of it."""
    counts = {"handshakes": 0, "resumed": 0, "errors": 0}
    session, begun, end = None, False, time.monotonic() + warmup
    while True:
        if time.monotonic() >= end:
            if begun:
                break
            print("begun", flush=True)
            begun, end = True, time.monotonic() + seconds
        try:
            left, resumed = handshake(port, session)
        except OSError:
            counts["errors"] += begun
            continue
        session = left if resume else None
        counts["handshakes"] += begun
        counts["resumed"] += begun and resumed
    print(json.dumps(counts), flush=True)
    # Its CPU time is read before it is gone.
    time.sleep(0.2)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), "resume" in sys.argv[4:])
