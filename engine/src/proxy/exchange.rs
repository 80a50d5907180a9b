//! One try: a request sent over one connection, and the head of its answer.
//!
//! ```text
//!   head ──► head and first bytes in one send ──► body … ──► last byte
//!                     │                             │            │ first_byte_timeout begins
//!                     └────────── the answer's head may come at any time ──► Answer (sending may go on)
//! ```

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use ringway_protocols::http1::{BodyDecoder, BodyLimits, HeadLimits, Response, ResponseParser, Violation, write_chunk_header, write_trailers};
use ringway_protocols::message::{Framing, Method, ResponseHead};

use super::answer::{Answer, AnswerBody};
use super::upload::{SharedUpload, Upload, next};
use super::{ALONG, Interim};
use crate::cluster::{Active, Cluster, Connection};
use crate::fault::{Fault, FaultKind, Retry};
use crate::net::{Reader, Writer};
use crate::time::{Deadline, Timer};

/// What a read for an answer's head makes room for.
const HEAD_READ: usize = 16 << 10;
/// How long an answer may take before the client is watched for going away: a watch costs a read, and most answers are quicker.
const WATCH_AFTER: Duration = Duration::from_millis(50);

/// What is sent, and how its answer is to be read.
pub(crate) struct Sending<'a> {
    pub(crate) cluster: &'a Rc<Cluster>,
    pub(crate) method: &'a Method,
    /// The whole head as it goes on the wire.
    pub(crate) head: Bytes,
    /// From the request's last byte to the answer's first.
    pub(crate) first_byte: Option<Duration>,
    /// The client asked for an upgrade and the route allows it.
    pub(crate) upgrade: bool,
}

/// How sending a body ended early.
pub(crate) enum Stopped {
    /// The client's fault: nothing more will come.
    Client(Fault),
    /// The upstream took no more. It may have said why.
    Upstream,
}

/// Sending under way, with the writer that it gives back.
pub(crate) type SendFuture<'a> = Pin<Box<dyn Future<Output = Result<(), Stopped>> + 'a>>;

/// Sends the request and reads the head of the final answer.
pub(crate) async fn exchange<'a>(
    sending: Sending<'_>,
    mut connection: Connection,
    active: Active,
    upload: &SharedUpload<'a>,
    interim: &mut dyn Interim,
    timer: &Timer,
) -> Result<Answer<'a>, Fault> {
    let started = Instant::now();
    let reused = connection.reused;
    let Some(stream) = connection.take_stream() else {
        return Err(Fault::new(FaultKind::Internal));
    };
    let (mut reader, mut writer) = (stream.reader, stream.writer);
    let mut parser = ResponseParser::new();
    let limits = HeadLimits::default();
    let mut heads = Heads { parser: &mut parser, limits: &limits, sending: &sending, interim, reused };

    let mut rest = None;
    let response = if upload.borrow().framing() == Framing::Empty {
        let head = sending.head.clone();
        // A failed write is not the end: the upstream may have answered before it closed.
        let _ = writer.write_all(head, |_| ()).await;
        heads.wait(&mut reader, upload, timer).await?
    } else {
        let mut future: SendFuture<'a> = Box::pin(send(writer, sending.head.clone(), Rc::clone(upload)));
        todo!()
    };
    todo!()
}
