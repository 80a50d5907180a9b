//! All that an RPC protocol has to say for itself: [`Codec`] and [`Session`]. No socket, no clock, no configuration of routes.
//!
//! A session cuts a connection's bytes into [`Frame`]s and says of each what routing may see. A frame keeps the bytes it came
//! in, and goes out again as those bytes with its id patched: arguments are never decoded, and never encoded anew.
//!
//! ```text
//!   client ──bytes──▶ Session(Side::Client).decode ──Frame──▶ route, pick, new id ──▶ Session(Side::Upstream).encode ──bytes──▶ upstream
//!   client ◀──bytes── Session(Side::Client).encode ◀──Frame── old id ◀────────────── Session(Side::Upstream).decode ◀──bytes── upstream
//! ```

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::Fields;
pub use crate::output::Output;

/// A protocol, registered once by its name.
pub trait Codec: fmt::Debug + Send + Sync {
    /// The name that configurations use: `bolt`.
    fn name(&self) -> &'static str;

    /// Whether a connection that begins with these bytes speaks it. Asked again with more bytes while it says `NeedMore`.
    fn sniff(&self, prefix: &[u8]) -> Sniff;

    /// How requests may share a connection to an upstream.
    fn sharing(&self) -> Sharing;

    /// Whether clients know what [`Session::goaway`] says.
    fn goaway(&self) -> GoAway {
        GoAway::Known
    }

    /// One side of one connection, before its first byte.
    fn start(&self, side: Side, limits: &Limits) -> Box<dyn Session>;
}

/// What the first bytes of a connection tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniff {
    /// It is another protocol.
    No,
    /// It is this one.
    Yes,
    /// It may be this one.
    NeedMore,
}

/// How requests share a connection to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Each frame has an id: many requests at once, from many clients, each under an id of 1 to 2^`bits` - 1 that the proxy gives
    /// it. Zero is never given: some protocols keep it for themselves.
    Multiplexed {
        /// So many bits of an id are the proxy's to choose.
        bits: u8,
    },
    /// Answers come in the order of the requests, or have no ids: one request at a time.
    OneAtATime,
    /// An upstream may call its client: each client has upstream connections of its own, and ids stay as they are.
    Bound,
}

/// Whether clients understand that no more calls are wanted on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoAway {
    /// All of them: they are told.
    Known,
    /// Some do not: they are told where the configuration says so.
    Asked,
    /// The protocol has no words for it.
    Wordless,
}

/// Which side of the proxy a connection is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// To a client: requests come in.
    Client,
    /// To an upstream: answers come in.
    Upstream,
}

/// What a session must not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a frame, all of it.
    pub frame: usize,
    /// How many headers (Bolt's, Dubbo's attachments, Tars' context) of a frame are looked at.
    pub headers: usize,
    /// Bytes of all headers, with their lengths.
    pub header_bytes: usize,
    /// How deep values may lie in each other where arguments have to be passed over.
    pub depth: usize,
    /// How many values of a frame may be passed over.
    pub values: usize,
}

impl Default for Limits {
    /// A frame: twice what Dubbo providers take (8 MiB), and above what Tars' do (10 MiB), so that it is they who refuse. Headers:
    /// what Bolt's two signed bytes of length can hold; tracing and baggage take some tens. Depth: lists that people link by
    /// hand are some hundreds deep, and servers that recurse fail at some thousands. Values: a list of four million numbers passes; what
    /// is beyond would hold a core up for longer than its other calls should wait.
    fn default() -> Self {
        Self {
            frame: 16 << 20,
            headers: 256,
            header_bytes: 32 << 10,
            depth: 1024,
            values: 4 << 20,
        }
    }
}

/// One side of one connection. It remembers how far it has read; after an error the connection is of no more use.
pub trait Session {
    /// Takes the next frame off the front of `input`, or says that it is not all here yet; then bytes have to be put behind.
    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, DecodeError>;

    /// How many more bytes the frame under way needs at least, beside the `have` that are in the input; 0 where that is not known.
    fn wants(&self, have: usize) -> usize;

    /// Writes a frame: the bytes it came in, under the id and, of a request that was given less ([`Self::limit`]), with the time that it
    /// has now.
    fn encode(&mut self, frame: &Frame, output: &mut Output);

    /// The headers of a request, for matching, hashing and logs. Names may come more than once.
    fn headers(&self, frame: &Frame) -> Fields;

    /// The same frame with headers set or removed, everything else as it was.
    fn amend(&self, frame: &Frame, changes: &[Change<'_>]) -> Result<Frame, AmendError>;

    /// The same request with less time, where it says itself how long it may take, or has a place for that which costs nothing; none
    /// where it has not. Asked behind [`Self::amend`].
    fn limit(&self, frame: &Frame, left: Duration) -> Option<Frame> {
        let _no_place_for_it = (frame, left);
        None
    }

    /// The answer of the proxy's own to a request: one that real clients of the protocol turn into a clean error, in the request's
    /// version and serialization. None where the protocol wants none: one-way requests, and whatever is no request.
    fn reply(&mut self, to: &Frame, refusal: &Refusal<'_>) -> Option<Frame>;

    /// The answer to a ping; none where it asks for none.
    fn pong(&mut self, to: &Frame) -> Option<Frame>;

    /// A ping of our own under that id; none where the protocol knows no pings, or the connection has not shown yet what it speaks.
    fn ping(&mut self, id: u64) -> Option<Frame>;

    /// Says that the proxy will take no more requests on this connection; none where the protocol has no words for it.
    fn goaway(&mut self) -> Option<Frame>;
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A call that waits for an answer.
    Request,
    /// A call that gets none, whatever happens.
    OneWay,
    /// The answer to a request.
    Response,
    /// Asks whether the other end lives. Never passed on.
    Ping,
    /// The answer to a ping. Never passed on.
    Pong,
    /// The other end takes no more requests on this connection.
    GoAway,
    /// It takes them again.
    Resume,
    /// A message to the client that no request asked for.
    Push,
    /// A word between the two ends of a connection that asks for nothing.
    Notice,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Well, or it is no answer.
    #[default]
    Good,
    /// The service said no: an exception of the application's. The host is as healthy as with any answer.
    Exception,
    /// The server could not do it: busy, no such service, timed out, broken.
    Failed,
}

/// A part of a frame's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// From `start` to before `end`; none if that is no span of four-byte numbers.
    pub fn new(start: usize, end: usize) -> Option<Self> {
        let (start, end) = (u32::try_from(start).ok()?, u32::try_from(end).ok()?);
        (start <= end).then_some(Self { start, end })
    }

    /// Where it begins.
    pub fn start(self) -> usize {
        self.start as usize
    }

    /// Where it ends: the first byte that is no more of it.
    pub fn end(self) -> usize {
        self.end as usize
    }

    /// Both.
    pub fn range(self) -> Range<usize> {
        self.start()..self.end()
    }

    /// How many bytes.
    pub fn len(self) -> usize {
        self.range().len()
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The bytes; none where it does not lie in them.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.range()).unwrap_or_default()
    }

    /// As [`Fields`] want it: offset and length.
    pub fn place(self) -> (u32, u32) {
        (self.start, self.end - self.start)
    }
}

/// What a request calls, as parts of its bytes; empty where the protocol or the request does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The service, as the protocol names it.
    pub service: Span,
    /// The method.
    pub method: Span,
    /// The service's version.
    pub version: Span,
    /// The service's group.
    pub group: Span,
}

/// A frame: the bytes it came in, and what they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// The id it goes out with. Protocols without ids: 0.
    pub id: u64,
    /// All of it, as it came.
    pub bytes: Bytes,
    /// Of requests: what is called.
    pub call: Call,
    /// Of requests: how long the client waits, where it says so.
    pub timeout: Option<Duration>,
    /// Of answers: how it ended.
    pub verdict: Verdict,
    /// Of answers: the protocol's own code for that.
    pub code: i32,
    /// What an upstream connection pins with its first frame: frames that differ in it never share a connection.
    pub pin: u64,
    /// Why it cannot be used, though the stream goes on behind it: it is answered (see [`Why::Malformed`]) and not passed on.
    pub broken: Option<DecodeError>,
    /// Four numbers of the codec's own: where its parts lie, its flags.
    pub notes: [u32; 4],
}

impl Frame {
    /// A frame of that kind, which says nothing yet but its id.
    pub fn new(kind: Kind, id: u64, bytes: Bytes) -> Self {
        Self {
            kind,
            id,
            bytes,
            call: Call::default(),
            timeout: None,
            verdict: Verdict::Good,
            code: 0,
            pin: 0,
            broken: None,
            notes: [0; 4],
        }
    }

    /// The service that is called; empty if unknown.
    pub fn service(&self) -> &[u8] {
        self.call.service.of(&self.bytes)
    }

    /// The method that is called; empty if unknown.
    pub fn method(&self) -> &[u8] {
        self.call.method.of(&self.bytes)
    }

    /// The version of the service; empty if unknown.
    pub fn version(&self) -> &[u8] {
        self.call.version.of(&self.bytes)
    }

    /// The group of the service; empty if unknown.
    pub fn group(&self) -> &[u8] {
        self.call.group.of(&self.bytes)
    }
}

/// A header to set, or, without a value, to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// Its name, whatever its case: as with [`Fields`], so that a change of them can be carried out.
    pub name: &'a [u8],
    /// Its new and only value.
    pub value: Option<&'a [u8]>,
}

/// Why headers could not be changed. The frame is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmendError {
    /// This frame cannot carry headers, or cannot lose them.
    Unsupported,
    /// The headers would be longer than the protocol or the limits allow.
    TooLarge,
}

impl fmt::Display for AmendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsupported => "the frame cannot carry that change of headers",
            Self::TooLarge => "the headers would be too long",
        })
    }
}

impl Error for AmendError {}

/// Why the proxy answers a request itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No route takes it.
    NoRoute,
    /// The cluster has no host.
    NoHost,
    /// A filter refused it.
    Denied,
    /// A limit of the proxy's was reached.
    Overloaded,
    /// No answer in time.
    Timeout,
    /// No connection to the upstream.
    Unreachable,
    /// The upstream's connection ended before its answer.
    Reset,
    /// The upstream's answer could not be read.
    BadAnswer,
    /// The frame is [broken](Frame::broken).
    Malformed,
    /// A defect of the proxy's.
    Internal,
}

/// An answer of the proxy's own: why, and a word for the human who reads the exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// Why.
    pub why: Why,
    /// In words.
    pub text: &'a str,
}

macro_rules! errors {
    ($($(#[$doc:meta])+ $id:ident $name:literal,)+) => {
        /// What is wrong with a peer's bytes. As the error of [`Session::decode`] it ends the connection; as [`Frame::broken`] it
        /// ends the frame.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DecodeError { $($(#[$doc])+ $id,)+ }

        impl DecodeError {
            /// All of them, in the order of [`DecodeError::index`].
            pub const ALL: &'static [Self] = &[$(Self::$id,)+];

            /// The name to count it under.
            pub fn name(self) -> &'static str {
                match self { $(Self::$id => $name,)+ }
            }
        }
    };
}

errors! {
    /// It does not begin as the protocol's frames do.
    BadMagic "bad_magic",
    /// A version of the protocol that is not known.
    BadVersion "bad_version",
    /// A kind of frame that is not known.
    BadKind "bad_kind",
    /// A length that is negative, or that does not hold what it must.
    BadLength "bad_length",
    /// A frame longer than [`Limits::frame`].
    FrameTooLarge "frame_too_large",
    /// Headers that do not fill their place exactly.
    BadHeader "bad_header",
    /// More than [`Limits::headers`] or [`Limits::header_bytes`].
    HeadersTooLarge "headers_too_large",
    /// A checksum that is not that of the bytes.
    BadChecksum "bad_checksum",
    /// Arguments or values that break their serialization.
    BadBody "bad_body",
    /// Deeper than [`Limits::depth`].
    TooDeep "too_deep",
    /// More values than [`Limits::values`].
    TooManyValues "too_many_values",
    /// A part of the protocol that is not spoken here: a compression, a transform. What the frame is cannot be told: it is answered as a
    /// call, and its connection closed.
    Unsupported "unsupported",
}

impl DecodeError {
    /// Its place in [`DecodeError::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Error for DecodeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_is_the_place_in_all_and_names_differ() {
        let mut names: Vec<_> = DecodeError::ALL.iter().map(|e| e.name()).collect();
        for (at, error) in DecodeError::ALL.iter().enumerate() {
            assert_eq!(error.index(), at);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DecodeError::ALL.len());
    }

    #[test]
    fn a_span_beyond_the_bytes_is_empty() {
        let span = Span::new(2, 5).unwrap();
        assert_eq!(span.of(b"abcde"), b"cde");
        assert_eq!(span.of(b"abcd"), b"");
        assert_eq!((span.len(), span.place()), (3, (2, 3)));
        assert_eq!(Span::new(3, 2), None);
        assert_eq!(Span::new(0, usize::MAX), None);
    }

    #[test]
    fn a_frame_is_small() {
        assert!(size_of::<Frame>() <= 152, "{}", size_of::<Frame>());
    }
}
