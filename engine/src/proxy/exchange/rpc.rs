//! One try of a call over a connection of its RPC protocol.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringway_protocols::Fields;
use ringway_protocols::codec::{AmendError, Change, Frame, Kind, Verdict};
use ringway_protocols::message::{ResponseHead, Version};

use super::super::answer::rpc::Body;
use super::super::upload::SharedUpload;
use super::{Sending, watched};
use crate::cluster::{Active, RpcSlot};
use crate::fault::{Fault, FaultKind};
use crate::request::RpcCall;
use crate::time::Timer;

/// A call is told of less time only if that is less by this: some protocols have to be copied for it.
const LESS: Duration = Duration::from_millis(10);

/// Sends the call and waits for its answer, where it gets one. Dropped before, the answer will find nobody.
pub(super) async fn exchange(
    sending: &Sending<'_>,
    slot: RpcSlot,
    active: Active,
    upload: &SharedUpload<'_>,
    timer: &Timer,
) -> Result<(Box<ResponseHead>, Body), Fault> {
    let Some(call) = sending.request.rpc else {
        return Err(Fault::new(FaultKind::Internal).because("no call of an RPC protocol"));
    };
    let frame = amended(call, sending.request.fields, &slot)?;
    let frame = limited(frame, sending.request.expires, &slot);
    let stats = &sending.cluster.stats;
    if frame.kind == Kind::OneWay {
        slot.send(frame)?;
        return Ok((head(call, None), Body::new(None, active)));
    }
    let answering = slot.call(frame)?;
    let answer = watched(pin!(answering), sending, upload, timer).await?;
    stats.bytes_received.add(answer.bytes.len() as u64);
    Ok((head(call, Some(&answer)), Body::new(Some(answer), active)))
}

/// The frame with the time that is left, if that is less than it says.
fn limited(frame: Frame, expires: Option<Instant>, slot: &RpcSlot) -> Frame {
    let Some(expires) = expires else {
        return frame;
    };
    let left = expires.saturating_duration_since(Instant::now());
    let is_less = |said: Duration| left + LESS < said;
    match frame.timeout.is_none_or(is_less) {
        true => slot.limit(&frame, left).unwrap_or(frame),
        false => frame,
    }
}

/// The frame with the headers that filters and the route have changed.
fn amended(call: &RpcCall, fields: &Fields, slot: &RpcSlot) -> Result<Frame, Fault> {
    if let Some(carried) = &call.carried {
        return amend(call, &carrying(carried, fields), slot);
    }
    let before = slot.headers(&call.frame);
    let is_header = |name: &[u8]| !name.starts_with(b":");
    let mut changes: Vec<Change<'_>> = Vec::new();
    let headers = || fields.iter().filter(|field| is_header(field.name));
    let same = |(a, b): (ringway_protocols::Field<'_>, ringway_protocols::Field<'_>)| {
        a.name == b.name && a.value == b.value
    };
    let count = before.iter().filter(|field| is_header(field.name)).count();
    let mut unchanged = before
        .iter()
        .filter(|field| is_header(field.name))
        .zip(headers());
    if headers().count() == count && unchanged.all(same) {
        return Ok(call.frame.clone());
    }
    for field in headers() {
        if !before.all(field.name).any(|value| value == field.value) {
            changes.retain(|change| !change.name.eq_ignore_ascii_case(field.name));
            changes.push(Change {
                name: field.name,
                value: Some(field.value),
            });
        }
    }
    for field in before.iter().filter(|field| is_header(field.name)) {
        if fields.get(field.name).is_none() {
            changes.push(Change {
                name: field.name,
                value: None,
            });
        }
    }
    amend(call, &changes, slot)
}

/// Headers of a call that a filter made, from the fields of its request that are there.
fn carrying<'f>(carried: &'f [(Bytes, Bytes)], fields: &'f Fields) -> Vec<Change<'f>> {
    let values = carried.iter().map(|(name, from)| (name, fields.get(from)));
    values
        .filter(|(_, value)| value.is_some())
        .map(|(name, value)| Change { name, value })
        .collect()
}

fn amend(call: &RpcCall, changes: &[Change<'_>], slot: &RpcSlot) -> Result<Frame, Fault> {
    if changes.is_empty() {
        return Ok(call.frame.clone());
    }
    match slot.amend(&call.frame, changes) {
        Ok(frame) => Ok(frame),
        // It goes on as it is: that a trace is cut short is no reason to refuse a call.
        Err(AmendError::Unsupported) => {
            slot.count_unamended();
            Ok(call.frame.clone())
        }
        Err(error @ AmendError::TooLarge) => {
            Err(Fault::new(FaultKind::ClientProtocol).because(error))
        }
    }
}

/// A call's answer as a head: so that retries, counters and logs judge it as they judge HTTP. An exception of the application's is
/// an answer as good as any.
fn head(call: &RpcCall, answer: Option<&Frame>) -> Box<ResponseHead> {
    let mut fields = Fields::new();
    let status = match answer.map(|answer| answer.verdict) {
        Some(Verdict::Failed) => 500,
        Some(Verdict::Good | Verdict::Exception) | None => 200,
    };
    if let Some(answer) = answer
        && answer.verdict != Verdict::Good
    {
        fields.push(":code", answer.code.to_string());
    }
    Box::new(ResponseHead {
        status,
        reason: Bytes::new(),
        version: Version::Rpc(call.codec.name()),
        fields,
    })
}
