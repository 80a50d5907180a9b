//! A request's body on its way: pulled from the client, kept for another try within limits, copied to a mirror.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use ringway_protocols::Fields;
use ringway_protocols::message::Framing;

use super::mirror::Feed;
use crate::fault::{Fault, FaultKind};
use crate::filter::{BadBody, Transforms};

/// Where a request's body comes from: one side of a client's connection, whatever its protocol.
pub(crate) trait RequestBody {
    /// How long it is.
    fn framing(&self) -> Framing;
    /// The next bytes; `None` at the end. May be polled again after it was left pending.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>>;
    /// Its trailer fields, after the end.
    fn trailers(&mut self) -> Option<Fields>;
    /// Of a call of gRPC: it may be open for days, with a message now and then. What bounds it is silence in both directions.
    fn take_time(&mut self) {}
    /// What is left of it is read for the sake of the connection alone.
    fn hurry(&mut self) {}
    /// Until the client has gone. It may also stay pending for ever, where that cannot be known.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// The body of one request over all its tries.
pub(crate) struct Upload<'a> {
    body: &'a mut dyn RequestBody,
    /// What was sent, while all of it fits into `limit`.
    kept: Vec<Bytes>,
    kept_bytes: usize,
    limit: usize,
    /// The next of `kept` to send again.
    cursor: usize,
    /// More was sent than could be kept.
    overflowed: bool,
    ended: bool,
    /// The newest try has been told of its end.
    drained: bool,
    /// It broke off: where the next request begins is not known.
    failed: bool,
    trailers: Option<Fields>,
    mirror: Option<Feed>,
    /// What filters do to it.
    transforms: Option<Box<Transforms>>,
    /// A filter has taken all of it: nothing goes on.
    withheld: bool,
    /// Bytes that came from the client.
    pub(crate) received: u64,
}

impl<'a> Upload<'a> {
    pub(crate) fn new(body: &'a mut dyn RequestBody) -> Self {
        let ended = body.framing() == Framing::Empty;
        Self {
            body,
            kept: Vec::new(),
            kept_bytes: 0,
            limit: 0,
            cursor: 0,
            overflowed: false,
            ended,
            drained: false,
            failed: false,
            trailers: None,
            mirror: None,
            transforms: None,
            withheld: false,
            received: 0,
        }
    }

    /// Keeps up to so many bytes for another try.
    pub(crate) fn keep(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Copies what comes from now on.
    pub(crate) fn copy_to(&mut self, mirror: Feed) {
        if self.ended {
            mirror.end(None);
        } else {
            self.mirror = Some(mirror);
        }
    }

    /// Passes what comes through these, before anything else is done with it.
    pub(crate) fn transform(&mut self, transforms: Box<Transforms>) {
        self.transforms = Some(transforms);
    }

    /// Lets the client take its time to send.
    pub(crate) fn take_time(&mut self) {
        self.body.take_time();
    }

    /// Has it hurry from now on.
    pub(crate) fn hurry(&mut self) {
        self.body.hurry();
    }

    /// How long it is when it goes on.
    pub(crate) fn framing(&self) -> Framing {
        match self.body.framing() {
            _ if self.withheld => Framing::Empty,
            Framing::Length(_) if self.transforms.is_some() => Framing::Chunked,
            framing @ (Framing::Empty | Framing::Length(_) | Framing::Chunked | Framing::Close) => {
                framing
            }
        }
    }

    /// Whether the client says itself that it is longer than that.
    pub(crate) fn is_longer(&self, limit: u64) -> bool {
        matches!(self.body.framing(), Framing::Length(length) if length > limit)
    }

    /// Whether all of it has come from the client.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether it broke off before its end.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether its beginning is still there for another try.
    pub(crate) fn can_rewind(&self) -> bool {
        !self.overflowed
    }

    /// Whether another try can be made beside the one under way, which has taken all of it already.
    pub(crate) fn can_fork(&self) -> bool {
        self.can_rewind() && (self.drained || self.framing() == Framing::Empty)
    }

    /// Goes back to its beginning for another try.
    pub(crate) fn rewind(&mut self) {
        self.cursor = 0;
        self.drained = false;
    }

    /// The next bytes to send; `None` at the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        if let Some(again) = self.kept.get(self.cursor) {
            self.cursor += 1;
            return Poll::Ready(Ok(Some(again.clone())));
        }
        if self.ended {
            self.drained = true;
            return Poll::Ready(Ok(None));
        }
        let next = match self.transforms.take() {
            None => self.poll_body(cx),
            Some(mut transforms) => {
                let next = self.poll_transformed(&mut transforms, cx);
                self.transforms = Some(transforms);
                next
            }
        };
        match next {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(Some(bytes))) => {
                self.keep_copy(&bytes);
                if let Some(mirror) = &self.mirror {
                    mirror.push(bytes.clone());
                }
                Poll::Ready(Ok(Some(bytes)))
            }
            Poll::Ready(Ok(None)) => {
                self.ended = true;
                self.drained = true;
                self.trailers = match &self.transforms {
                    None => self.body.trailers(),
                    Some(transforms) => transforms.trailers().cloned(),
                };
                if let Some(mirror) = self.mirror.take() {
                    mirror.end(self.trailers.clone());
                }
                Poll::Ready(Ok(None))
            }
            Poll::Ready(Err(fault)) => {
                self.failed = true;
                self.mirror = None;
                Poll::Ready(Err(fault))
            }
        }
    }

    /// The next bytes as they came.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        let next = self.body.poll_next(cx);
        if let Poll::Ready(Ok(Some(bytes))) = &next {
            self.received += bytes.len() as u64;
        }
        next
    }

    /// The next bytes as filters make them.
    fn poll_transformed(
        &mut self,
        transforms: &mut Transforms,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Fault>> {
        let bad = |BadBody(why)| Fault::new(FaultKind::ClientProtocol).because(why);
        loop {
            if let Some(bytes) = transforms.pop() {
                return Poll::Ready(Ok(Some(bytes)));
            }
            if transforms.has_ended() {
                return Poll::Ready(Ok(None));
            }
            match ready!(self.poll_body(cx))? {
                Some(bytes) => transforms.push(bytes).map_err(bad)?,
                None => transforms.end(self.body.trailers()).map_err(bad)?,
            }
        }
    }

    fn keep_copy(&mut self, bytes: &Bytes) {
        if self.overflowed {
            return;
        }
        self.kept_bytes += bytes.len();
        if self.kept_bytes > self.limit {
            self.overflowed = true;
            self.kept = Vec::new();
            self.cursor = 0;
            return;
        }
        self.kept.push(bytes.clone());
        self.cursor += 1;
    }

    /// The trailer fields, after the end.
    pub(crate) fn trailers(&self) -> Option<&Fields> {
        self.trailers.as_ref()
    }

    /// Until the client has gone; known only once its body has ended.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended {
            self.body.poll_gone(cx)
        } else {
            Poll::Pending
        }
    }
}

/// All of a body, up to so many bytes, for a filter: nothing of it goes on. `hold` is told of each part's length, and whether there is
/// memory for it.
pub(crate) async fn withhold(
    upload: &RefCell<Upload<'_>>,
    limit: u64,
    mut hold: impl FnMut(usize) -> bool,
) -> Result<Bytes, Fault> {
    let too_large = || Fault::new(FaultKind::BodyTooLarge);
    let (mut all, mut only) = (BytesMut::new(), None);
    while let Some(bytes) = next(upload).await? {
        let len = all.len() + only.as_ref().map_or(0, Bytes::len) + bytes.len();
        if len as u64 > limit {
            return Err(too_large());
        }
        if !hold(bytes.len()) {
            return Err(Fault::new(FaultKind::Overflow));
        }
        // A body of one part, as almost all that are small, is not copied.
        match (only.take(), all.is_empty()) {
            (None, true) => only = Some(bytes),
            (None, false) => all.extend_from_slice(&bytes),
            (Some(first), _) => {
                all.extend_from_slice(&first);
                all.extend_from_slice(&bytes);
            }
        }
    }
    let mut upload = upload.borrow_mut();
    upload.withheld = true;
    // Nothing was kept of it, and nothing has to be sent again.
    upload.overflowed = false;
    Ok(only.unwrap_or_else(|| all.freeze()))
}

/// A body that the sending and the answering side of one request both hold.
pub(crate) type SharedUpload<'a> = Rc<RefCell<Upload<'a>>>;

/// [`Upload::poll_next`], awaited without holding it in between.
pub(crate) async fn next(upload: &RefCell<Upload<'_>>) -> Result<Option<Bytes>, Fault> {
    std::future::poll_fn(|cx| upload.borrow_mut().poll_next(cx)).await
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    struct Parts(Vec<&'static [u8]>);

    impl RequestBody for Parts {
        fn framing(&self) -> Framing {
            Framing::Chunked
        }
        fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
            let next = (!self.0.is_empty()).then(|| Bytes::from_static(self.0.remove(0)));
            Poll::Ready(Ok(next))
        }
        fn trailers(&mut self) -> Option<Fields> {
            None
        }
        fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }

    fn drain(upload: &mut Upload<'_>) -> Vec<u8> {
        let mut all = Vec::new();
        while let Poll::Ready(Ok(Some(bytes))) =
            upload.poll_next(&mut Context::from_waker(Waker::noop()))
        {
            all.extend_from_slice(&bytes);
        }
        all
    }

    #[test]
    fn a_body_within_the_limit_can_be_sent_again() {
        let mut parts = Parts(vec![b"ab", b"cd"]);
        let mut upload = Upload::new(&mut parts);
        upload.keep(4);
        assert_eq!(drain(&mut upload), b"abcd");
        assert!(upload.can_rewind() && upload.can_fork());
        upload.rewind();
        assert!(!upload.can_fork(), "the next try has taken nothing yet");
        assert_eq!(drain(&mut upload), b"abcd");
        assert_eq!(upload.received, 4);
    }

    #[test]
    fn a_body_beyond_the_limit_cannot() {
        let mut parts = Parts(vec![b"ab", b"cd", b"e"]);
        let mut upload = Upload::new(&mut parts);
        upload.keep(3);
        assert_eq!(drain(&mut upload), b"abcde");
        assert!(!upload.can_rewind() && !upload.can_fork());
    }
}
