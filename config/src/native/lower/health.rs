//! Probes, outliers and limits of a cluster.

use super::keys::exactly_one;
use crate::native::wire::{
    ClusterLimitsRecord, Cx, HealthCheckRecord, HttpProbeRecord, OutlierRecord,
};
use crate::{
    ClusterLimits, FailureRate, HealthCheck, HttpProbe, Limits, Outlier, Probe, SuccessRate,
};

pub(super) fn health_check(record: HealthCheckRecord, cx: &mut Cx) -> HealthCheck {
    exactly_one(&record.at, &record.keys, &["http", "tcp", "grpc"], cx);
    let probe = if let Some(http) = record.http {
        Probe::Http(http_probe(http))
    } else if let Some(grpc) = record.grpc {
        Probe::Grpc {
            service: grpc.service,
            authority: grpc.authority.map(|authority| authority.0),
        }
    } else {
        let (send, expect) = record
            .tcp
            .map_or_else(Default::default, |tcp| (tcp.send, tcp.expect));
        Probe::Tcp { send, expect }
    };
    HealthCheck {
        probe,
        interval: record.interval.0,
        unhealthy_interval: record.unhealthy_interval.map(|interval| interval.0),
        no_traffic_interval: record.no_traffic_interval.map(|interval| interval.0),
        timeout: record.timeout.0,
        jitter: record.jitter,
        initial_wait: record.initial_wait,
        unhealthy_after: record.unhealthy_after.u32(),
        healthy_after: record.healthy_after.u32(),
    }
}

fn http_probe(record: HttpProbeRecord) -> HttpProbe {
    let headers = record.headers.0.into_iter();
    HttpProbe {
        path: record.path.0,
        host: record.host.map(|host| host.0),
        method: record.method.0,
        headers: headers.map(|(name, value)| (name.0, value.0)).collect(),
        statuses: record
            .statuses
            .0
            .iter()
            .map(|range| (range.0, range.1))
            .collect(),
        body: record.body,
        http2: record.http2,
    }
}

pub(super) fn outlier(record: OutlierRecord) -> Outlier {
    Outlier {
        consecutive_5xx: record.consecutive_5xx.u32(),
        consecutive_gateway: record.consecutive_gateway.u32(),
        consecutive_local: record.consecutive_local.u32(),
        interval: record.interval.0,
        base_ejection: record.base_ejection.0,
        max_ejection: record.max_ejection.0.max(record.base_ejection.0),
        jitter: record.jitter,
        max_ejected: record.max_ejected,
        success_rate: record.success_rate.map(|rate| SuccessRate {
            min_hosts: rate.min_hosts.u32(),
            requests: rate.requests.u32(),
            stdev_factor: rate.stdev_factor.u32(),
        }),
        failure: record.failure.map(|rate| FailureRate {
            threshold: rate.threshold,
            min_hosts: rate.min_hosts.u32(),
            requests: rate.requests.u32(),
        }),
    }
}

pub(super) fn limits(record: ClusterLimitsRecord) -> ClusterLimits {
    ClusterLimits {
        connections: record.connections.map(|limit| limit.u32()),
        pending: record.pending.map(|limit| limit.u32()),
        default: Limits {
            requests: record.requests.map(|limit| limit.u32()),
            retries: record.retries.map(|limit| limit.u32()),
            retry_budget: record.retry_budget,
        },
        high: record.high.map_or_else(Limits::default, |high| Limits {
            requests: high.requests.map(|limit| limit.u32()),
            retries: high.retries.map(|limit| limit.u32()),
            retry_budget: high.retry_budget,
        }),
        host_connections: record.host_connections.map(|limit| limit.u32()),
        host_requests: record.host_requests.map(|limit| limit.u32()),
    }
}
