"""A load by nghttp2's h2load, for what the project's own generator does not speak: HTTP/2 and TLS.

h2load says when its measured time begins and ends; the proxy's CPU time is read at those two moments.
"""

import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time

import system

TICKS = os.sysconf("SC_CLK_TCK")
BEGUN, OVER = "Main benchmark duration is started", "Main benchmark duration is over"


def run(bench, case, at):
    """One load: `arguments` go to h2load as they are, `streams` is how many requests one connection has out at
    once; `length` asks for that many bytes, `message` sends one of gRPC to be echoed."""
    binary = shutil.which("h2load")
    if binary is None:
        raise RuntimeError("h2load (Debian: nghttp2-client) is not here")
    with tempfile.NamedTemporaryFile(dir=at.folder) as log:
        words = [binary, f"--duration={millis(bench.seconds)}", f"--warm-up-time={millis(bench.warmup)}", f"--log-file={log.name}"]
        words += [f"--clients={case.options['connections']}", f"--max-concurrent-streams={case.options.get('streams', 1)}"]
        words += [*case.options.get("arguments", []), *asked(case, at)]
        said, window = watch(words, at, bench.seconds + bench.warmup + 30)
        times = latencies(log.name)
    total, succeeded = numbers(r"requests: (\d+) total, .* (\d+) succeeded", said)
    # In time-based runs, the requests under way when the time is over count as neither done nor failed.
    failed, errored, timed_out = numbers(r"(\d+) failed, (\d+) errored, (\d+) timeout", said)
    # Not by what is missing of 2xx: an answer whose head came in the warm-up is counted with those that ended after it.
    others = numbers(r"status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", said)
    requests = max(1, succeeded)
    ticks = max(1, window["user_ticks"] + window["system_ticks"])
    cpu_us = window["proxy"] * 1e6 / requests
    return {
        "requests": succeeded,
        "errors": failed + errored + timed_out + sum(others) + (total == 0),
        "seconds": window["wall"],
        "others": window["others"],
        "cpu_us": cpu_us,
        "user_us": cpu_us * window["user_ticks"] / ticks,
        "requests_per_second": succeeded / window["wall"],
        **times,
    }


def asked(case, at):
    """What is asked for: some bytes, or an echo of gRPC."""
    root = f"{'https' if at.scheme == 'https' else 'http'}://127.0.0.1:{at.port}"
    length = case.options.get("message")
    if length is None:
        return [f"{root}/bytes/{case.options['length']}"]
    message = os.path.join(at.folder, "message")
    with open(message, "wb") as file:
        file.write(b"\0" + length.to_bytes(4, "big") + bytes(length))
    return [f"--data={message}", "-Hcontent-type: application/grpc", "-Hte: trailers", f"{root}/bench.Echo/Unary"]


def millis(seconds):
    """A time as h2load takes it, which knows no fractions."""
    return f"{round(seconds * 1000)}ms"


def watch(words, at, timeout):
    """Runs h2load; what it said, and what was used between its two marks."""
    child = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {system.ENDS_CORE}),
    )
    said, marks, end = [], {}, time.monotonic() + timeout
    with child:
        for line in child.stdout:
            said.append(line)
            for mark in (BEGUN, OVER):
                if line.startswith(mark):
                    marks[mark] = read(at, child.pid)
            if time.monotonic() > end:
                child.kill()
                raise RuntimeError("h2load does not end")
    text = "".join(said)
    if child.returncode != 0 or len(marks) != 2:
        raise RuntimeError(f"{' '.join(words)}: {text[-400:]}")
    return text, between(marks[BEGUN], marks[OVER])


def read(at, generator):
    """Clock, idleness and CPU time of the proxy and of both ends, now."""
    # By ticks: h2load's worker is a thread that may be gone at the second mark, and the scheduler's clock forgets it with its thread.
    ends = [(used.user_ticks + used.system_ticks) / TICKS for used in map(system.cpu_time, (generator, at.origin.pid))]
    return time.monotonic(), system.idle_seconds(), system.cpu_time(at.pid), sum(ends)


def between(before, after):
    """What two readings make."""
    wall = after[0] - before[0]
    proxy = after[2].seconds - before[2].seconds
    used = 2 * wall - (after[1] - before[1])
    return {
        "wall": wall,
        "proxy": proxy,
        "user_ticks": after[2].user_ticks - before[2].user_ticks,
        "system_ticks": after[2].system_ticks - before[2].system_ticks,
        "others": (used - proxy - (after[3] - before[3])) / wall,
    }


def latencies(path):
    """Percentiles of the log's lines, which are those of the measured time: start in µs, status, µs to the answer's end."""
    with open(path, encoding="ascii") as file:
        times = [int(line.split()[2]) for line in file]
    cuts = statistics.quantiles(times, n=100, method="inclusive") if len(times) > 1 else [0.0] * 99
    return {"p50_us": cuts[49], "p99_us": cuts[98]}


def numbers(pattern, text):
    """The groups of a pattern that h2load's summary must have, as numbers."""
    found = re.search(pattern, text)
    if not found:
        raise RuntimeError(f"h2load says nothing like {pattern}: {text[-400:]}")
    return [int(group) for group in found.groups()]
