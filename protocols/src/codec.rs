//! All that an RPC protocol has to say for itself: [`Codec`] and [`Session`]. No socket, no clock, no configuration of routes.
//!
//! A session cuts a connection's bytes into [`Frame`]s and says of each what routing may see. A frame keeps the bytes it came
//! in, and goes out again as those bytes with its id patched: arguments are never decoded, and never encoded anew.
//!
//! ```text
//!   client ──bytes──▶ Session(Side::Client).decode ──Frame──▶ route, pick, new id ──▶ Session(Side::Upstream).encode ──bytes──▶ upstream
//!   client ◀──bytes── Session(Side::Client).encode ◀──Frame── old id ◀────────────── Session(Side::Upstream).decode ◀──bytes── upstream
//! ```

mod error;
mod frame;

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::BytesMut;

use crate::Fields;
pub use crate::output::Output;
pub use error::DecodeError;
pub use frame::{Call, Frame, Kind, Span, Verdict};

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
