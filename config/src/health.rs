//! How it is found out which hosts can be asked: probes, and errors that stand out. And how much a cluster takes.

use std::time::Duration;

use crate::Percent;

/// Probes of each host, made by the control thread, once for the whole process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// From the end of a probe to the next. Default 5 s.
    pub interval: Duration,
    /// The same while the host is not healthy; absent: `interval`.
    pub unhealthy_interval: Option<Duration>,
    /// The same while nobody has sent the cluster a request; absent: `interval`.
    pub no_traffic_interval: Option<Duration>,
    /// How long a probe may take. Default 2 s.
    pub timeout: Duration,
    /// Up to this much by chance is added to each interval. Default 10 % of it.
    pub jitter: Percent,
    /// The first probe of a host comes after a random part of this. Default 0.
    pub initial_wait: Duration,
    /// So many failures in a row mark a host. Default 3.
    pub unhealthy_after: u32,
    /// So many successes in a row take the mark away. Default 2; the first probe of a host decides at once.
    pub healthy_after: u32,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// An HTTP request.
    Http(HttpProbe),
    /// A connection, and what is said over it.
    Tcp {
        /// What is sent; empty: nothing.
        send: String,
        /// What must come, among other things; empty: nothing.
        expect: String,
    },
    /// The gRPC health service, over HTTP/2.
    Grpc {
        /// The service that is asked for; empty: the server itself.
        service: String,
        /// The `:authority`; absent: the host's address.
        authority: Option<String>,
    },
}

/// An HTTP request as a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// Its path.
    pub path: String,
    /// Its host; absent: the host's address.
    pub host: Option<String>,
    /// Its method. Default GET.
    pub method: String,
    /// More fields.
    pub headers: Vec<(String, String)>,
    /// Statuses that are well: first and last of each range. Default 200 to 299.
    pub statuses: Vec<(u16, u16)>,
    /// A text that the body must hold, in its first 64 KiB; empty: any body.
    pub body: String,
    /// Over HTTP/2. Default false.
    pub http2: bool,
}

/// Hosts whose errors stand out are not asked for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlier {
    /// Answers 500 to 599 (and connections that fail) in a row; 0: not looked at. Default 5.
    pub consecutive_5xx: u32,
    /// Answers 502 to 504 (and connections that fail) in a row; 0: not looked at. Default 0.
    pub consecutive_gateway: u32,
    /// Failures without an answer in a row; 0: not looked at. Default 0.
    pub consecutive_local: u32,
    /// How often rates are looked at. Default 10 s.
    pub interval: Duration,
    /// How long a host is out, times how often it has been lately. Default 30 s.
    pub base_ejection: Duration,
    /// And at most. Default 300 s.
    pub max_ejection: Duration,
    /// Up to this much by chance is added. Default 0.
    pub jitter: Duration,
    /// With this part of the hosts out, no more are. Default 10 %; one host may always be.
    pub max_ejected: Percent,
    /// Hosts whose rate of success is far below that of the others; absent: not looked at.
    pub success_rate: Option<SuccessRate>,
    /// Hosts of which too large a part of the requests fails; absent: not looked at.
    pub failure: Option<FailureRate>,
}

/// A rate of success that stands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuccessRate {
    /// So many hosts must have requests enough. Default 5.
    pub min_hosts: u32,
    /// Requests in an interval that are enough. Default 100.
    pub requests: u32,
    /// How many thousandths of a standard deviation below the mean a host may be. Default 1900.
    pub stdev_factor: u32,
}

/// A rate of failure that is too large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureRate {
    /// It. Default 85 %.
    pub threshold: Percent,
    /// So many hosts must have requests enough. Default 5.
    pub min_hosts: u32,
    /// Requests in an interval that are enough. Default 50.
    pub requests: u32,
}

/// How much a cluster takes, in the whole process. What is absent has no limit.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ClusterLimits {
    /// Connections, those kept too.
    pub connections: Option<u32>,
    /// Requests that wait for a connection. Default 1024.
    pub pending: Option<u32>,
    /// For requests of the default priority.
    pub default: Limits,
    /// For requests of high priority, counted apart.
    pub high: Limits,
    /// Connections to one host.
    pub host_connections: Option<u32>,
    /// Requests in flight at one host.
    pub host_requests: Option<u32>,
}

/// How much a cluster takes of one priority.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Limits {
    /// Requests in flight.
    pub requests: Option<u32>,
    /// Further tries in flight.
    pub retries: Option<u32>,
    /// Further tries against first ones: each first try adds this part of one to a bucket.
    pub retry_budget: Option<Percent>,
}

/// How important a route's requests are to the limits of clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Priority {
    /// As others.
    #[default]
    Default,
    /// Counted apart.
    High,
}
