"""Runs the proxy under a seccomp profile of the form that container runtimes read; scripts/seccomp.sh calls it.

The profile becomes a filter through libseccomp, as a runtime would make it, in the child between fork and exec.
"""

import contextlib
import ctypes
import errno
import http.client
import json
import os
import pathlib
import platform
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent / "drills"))
from stage import Failed, Stage, ask, free_port, must, wait  # noqa: E402

DEADLINE = 30.0
IO_URING = {"io_uring_setup", "io_uring_enter", "io_uring_register"}
ALLOW = 0x7FFF0000
ERRNO = 0x00050000

# As profiles call this machine.
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())

# In the order of libseccomp's own numbers, which begin at 1.
OPERATORS = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]
COMPARISONS = {f"SCMP_CMP_{name}": number for number, name in enumerate(OPERATORS, 1)}


class Comparison(ctypes.Structure):
    """libseccomp's `struct scmp_arg_cmp`."""

    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


CONFIG = """
process: { io_driver: DRIVER, cores: 1, drain_delay: 0s }
listeners:
  - name: origin
    address: 127.0.0.1:ORIGIN
    routes: [{ match: { prefix: / }, respond: { status: 200, body: "BODY" } }]
  - name: web
    address: 127.0.0.1:PORT
    access_log: [{ file: LOG }]
    routes: [{ match: { prefix: / }, cluster: up }]
clusters: [{ name: up, endpoints: ["localhost:ORIGIN"] }]
admin: { address: 127.0.0.1:ADMIN }
"""


def library():
    """libseccomp; ends the program where there is none."""
    try:
        found = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError:
        sys.exit("seccomp: libseccomp.so.2 is not here (Debian: libseccomp2)")
    found.seccomp_init.restype = ctypes.c_void_p
    found.seccomp_init.argtypes = [ctypes.c_uint32]
    found.seccomp_rule_add_array.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p]
    found.seccomp_load.argtypes = [ctypes.c_void_p]
    return found


def rules(profile):
    """What the profile says, as (name, comparisons of arguments, action); ends the program at what this script cannot load."""
    found = []
    for entry in profile["syscalls"]:
        conditions = {**entry.get("includes", {}), **entry.get("excludes", {})}
        if entry["action"] not in ("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO") or conditions.keys() - {"arches"}:
            sys.exit(f"seccomp: a rule that this script does not read: {entry}")
        only, never = (entry.get(key, {}).get("arches", []) for key in ("includes", "excludes"))
        if (only and MACHINE not in only) or MACHINE in never:
            continue
        compared = [Comparison(one["index"], COMPARISONS[one["op"]], one["value"], one.get("valueTwo", 0)) for one in entry.get("args", [])]
        action = ALLOW if entry["action"] == "SCMP_ACT_ALLOW" else ERRNO | entry.get("errnoRet", errno.EPERM)
        found += [(name, compared, action) for name in entry["names"]]
    if profile["defaultAction"] != "SCMP_ACT_ERRNO":
        sys.exit("seccomp: the default action is another than SCMP_ACT_ERRNO")
    return found


def load(lib, allowed, default_errno):
    """Puts the filter on this process, for good."""
    context = lib.seccomp_init(ERRNO | default_errno)
    for name, compared, action in allowed:
        number = lib.seccomp_syscall_resolve_name(name.encode())
        array = (Comparison * len(compared))(*compared)
        # Names of other machines' calls are negative here; a runtime passes over them too.
        if number >= 0 and lib.seccomp_rule_add_array(context, action, number, len(compared), array) != 0:
            os._exit(70)
    if lib.seccomp_load(context) != 0:
        os._exit(71)


def seen(condition):
    """What a condition gives, or nothing while nobody answers."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return condition()


def serve(binary, filtered, driver, expect):
    """Starts the proxy under a filter, has it do its work, and stops it; returns what it said."""
    with tempfile.TemporaryDirectory() as folder, Stage(binary, pathlib.Path(folder, "stage")) as stage:
        text = CONFIG.replace("DRIVER", driver).replace("ORIGIN", str(free_port()))
        try:
            proxy = stage.proxy(text.replace("BODY", "one"), preexec_fn=filtered)
            used = json.loads(proxy.admin("GET", "/server_info")[1])["io_driver"]["kind"]
            must(used == expect, f"the driver is {used} and not {expect}")

            def forwards(body):
                wait(f"it answers {body}", lambda: seen(lambda: ask(proxy.port, "GET", "/")) == (200, body), DEADLINE)

            forwards("one")
            proxy.write(text.replace("BODY", "two"))
            forwards("two")
            proxy.write(text.replace("BODY", "three"))
            proxy.child.send_signal(signal.SIGHUP)
            forwards("three")
            proxy.child.send_signal(signal.SIGUSR1)
            wait("it writes its access log", lambda: seen(lambda: proxy.log.stat().st_size > 0), DEADLINE)
            proxy.child.send_signal(signal.SIGTERM)
            must(proxy.child.wait(DEADLINE) == 0, f"it ended with {proxy.child.returncode}")
        except (Failed, subprocess.TimeoutExpired) as error:
            sys.exit(f"seccomp: {driver}: {error}\n{stage.folder.joinpath('said.log').read_text()}")
        return proxy.said.read_text()


def main():
    """The whole proof."""
    with open(sys.argv[1], encoding="utf-8") as file:
        profile = json.load(file)
    binary = os.path.abspath(sys.argv[2])
    lib, allowed, default = library(), rules(profile), profile["defaultErrnoRet"]
    ringless = [rule for rule in allowed if rule[0] not in IO_URING]

    def whole():
        load(lib, allowed, default)

    def without_rings():
        load(lib, ringless, default)

    # That the filter is there: a call that is not in the profile is refused as the profile says.
    probe = "import ctypes; c = ctypes.CDLL(None, use_errno=True); c.unshare(0x10000000); print(ctypes.get_errno())"
    refused = subprocess.run([sys.executable, "-c", probe], preexec_fn=whole, capture_output=True, text=True, check=False)
    if refused.stdout.strip() != str(errno.EPERM):
        sys.exit(f"seccomp: unshare is not refused: {refused.stdout}{refused.stderr}")
    for driver in ("io_uring", "epoll"):
        serve(binary, whole, driver, driver)
        print(f"under the profile with {driver}: starts, serves, forwards, reloads, stops")
    said = serve(binary, without_rings, "auto", "epoll")
    warning = next((line for line in said.splitlines() if "WARN" in line and "seccomp" in line), None)
    if warning is None:
        sys.exit(f"seccomp: without io_uring there is no warning that names the cause:\n{said}")
    print(f"without the calls of io_uring: falls back to epoll and says so:\n  {warning}")


if __name__ == "__main__":
    main()
