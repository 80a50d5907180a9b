"""What drills, and the proof of the seccomp profile, are played on: processes that end with the drill, the proxy and what it says of itself, and a network namespace."""

import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
# How late a busy machine may be in doing and in seeing what is due.
GRACE = 0.4


class Failed(Exception):
    """Something is not as promised."""


def must(holds, what):
    if not holds:
        raise Failed(what)


def wait(what, condition, patience=20.0, every=0.01):
    """Waits for a condition; what it gave, and when."""
    end = time.monotonic() + patience
    while True:
        found = condition()
        now = time.monotonic()
        if found:
            return found, now
        must(now < end, f"{what}: not within {patience} s")
        time.sleep(every)


def free_port():
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        return taken.getsockname()[1]


class Stage(contextlib.ExitStack):
    """One drill: whatever it starts is ended with it."""

    def __init__(self, binary, folder):
        super().__init__()
        self.binary, self.folder = binary, folder
        folder.mkdir(parents=True)

    def spawn(self, command, **options):
        child = subprocess.Popen(command, **options)
        self.callback(end, child)
        return child

    def backend(self, name, port, *addresses, speaks="http1", within=()):
        command = [*within, sys.executable, HERE / "backend.py", name, speaks, str(port), *addresses]
        child = self.spawn(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        must(child.stdout.readline() == "ready\n", f"the host {name} does not start")
        return child

    def load(self, port, rate, connections, *paths, body=""):
        return Load(self, port, rate, connections, body, paths)

    def proxy(self, config, **options):
        return Proxy(self, config, options)


def end(child):
    """A stopped process must go on to be ended."""
    for what in (signal.SIGCONT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(what)
    child.wait()
    for pipe in (child.stdin, child.stdout):
        with contextlib.suppress(OSError):
            pipe and pipe.close()


def ask(port, method, path):
    """Status and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def tell(child, order):
    child.stdin.write(order + "\n")
    child.stdin.flush()


def certificate(folder, name):
    """An authority, and a certificate and a key of a name: their paths."""
    authority, request, cert, key = (folder / one for one in ("ca.pem", "leaf.csr", "leaf.pem", "leaf.key"))
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-batch")
    run("openssl", "req", "-x509", *new, "-subj", "/CN=drill", "-days", "2", "-keyout", folder / "ca.key", "-out", authority)
    run("openssl", "req", *new, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
    names = folder / "names"
    names.write_text(f"subjectAltName=DNS:{name}\n")
    signed = ("-CA", authority, "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", "1", "-extfile", names)
    run("openssl", "x509", "-req", "-in", request, *signed, "-out", cert)
    return authority, cert, key


class Request:
    __slots__ = ("start", "end", "method", "path", "came", "host")

    def __init__(self, line):
        start, stop, self.method, self.path, self.came, self.host = line.split()
        self.start, self.end = float(start), float(stop)

    def __str__(self):
        return f"{self.method} {self.path}: {self.came} after {self.end - self.start:.3f} s"


class Load:
    def __init__(self, stage, port, rate, connections, body, paths):
        self.file = stage.folder / f"load-{port}-{len(list(stage.folder.iterdir()))}"
        out = stage.enter_context(self.file.open("w"))
        command = [sys.executable, HERE / "load.py", "127.0.0.1", str(port), str(rate), str(connections), body, *paths]
        self.child = stage.spawn(command, stdin=subprocess.PIPE, stdout=out)

    def so_far(self):
        return self.file.read_text().count("\n")

    def finish(self):
        self.child.stdin.close()
        must(self.child.wait(30) == 0, "the load failed")
        return [Request(line) for line in self.file.read_text().splitlines()]


class Proxy:
    """The binary with a configuration, in which PORT, ADMIN and LOG are filled in."""

    def __init__(self, stage, config, options):
        self.port, self.admin_port = free_port(), free_port()
        self.path, self.log = stage.folder / "ringway.yaml", stage.folder / "access.log"
        self.write(config)
        self.said = stage.folder / "said.log"
        out = stage.enter_context(self.said.open("w"))
        self.child = stage.spawn([stage.binary, "run", "-c", self.path], stdout=out, stderr=out, **options)
        wait("the proxy's start", self.is_ready)

    def write(self, config):
        config = config.replace("PORT", str(self.port)).replace("ADMIN", str(self.admin_port)).replace("LOG", str(self.log))
        # At once and whole, as whoever deploys should.
        draft = self.path.with_suffix(".new")
        draft.write_text(config)
        draft.rename(self.path.with_suffix(".yaml"))

    def is_ready(self):
        must(self.child.poll() is None, f"the proxy ended: {self.said.read_text()[-2000:]}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.admin("GET", "/ready")[0] == 200

    def admin(self, method, path):
        return ask(self.admin_port, method, path)

    def stats(self, prefix):
        """Numbers by name, without the prefix."""
        lines = (line.rpartition(": ") for line in self.admin("GET", "/stats")[1].splitlines())
        return {name[len(prefix):]: value for name, _, value in lines if name.startswith(prefix)}

    def hosts(self):
        """What `/clusters` says of each host: by cluster and address, its flags and numbers."""
        found = {}
        for line in self.admin("GET", "/clusters")[1].splitlines():
            parts = line.split("::")
            if len(parts) == 4:
                found.setdefault((parts[0], parts[1]), {})[parts[2]] = parts[3]
        return found

    def outliers(self):
        return json.loads(self.admin("GET", "/outliers")[1])

    def lines(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def alive(self):
        must(self.child.poll() is None, "the proxy has ended")


class Namespace:
    """A network of its own, joined to ours by a pair of interfaces; packets to it can be dropped, without a word to anybody."""

    # Of the block for benchmarks of networks (RFC 2544), which nobody routes.
    OURS, THEIRS = "198.18.77.1", "198.18.77.2"

    def __init__(self, stage):
        self.name = f"rwdrill{os.getpid()}"
        self.link = f"rwd{os.getpid()}"
        stage.callback(run, "ip", "netns", "del", self.name, fine=False)
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self.link, "type", "veth", "peer", "name", "there", "netns", self.name)
        stage.callback(run, "ip", "link", "del", self.link, fine=False)
        run("ip", "addr", "add", f"{self.OURS}/30", "dev", self.link)
        run("ip", "link", "set", self.link, "up")
        self.run("ip", "addr", "add", f"{self.THEIRS}/30", "dev", "there")
        self.run("ip", "link", "set", "there", "up")
        self.within = ("ip", "netns", "exec", self.name)

    def run(self, *command):
        run("ip", "netns", "exec", self.name, *command)

    def drop(self):
        self.run("nft", "add table inet drill; add chain inet drill in { type filter hook input priority 0; policy drop; }")

    def heal(self):
        self.run("nft", "delete table inet drill")

    @staticmethod
    def missing():
        """Why there can be none."""
        if os.geteuid() != 0:
            return "needs root for a network namespace"
        lacking = [tool for tool in ("ip", "nft") if shutil.which(tool) is None]
        if lacking:
            return f"{' and '.join(lacking)} not found"
        probe = f"rwprobe{os.getpid()}"
        try:
            run("ip", "netns", "add", probe)
            run("ip", "netns", "exec", probe, "nft", "add table inet drill")
        except Failed as why:
            return str(why)
        finally:
            run("ip", "netns", "del", probe, fine=False)
        return None


def run(*command, fine=True):
    done = subprocess.run(command, capture_output=True, text=True)
    must(not fine or done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr.strip()}")
