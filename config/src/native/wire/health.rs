//! Probes, outliers and limits of a cluster.

use super::{
    Authority, ChangedField, Cx, FieldValue, Form, Int, Leaf, Method, OneOrMore, Pairs, Positive,
    ProbePath, Wrong, fields::record,
};
use crate::Percent;
use std::time::Duration;

record! {
    /// Probes of each host, made once for the whole process: exactly one of `http`, `tcp` and `grpc`.
    HealthCheckRecord {
        /// An HTTP request.
        http: Option<HttpProbeRecord>,
        /// A connection, and what is said over it.
        tcp: Option<TcpProbeRecord>,
        /// The gRPC health service (`grpc.health.v1.Health/Check`), over HTTP/2.
        grpc: Option<GrpcProbeRecord>,
        /// From the end of a probe to the next.
        interval: Positive = "5s",
        /// The same while the host is unhealthy. Default: `interval`.
        unhealthy_interval: Option<Positive>,
        /// The same until the cluster gets its first request; then the next probe comes within `interval`. Default: `interval`.
        no_traffic_interval: Option<Positive>,
        /// How long a probe may take.
        timeout: Positive = "2s",
        /// Up to this share of an interval is added to it at random.
        jitter: Percent = "10%",
        /// The first probe of a host comes after a random part of this.
        initial_wait: Duration = 0,
        /// How many failures in a row mark a host as unhealthy.
        unhealthy_after: Int<1, 1000> = 3,
        /// How many successes in a row clear the mark. The first probe of a host decides at once.
        healthy_after: Int<1, 1000> = 2,
    }
}

record! {
    /// An HTTP request as a probe.
    HttpProbeRecord {
        /// Its path, with a query if there is one.
        path: ProbePath,
        /// Its host. Default: the host's address.
        host: Option<Authority>,
        /// Its method.
        method: Method = "GET",
        /// More headers.
        headers: Pairs<ChangedField, FieldValue>,
        /// Statuses that pass: one, a range, or a list of them.
        statuses: OneOrMore<StatusRange> = "200-299",
        /// A text that the first 64 KiB of the body must contain.
        body: String = "",
        /// Over HTTP/2.
        http2: bool = false,
    }
}

/// A status, or the first and the last of a range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatusRange(pub u16, pub u16);

impl Leaf for StatusRange {
    const FORM: Form = Form {
        name: "status",
        what: "a status such as `204`, or a range such as `200-299`",
    };
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        let status = |text: &str| {
            let number = text.trim().parse().ok();
            number.filter(|status| (100..=599).contains(status))
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self(first, last)),
            _ => Err(Wrong::Form),
        }
    }
    fn number(number: f64) -> Option<Self> {
        ((100.0..=599.0).contains(&number) && number.fract() == 0.0)
            .then_some(Self(number as u16, number as u16))
    }
    fn numbers() -> Option<super::Shape> {
        Some(super::Shape::Integer { min: 100, max: 599 })
    }
    fn hole() -> Self {
        Self(200, 299)
    }
}

record! {
    /// A connection as a probe.
    TcpProbeRecord {
        /// What is sent.
        send: String = "",
        /// A text that the answer must contain. Without it, making a connection is enough.
        expect: String = "",
    }
}

record! {
    /// The gRPC health service as a probe.
    GrpcProbeRecord {
        /// The service to ask about. Default: the server itself.
        service: String = "",
        /// The `:authority`. Default: the host's address.
        authority: Option<Authority>,
    }
}

record! {
    /// Leaves out hosts whose errors stand out, for a while.
    OutlierRecord {
        /// Answers 500 to 599, and failures without an answer, in a row; 0: off.
        consecutive_5xx: Int<0, 1_000_000> = 5,
        /// Answers 502 to 504, and failures without an answer, in a row; 0: off.
        consecutive_gateway: Int<0, 1_000_000> = 0,
        /// Failures without an answer (connections refused, reset, timed out) in a row; 0: off.
        consecutive_local: Int<0, 1_000_000> = 0,
        /// How often rates are evaluated.
        interval: Positive = "10s",
        /// How long a host is out, multiplied by the number of its recent ejections.
        base_ejection: Positive = "30s",
        /// The longest time that a host is out.
        max_ejection: Positive = "5m",
        /// Up to this much is added at random.
        jitter: Duration = 0,
        /// The largest share of the hosts that may be out at once; one host always may.
        max_ejected: Percent = "10%",
        /// Ejects hosts whose success rate is far below that of the others. Without this key: off.
        success_rate: Option<SuccessRateRecord>,
        /// Ejects hosts at which too large a share of the requests fails. Without this key: off.
        failure: Option<FailureRateRecord>,
    }
}

record! {
    /// A success rate that stands out.
    SuccessRateRecord {
        /// How many hosts must have had enough requests.
        min_hosts: Int<1, 1_000_000> = 5,
        /// How many requests in an interval are enough.
        requests: Int<1, 1_000_000_000> = 100,
        /// How far below the mean a host may be, in thousandths of a standard deviation.
        stdev_factor: Int<0, 1_000_000> = 1900,
    }
}

record! {
    /// A failure rate that is too high.
    FailureRateRecord {
        /// The share of failed requests from which on a host is ejected.
        threshold: Percent = "85%",
        /// How many hosts must have had enough requests.
        min_hosts: Int<1, 1_000_000> = 5,
        /// How many requests in an interval are enough.
        requests: Int<1, 1_000_000_000> = 50,
    }
}

record! {
    /// Limits of a cluster in the whole process, whatever the number of cores. What is absent has no limit.
    ClusterLimitsRecord {
        /// Connections, including those kept for the next request.
        connections: Option<Int<1, { u32::MAX as u64 }>>,
        /// Requests that wait for a connection, first come, first served. Default, with `connections`: 1024.
        pending: Option<Int<0, { u32::MAX as u64 }>>,
        /// Requests in flight.
        requests: Option<Int<1, { u32::MAX as u64 }>>,
        /// Further tries in flight.
        retries: Option<Int<0, { u32::MAX as u64 }>>,
        /// Further tries in proportion to first ones: each first try adds this share of one to a bucket that holds at most a hundred.
        retry_budget: Option<Percent>,
        /// Connections to one host.
        host_connections: Option<Int<1, { u32::MAX as u64 }>>,
        /// Requests in flight at one host.
        host_requests: Option<Int<1, { u32::MAX as u64 }>>,
        /// The same for requests of routes with `priority: high`, counted apart.
        high: Option<HighLimitsRecord>,
    }
}

record! {
    /// Limits of a cluster's requests of high priority.
    HighLimitsRecord {
        /// Requests in flight.
        requests: Option<Int<1, { u32::MAX as u64 }>>,
        /// Further tries in flight.
        retries: Option<Int<0, { u32::MAX as u64 }>>,
        /// Further tries in proportion to first ones.
        retry_budget: Option<Percent>,
    }
}
