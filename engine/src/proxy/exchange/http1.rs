//! One try over an HTTP/1 connection.
//!
//! ```text
//!   head ─► (wait for 100) ─► body … ─► last byte ─► first_byte_timeout begins
//!      └──────── the answer's head may come at any time ────────► Answer (sending may go on behind it)
//! ```

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use bytes::BytesMut;
use ringway_protocols::http1::{HeadLimits, Response, ResponseParser, switches_as_asked};
use ringway_protocols::message::{Framing, ResponseHead};

use super::super::Interim;
use super::super::answer::http1::Body;
use super::super::outbox::Outbox;
use super::super::upload::{SharedUpload, next};
use super::{CONTINUE_AFTER, Sending, Stopped, race, watched};
use crate::cluster::{ANSWER_READ, Active, Connection};
use crate::fault::{Fault, FaultKind, Retry};
use crate::net::{Reader, Writer};
use crate::time::{Deadline, Timer};

/// Sending under way; it gives the writer back.
pub(in crate::proxy) type SendFuture<'a> =
    Pin<Box<dyn Future<Output = (Writer, Result<(), Stopped>)> + 'a>>;

/// Sends the request over the connection and reads the head of the final answer. Dropped, it closes the connection.
pub(super) async fn exchange<'a>(
    sending: &Sending<'_>,
    mut connection: Connection,
    active: Active,
    upload: &SharedUpload<'a>,
    interim: &mut dyn Interim,
    timer: &Timer,
) -> Result<(Box<ResponseHead>, Body<'a>), Fault> {
    let mut parser = ResponseParser::new();
    let mut heads = Heads {
        sending,
        parser: &mut parser,
        interim,
        reused: connection.reused,
    };
    let (mut response, rest) = pin!(heads.send_and_read(&mut connection, upload, timer)).await?;
    // A head is small and lives to the end of the request; the buffer it came in is large and wanted for the next read.
    response.head.detach();
    let cluster = Rc::clone(sending.cluster);
    let body = Body::new(&response, connection, rest, active, cluster);
    Ok((response.head, body))
}

/// Reads the heads of one request's answers.
struct Heads<'h> {
    sending: &'h Sending<'h>,
    parser: &'h mut ResponseParser,
    interim: &'h mut dyn Interim,
    reused: bool,
}

/// What came.
enum Came {
    Final(Response),
    /// `100 Continue`.
    Continue,
}

impl Heads<'_> {
    /// Gives the sending too, if it goes on behind the answer: then it has the connection's writer.
    async fn send_and_read<'a>(
        &mut self,
        connection: &mut Connection,
        upload: &SharedUpload<'a>,
        timer: &Timer,
    ) -> Result<(Response, Option<SendFuture<'a>>), Fault> {
        let Some((reader, place)) = connection.sides() else {
            return Err(Fault::new(FaultKind::Internal));
        };
        let head = self.sending.request.http1();
        if upload.borrow().framing() == Framing::Empty {
            if let Some(writer) = place {
                // A failed send is not the end: the upstream may have answered before it closed.
                let _answered_perhaps = writer.write_all(head, |_| ()).await;
            }
            return Ok((self.wait(reader, upload, timer).await?, None));
        }
        let Some(writer) = place.take() else {
            return Err(Fault::new(FaultKind::Internal));
        };
        let (response, writer, going) =
            Box::pin(self.send_with_body(reader, writer, head, upload, timer)).await?;
        *place = writer;
        Ok((response, going))
    }

    /// The same of a request with a body. Boxed by its caller, for most have none.
    async fn send_with_body<'a>(
        &mut self,
        reader: &mut Reader,
        mut writer: Writer,
        mut lead: BytesMut,
        upload: &SharedUpload<'a>,
        timer: &Timer,
    ) -> Result<(Response, Option<Writer>, Option<SendFuture<'a>>), Fault> {
        if self.sending.expects_continue {
            if writer
                .write_all(std::mem::take(&mut lead), |_| ())
                .await
                .is_ok()
                && let Ok(came) = timer
                    .within(Deadline::after(CONTINUE_AFTER), self.next(reader))
                    .await
                && let Came::Final(response) = came?
            {
                // The body was not sent, so nothing else can be on this connection.
                let response = Response {
                    keep_alive: false,
                    ..response
                };
                return Ok((response, Some(writer), None));
            }
            self.interim.proceed().await?;
        }
        let mut outgoing: SendFuture<'a> = Box::pin(send(writer, lead, Rc::clone(upload)));
        let (sent, early) = race(&mut outgoing, pin!(self.last(reader))).await?;
        match (sent, early) {
            (_, Some(response)) => Ok((response, None, Some(outgoing))),
            (Some((_, Err(Stopped::Client(fault)))), None) => Err(fault),
            (Some((writer, _)), None) => {
                let response = self.wait(reader, upload, timer).await?;
                Ok((response, Some(writer), None))
            }
            (None, None) => Err(Fault::new(FaultKind::Internal)),
        }
    }

    /// The final head, after the whole request was sent.
    async fn wait(
        &mut self,
        reader: &mut Reader,
        upload: &SharedUpload<'_>,
        timer: &Timer,
    ) -> Result<Response, Fault> {
        let sending = self.sending;
        watched(pin!(self.last(reader)), sending, upload, timer).await
    }

    /// The final head; a late or unasked `100 Continue` is dropped.
    async fn last(&mut self, reader: &mut Reader) -> Result<Response, Fault> {
        loop {
            if let Came::Final(response) = self.next(reader).await? {
                return Ok(response);
            }
        }
    }

    /// The next head that matters here; other interim ones go to the client.
    async fn next(&mut self, reader: &mut Reader) -> Result<Came, Fault> {
        let limits = HeadLimits {
            interim: self.sending.cluster.spec.config.interim_answers,
            ..HeadLimits::default()
        };
        loop {
            let parsed = self
                .parser
                .parse(&mut reader.input, self.sending.request.method, &limits);
            match parsed {
                Err(violation) => {
                    self.sending
                        .cluster
                        .stats
                        .protocol_error
                        .inc(violation.index());
                    return Err(Fault::new(FaultKind::UpstreamProtocol).because(violation.name()));
                }
                Ok(None) => self.fill(reader).await?,
                Ok(Some(response)) if response.head.status == 101 => {
                    return self.switched(response);
                }
                Ok(Some(response)) if response.head.status == 100 => return Ok(Came::Continue),
                Ok(Some(response)) if response.is_interim() => {
                    self.interim.send(response.head).await?
                }
                Ok(Some(response)) => return Ok(Came::Final(response)),
            }
        }
    }

    /// A 101 is an answer only to who asked (RFC 9110 §15.2.2); the bytes behind any other are nobody's.
    fn switched(&self, response: Response) -> Result<Came, Fault> {
        let Some(asked) = self.sending.request.upgrade else {
            return Err(Fault::new(FaultKind::UpstreamProtocol).because("101 without an upgrade"));
        };
        match switches_as_asked(&response.head.fields, asked) {
            true => Ok(Came::Final(response)),
            false => {
                Err(Fault::new(FaultKind::UpstreamProtocol).because("101 to another protocol"))
            }
        }
    }

    async fn fill(&self, reader: &mut Reader) -> Result<(), Fault> {
        let silent = reader.input.is_empty();
        match reader.fill(ANSWER_READ).await {
            Ok(1..) => Ok(()),
            Ok(0) => Err(self.closed(silent, io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(self.closed(silent, error)),
        }
    }

    /// It closed before its head was whole. With no byte of an answer, another try may be safe.
    #[cold]
    fn closed(&self, silent: bool, error: io::Error) -> Fault {
        let retry = match (silent, self.reused) {
            (false, _) => Retry::Never,
            (true, true) => Retry::IfReused,
            (true, false) => Retry::IfIdempotent,
        };
        Fault::new(FaultKind::Reset).retry(retry).because(error)
    }
}

/// Sends `lead` (the head, or nothing if it has gone) and the body behind it.
async fn send<'a>(
    mut writer: Writer,
    lead: BytesMut,
    upload: SharedUpload<'a>,
) -> (Writer, Result<(), Stopped>) {
    let result = send_all(&mut writer, lead, &upload).await;
    (writer, result)
}

async fn send_all(
    writer: &mut Writer,
    lead: BytesMut,
    upload: &SharedUpload<'_>,
) -> Result<(), Stopped> {
    let mut outbox = Outbox::new(lead, upload.borrow().framing() == Framing::Chunked);
    loop {
        // What is here already goes out with the head, and small parts together.
        let here = std::future::poll_fn(|cx| Poll::Ready(upload.borrow_mut().poll_next(cx))).await;
        let part = match here {
            Poll::Ready(part) => part,
            Poll::Pending => {
                if !outbox.is_empty() {
                    outbox
                        .send(writer, None, |_| ())
                        .await
                        .map_err(|_| Stopped::Upstream)?;
                }
                next(upload).await
            }
        };
        let Some(part) = part.map_err(Stopped::Client)? else {
            break;
        };
        let large = outbox.add(part);
        if large.is_some() || outbox.is_full() {
            outbox
                .send(writer, large, |_| ())
                .await
                .map_err(|_| Stopped::Upstream)?;
        }
    }
    outbox.end(upload.borrow().trailers());
    outbox
        .send(writer, None, |_| ())
        .await
        .map_err(|_| Stopped::Upstream)
}
