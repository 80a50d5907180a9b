"""The measurements: each starts a proxy anew, checks its answers, loads it, and returns plain numbers."""

import collections
import http.client
import json
import os
import re
import socket
import subprocess
import tempfile
import time

import peers

PROXY_CORE, ENDS_CORE = 0, 1

# Beyond this share of a core used by others (both cores together), a measurement is thrown away.
NOISE_LIMIT = 0.12
QUIET_DEADLINE = 20.0

Case = collections.namedtuple("Case", "name title kind options bar")

LOAD = "load"
POUR = "pour"
IDLE = "idle"

CASES = [
    Case("1k", "1 KiB, keep-alive, 64 connections", LOAD, {"length": 1024, "connections": 64}, 0.9),
    Case("64k", "64 KiB, keep-alive, 64 connections", LOAD, {"length": 65536, "connections": 64}, 1.0),
    Case("close", "1 KiB, one connection a request", LOAD, {"length": 1024, "connections": 64, "close": "yes"}, 1.0),
    Case("one", "1 KiB, keep-alive, one connection", LOAD, {"length": 1024, "connections": 1}, None),
    Case("rate", "1 KiB, open loop, 64 connections", LOAD, {"length": 1024, "connections": 64, "rate": 5000}, None),
    Case("1g", "one answer of 1 GiB", POUR, {"length": 1 << 30}, None),
    Case("idle", "idle connections", IDLE, {"connections": 5000}, None),
]


class Origin:
    """The origin, running on the ends' core."""

    def __init__(self, tool, folder):
        (self.port,) = peers.free_ports(1)
        command = [tool, "origin", "--listen", f"127.0.0.1:{self.port}"]
        self.running = peers.Running(command, {ENDS_CORE}, folder)
        self.running.wait_for_port(self.port)

    def connections(self):
        """How many connections it has taken so far, this question's own included."""
        return int(fetch(self.port, "/connections")[1])


class Bench:
    """What all measurements share: the tool, its origin, how long to measure."""

    def __init__(self, tool, seconds, warmup, folder):
        self.tool = tool
        self.seconds = seconds
        self.warmup = warmup
        self.folder = folder
        self.origin = Origin(tool, folder)

    def measure(self, case, peer):
        """One round of one case of one peer: a dictionary of numbers."""
        wait_until_quiet()
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            running, port = peers.start(peer, PROXY_CORE, folder, self.origin.port)
            with running:
                check_answers(port)
                before = self.origin.connections()
                kind = {LOAD: self.load, POUR: self.pour, IDLE: self.idle}[case.kind]
                result = kind(case, port, running.pid)
                result["upstream_connections"] = self.origin.connections() - before - 1
                result["peak_rss_kib"] = memory(running.pid, "VmHWM")
        return result

    def load(self, case, port, pid):
        """A load for some seconds, and the proxy's CPU time meanwhile."""
        options = {"path": f"/bytes/{case.options['length']}", "seconds": self.seconds, "warmup": self.warmup}
        options |= {"proxy": pid, "origin": self.origin.running.pid, "cores": f"{PROXY_CORE},{ENDS_CORE}"}
        result = self.run("load", port, options | case.options, self.seconds + self.warmup + 30)
        requests = max(1, result["requests"])
        ticks = max(1, result["proxy_user_ticks"] + result["proxy_system_ticks"])
        result["cpu_us"] = result["proxy_nanos"] / 1000 / requests
        result["user_us"] = result["cpu_us"] * result["proxy_user_ticks"] / ticks
        result["requests_per_second"] = result["requests"] / result["seconds"]
        result["errors"] += result["queued"]
        return result

    def pour(self, case, port, pid):
        """One long answer to a client that pauses in its middle: what the proxy holds shows in its peak memory."""
        length = case.options["length"]
        start = memory(pid, "VmRSS")
        options = {"path": f"/bytes/{length}", "pause-at": length // 4, "pause": 1.0}
        result = self.run("pour", port, options, 120)
        growth = memory(pid, "VmHWM") - start
        whole = result["bytes"] > length
        return {"others": 0.0, "errors": 0 if whole else 1, "seconds": result["seconds"], "growth_kib": growth}

    def idle(self, case, port, pid):
        """Memory per connection: bare, and after each has been answered once."""
        count = case.options["connections"]
        start = settled_rss(pid)
        clients = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(count)]
        bare = settled_rss(pid)
        answered = sum(ask_in_turns(clients))
        asked = settled_rss(pid)
        for client in clients:
            client.close()
        return {
            "others": 0.0,
            "errors": count - answered,
            "bare_kib": (bare - start) / count,
            "asked_kib": (asked - start) / count,
        }

    def run(self, command, port, options, timeout):
        """The tool's answer to one command."""
        words = [self.tool, command, "--target", f"127.0.0.1:{port}"]
        for key, value in options.items():
            words += [f"--{key}", str(value)]
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, {ENDS_CORE}),
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
        return json.loads(done.stdout)


def fetch(port, path, **headers):
    """A GET on a connection of its own: head and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"GET {path}: {answer.status}")
        return answer.headers, answer.read()
    finally:
        connection.close()


def check_answers(port):
    """The proxy gives the right bytes and adds what all peers are to add; raises if not."""
    for length in (1, 1024, 65536):
        headers, body = fetch(port, f"/bytes/{length}")
        if body != bytes(at % 251 for at in range(length)):
            raise RuntimeError(f"/bytes/{length}: the body is not what the origin sent")
        if "Via" not in headers:
            raise RuntimeError("the answer has no Via")
    heads = [fetch(port, "/head")[1].decode("latin-1") for _ in range(2)]
    wanted = {"x-forwarded-for": r"[0-9.]+", "x-forwarded-proto": "http", "x-request-id": r"\S{16,}", "via": ".+"}
    for name, value in wanted.items():
        if not re.search(rf"^{name}: {value}\r$", heads[0], re.MULTILINE | re.IGNORECASE):
            raise RuntimeError(f"the upstream request lacks {name}:\n{heads[0]}")
    ids = {re.search(r"^x-request-id: (\S+)", head, re.MULTILINE | re.IGNORECASE).group(1) for head in heads}
    if len(ids) != 2:
        raise RuntimeError("two requests have the same X-Request-Id")
    if fetch(port, "/bytes/1", Connection="close")[0].get("Connection", "").lower() != "close":
        raise RuntimeError("the answer to `Connection: close` does not say it")


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


def family(pid):
    """A process and all that descend from it."""
    children = collections.defaultdict(list)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="latin-1") as file:
                    children[int(file.read().rpartition(")")[2].split()[1])].append(int(entry))
            except OSError:
                continue
    found = [pid]
    for one in found:
        found += children[one]
    return found


def memory(pid, key):
    """Resident memory of a process and its descendants in KiB: VmRSS now, or VmHWM at most (summed over processes)."""
    total = 0
    for one in family(pid):
        with open(f"/proc/{one}/status", encoding="latin-1") as file:
            found = re.search(rf"^{key}:\s+(\d+) kB", file.read(), re.MULTILINE)
        total += int(found.group(1)) if found else 0
    return total


def settled_rss(pid, deadline=10.0):
    """Resident memory once it has stopped moving: equal in three looks, or as it is when the time is over."""
    end = time.monotonic() + deadline
    last = []
    while time.monotonic() < end:
        last = [*last[-2:], memory(pid, "VmRSS")]
        if len(last) == 3 and max(last) == min(last):
            break
        time.sleep(0.25)
    return last[-1]


def idle_seconds():
    """How long the two cores have been idle."""
    total = 0
    with open("/proc/stat", encoding="ascii") as file:
        for line in file:
            words = line.split()
            if words[0] in (f"cpu{PROXY_CORE}", f"cpu{ENDS_CORE}"):
                total += int(words[4]) + int(words[5])
    return total / os.sysconf("SC_CLK_TCK")


def wait_until_quiet():
    """Returns when others leave both cores alone, or when the time is over: the measurement then tells."""
    end = time.monotonic() + QUIET_DEADLINE
    while time.monotonic() < end:
        before, start = idle_seconds(), time.monotonic()
        time.sleep(0.5)
        wall = time.monotonic() - start
        if 2 * wall - (idle_seconds() - before) < NOISE_LIMIT * wall:
            return
