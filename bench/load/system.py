"""What the kernel tells of processes and cores: memory, CPU time, idleness."""

import collections
import contextlib
import os
import re
import time

PROXY_CORE, ENDS_CORE = 0, 1

# Beyond this share of a core used by others (both cores together), a measurement is thrown away.
NOISE_LIMIT = 0.12
QUIET_DEADLINE = 20.0

CpuTime = collections.namedtuple("CpuTime", "seconds user_ticks system_ticks")


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


def cpu_time(pid):
    """CPU time of a process and its descendants so far: seconds by the scheduler's clock, its split by ticks."""
    seconds, user, system = 0.0, 0, 0
    for one in family(pid):
        with open(f"/proc/{one}/stat", encoding="latin-1") as file:
            fields = file.read().rpartition(")")[2].split()
        user, system = user + int(fields[11]), system + int(fields[12])
        for task in os.listdir(f"/proc/{one}/task"):
            # A thread may end between being listed and being read, and its time then is lost: it was a helper's.
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                with open(f"/proc/{one}/task/{task}/schedstat", encoding="ascii") as file:
                    seconds += int(file.read().split()[0]) / 1e9
    return CpuTime(seconds, user, system)


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
