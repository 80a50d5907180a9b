//! One try: a request sent under one lease, and the head of its answer.
//!
//! ```text
//!   head ─► (wait for 100) ─► body … ─► last byte ─► first_byte_timeout begins
//!      └──────── the answer's head may come at any time ────────► Answer (sending may go on behind it)
//! ```

pub(super) mod http1;
pub(super) mod http2;
pub(super) mod rpc;
mod websocket;

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::Interim;
use super::answer::{Answer, Source};
use super::outgoing::Outgoing;
use super::upload::SharedUpload;
use crate::cluster::{Active, Cluster, Host, Lease, RequestPlaces};
use crate::fault::{Fault, FaultKind, Retry};
use crate::time::{Deadline, Timer, now_millis};

/// How long an answer may take before the client is watched for going away: a watch costs a read, and most answers are quicker.
const WATCH_AFTER: Duration = Duration::from_millis(50);
/// How long an upstream may take to say `100 Continue` before the body is sent without it (RFC 9110 §10.1.1: not for ever).
const CONTINUE_AFTER: Duration = Duration::from_secs(1);

/// What is sent, and how its answer is to be read.
pub(crate) struct Sending<'s> {
    pub(crate) cluster: &'s Rc<Cluster>,
    pub(crate) request: &'s Outgoing<'s>,
    /// From the request's last byte to the answer's first.
    pub(crate) first_byte: Option<Duration>,
    /// The client waits for `100 Continue`.
    pub(crate) expects_continue: bool,
    /// What it takes of its cluster's and its host's limits.
    pub(crate) places: RequestPlaces,
    /// Noted here: since when the upstream has the whole request, in milliseconds of the coarse clock.
    pub(crate) whole: &'s Cell<u64>,
}

/// It does not have it yet.
pub(crate) const NOT_YET: u64 = u64::MAX;

/// Why sending a body stopped before its end.
pub(super) enum Stopped {
    /// By the client's fault: nothing more will come.
    Client(Fault),
    /// The upstream takes no more. It may have said why.
    Upstream,
}

/// Sends the request and reads the head of the final answer. Dropped, it ends the try at the upstream too.
pub(crate) async fn exchange<'a>(
    mut sending: Sending<'_>,
    lease: Lease,
    host: &Rc<Host>,
    upload: &SharedUpload<'a>,
    interim: &mut dyn Interim,
    timer: &Timer,
) -> Result<Answer<'a>, Fault> {
    let started = Instant::now();
    let active = Active::new(host, std::mem::take(&mut sending.places));
    let (head, body) = match lease {
        Lease::Http1(connection) => {
            let (head, body) = pin!(http1::exchange(
                &sending, connection, active, upload, interim, timer
            ))
            .await?;
            (head, Source::Http1(body))
        }
        Lease::Http2(slot) => {
            let (head, body) = pin!(http2::exchange(
                &sending, slot, active, upload, interim, timer
            ))
            .await?;
            (head, Source::Http2(body))
        }
        Lease::Rpc(slot) => {
            let (head, body) = pin!(rpc::exchange(&sending, slot, active, upload, timer)).await?;
            (head, Source::Rpc(body))
        }
    };
    let service_time = started.elapsed();
    let stats = &sending.cluster.stats;
    host.stats.rq_time.record(service_time);
    sending.cluster.observe(host, service_time);
    stats.upstream_rq_time.record(service_time);
    stats.upstream_rq.inc(head.status);
    if head.status >= 500 {
        host.stats.rq_error.inc();
    }
    Ok(Answer {
        head,
        body: body.into(),
        service_time,
    })
}

/// Until the body is sent (the first) or the answer's head is here (the second), whichever comes first.
///
/// Here and in [`watched`] the answer comes pinned: by value it would be held twice, as an argument and where it is pinned, in every
/// request's future.
async fn race<S, T>(
    outgoing: &mut Pin<Box<dyn Future<Output = S> + '_>>,
    mut answer: Pin<&mut impl Future<Output = Result<T, Fault>>>,
) -> Result<(Option<S>, Option<T>), Fault> {
    std::future::poll_fn(|cx| {
        if let Poll::Ready(sent) = outgoing.as_mut().poll(cx) {
            return Poll::Ready(Ok((Some(sent), None)));
        }
        answer.as_mut().poll(cx).map(|head| Ok((None, Some(head?))))
    })
    .await
}

/// Waits for an answer's head after the whole request was sent, as long as the limit allows and the client is there.
async fn watched<T>(
    mut answer: Pin<&mut impl Future<Output = Result<T, Fault>>>,
    sending: &Sending<'_>,
    upload: &SharedUpload<'_>,
    timer: &Timer,
) -> Result<T, Fault> {
    let first_byte = Deadline::after_opt(sending.first_byte);
    sending.whole.set(now_millis());
    let watched = async {
        // Most answers come before a watch would be worth its read.
        if let Ok(head) = timer
            .within(Deadline::after(WATCH_AFTER), answer.as_mut())
            .await
        {
            return head;
        }
        std::future::poll_fn(|cx| {
            if let Poll::Ready(head) = answer.as_mut().poll(cx) {
                return Poll::Ready(head);
            }
            upload
                .borrow_mut()
                .poll_gone(cx)
                .map(|()| Err(Fault::new(FaultKind::ClientGone)))
        })
        .await
    };
    match timer.within(first_byte, watched).await {
        Ok(head) => head,
        Err(_elapsed) => Err(Fault::new(FaultKind::FirstByteTimeout).retry(Retry::IfIdempotent)),
    }
}
