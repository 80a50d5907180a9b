//! One try over a stream of an HTTP/2 connection.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use ringway_protocols::FieldId;
use ringway_protocols::message::{Framing, Method, ResponseHead};

use super::super::Interim;
use super::super::answer::http2::Body;
use super::super::upload::{SharedUpload, next};
use super::{CONTINUE_AFTER, Sending, Stopped, race, watched, websocket};
use crate::cluster::{Active, Answering, Closed, Sender, StreamSlot};
use crate::fault::{Fault, FaultKind};
use crate::http2::to_map;
use crate::time::{Deadline, Timer};

/// Sending under way; it gives the way up when it ends, so that nothing resets a stream that is whole.
pub(in crate::proxy) type SendFuture<'a> =
    Pin<Box<dyn Future<Output = (Sender, Result<(), Stopped>)> + 'a>>;

/// Sends the request on a stream and reads the head of the final answer. Dropped, it resets the stream.
pub(super) async fn exchange<'a>(
    sending: &Sending<'_>,
    slot: StreamSlot,
    active: Active,
    upload: &SharedUpload<'a>,
    interim: &mut dyn Interim,
    timer: &Timer,
) -> Result<(Box<ResponseHead>, Body<'a>), Fault> {
    let Some(request) = sending.request.http2() else {
        return Err(Fault::new(FaultKind::ClientProtocol).because("cannot be said in HTTP/2"));
    };
    let empty = sending.request.framing == Framing::Empty;
    let accept = websocket::accept(sending.request);
    let (answering, sender) = match accept {
        // Boxed: every other request would have room for it too.
        Some(_) => Box::pin(slot.connect(request, "websocket")).await?,
        None => slot.call(request, empty)?,
    };
    let mut heads = Heads {
        answering,
        interim,
        early: VecDeque::new(),
    };
    let (mut head, rest) = if empty {
        let head = watched(pin!(heads.last()), sending, upload, timer).await?;
        (head, Rest::Sent(sender))
    } else {
        heads.send_and_read(sending, sender, upload, timer).await?
    };
    let receiving = heads.answering.into_receiving()?;
    let switches = accept.is_some_and(|accept| websocket::answer(&mut head, accept));
    let framing = match switches {
        true => Framing::Empty,
        false => framing(&head, sending.request.method, receiving.is_ended()),
    };
    let stats = sending.cluster.stats.clone();
    let body = Body::new((framing, switches), rest, receiving, active, stats);
    Ok((head, body))
}

/// What is left to send when the answer's head is here.
pub(in crate::proxy) enum Rest<'a> {
    Sent(Sender),
    Going(SendFuture<'a>),
}

/// How long an answer is, by what its head says; that its data keep to it is the codec's to see.
fn framing(head: &ResponseHead, request: &Method, ended: bool) -> Framing {
    let length = head.fields.known(FieldId::ContentLength);
    let length = length.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    match length {
        _ if ended || *request == Method::Head || matches!(head.status, 204 | 304) => {
            Framing::Empty
        }
        Some(length) => Framing::Length(length),
        None => Framing::Chunked,
    }
}

/// Reads the heads of one request's answers.
struct Heads<'h> {
    answering: Answering,
    interim: &'h mut dyn Interim,
    /// Came while the client was still told of one before.
    early: VecDeque<Box<ResponseHead>>,
}

impl Heads<'_> {
    async fn send_and_read<'a>(
        &mut self,
        sending: &Sending<'_>,
        sender: Sender,
        upload: &SharedUpload<'a>,
        timer: &Timer,
    ) -> Result<(Box<ResponseHead>, Rest<'a>), Fault> {
        if sending.expects_continue {
            let asked = timer
                .within(Deadline::after(CONTINUE_AFTER), self.next())
                .await;
            if let Ok(came) = asked
                && let Some(head) = came?
            {
                return Ok((head, Rest::Sent(sender)));
            }
            self.interim.proceed().await?;
        }
        let mut outgoing: SendFuture<'a> = Box::pin(send(sender, upload.clone()));
        let first = race(&mut outgoing, pin!(self.last())).await?;
        match first {
            (_, Some(head)) => Ok((head, Rest::Going(outgoing))),
            (Some((_, Err(Stopped::Client(fault)))), None) => Err(fault),
            (Some((sender, _)), None) => {
                let head = watched(pin!(self.last()), sending, upload, timer).await?;
                Ok((head, Rest::Sent(sender)))
            }
            (None, None) => Err(Fault::new(FaultKind::Internal)),
        }
    }

    /// The final head; a late or unasked `100 Continue` is dropped.
    async fn last(&mut self) -> Result<Box<ResponseHead>, Fault> {
        loop {
            if let Some(head) = self.next().await? {
                return Ok(head);
            }
        }
    }

    /// The final head, or `None` for `100 Continue`; other interim ones go to the client.
    async fn next(&mut self) -> Result<Option<Box<ResponseHead>>, Fault> {
        loop {
            let head = match self.early.pop_front() {
                Some(head) => head,
                None => std::future::poll_fn(|cx| self.answering.poll_head(cx)).await?,
            };
            match head.status {
                100 => return Ok(None),
                101..200 => self.inform(head).await?,
                _ => return Ok(Some(head)),
            }
        }
    }

    /// Passes an interim answer on. What comes while the client takes its time is taken too, for the codec would keep any number of
    /// them: here their limit bites.
    async fn inform(&mut self, head: Box<ResponseHead>) -> Result<(), Fault> {
        let (answering, early) = (&mut self.answering, &mut self.early);
        let mut informing = self.interim.send(head);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(informed) = informing.as_mut().poll(cx) {
                return Poll::Ready(informed);
            }
            while early.back().is_none_or(|last| last.status < 200) {
                let Poll::Ready(head) = answering.poll_head(cx) else {
                    break;
                };
                early.push_back(head?);
            }
            Poll::Pending
        })
        .await
    }
}

async fn send(mut sender: Sender, upload: SharedUpload<'_>) -> (Sender, Result<(), Stopped>) {
    let result = send_all(&mut sender, &upload).await;
    if let Err(Stopped::Client(_)) = result {
        sender.cancel();
    }
    (sender, result)
}

/// A part is held back until it is known whether another follows, or that none is here yet: so the last one ends the stream, and
/// needs no frame of its own for that.
async fn send_all(sender: &mut Sender, upload: &SharedUpload<'_>) -> Result<(), Stopped> {
    let mut held = Bytes::new();
    loop {
        let here = std::future::poll_fn(|cx| Poll::Ready(upload.borrow_mut().poll_next(cx))).await;
        let part = match here {
            Poll::Ready(part) => part,
            Poll::Pending => {
                pass(sender.send(std::mem::take(&mut held), false).await)?;
                next(upload).await
            }
        };
        let Some(part) = part.map_err(Stopped::Client)? else {
            break;
        };
        pass(sender.send(std::mem::replace(&mut held, part), false).await)?;
    }
    let trailers = upload.borrow().trailers().and_then(to_map);
    match trailers {
        None => pass(sender.send(held, true).await),
        Some(trailers) => {
            pass(sender.send(held, false).await)?;
            pass(sender.end(Some(trailers)))
        }
    }
}

fn pass(sent: Result<(), Closed>) -> Result<(), Stopped> {
    sent.map_err(|Closed| Stopped::Upstream)
}
