"""What stands behind the proxies: started once for all cases of the setups that name it, on the ends' core."""

import checks
import peers

# How it is asked (checks.py), and the words after the tool's name; `{address}` is where it is to listen.
ORIGINS = {
    "h1": ("http", ["origin", "--listen", "{address}"]),
    "h2": ("h2c", ["origin-h2", "--listen", "{address}"]),
    "bolt": ("http", ["origin", "--listen", "{address}", "--form", "bolt"]),
    "dubbo": ("http", ["origin", "--listen", "{address}", "--form", "dubbo"]),
}


class Origin:
    """One that runs."""

    def __init__(self, name, tool, core, folder):
        (self.port,) = peers.free_ports(1)
        self.scheme, words = ORIGINS[name]
        words = [word.format(address=f"127.0.0.1:{self.port}") for word in words]
        self.running = peers.Running([tool, *words], {core}, folder)
        self.running.wait_for_port(self.port)
        self.pid = self.running.pid

    def connections(self):
        """How many connections it has taken so far, this question's own included."""
        return int(checks.fetch(self.scheme, self.port, "/connections")[1])


class Origins:
    """Those that were needed so far; all are stopped when the `with` block ends."""

    def __init__(self, tool, core, folder):
        self.tool, self.core, self.folder = tool, core, folder
        self.running = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for origin in self.running.values():
            origin.running.stop()

    def find(self, name):
        """The origin of that name, started if it does not run yet."""
        if name not in self.running:
            self.running[name] = Origin(name, self.tool, self.core, self.folder)
        return self.running[name]
