"""One measurement: a proxy started anew, its answers checked, loaded, and plain numbers of it."""

import collections
import tempfile

import cases
import checks
import kinds
import peers
import system

# Where the proxy under test is, and what is around it.
At = collections.namedtuple("At", "port pid scheme origin folder")


class Bench:
    """What all measurements share: the tool, the origins, how long to measure."""

    def __init__(self, tool, seconds, warmup, folder, origins):
        self.tool = tool
        self.seconds = seconds
        self.warmup = warmup
        self.folder = folder
        self.origins = origins

    def measure(self, case, peer):
        """One round of one case of one peer: a dictionary of numbers."""
        setup = cases.SETUPS[case.setup]
        origin = self.origins.find(setup.origin)
        system.wait_until_quiet()
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            if setup.scheme == "https":
                peers.make_certificate(folder)
            running, port = peers.start(peer, setup.folder, system.PROXY_CORE, folder, origin.port)
            with running:
                checks.CHECKS[setup.check](setup.scheme, port)
                before = origin.connections()
                at = At(port, running.pid, setup.scheme, origin, folder)
                result = kinds.KINDS[case.kind].run(self, case, at)
                result["upstream_connections"] = origin.connections() - before - 1
                result["peak_rss_kib"] = system.memory(running.pid, "VmHWM")
        return result
