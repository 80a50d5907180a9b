//! The numbers of the whole process, by scope and name, and the registry that hands them out.
//!
//! Control asks for a scope's numbers by name when it builds a snapshot; the snapshot carries them down to the cores.
//! A scope lives as long as anybody holds it: a listener that comes back under its name goes on counting.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ringway_config::Name;

use super::calls::{Calls, RpcCalls};
use super::counter::{
    Ciphers, Classes, Counter, Gauge, HelloErrors, PerCore, ProxyErrors, RpcErrors, Rules,
    TlsFailures, TlsVersions,
};
use super::histogram::Histogram;
use super::scope::{Scope, Value, scope};

scope! {
    /// What a core counts of itself. Written by that core.
    pub struct CoreStats in "core" {
        connections_accepted: Counter, "Connections accepted, whatever became of them.";
        connections_active: Gauge, "Client connections open.";
        accept_errors: Counter, "Accepts that failed, but for a lack of descriptors.";
        accept_paused: Counter, "Times that accepting paused, for a lack of descriptors or at a connection limit.";
        panics: Counter, "Panics caught at the root of a connection's task: each is a defect of the proxy.";
        access_log_lines: Counter, "Access log lines handed to the writer.";
        access_log_dropped: Counter, "Access log lines dropped because the writer was behind.";
        splice_pipes: Gauge, "Pipes open, through which large transfers go uncopied.";
        splice_bytes: Counter, "Bytes moved through pipes.";
        splice_no_pipe: Counter, "Times that a large transfer found no pipe and was copied on.";
        snapshots_applied: Counter, "Configurations adopted.";
        reports_dropped: Counter, "Reports of hosts' errors in a row that control was too far behind to take.";
        loop_time: Histogram, "How late the core's loop came to its tick, which it has ten times a second.";
        health_told: Histogram, "From a change of a host's health until this core picks by it.";
    }
}

scope! {
    /// What a core counts of a listener. Written by that core.
    pub struct ListenerStats in "listener" {
        downstream_cx_total: Counter, "Connections accepted.";
        downstream_cx_active: Gauge, "Connections open.";
        downstream_cx_destroyed: Counter, "Connections closed, by whichever end.";
        downstream_cx_no_chain: Counter, "Connections closed because no chain matched.";
        downstream_rq_total: Counter, "Requests whose head was complete and valid.";
        downstream_rq_active: Gauge, "Requests in flight.";
        downstream_rq: Classes as downstream_rq_class, "Answers by class of status.";
        downstream_rq_time: Histogram, "From a request's head to the end of its answer.";
        bytes_received: Counter as received_bytes, "Bytes of request bodies, and of connections passed on.";
        bytes_sent: Counter as sent_bytes, "Bytes of answers' bodies, and of connections passed on.";
        violation: Rules, "Requests refused for breaking a rule of HTTP, by rule.";
        limit_header_timeout: Counter as limit [limit = header_timeout], "Limits reached, by limit.";
        limit_idle_timeout: Counter as limit [limit = idle_timeout], "Limits reached, by limit.";
        limit_body_too_large: Counter as limit [limit = body_too_large], "Limits reached, by limit.";
        limit_whole_body: Counter as limit [limit = whole_body], "Limits reached, by limit.";
        limit_body_too_slow: Counter as limit [limit = body_too_slow], "Limits reached, by limit.";
        limit_request_timeout: Counter as limit [limit = request_timeout], "Limits reached, by limit.";
        limit_requests_per_connection: Counter as limit [limit = requests_per_connection], "Limits reached, by limit.";
        limit_connections: Counter as limit [limit = connections], "Limits reached, by limit.";
        limit_drain_body: Counter as limit [limit = drain_body], "Limits reached, by limit.";
        limit_rpc_queue: Counter as limit [limit = rpc_queue], "Limits reached, by limit.";
        limit_rpc_memory: Counter as limit [limit = rpc_memory], "Limits reached, by limit.";
        limit_rpc_in_flight: Counter as limit [limit = rpc_in_flight], "Limits reached, by limit.";
        limit_rpc_kept: Counter as limit [limit = rpc_kept], "Limits reached, by limit.";
        limit_http2_streams: Counter as limit [limit = http2_streams], "Limits reached, by limit.";
        limit_http2_resets: Counter as limit [limit = http2_resets], "Limits reached, by limit.";
        limit_http2_control_frames: Counter as limit [limit = http2_control_frames], "Limits reached, by limit.";
        limit_http2_empty_frames: Counter as limit [limit = http2_empty_frames], "Limits reached, by limit.";
        limit_http2_codec: Counter as limit [limit = http2_codec], "Limits reached, by limit.";
        limit_http2_max_age: Counter as limit [limit = http2_max_age], "Limits reached, by limit.";
        limit_proxy_protocol_timeout: Counter as limit [limit = proxy_protocol_timeout], "Limits reached, by limit.";
        limit_http2_keep_alive: Counter as limit [limit = http2_keep_alive], "Limits reached, by limit.";
        limit_client_hello_timeout: Counter as limit [limit = client_hello_timeout], "Limits reached, by limit.";
        limit_tls_handshake_timeout: Counter as limit [limit = tls_handshake_timeout], "Limits reached, by limit.";
        limit_tls_handshakes: Counter as limit [limit = tls_handshakes], "Limits reached, by limit.";
        limit_tcp_idle_timeout: Counter as limit [limit = tcp_idle_timeout], "Limits reached, by limit.";
        limit_tcp_max_duration: Counter as limit [limit = tcp_max_duration], "Limits reached, by limit.";
        proxy_protocol_headers: Counter, "PROXY headers taken.";
        proxy_protocol_error: ProxyErrors, "Connections closed for their PROXY header, by reason.";
        client_hello_error: HelloErrors, "Connections closed for their ClientHello, by reason.";
        tls_handshakes: Counter, "TLS handshakes with clients.";
        tls_resumed: Counter, "TLS handshakes with clients that resumed a session by a ticket.";
        tls_version: TlsVersions, "TLS handshakes by version.";
        tls_cipher: Ciphers, "TLS handshakes by cipher suite.";
        tls_error: TlsFailures, "TLS handshakes with clients that failed, by reason.";
        tls_misdirected: Counter, "Requests for a host of another certificate or chain, answered 421.";
        early_response_drains: Counter, "Request bodies discarded after an early answer, so that the connection could be kept.";
        downstream_cx_drain_close: Counter, "Connections closed because the listener or the process drains.";
        downstream_rq_aborted: Counter, "Requests whose client went away before the end of the answer.";
        rpc_malformed: RpcErrors, "Frames of clients that break their protocol, by what is wrong.";
        rpc_unknown: Counter, "Connections closed because their first bytes belong to no RPC protocol.";
        rpc_unasked: Counter, "Answers and pushes from clients that nobody was waiting for.";
        transcode_bad_request: Counter, "Requests that the filter `transcode` could not turn into a call.";
        transcode_bad_answer: Counter, "Answers to calls of the filter `transcode` that could not be read, or cannot be JSON.";
        upgrades_total: Counter, "Connections that became a tunnel (WebSocket and other upgrades).";
        upgrades_active: Gauge, "Tunnels open.";
        http2_cx_total: Counter, "Connections that spoke HTTP/2.";
        http2_cx_errors: Counter, "HTTP/2 connections closed because the client broke the protocol.";
        http2_window: Gauge as http2_window_bytes, "Bytes that HTTP/2 clients may send before any of them has been passed on: the windows of all connections.";
        http2_held: Gauge as http2_held_bytes, "Bytes of bodies that came over HTTP/2 and have not been passed on, at most: the part of the windows that is in memory.";
        http2_rq_reset: Counter, "HTTP/2 streams reset by either end before their answer was complete.";
        http2_frames_ping: Counter as http2_frames [kind = ping], "Frames from clients that carry nothing, by kind.";
        http2_frames_settings: Counter as http2_frames [kind = settings], "Frames from clients that carry nothing, by kind.";
        http2_frames_window_update: Counter as http2_frames [kind = window_update], "Frames from clients that carry nothing, by kind.";
        http2_frames_priority: Counter as http2_frames [kind = priority], "Frames from clients that carry nothing, by kind.";
        http2_frames_reset: Counter as http2_frames [kind = rst_stream], "Frames from clients that carry nothing, by kind.";
        http2_frames_continuation: Counter as http2_frames [kind = continuation], "Frames from clients that carry nothing, by kind.";
        http2_frames_empty_data: Counter as http2_frames [kind = empty_data], "Frames from clients that carry nothing, by kind.";
        http2_frames_unknown: Counter as http2_frames [kind = unknown], "Frames from clients that carry nothing, by kind.";
        tcp_cx_total: Counter, "Connections whose bytes are passed on.";
        tcp_cx_active: Gauge, "Open connections whose bytes are passed on.";
        tcp_cx_reset: Counter, "Connections passed on that ended by a reset at one end or by an error: what was passed on may be incomplete.";
    }
}

scope! {
    /// What a core counts of a route table. Written by that core.
    pub struct RouteTableStats in "route_table" {
        rq_total: Counter, "Requests that looked for a route here.";
        no_route: Counter, "Requests that found none.";
        rq: Classes as rq_class, "Answers by class of status.";
        rq_time: Histogram, "From a request's head to the end of its answer.";
    }
}

scope! {
    /// What a core counts of a cluster. Written by that core.
    pub struct ClusterStats in "cluster" {
        upstream_cx_total: Counter, "Connections asked for.";
        upstream_cx_active: Gauge, "Connections open, in use or kept.";
        upstream_cx_idle: Gauge, "Connections kept for the next request.";
        upstream_cx_connect_fail: Counter, "Connections refused or failed, timeouts apart.";
        upstream_cx_connect_timeout: Counter, "Connections not made in time.";
        upstream_cx_connect_time: Histogram, "Time that making a connection took.";
        upstream_tls_handshakes: Counter, "TLS handshakes with hosts.";
        upstream_tls_resumed: Counter, "TLS handshakes with hosts that resumed an earlier session.";
        upstream_tls_error: Counter, "TLS handshakes with hosts that failed: a certificate not trusted, no version or cipher in common, a host that left.";
        upstream_tls_timeout: Counter, "TLS handshakes with hosts that did not finish in time.";
        upstream_cx_preconnect: Counter, "Connections made before they were needed.";
        upstream_cx_reused: Counter, "Requests sent over a kept connection.";
        upstream_cx_closed_idle: Counter, "Kept connections closed by either end while unused.";
        upstream_cx_destroyed: Counter, "Connections closed, for whatever reason.";
        tcp_connect_retry: Counter, "Further hosts tried for connections passed on, after one had not accepted.";
        upstream_cx_destroyed_max_requests: Counter, "Connections closed after `pool.max_requests`.";
        upstream_cx_destroyed_max_age: Counter, "Connections closed after `pool.max_age`.";
        upstream_cx_goaway: Counter, "HTTP/2 connections on which the host asked for no more requests.";
        upstream_cx_ping_timeout: Counter, "HTTP/2 connections closed because a PING was not answered.";
        upstream_cx_panics: Counter, "Panics caught at the root of an upstream connection's task: each is a defect of the proxy.";
        upstream_cx_overflow: Counter, "Requests that had to wait for a connection, or found a host at its connection limit.";
        upstream_cx_closed_for_room: Counter, "Idle connections closed because a request waited for a place.";
        upstream_cx_idle_overflow: Counter, "Connections closed because `pool.max_idle` were kept already.";
        stray_bytes: Counter, "Connections closed because of bytes after the end of an answer or without a request.";
        upstream_rq_total: Counter, "Requests sent, each try counted.";
        upstream_rq_active: Gauge, "Tries in flight.";
        upstream_rq: Classes as upstream_rq_class, "Upstreams' answers by class of status, each try counted.";
        upstream_rq_time: Histogram, "From sending a request to the head of its answer.";
        upstream_rq_retry: Counter, "Tries after the first.";
        upstream_rq_retry_success: Counter, "Requests that a further try answered.";
        upstream_rq_retry_limit_exceeded: Counter, "Requests that would have been tried again, had `retries` not been used up.";
        upstream_rq_retry_overflow: Counter, "Requests not tried again because of the cluster's `retries` or `retry_budget`.";
        upstream_rq_overflow: Counter, "Requests turned away at a limit of requests.";
        upstream_rq_pending_overflow: Counter, "Requests turned away because too many waited for a connection.";
        upstream_rq_timeout: Counter, "Requests that reached their `timeout`.";
        upstream_rq_per_try_timeout: Counter, "Tries that reached `per_try_timeout`.";
        upstream_rq_per_try_idle_timeout: Counter, "Tries that reached `per_try_idle_timeout`.";
        upstream_rq_hedged: Counter, "Tries started beside one that had reached `per_try_timeout`.";
        upstream_rq_first_byte_timeout: Counter, "Tries that reached `first_byte_timeout`.";
        upstream_rq_reset: Counter, "Tries whose connection broke before the head of the answer.";
        upstream_rq_refused: Counter, "HTTP/2 streams refused by the upstream.";
        upstream_rq_waited: Counter, "Requests that waited for a stream of an HTTP/2 connection.";
        upstream_rq_moved: Counter, "Tries that waited for a connection to a host that went away, and were given another.";
        limit_rpc_waiting: Counter as limit [limit = rpc_waiting], "Limits reached, by limit.";
        upstream_rq_waiting_overflow: Counter as limit [limit = http2_waiting], "Limits reached, by limit.";
        upstream_cx_groups_closed: Counter as limit [limit = pool_groups], "Limits reached, by limit.";
        upstream_rq_waiting_timeout: Counter as limit [limit = http2_waiting_timeout], "Limits reached, by limit.";
        upstream_rq_no_host: Counter, "Requests for which there was no host.";
        body_truncated: Counter, "Answers that broke off after their head.";
        protocol_error: Rules, "Answers refused for breaking a rule of HTTP, by rule.";
        bytes_sent: Counter as sent_bytes, "Bytes of request bodies, and of connections passed on.";
        bytes_received: Counter as received_bytes, "Bytes of answers' bodies, and of connections passed on.";
        rpc_malformed: RpcErrors, "Frames of upstreams that break their protocol, by what is wrong.";
        rpc_late: Counter, "Answers that came after their call had been given up, or a second time.";
        rpc_unasked: Counter, "Calls and pushes from upstreams that nobody could take.";
        rpc_passed: Counter, "Calls, pushes and goodbyes of upstreams that were passed to the client whose connection it was.";
        rpc_heartbeats: Counter, "Heartbeats sent on quiet connections.";
        rpc_unamended: Counter, "Calls sent without a change of their headers that their frames cannot carry.";
        rpc_buffer_full: Counter, "Calls refused because too many bytes waited for the upstream.";
        mirror_sent: Counter, "Copies of requests sent here.";
        mirror_skipped: Counter, "Copies not made because too many were in flight.";
        mirror_failed: Counter, "Copies that got no answer.";
    }
}

scope! {
    /// What control knows of a cluster's hosts. Written by the control thread.
    pub struct WatchStats in "cluster" {
        membership_total: Gauge, "Hosts.";
        membership_healthy: Gauge, "Hosts that are in use.";
        remaining_cx: Gauge, "Connections that `limits` still allow; 0 also without a limit.";
        remaining_pending: Gauge, "Places that `limits` still allow in the queue for a connection; 0 also without a limit.";
        remaining_rq: Gauge, "Requests that `limits` still allow; 0 also without a limit.";
        remaining_retries: Gauge, "Further tries that `limits` still allow; 0 also without a limit.";
        remaining_high_rq: Gauge, "Requests of high priority that `limits.high` still allows; 0 also without a limit.";
        remaining_high_retries: Gauge, "Further tries of high priority that `limits.high` still allows; 0 also without a limit.";
        membership_degraded: Gauge, "Hosts that are used only where too few others are left.";
        health_check_attempt: Counter, "Probes of hosts.";
        health_check_success: Counter, "Probes that found a host healthy.";
        health_check_failure: Counter, "Probes that failed.";
        health_check_timeout: Counter, "Probes that were not answered in time.";
        outlier_ejections: Counter, "Hosts ejected for their errors.";
        outlier_ejections_active: Gauge, "Hosts that are out for their errors.";
        outlier_ejections_overflow: Counter, "Hosts not ejected because `outlier.max_ejected` were out.";
    }
}

scope! {
    /// What a core counts of a host of a cluster. Written by that core.
    pub struct HostStats in "endpoint" {
        rq_total: Counter, "Requests sent.";
        rq_active: Gauge, "Requests in flight.";
        rq_error: Counter, "Requests that failed or were answered 5xx.";
        rq_local_error: Counter, "Requests that failed without an answer.";
        cx_total: Counter, "Connections asked for.";
        cx_active: Gauge, "Connections open, in use or kept.";
        cx_connect_fail: Counter, "Connections refused, failed, or not made in time.";
        rq_time: Histogram, "From sending a request to the head of its answer.";
    }
}

scope! {
    /// What control counts of the process. Written by the control thread, but for the `access_log_` ones, which the access
    /// logs' writer writes.
    pub struct ProcessStats in "server" {
        start_time: Gauge as start_time_seconds, "When the process started, in seconds since 1970.";
        concurrency: Gauge as cores, "Cores that serve.";
        config_version: Gauge, "The version of the configuration that serves.";
        reloads_total: Counter as reloads, "Reloads asked for.";
        reloads_failed: Counter, "Reloads refused for a wrong configuration.";
        last_reload_ok: Gauge, "1 if the last reload succeeded, else 0.";
        last_reload_time: Gauge as last_reload_time_seconds, "When the last reload was asked for, in seconds since 1970.";
        certificate_expiry: Gauge as certificate_expiry_seconds, "When the first of the certificates that serve expires, in seconds since 1970; 0 without any.";
        tls_renewals_total: Counter as tls_renewals, "Times that certificates, keys or tickets were renewed while serving.";
        tls_renewals_failed: Counter, "Times that new files of TLS were refused, and the old ones kept.";
        draining: Gauge, "1 while the process drains, else 0.";
        admin_cx_closed_for_room: Counter, "Connections to the admin interface closed because all places were taken and somebody new came.";
        access_log_bytes: Counter as access_log_written_bytes, "Bytes written to access logs.";
        access_log_errors: Counter, "Failed writes to access logs; what they held is lost.";
        access_log_lines_lost: Counter, "Access log lines lost in failed writes.";
        access_log_reopened: Counter, "Times that the access logs were reopened.";
    }
}

scope! {
    /// What control knows of a certificate that serves. Written by the control thread.
    pub struct CertificateStats in "certificate" {
        not_after: Gauge as not_after_seconds, "When it expires, in seconds since 1970.";
    }
}

/// A certificate that serves, by the file that it comes from and its number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateId {
    /// The file.
    pub path: String,
    /// The number, in hexadecimal.
    pub serial: String,
}

/// The numbers of one scope, by name.
type Table<K, S> = Mutex<BTreeMap<K, Arc<PerCore<S>>>>;

/// Every scope's numbers of one kind, with their names.
pub type Entries<K, S> = Vec<(K, Arc<PerCore<S>>)>;

/// The registry: all numbers of the process.
///
/// Its locks are control's: cores get their numbers with a snapshot and never come here.
#[derive(Debug)]
pub struct Stats {
    cores: usize,
    /// What the process counts.
    pub process: ProcessStats,
    /// How the cores do their I/O, once the first one knows.
    pub io_driver: OnceLock<&'static str>,
    core: Arc<PerCore<CoreStats>>,
    listeners: Table<Name, ListenerStats>,
    route_tables: Table<Name, RouteTableStats>,
    clusters: Table<Name, ClusterStats>,
    watches: Table<Name, WatchStats>,
    hosts: Table<(Name, Name), HostStats>,
    calls: Table<Name, Calls>,
    certificates: Mutex<BTreeMap<CertificateId, CertificateStats>>,
    rpc_calls: Table<Name, RpcCalls>,
}

impl Stats {
    /// A registry for so many cores.
    pub fn new(cores: usize) -> Self {
        let process = ProcessStats::default();
        process
            .concurrency
            .set(i64::try_from(cores).unwrap_or(i64::MAX));
        Self {
            cores,
            process,
            io_driver: OnceLock::new(),
            core: Arc::new(PerCore::new(cores, CoreStats::default)),
            listeners: Table::default(),
            route_tables: Table::default(),
            clusters: Table::default(),
            watches: Table::default(),
            hosts: Table::default(),
            calls: Table::default(),
            certificates: Mutex::default(),
            rpc_calls: Table::default(),
        }
    }

    /// The numbers of the cores themselves.
    pub fn core(&self) -> &Arc<PerCore<CoreStats>> {
        &self.core
    }

    /// The numbers of a listener.
    pub fn listener(&self, name: &Name) -> Arc<PerCore<ListenerStats>> {
        self.entry(&self.listeners, name)
    }

    /// The numbers of a route table.
    pub fn route_table(&self, name: &Name) -> Arc<PerCore<RouteTableStats>> {
        self.entry(&self.route_tables, name)
    }

    /// The numbers of a cluster.
    pub fn cluster(&self, name: &Name) -> Arc<PerCore<ClusterStats>> {
        self.entry(&self.clusters, name)
    }

    /// Control's numbers of a cluster's hosts; those of core 0, which control alone writes.
    pub fn watch(&self, name: &Name) -> Arc<PerCore<WatchStats>> {
        self.entry(&self.watches, name)
    }

    /// The numbers of a host of a cluster, by its address as the operator knows it.
    pub fn host(&self, cluster: &Name, address: &Name) -> Arc<PerCore<HostStats>> {
        self.entry(&self.hosts, &(cluster.clone(), address.clone()))
    }

    /// The calls of gRPC to a cluster.
    pub fn calls(&self, name: &Name) -> Arc<PerCore<Calls>> {
        self.entry(&self.calls, name)
    }

    /// Every cluster's calls of gRPC, by name.
    pub fn all_calls(&self) -> Entries<Name, Calls> {
        entries(&self.calls)
    }

    /// Takes over which certificates serve, and when each expires.
    pub fn note_certificates(&self, all: impl IntoIterator<Item = (CertificateId, i64)>) {
        let numbers = all.into_iter().map(|(id, not_after)| {
            let stats = CertificateStats::default();
            stats.not_after.set(not_after);
            (id, stats)
        });
        *locked(&self.certificates) = numbers.collect();
    }

    /// The certificates that serve, with their numbers as [`Scope::read`] has them.
    pub fn certificates(&self) -> Vec<(CertificateId, Vec<Value>)> {
        let all = locked(&self.certificates);
        let read = all.iter().map(|(id, stats)| (id.clone(), stats.read()));
        read.collect()
    }

    /// The calls of its RPC protocol to a cluster.
    pub fn rpc_calls(&self, name: &Name) -> Arc<PerCore<RpcCalls>> {
        self.entry(&self.rpc_calls, name)
    }

    /// Every such cluster's calls, by name.
    pub fn all_rpc_calls(&self) -> Entries<Name, RpcCalls> {
        entries(&self.rpc_calls)
    }

    /// Every listener's numbers, by name.
    pub fn listeners(&self) -> Entries<Name, ListenerStats> {
        entries(&self.listeners)
    }

    /// Every route table's numbers, by name.
    pub fn route_tables(&self) -> Entries<Name, RouteTableStats> {
        entries(&self.route_tables)
    }

    /// Every cluster's numbers, by name.
    pub fn clusters(&self) -> Entries<Name, ClusterStats> {
        entries(&self.clusters)
    }

    /// Control's numbers of every cluster's hosts, by name.
    pub fn watches(&self) -> Entries<Name, WatchStats> {
        entries(&self.watches)
    }

    /// Every host's numbers, by the names of cluster and host.
    pub fn hosts(&self) -> Entries<(Name, Name), HostStats> {
        entries(&self.hosts)
    }

    /// Forgets the numbers that no snapshot holds any more. Called after a new one has been taken over.
    pub fn sweep(&self) {
        sweep(&self.listeners);
        sweep(&self.route_tables);
        sweep(&self.clusters);
        // Nobody holds these between two looks: they go with their cluster.
        let clusters = locked(&self.clusters);
        locked(&self.watches).retain(|name, _| clusters.contains_key(name));
        drop(clusters);
        sweep(&self.hosts);
        sweep(&self.calls);
        sweep(&self.rpc_calls);
    }

    fn entry<K: Ord + Clone, S: Default>(&self, table: &Table<K, S>, key: &K) -> Arc<PerCore<S>> {
        let mut table = locked(table);
        let entry = table
            .entry(key.clone())
            .or_insert_with(|| Arc::new(PerCore::new(self.cores, S::default)));
        Arc::clone(entry)
    }
}

fn entries<K: Clone, S>(table: &Table<K, S>) -> Entries<K, S> {
    let table = locked(table);
    let pairs = table
        .iter()
        .map(|(key, entry)| (key.clone(), Arc::clone(entry)));
    pairs.collect()
}

fn sweep<K: Ord, S>(table: &Table<K, S>) {
    // Nobody can take a new hold meanwhile: holds are given out under this lock, or cloned by those who have one.
    locked(table).retain(|_, entry| Arc::strong_count(entry) > 1);
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A map of counters is sound whatever its last user was doing when it panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observe::scope::{Kind, Metric};

    #[test]
    fn a_name_finds_its_numbers_until_nobody_holds_them() {
        let stats = Stats::new(2);
        let web = Name::new("web");
        let held = stats.listener(&web);
        held.core(1).downstream_cx_total.inc();
        stats.sweep();
        let same = stats.listener(&web);
        assert_eq!(same.sum(|s| s.downstream_cx_total.value()), 1);
        drop((held, same));
        stats.sweep();
        assert!(stats.listeners().is_empty());
    }

    #[test]
    fn totals_add_up_the_cores_by_kind() {
        let stats = Stats::new(2);
        let listener = stats.listener(&Name::new("web"));
        for core in [0, 1] {
            let slot = listener.slot(core);
            slot.downstream_rq_total.add(3);
            slot.downstream_rq_active.inc();
            slot.downstream_rq.inc(204);
            slot.violation.inc(1);
            slot.downstream_rq_time.record(Duration::from_millis(1));
        }
        let total = listener.total();
        let find = |name| {
            let at = ListenerStats::METRICS.iter().position(|m| m.name == name);
            total[at.expect("a metric of that name")].clone()
        };
        assert_eq!(find("downstream_rq_total"), Value::Counter(6));
        assert_eq!(find("downstream_rq_active"), Value::Gauge(2));
        assert_eq!(find("downstream_rq"), Value::Classes([0, 2, 0, 0, 0]));
        let Value::Reasons(rules) = find("violation") else {
            panic!("a tally");
        };
        let counts = |index: usize| rules.counts[index].1;
        assert_eq!((rules.label, counts(0), counts(1)), ("rule", 0, 2));
        let Value::Histogram(times) = find("downstream_rq_time") else {
            panic!("a histogram");
        };
        assert_eq!((times.count(), times.sum()), (2, Duration::from_millis(2)));
    }

    #[test]
    fn a_family_stands_together_and_is_of_one_kind() {
        check(CoreStats::METRICS);
        check(ListenerStats::METRICS);
        check(RouteTableStats::METRICS);
        check(ClusterStats::METRICS);
        check(WatchStats::METRICS);
        check(HostStats::METRICS);
        check(ProcessStats::METRICS);
        check(CertificateStats::METRICS);

        fn check(metrics: &[Metric]) {
            let mut seen: Vec<&Metric> = Vec::new();
            for metric in metrics {
                if let Some(before) = seen.iter().find(|m| m.family == metric.family) {
                    assert_eq!(seen.last().map(|m| m.family), Some(metric.family));
                    assert_eq!((before.kind, before.help), (metric.kind, metric.help));
                    assert!(metric.label.is_some() && metric.kind == Kind::Counter);
                }
                assert!(metric.help.ends_with('.'), "{} has a sentence", metric.name);
                seen.push(metric);
            }
        }
    }
}
