//! The fields of a message: in order, in the case they came in, without a copy of each.
//!
//! A parsed head is one slice of the read buffer; a field is two spans of it. A field that the proxy adds owns its bytes.
//! Names that the proxy itself has to know carry a [`FieldId`], so that the request path compares a byte and not a string.

use bytes::{BufMut, Bytes, BytesMut};

macro_rules! field_ids {
    ($($id:ident = $name:literal),+ $(,)?) => {
        /// The fields that the proxy itself has to know.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "each is the field of that name")]
        pub enum FieldId { $($id,)+ /** Any other. */ Other }

        impl FieldId {
            /// The name in lower case; empty for [`FieldId::Other`].
            pub fn name(self) -> &'static str {
                match self { $(Self::$id => $name,)+ Self::Other => "" }
            }

            #[cfg(test)]
            const KNOWN: &'static [FieldId] = &[$(FieldId::$id),+];
        }
    };
}

field_ids! {
    Connection = "connection",
    ContentLength = "content-length",
    ContentType = "content-type",
    Date = "date",
    Expect = "expect",
    Host = "host",
    KeepAlive = "keep-alive",
    ProxyAuthenticate = "proxy-authenticate",
    ProxyConnection = "proxy-connection",
    Server = "server",
    Te = "te",
    Trailer = "trailer",
    TransferEncoding = "transfer-encoding",
    Upgrade = "upgrade",
    UserAgent = "user-agent",
    Via = "via",
    XForwardedFor = "x-forwarded-for",
    XForwardedHost = "x-forwarded-host",
    XForwardedProto = "x-forwarded-proto",
    XRequestId = "x-request-id",
}

impl FieldId {
    /// The one known name of that length and first letter (in lower case), if any; a test holds it to the list.
    fn like(len: usize, first: u8) -> Self {
        match (len, first) {
            (2, b't') => Self::Te,
            (3, b'v') => Self::Via,
            (4, b'h') => Self::Host,
            (4, b'd') => Self::Date,
            (6, b's') => Self::Server,
            (6, b'e') => Self::Expect,
            (7, b'u') => Self::Upgrade,
            (7, b't') => Self::Trailer,
            (10, b'u') => Self::UserAgent,
            (10, b'c') => Self::Connection,
            (10, b'k') => Self::KeepAlive,
            (12, b'c') => Self::ContentType,
            (12, b'x') => Self::XRequestId,
            (14, b'c') => Self::ContentLength,
            (15, b'x') => Self::XForwardedFor,
            (16, b'x') => Self::XForwardedHost,
            (16, b'p') => Self::ProxyConnection,
            (17, b't') => Self::TransferEncoding,
            (17, b'x') => Self::XForwardedProto,
            (18, b'p') => Self::ProxyAuthenticate,
            _ => Self::Other,
        }
    }

    /// The id of a name, whatever its case.
    pub fn of(name: &[u8]) -> Self {
        let first = name.first().map_or(0, u8::to_ascii_lowercase);
        // Length and first letter leave at most one, so that most names are looked at no further.
        let id = Self::like(name.len(), first);
        match id == Self::Other || is_known(id.name().as_bytes(), name) {
            true => id,
            false => Self::Other,
        }
    }
}

/// Whether a name of the same length is that one of ours, whatever its case; by words, for it is done for most fields of a head.
fn is_known(known: &[u8], name: &[u8]) -> bool {
    let (Some(last), Some(its_last)) = (known.last_chunk(), name.last_chunk()) else {
        return known.eq_ignore_ascii_case(name);
    };
    // The last word may begin within the one before it.
    let (words, its_words) = (known.as_chunks().0, name.as_chunks().0);
    let pairs = words.iter().zip(its_words);
    pairs.fold(differs(last, its_last), |diff, (k, n)| diff | differs(k, n)) == 0
}

/// Zero if eight bytes are the same as ours, whatever their case. Ours are letters and dashes, so that the bit of the case may
/// differ just where ours has a letter.
fn differs(known: &[u8; 8], name: &[u8; 8]) -> u64 {
    const LETTER: u64 = 0x4040_4040_4040_4040;
    let (known, name) = (u64::from_le_bytes(*known), u64::from_le_bytes(*name));
    (known ^ name) & !((known & LETTER) >> 1)
}

#[derive(Clone, Debug)]
enum Text {
    /// A part of the head as it came: offset and length.
    Span(u32, u32),
    /// Bytes of our own.
    Owned(Bytes),
}

#[derive(Clone, Debug)]
struct Entry {
    id: FieldId,
    name: Text,
    value: Text,
}

/// One field, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Which of the known ones.
    pub id: FieldId,
    /// The name in its own case.
    pub name: &'a [u8],
    /// The value without the white space around it.
    pub value: &'a [u8],
}

/// The fields of a message.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    raw: Bytes,
    list: Vec<Entry>,
}

impl Fields {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// No fields yet, whose spans will lie in `raw`.
    pub fn over(raw: Bytes, capacity: usize) -> Self {
        Self {
            raw,
            list: Vec::with_capacity(capacity),
        }
    }

    /// Adds a field that lies in `raw`: `name` and `value` are (offset, length). A span outside `raw` reads as empty.
    pub fn push_span(&mut self, id: FieldId, name: (u32, u32), value: (u32, u32)) {
        self.list.push(Entry {
            id,
            name: Text::Span(name.0, name.1),
            value: Text::Span(value.0, value.1),
        });
    }

    /// Says in which bytes the spans lie: for a section that was read while its bytes were still in the read buffer.
    pub(crate) fn lie_in(&mut self, raw: Bytes) {
        self.raw = raw;
    }

    /// Adds a field of our own at the end.
    pub fn push(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        let name = name.into();
        let id = FieldId::of(&name);
        self.list.push(Entry {
            id,
            name: Text::Owned(name),
            value: Text::Owned(value.into()),
        });
    }

    /// Replaces all fields of that name by one, at the place of the first, or at the end.
    pub fn set(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        let name = name.into();
        let value = value.into();
        let at = self.position(&name);
        self.remove(&name);
        let entry = Entry {
            id: FieldId::of(&name),
            name: Text::Owned(name),
            value: Text::Owned(value),
        };
        let at = at.unwrap_or(self.list.len()).min(self.list.len());
        self.list.insert(at, entry);
    }

    /// Drops all fields of that name, whatever its case; says how many.
    pub fn remove(&mut self, name: &[u8]) -> usize {
        let before = self.list.len();
        let raw = std::mem::take(&mut self.raw);
        self.list
            .retain(|entry| !text(&raw, &entry.name).eq_ignore_ascii_case(name));
        self.raw = raw;
        before - self.list.len()
    }

    /// Keeps only the fields for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) {
        let raw = std::mem::take(&mut self.raw);
        self.list.retain(|entry| keep(field(&raw, entry)));
        self.raw = raw;
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.list.iter().map(|entry| field(&self.raw, entry))
    }

    /// The first value of that name, whatever its case.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let id = FieldId::of(name);
        if id != FieldId::Other {
            return self.get_id(id);
        }
        self.iter()
            .find(|f| f.name.eq_ignore_ascii_case(name))
            .map(|f| f.value)
    }

    /// The first value of a known field.
    pub fn get_id(&self, id: FieldId) -> Option<&[u8]> {
        self.list
            .iter()
            .find(|entry| entry.id == id)
            .map(|entry| text(&self.raw, &entry.value))
    }

    /// All values of that name, in order.
    pub fn all<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |f| f.name.eq_ignore_ascii_case(name))
            .map(|f| f.value)
    }

    /// All values of a known field, in order.
    pub fn all_id(&self, id: FieldId) -> impl Iterator<Item = &[u8]> {
        self.list
            .iter()
            .filter(move |entry| entry.id == id)
            .map(|entry| text(&self.raw, &entry.value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        self.iter().position(|f| f.name.eq_ignore_ascii_case(name))
    }
}

impl Field<'_> {
    /// Writes `name: value CRLF`.
    pub fn write(&self, out: &mut BytesMut) {
        out.reserve(self.name.len() + self.value.len() + 4);
        out.put_slice(self.name);
        out.put_slice(b": ");
        out.put_slice(self.value);
        out.put_slice(b"\r\n");
    }
}

fn text<'a>(raw: &'a Bytes, text: &'a Text) -> &'a [u8] {
    match text {
        Text::Span(at, len) => raw
            .get(*at as usize..(*at as usize).saturating_add(*len as usize))
            .unwrap_or_default(),
        Text::Owned(bytes) => bytes,
    }
}

fn field<'a>(raw: &'a Bytes, entry: &'a Entry) -> Field<'a> {
    Field {
        id: entry.id,
        name: text(raw, &entry.name),
        value: text(raw, &entry.value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Fields {
        let mut fields = Fields::over(Bytes::from_static(b"A: 1\r\nHost: x\r\na: 2\r\n"), 3);
        fields.push_span(FieldId::Other, (0, 1), (3, 1));
        fields.push_span(FieldId::Host, (6, 4), (12, 1));
        fields.push_span(FieldId::Other, (15, 1), (18, 1));
        fields
    }

    #[test]
    fn set_replaces_all_at_the_first_place() {
        let mut fields = sample();
        fields.set("a", "3");
        let mut out = BytesMut::new();
        fields.iter().for_each(|f| f.write(&mut out));
        assert_eq!(&out[..], b"a: 3\r\nHost: x\r\n");
    }

    #[test]
    fn names_are_found_in_any_case() {
        let fields = sample();
        assert_eq!(fields.get(b"HOST"), Some(&b"x"[..]));
        assert_eq!(fields.all(b"A").count(), 2);
        assert_eq!(FieldId::of(b"X-Forwarded-Host"), FieldId::XForwardedHost);
        assert_eq!(FieldId::of(b"X-Forwarded-Hosx"), FieldId::Other);
    }

    #[test]
    fn every_known_name_is_found() {
        for id in FieldId::KNOWN {
            let upper = id.name().to_ascii_uppercase();
            assert_eq!(FieldId::of(upper.as_bytes()), *id, "{upper}");
            for (at, byte) in (0..upper.len()).flat_map(|at| (0..=255).map(move |b| (at, b))) {
                let mut other = upper.clone().into_bytes();
                other[at] = byte;
                let same = other.eq_ignore_ascii_case(upper.as_bytes());
                assert_eq!(FieldId::of(&other) == *id, same, "{}", other.escape_ascii());
            }
        }
    }
}
