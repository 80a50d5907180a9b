//! The end of a request: one outcome, from which come counters and access log lines. And answers to what is no request.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use ringway_protocols::Fields;
use ringway_protocols::http1;
use ringway_protocols::message::{Framing, ResponseHead, Version};

use super::Client;
use super::http1::{Done, End};
use crate::cluster::Cluster;
use crate::fault::FaultKind;
use crate::net::Writer;
use crate::proxy::{Reply, ReplyBody, Trace};
use crate::request::{LocalReply, Outcome, Record, RequestCx};
use crate::time::Deadline;
use crate::view::Listener;

/// Counts a request in flight, however it ends.
pub(super) struct Active<'l>(&'l Listener);

impl<'l> Active<'l> {
    pub(super) fn new(listener: &'l Listener) -> Self {
        listener.stats.downstream_rq_total.inc();
        listener.stats.downstream_rq_active.inc();
        Self(listener)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.stats.downstream_rq_active.dec();
    }
}

/// Whether the client says itself that its body is longer than the limit.
pub(super) fn is_too_long(framing: Framing, listener: &Listener) -> bool {
    let max = listener
        .spec
        .config
        .limits
        .body
        .map_or(u64::MAX, |size| size.0);
    let too_long = matches!(framing, Framing::Length(length) if length > max);
    if too_long {
        listener.stats.limit_body_too_large.inc();
    }
    too_long
}

/// The answer to such a request.
pub(super) fn too_long<'a>() -> Reply<'a> {
    let kind = FaultKind::BodyTooLarge;
    own_reply(LocalReply::text(
        kind.status(),
        kind.details(),
        "the request's body is too large\n",
    ))
}

/// The answer to a request that is for another certificate's connection (RFC 9110 §15.5.20).
pub(super) fn misdirected<'a>() -> Reply<'a> {
    own_reply(LocalReply::text(
        421,
        "misdirected_request",
        "this connection's certificate is not for that host\n",
    ))
}

/// An answer of our own.
pub(super) fn own_reply<'a>(reply: LocalReply) -> Reply<'a> {
    let LocalReply {
        status,
        fields,
        body,
        details,
        flag,
    } = reply;
    let head = Box::new(ResponseHead {
        status,
        reason: Bytes::new(),
        version: Version::Http11,
        fields,
    });
    Reply {
        head,
        body: ReplyBody::Local(body),
        flag,
        details,
        deadline: Deadline::NEVER,
        idle: None,
    }
}

/// What a request has come to.
pub(super) fn end(client: &Client, cx: &RequestCx, trace: &mut Trace<'_>, done: &Done) {
    let Done {
        head,
        sent,
        flag,
        details,
        ..
    } = done;
    let stats = &client.listener.stats;
    let duration = cx.started.elapsed();
    // A fault after the head tells more than the head did.
    let (flag, details) = sent.fault.as_ref().map_or((*flag, *details), |fault| {
        (fault.kind.flag(), fault.kind.details())
    });
    let flag = if flag == "-" { cx.flag } else { flag };
    let flag = if trace.used_up { used_up(flag) } else { flag };
    if let Some(cluster) = &trace.cluster {
        cluster.stats.bytes_sent.add(sent.received);
    }
    if let Some(fault) = &sent.fault {
        if fault.kind == FaultKind::ClientGone {
            stats.downstream_rq_aborted.inc();
        }
        tracing::debug!(%fault, "answer cut");
    }
    if details == FaultKind::RequestTimeout.details() {
        stats.limit_request_timeout.inc();
    }
    stats.downstream_rq.inc(sent.status);
    stats.downstream_rq_time.record(duration);
    if let Some(table) = &trace.table {
        table.stats.rq.inc(sent.status);
        table.stats.rq_time.record(duration);
    }
    if let Some(cluster) = &trace.cluster {
        let served = details == "via_upstream" && sent.fault.is_none();
        count_call(cluster, cx.head.path(), done, duration, served);
    }
    if client.listener.spec.logs.is_empty() && trace.filters.is_none() {
        return;
    }
    let outcome = Outcome {
        status: sent.status,
        flag,
        details,
        bytes_received: sent.received,
        bytes_sent: sent.sent,
        duration,
        response_duration: trace.response_duration,
        upstream_service_time: trace.service_time,
        cluster: trace.cluster.as_ref().map(|cluster| cluster.name.clone()),
        upstream_host: trace.host.clone(),
        transport_failure: trace.failure.take(),
        attempts: trace.attempts,
        grpc_status: done.grpc_status,
    };
    if let Some(filters) = &mut trace.filters {
        filters.on_end(cx, &outcome);
    }
    let record = Record {
        peer: &cx.peer,
        started_at: cx.started_at,
        request: Some(cx),
        response: Some(head),
        outcome: &outcome,
    };
    log(client, &record);
}

/// The flag of a request whose tries were used up beside that of the last one.
fn used_up(flag: &'static str) -> &'static str {
    match flag {
        "-" => "URX",
        "UF" => "UF,URX",
        "UC" => "UC,URX",
        "UT" => "UT,URX",
        other => other,
    }
}

/// Writes a line to each access log of the listener.
pub(super) fn log(client: &Client, record: &Record<'_>) {
    for (target, format) in &client.listener.spec.logs {
        client
            .local
            .logs
            .line(*target, |out| format.render(record, out));
    }
}

/// Counts what was a call, of gRPC or of an RPC protocol, by its method.
fn count_call(cluster: &Cluster, path: &[u8], done: &Done, duration: Duration, served: bool) {
    if let Some(status) = done.grpc_status {
        cluster.calls.count(path, status, duration, served);
    }
    if let (Some(end), Some(calls)) = (done.rpc, &cluster.rpc_calls) {
        calls.count(path, end, duration);
    }
}

/// The answer to what is no request.
pub(super) struct Refusal {
    started: Instant,
    started_at: SystemTime,
    details: &'static str,
    pub(super) head: ResponseHead,
    pub(super) body: Bytes,
}

impl Refusal {
    pub(super) fn new(client: &Client, status: u16, details: &'static str) -> Self {
        let started_at = SystemTime::now();
        let body = format!("{details}\n");
        let mut fields = Fields::new();
        fields.push("content-type", "text/plain; charset=utf-8");
        fields.push("content-length", body.len().to_string());
        fields.push("date", client.local.date.at(started_at));
        Self {
            started: Instant::now(),
            started_at,
            details,
            head: ResponseHead {
                status,
                reason: Bytes::new(),
                version: Version::Http11,
                fields,
            },
            body: body.into(),
        }
    }

    /// Counts and logs it, after it was sent.
    pub(super) fn end(&self, client: &Client) {
        let status = self.head.status;
        client.listener.stats.downstream_rq.inc(status);
        let outcome = Outcome {
            status,
            flag: if status == 408 { "DT" } else { "DPE" },
            details: self.details,
            bytes_received: 0,
            bytes_sent: self.body.len() as u64,
            duration: self.started.elapsed(),
            response_duration: None,
            upstream_service_time: None,
            cluster: None,
            upstream_host: None,
            transport_failure: None,
            attempts: 0,
            grpc_status: None,
        };
        let peer = client.peer();
        let record = Record {
            peer: &peer,
            started_at: self.started_at,
            request: None,
            response: Some(&self.head),
            outcome: &outcome,
        };
        log(client, &record);
    }
}

/// Answers what is no request, and says that nothing more will be read.
pub(super) async fn refuse(
    client: &Client,
    writer: &mut Writer,
    status: u16,
    details: &'static str,
) -> End {
    let mut refusal = Refusal::new(client, status, details);
    refusal.head.fields.push("connection", "close");
    let mut out = bytes::BytesMut::new();
    let reason = http1::reason(status).as_bytes();
    http1::write_response_head(&mut out, status, reason, refusal.head.fields.iter());
    out.extend_from_slice(&refusal.body);
    let limit = Deadline::after(Duration::from_secs(1));
    let written = client
        .timer
        .within(limit, writer.write_all(out, |_| ()))
        .await;
    refusal.end(client);
    if matches!(written, Ok(Ok(()))) {
        End::Linger
    } else {
        End::Close
    }
}
