//! One request on an HTTP/2 connection: its answer's head, and the two directions of its stream.
//!
//! What is dropped before its end resets the stream with CANCEL: the codec does so when the last handle of a stream goes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream, StreamId};
use http::{HeaderMap, Request};
use ringway_protocols::Fields;
use ringway_protocols::http1::{HeadLimits, Violation};
use ringway_protocols::http2;
use ringway_protocols::message::{ResponseHead, Version};

use super::ends::Watch;
use super::error::{Stage, broken, fault};
use super::session::Slot;
use crate::fault::{Fault, FaultKind, Retry};
use crate::http2::{Window, to_fields};
use crate::time::now_millis;

/// Waiting in vain for so long, in milliseconds, makes a connection suspect: it is asked whether it is there.
const SUSPECT_AFTER: u64 = 1000;
/// In the place of when it began: no longer waiting.
const ANSWERED: u64 = u64::MAX;

impl Slot {
    /// Sends a request's head; `ends` says that this is all of it.
    pub(crate) fn call(
        mut self,
        request: Request<()>,
        ends: bool,
    ) -> Result<(Answering, Sender), Fault> {
        let Some(mut sender) = self.sender.take() else {
            return Err(Fault::new(FaultKind::Internal));
        };
        match sender.send_request(request, ends) {
            Ok((future, send)) => {
                let watch = (!ends).then(|| self.session.ends.watch(send.stream_id().as_u32()));
                let answering = Answering {
                    future,
                    receive: None,
                    interims: 0,
                    begun: now_millis(),
                    watch,
                    slot: self,
                };
                Ok((answering, Sender { stream: send }))
            }
            // Nothing has gone out: the connection has just ended, or takes no more.
            Err(error) => {
                self.session.drain();
                Err(Fault::new(FaultKind::Reset)
                    .retry(Retry::Unprocessed)
                    .because(error))
            }
        }
    }
}

impl Slot {
    /// Sends an extended CONNECT (RFC 8441), if the other end's SETTINGS, which are awaited, say that it takes such.
    pub(crate) async fn connect(
        self,
        mut request: Request<()>,
        protocol: &'static str,
    ) -> Result<(Answering, Sender), Fault> {
        if let Some(sender) = &self.sender {
            std::future::poll_fn(|cx| self.session.poll_heard(sender, cx)).await;
            if !self.session.has_ended() && !sender.is_extended_connect_protocol_enabled() {
                return Err(Fault::new(FaultKind::NoTunnel));
            }
        }
        *request.method_mut() = http::Method::CONNECT;
        // RFC 8441 §5: there is nothing that a key would show.
        request
            .headers_mut()
            .remove(http::header::SEC_WEBSOCKET_KEY);
        let protocol = h2::ext::Protocol::from_static(protocol);
        request.extensions_mut().insert(protocol);
        self.call(request, false)
    }
}

/// A request whose answer's head is waited for. The order of the fields is that of their end: the stream, then its place.
pub(crate) struct Answering {
    future: ResponseFuture,
    receive: Option<RecvStream>,
    interims: u32,
    begun: u64,
    /// Of a request with a body.
    watch: Option<Watch>,
    slot: Slot,
}

impl Answering {
    /// The next head, 1xx ones too. After the final one it must not be called again.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Box<ResponseHead>, Fault>> {
        if let Some(interim) = ready!(self.future.poll_informational(cx)) {
            let interim = interim.map_err(|error| self.fault(error))?;
            self.interims += 1;
            let rule = match interim.status().as_u16() {
                101 => Violation::Http2Switching,
                _ if self.interims > self.slot.session.interim_answers => Violation::InterimFlood,
                status => return Poll::Ready(self.head(status, interim.headers())),
            };
            return Poll::Ready(Err(broken(rule, &self.slot.session)));
        }
        let answer = ready!(Pin::new(&mut self.future).poll(cx));
        let (parts, stream) = answer.map_err(|error| self.fault(error))?.into_parts();
        self.receive = Some(stream);
        self.begun = ANSWERED;
        self.slot.session.answered();
        Poll::Ready(self.head(parts.status.as_u16(), &parts.headers))
    }

    fn head(&self, status: u16, map: &HeaderMap) -> Result<Box<ResponseHead>, Fault> {
        let rule = if status > 599 {
            Violation::StatusCode
        } else if map.len() > HeadLimits::default().fields {
            Violation::FieldsTooMany
        } else if map.get_all(http::header::CONTENT_LENGTH).iter().count() > 1 {
            Violation::LengthDuplicate
        } else {
            let mut fields = to_fields(map);
            match http2::answer(status, &mut fields) {
                Err(rule) => rule,
                Ok(()) => {
                    return Ok(Box::new(ResponseHead {
                        status,
                        reason: Bytes::new(),
                        version: Version::Http2,
                        fields,
                    }));
                }
            }
        };
        Err(broken(rule, &self.slot.session))
    }

    #[cold]
    fn fault(&self, error: h2::Error) -> Fault {
        let reused = self.slot.reused;
        fault(error, Stage::Head { reused }, &self.slot.session)
    }

    /// RFC 9113 §8.1: an answer that is whole may be followed by a reset, so that the rest of the request is not sent.
    fn is_told_to_stop(&self, error: &h2::Error) -> bool {
        let stop =
            error.is_reset() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
        stop && self.watch.as_ref().is_some_and(Watch::has_ended)
    }

    /// The rest of the answer, after its final head.
    pub(crate) fn into_receiving(mut self) -> Result<Receiving, Fault> {
        let Some(stream) = self.receive.take() else {
            return Err(Fault::new(FaultKind::Internal));
        };
        Ok(Receiving {
            stream,
            call: self,
            pulled: 0,
            came: 0,
            known: None,
        })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let waited = now_millis().saturating_sub(self.begun);
        if self.begun != ANSWERED && waited > SUSPECT_AFTER {
            self.slot.session.suspect();
        }
    }
}

/// The body of an answer.
pub(crate) struct Receiving {
    stream: RecvStream,
    call: Answering,
    /// Bytes pulled, and not yet made room for again.
    pulled: usize,
    /// Bytes pulled, ever.
    came: u64,
    /// It has brought much, and the window knows it.
    known: Option<StreamId>,
}

impl Receiving {
    /// Whether nothing is left to come.
    pub(crate) fn is_ended(&self) -> bool {
        self.stream.is_end_stream()
    }

    /// The next bytes; `None` where they end. What was pulled before is taken to have gone on: its room is the sender's again.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        self.release();
        let session = &self.call.slot.session;
        match ready!(self.stream.poll_data(cx)) {
            Some(Ok(bytes)) => {
                self.pulled = bytes.len();
                self.came += bytes.len() as u64;
                if self.known.is_none() && Window::is_much(self.came) {
                    self.known = Some(session.window.know(&mut self.stream));
                }
                if session.window.received(bytes.len()) {
                    session.wake();
                }
                Poll::Ready(Ok(Some(bytes)))
            }
            None => Poll::Ready(Ok(None)),
            Some(Err(error)) if self.call.is_told_to_stop(&error) => Poll::Ready(Ok(None)),
            Some(Err(error)) => Poll::Ready(Err(fault(error, Stage::Body, session))),
        }
    }

    /// The trailer fields, after the data.
    pub(crate) fn poll_trailers(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Fields>, Fault>> {
        let session = &self.call.slot.session;
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(None) => Poll::Ready(Ok(None)),
            Ok(Some(trailers)) => {
                let mut fields = to_fields(&trailers);
                let most = HeadLimits::default().fields;
                Poll::Ready(match http2::answer_trailers(&mut fields, most) {
                    Ok(()) => Ok(Some(fields)),
                    Err(rule) => Err(broken(rule, session)),
                })
            }
            Err(error) if self.call.is_told_to_stop(&error) => Poll::Ready(Ok(None)),
            Err(error) => Poll::Ready(Err(fault(error, Stage::Body, session))),
        }
    }

    /// Lets the other end send as much as was pulled.
    fn release(&mut self) {
        let pulled = std::mem::take(&mut self.pulled);
        if pulled > 0 {
            // It fails only where more is given back than was taken.
            let _given_back = self.stream.flow_control().release_capacity(pulled);
        }
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if let Some(stream) = self.known {
            self.call.slot.session.window.forget(stream);
        }
    }
}

/// The way of a request's body to the upstream.
pub(crate) struct Sender {
    stream: SendStream<Bytes>,
}

/// The stream takes no more.
pub(crate) struct Closed;

impl Sender {
    /// Sends a part as the other end makes room; `ends`: it is the last.
    pub(crate) async fn send(&mut self, part: Bytes, ends: bool) -> Result<(), Closed> {
        self.pass(part, ends, |_| ()).await
    }

    /// The same; `moved` hears of each piece that goes.
    pub(crate) async fn pass(
        &mut self,
        mut part: Bytes,
        ends: bool,
        moved: impl Fn(usize),
    ) -> Result<(), Closed> {
        while !part.is_empty() {
            self.stream.reserve_capacity(part.len());
            let room = match self.stream.capacity() {
                0 => std::future::poll_fn(|cx| self.stream.poll_capacity(cx)).await,
                room => Some(Ok(room)),
            };
            let Some(Ok(room)) = room else {
                return Err(Closed);
            };
            let now = part.split_to(room.min(part.len()));
            let last = ends && part.is_empty();
            moved(now.len());
            self.stream.send_data(now, last).map_err(|_| Closed)?;
            if last {
                return Ok(());
            }
        }
        if ends { self.end(None) } else { Ok(()) }
    }

    /// Ends the request.
    pub(crate) fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Closed> {
        let ended = match trailers {
            Some(trailers) => self.stream.send_trailers(trailers),
            None => self.stream.send_data(Bytes::new(), true),
        };
        ended.map_err(|_| Closed)
    }

    /// Breaks the request off: it must not look whole.
    pub(crate) fn cancel(&mut self) {
        self.stream.send_reset(Reason::CANCEL);
    }
}
