//! What the targets share: reading bytes as a connection does, in any portions, and telling what was read.

pub mod http2;

use bytes::BytesMut;
use ringway_protocols::Fields;
use ringway_protocols::codec::{Codec, Limits, Side};
use ringway_protocols::hessian::{Body, Decoder, Tree, Value, Writer};
use ringway_protocols::http1::{
    BodyDecoder, BodyLimits, HeadLimits, Piece, RequestParser, ResponseParser, Violation,
};
use ringway_protocols::message::{Framing, Method, RequestHead, ResponseHead};
use ringway_protocols::trial::{Cuts, trial};

/// Small enough for the fuzzer to reach.
pub const HEAD: HeadLimits = HeadLimits {
    start_line: 120,
    field: 80,
    fields_total: 300,
    fields: 12,
    interim: 3,
};

/// Small enough for the fuzzer to reach.
pub const BODY: BodyLimits = BodyLimits {
    chunk_line: 40,
    extensions_total: 60,
    trailer: 40,
    trailers_total: 100,
    trailers: 4,
};

/// Small enough for the fuzzer to reach.
const RPC: Limits = Limits {
    frame: 700,
    headers: 8,
    header_bytes: 200,
    depth: 6,
    values: 60,
};

/// One message: its head as text, its body, its trailers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// All of the head.
    pub head: String,
    /// The body so far.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: Option<String>,
    /// Whether the body ended.
    pub whole: bool,
}

/// What bytes were read as.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The messages.
    pub messages: Vec<Message>,
    /// The rule broken at the end.
    pub end: Option<Violation>,
    /// Bytes that wait for more.
    pub left: usize,
}

/// Reads the head of the next message: as text, and its framing.
pub trait Heads: Default {
    /// As the parsers do.
    fn next(&mut self, input: &mut BytesMut) -> Result<Option<(String, Framing)>, Violation>;
}

/// Heads of requests.
#[derive(Default)]
pub struct Requests(RequestParser);

impl Heads for Requests {
    fn next(&mut self, input: &mut BytesMut) -> Result<Option<(String, Framing)>, Violation> {
        let request = self.0.parse(input, &HEAD)?;
        Ok(request.map(|request| {
            assert!(!matches!(request.framing, Framing::Close));
            (
                format!("{request:?}{}", fields(&request.head.fields)),
                request.framing,
            )
        }))
    }
}

/// Heads of answers; the method changes from one to the next.
#[derive(Default)]
pub struct Responses(ResponseParser, usize);

impl Heads for Responses {
    fn next(&mut self, input: &mut BytesMut) -> Result<Option<(String, Framing)>, Violation> {
        let method = if self.1 % 3 == 2 {
            Method::Head
        } else {
            Method::Get
        };
        let response = self.0.parse(input, &method, &HEAD)?;
        Ok(response.map(|response| {
            self.1 += 1;
            assert!(!(response.keep_alive && response.framing == Framing::Close));
            (
                format!("{response:?}{}", fields(&response.head.fields)),
                response.framing,
            )
        }))
    }
}

/// Reads bytes that come in these portions.
pub fn read<'a, H: Heads>(portions: impl Iterator<Item = &'a [u8]>) -> Seen {
    let (mut heads, mut seen) = (H::default(), Seen::default());
    let (mut input, mut body) = (BytesMut::new(), None);
    for portion in portions {
        input.extend_from_slice(portion);
        if let Err(violation) = step(&mut heads, &mut body, &mut input, &mut seen) {
            seen.end = Some(violation);
            return seen;
        }
    }
    seen.left = input.len();
    seen
}

fn step<H: Heads>(
    heads: &mut H,
    body: &mut Option<BodyDecoder>,
    input: &mut BytesMut,
    seen: &mut Seen,
) -> Result<(), Violation> {
    loop {
        let (Some(decoder), Some(message)) = (&mut *body, seen.messages.last_mut()) else {
            let Some((head, framing)) = heads.next(input)? else {
                return Ok(());
            };
            *body = Some(BodyDecoder::new(framing, BODY));
            seen.messages.push(Message {
                head,
                ..Message::default()
            });
            continue;
        };
        match decoder.decode(input)? {
            Piece::NeedMore => return Ok(()),
            Piece::Data(data) => {
                assert!(!data.is_empty());
                message.body.extend_from_slice(&data);
            }
            Piece::End(trailers) => {
                message.trailers = trailers.as_ref().map(fields);
                message.whole = true;
                *body = None;
            }
        }
    }
}

/// All fields as they are written.
pub fn fields(fields: &Fields) -> String {
    let mut out = BytesMut::new();
    fields.iter().for_each(|field| field.write(&mut out));
    out.escape_ascii().to_string()
}

/// The same in one piece, byte by byte, and in portions of the sizes that `sizes` says.
pub fn same_in_any_portions<H: Heads>(sizes: &[u8], bytes: &[u8]) -> Seen {
    let whole = read::<H>(std::iter::once(bytes));
    assert_eq!(read::<H>(bytes.chunks(1)), whole, "byte by byte");
    let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
    let portions = std::iter::from_fn(|| {
        let size = usize::from(*sizes.next().unwrap_or(&7)) % 32 + 1;
        let (portion, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        (!portion.is_empty()).then_some(portion)
    });
    assert_eq!(read::<H>(portions), whole, "in portions");
    whole
}

/// The first bytes say how the rest is cut.
pub fn split(data: &[u8]) -> (&[u8], &[u8]) {
    data.split_at(data.len().min(4))
}

/// What two heads of one request have in common however it was written.
pub fn essence(head: &RequestHead) -> (String, String, String, String) {
    (
        head.method.to_string(),
        head.target.escape_ascii().to_string(),
        head.authority.escape_ascii().to_string(),
        fields(&head.fields),
    )
}

/// The same for answers.
pub fn response_essence(head: &ResponseHead) -> (u16, String, String) {
    (
        head.status,
        head.reason.escape_ascii().to_string(),
        fields(&head.fields),
    )
}

/// Holds a codec to its rules, on both sides of the proxy. The bytes are all the protocol's, so that captures are seeds.
pub fn codec(codec: &dyn Codec, data: &[u8]) {
    let sum = data.iter().fold(0_usize, |sum, byte| {
        sum.wrapping_mul(31) + usize::from(*byte)
    });
    for side in [Side::Client, Side::Upstream] {
        if let Err(breach) = trial(codec, side, &RPC, data, Cuts::Some(sum % 64 + 1)) {
            panic!("{side:?}: {breach}");
        }
    }
}

/// Decodes a value, writes what was read as far as it is no reference to what came before, and decodes that again.
///
/// # Panics
///
/// Where the two are not the same.
pub fn hessian(data: &[u8]) {
    let mut decoder = Decoder::new(data, &RPC);
    let Ok(value) = decoder.value() else { return };
    let tree = decoder.into_tree();
    let mut writer = Writer::default();
    let mut next = 0;
    if !write(&value, &tree, &mut next, &mut writer) {
        return;
    }
    let bytes = writer.into_bytes();
    let roomy = Limits {
        values: 1000,
        ..RPC
    };
    let mut decoder = Decoder::new(&bytes, &roomy);
    let again = decoder.value().expect("what was written is a value");
    assert!(decoder.is_empty());
    let same =
        format!("{:?} {:?}", value, tree) == format!("{:?} {:?}", again, decoder.into_tree());
    assert!(same, "{value:?} {tree:?}");
}

/// Whether it was written: nodes in the order in which they begin, each once.
fn write(value: &Value, tree: &Tree, next: &mut usize, out: &mut Writer) -> bool {
    match value {
        Value::Null => out.null(),
        Value::Bool(value) => out.bool(*value),
        Value::Int(value) => out.int(*value),
        Value::Long(value) => out.long(*value),
        Value::Double(value) => out.double(*value),
        Value::Date(value) => out.date(*value),
        Value::Text(value) => out.text(value),
        Value::Binary(value) => out.binary(value),
        Value::Node(at) => {
            if at != next {
                return false;
            }
            *next += 1;
            let node = &tree.nodes[*at];
            match &node.body {
                Body::List(items) => {
                    out.list(node.class.as_deref(), items.len());
                    return items.iter().all(|item| write(item, tree, next, out));
                }
                Body::Map(pairs) => {
                    out.map(node.class.as_deref());
                    for (key, value) in pairs {
                        if !write(key, tree, next, out) || !write(value, tree, next, out) {
                            return false;
                        }
                    }
                    out.end_map();
                }
            }
        }
    }
    true
}
