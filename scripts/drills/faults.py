"""Three hosts under load, of which one fails in one way and is well again later.

Three clusters have these hosts: `probed` finds the fault by health checks alone, `watched` by outlier detection alone, `both` by
whichever is first. What is promised of each follows from these numbers:

    probed   UNHEALTHY_AFTER × (TIMEOUT + INTERVAL × (1 + JITTER)) + TOLD
    watched  a try's limit, + the time in which ERRORS tries begin at the host (twice the mean) + TOLD
    back     probed: HEALTHY_AFTER × (TIMEOUT + INTERVAL × (1 + JITTER)) + TOLD; watched: the ejection's time + TOLD

GRACE comes on top, for the machine. No GET fails, since it is tried again at another host. Of POSTs, which are not once they have
been sent, no more than ERRORS and those in flight fail for each ejection.
"""

import signal
import time

from stage import GRACE, Namespace, certificate, free_port, must, tell, wait

INTERVAL, TIMEOUT, JITTER, UNHEALTHY_AFTER, HEALTHY_AFTER = 0.5, 0.3, 0.1, 2, 2
ERRORS, BASE, LONGEST = 5, 1.5, 3.0
TRY = 0.25
WINDOW, LEAST = 4.0, 0.1
RATE, CONNECTIONS = 120, 12
# A change reaches all cores within it.
TOLD = 0.05
FAULT = 3.2
CLUSTERS = ("probed", "watched", "both")

PROBES = UNHEALTHY_AFTER * (TIMEOUT + INTERVAL * (1 + JITTER)) + TOLD
STREAK = TRY + 2 * ERRORS * 3 / RATE + TOLD
OUT = {"probed": PROBES, "watched": STREAK, "both": min(PROBES, STREAK)}
WELL = HEALTHY_AFTER * (TIMEOUT + INTERVAL * (1 + JITTER)) + TOLD
BACK = {"probed": WELL, "watched": LONGEST + TOLD, "both": max(WELL, LONGEST + TOLD)}

CONFIG = """
process: { drain_timeout: 1s }
admin: { address: 127.0.0.1:ADMIN }
listeners:
  - name: web
    address: 127.0.0.1:PORT
    access_log:
      - file: LOG
        json: { start: "%START_TIME(%s.%3f)%", cluster: "%UPSTREAM_CLUSTER%", host: "%UPSTREAM_HOST%", tries: "%UPSTREAM_REQUEST_ATTEMPT_COUNT%", flags: "%RESPONSE_FLAGS%" }
    routes:
"""


class Speaks:
    """What hosts speak: as they are told it, and in the words of the configuration."""

    def __init__(self, stage, what):
        self.host, self.route, self.cluster, self.probe, self.body = what, "", "", "http: { path: /healthz }", ""
        self.limit = TRY
        if what == "http2":
            self.cluster, self.probe = "protocol: http2, ", "http: { path: /healthz, http2: true }"
        elif what == "bolt":
            # Clients speak HTTP all the same, so that what came of each request is told in the same way.
            self.route = ", filters: [{ transcode: { to: bolt, service: drill, method: name } }]"
            self.cluster, self.probe, self.body = "protocol: bolt, ", "tcp: {}", "{}"
        elif what == "tls":
            authority, cert, key = certificate(stage.folder, "drill.test")
            self.host = f"tls:{cert}:{key}"
            # Many handshakes at once are much work where nothing is optimized; what is killed refuses at once all the same.
            self.limit = 4 * TRY
            self.cluster = f"tls: {{ ca: {authority}, server_name: drill.test }}, "


def config(addresses, speaks):
    route = "      - {{ match: {{ prefix: /{0} }}, cluster: {0}{2}, timeout: 5s, retry: {{ on: [connect_failure, reset], retries: 1, per_try_timeout: {1}s, back_off: 1ms }} }}\n"
    probe = (
        f"health_check: {{ {speaks.probe}, interval: {INTERVAL}s, timeout: {TIMEOUT}s, jitter: {JITTER:.0%},"
        f" unhealthy_after: {UNHEALTHY_AFTER}, healthy_after: {HEALTHY_AFTER} }}, "
    )
    outlier = f"outlier: {{ consecutive_5xx: {ERRORS}, base_ejection: {BASE}s, max_ejection: {LONGEST}s, interval: 1s, max_ejected: 50% }}, "
    cluster = (
        "  - {{ name: {}, {}endpoints: [{}], connect_timeout: {}s, {}slow_start: {{ window: {}s, min_weight: {:.0%} }},"
        " limits: {{ requests: 500, retries: 100, retry_budget: 50% }} }}\n"
    )
    text = CONFIG + "".join(route.format(name, speaks.limit, speaks.route) for name in CLUSTERS) + "clusters:\n"
    for name, keys in zip(CLUSTERS, (probe, outlier, probe + outlier)):
        hosts = ", ".join(f'"{one}"' for one in addresses)
        text += cluster.format(name, speaks.cluster, hosts, speaks.limit, keys, WINDOW, LEAST)
    return text


class Drill:
    """The hosts a, b and c, of which c fails."""

    def __init__(self, stage, name, kind, speaks, say):
        self.stage, self.name, self.kind, self.say = stage, name, kind, say
        self.speaks = Speaks(stage, speaks)
        self.space = Namespace(stage) if kind == "half_open" else None
        self.port = free_port()
        near = "127.0.0.1"
        self.at = self.space.THEIRS if self.space else near
        ports = [free_port(), free_port()]
        for name, port in zip("ab", ports):
            stage.backend(name, port, near, speaks=self.speaks.host)
        self.bad = self.start()
        self.faulty = f"{self.at}:{self.port}"
        self.proxy = stage.proxy(config([f"{near}:{ports[0]}", f"{near}:{ports[1]}", self.faulty], self.speaks))

    def start(self):
        within = self.space.within if self.space else ()
        return self.stage.backend("c", self.port, self.at, speaks=self.speaks.host, within=within)

    def fail(self):
        match self.kind:
            case "killed":
                self.bad.kill()
                self.bad.wait()
            case "stopped":
                self.bad.send_signal(signal.SIGSTOP)
            case "slowed":
                tell(self.bad, "slow 1.0")
            case "resetting":
                tell(self.bad, "reset")
            case "half_open":
                self.space.drop()

    def heal(self):
        match self.kind:
            case "killed":
                self.bad = self.start()
            case "stopped":
                self.bad.send_signal(signal.SIGCONT)
            case "slowed" | "resetting":
                tell(self.bad, "well")
            case "half_open":
                self.space.heal()

    def run(self):
        wait("all hosts are well", lambda: all(host["health_flags"] == "healthy" for host in self.proxy.hosts().values()))
        load = self.stage.load(self.proxy.port, RATE, CONNECTIONS, *(f"/{name}" for name in CLUSTERS), body=self.speaks.body)
        wait("the load runs", lambda: load.so_far() > 2 * RATE * len(CLUSTERS))
        history = History(self.proxy, self.faulty)
        failed = time.monotonic()
        self.fail()
        history.watch(until=failed + FAULT)
        self.heal()
        healed = time.monotonic()
        history.watch(until=healed + max(BACK.values()) + WINDOW + 2.0)
        requests = load.finish()
        self.proxy.alive()
        for name in CLUSTERS:
            self.say(f"{self.name}, {name}", lambda name=name: self.judge(name, history, requests, failed, healed))

    def judge(self, name, history, requests, failed, healed):
        mine = [one for one in requests if one.path == f"/{name}"]
        spans = history.spans(name)
        must(spans, "the host was never out")
        out = spans[0][0] - failed
        must(out <= OUT[name] + GRACE, f"out after {out:.2f} s, promised {OUT[name]:.2f} s")
        back = spans[-1][1]
        must(back is not None, "the host never came back")
        after = max(0.0, back - healed)
        must(after <= BACK[name] + GRACE, f"back after {after:.2f} s, promised {BACK[name]:.2f} s")
        asked = history.asked_while_out(name)
        must(asked == 0, f"{asked} tries went to it while it was out")
        errors, posts = self.errors(mine, len(spans), name)
        # Before and after that a busy machine may be late enough for a try to be given up at another host.
        since = time.time() - time.monotonic()

        def is_out(start):
            return any(begin + TOLD <= start < (end or start + 1) - TOLD for begin, end in spans)

        mine_out = [line for line in self.proxy.lines() if line["cluster"] == name and is_out(float(line["start"]) - since)]
        must(mine_out, "no request began while it was out")
        again = [line for line in mine_out if line["host"] == self.faulty]
        must(not again, f"{len(again)} requests went to the faulty host while it was out: {again[:3]}")
        first, whole = self.shares(mine, back)
        return (
            f"out after {out:.2f} s (promised {OUT[name]:.2f}), back after {after:.2f} s (promised {BACK[name]:.2f}); of {len(mine)} requests"
            f" {errors} GETs and {posts} POSTs failed; no further try went to it; its share {first:.0%} in the first second, then {whole:.0%}"
        )

    def errors(self, mine, times, name):
        bad = [one for one in mine if one.came != "200"]
        gets = [one for one in bad if one.method == "GET"]
        must(not gets, f"{len(gets)} GETs failed, first {gets and gets[0]}")
        # What is held against a host when it is ejected, and what was with it meanwhile; probes see no streak, only time.
        a_streak = ERRORS + CONNECTIONS
        in_time = OUT["probed"] * RATE / 3 / 10 * 2 + CONNECTIONS
        most = in_time if name == "probed" else a_streak * times
        must(len(bad) <= most, f"{len(bad)} POSTs failed, promised at most {most:.0f}")
        return len(gets), len(bad)

    def shares(self, mine, back):
        def share(begin, end):
            there = [one for one in mine if begin <= one.start < end and one.came == "200"]
            return sum(one.host == "c" for one in there) / max(1, len(there))

        first = share(back, back + 1.0)
        whole = share(back + WINDOW, back + WINDOW + 2.0)
        # Of three in turn, one that takes a part p of what falls on it gets p / (2 + p): 16 % in the first second on average.
        must(first < 0.2, f"a slow start gave it {first:.0%} in the first second")
        must(whole > 0.27, f"after the slow start it gets {whole:.0%}")
        return first, whole


class History:
    """What became of a host in each cluster, looked at again and again."""

    def __init__(self, proxy, address):
        self.proxy, self.address = proxy, address
        self.seen = {name: [] for name in CLUSTERS}

    def watch(self, until):
        while time.monotonic() < until:
            hosts, now = self.proxy.hosts(), time.monotonic()
            for name in CLUSTERS:
                host = hosts[(name, self.address)]
                self.seen[name].append((now, host["health_flags"] == "healthy", int(host["rq_total"])))
            time.sleep(0.01)

    def spans(self, name):
        """From when to when it was out; none: it still is."""
        spans, well = [], True
        for now, healthy, _ in self.seen[name]:
            if well and not healthy:
                spans.append((now, None))
            elif healthy and not well:
                spans[-1] = (spans[-1][0], now)
            well = healthy
        return spans

    def asked_while_out(self, name):
        """Tries that began at it later than the cores are told."""
        asked = 0
        for begin, end in self.spans(name):
            seen = [total for now, healthy, total in self.seen[name] if begin + TOLD <= now and not healthy and (end is None or now < end)]
            asked += seen[-1] - seen[0] if seen else 0
        return asked


def drill(name):
    """A kind of fault, and after a hyphen what the hosts speak."""
    kind, _, speaks = name.partition("-")
    return lambda stage, say: Drill(stage, name, kind, speaks or "http1", say).run()
