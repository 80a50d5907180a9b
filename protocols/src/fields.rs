//! The fields of a message: in order, in the case they came in, without a copy of each.
//!
//! A parsed head is one slice of the read buffer; a field is two spans of it. Those that the proxy adds lie together in bytes of their own.
//! Names that the proxy itself has to know carry a [`FieldId`], so that the request path compares a byte and not a string.

use bytes::{BufMut, Bytes, BytesMut};

macro_rules! field_ids {
    ($($id:ident = $name:literal),+ $(,)?) => {
        /// The fields that the proxy itself has to know.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "each is the field of that name")]
        pub enum FieldId { $($id,)+ /** Any other. */ Other }

        impl FieldId {
            const NAMES: &'static [&'static str] = &[$($name,)+ ""];

            /// The name in lower case; empty for [`FieldId::Other`].
            pub fn name(self) -> &'static str {
                Self::NAMES.get(self as usize).copied().unwrap_or_default()
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
    XEnvoyUpstreamRqTimeoutMs = "x-envoy-upstream-rq-timeout-ms",
    XForwardedClientCert = "x-forwarded-client-cert",
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
            (23, b'x') => Self::XForwardedClientCert,
            (30, b'x') => Self::XEnvoyUpstreamRqTimeoutMs,
            _ => Self::Other,
        }
    }

    /// The id of a name, whatever its case.
    #[inline]
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
    match (known.last_chunk(), name.last_chunk()) {
        (Some(last), Some(its_last)) => {
            let (words, its_words) = (known.as_chunks().0, name.as_chunks().0);
            let pairs = words.iter().zip(its_words);
            let last = differs(u64::from_le_bytes(*last), u64::from_le_bytes(*its_last));
            pairs.fold(last, |diff, (k, n)| {
                diff | differs(u64::from_le_bytes(*k), u64::from_le_bytes(*n))
            }) == 0
        }
        _ => match (ends(known), ends(name)) {
            (Some(known), Some(name)) => differs(known, name) == 0,
            _ => known.eq_ignore_ascii_case(name),
        },
    }
}

/// The first four bytes and the last four, which are all of a name of four to eight.
fn ends(name: &[u8]) -> Option<u64> {
    let first = u32::from_le_bytes(*name.first_chunk()?);
    let last = u32::from_le_bytes(*name.last_chunk()?);
    Some(u64::from(first) | u64::from(last) << 32)
}

/// Zero if eight bytes are the same as ours, whatever their case. Ours are letters and dashes, so that the bit of the case may
/// differ just where ours has a letter.
fn differs(known: u64, name: u64) -> u64 {
    const LETTER: u64 = 0x4040_4040_4040_4040;
    (known ^ name) & !((known & LETTER) >> 1)
}

/// Where a field lies: offset and length.
#[derive(Clone, Copy, Debug)]
struct Entry {
    id: FieldId,
    /// In our own bytes, not in the head as it came.
    ours: bool,
    name: (u32, u32),
    value: (u32, u32),
}

impl Entry {
    /// The bytes in which it lies.
    #[inline]
    fn of<'a>(&self, raw: &'a [u8], ours: &'a [u8]) -> &'a [u8] {
        if self.ours { ours } else { raw }
    }

    #[inline]
    fn field<'a>(&self, raw: &'a [u8], ours: &'a [u8]) -> Field<'a> {
        let all = self.of(raw, ours);
        Field {
            id: self.id,
            name: part(all, self.name),
            value: part(all, self.value),
        }
    }
}

fn part(raw: &[u8], (at, len): (u32, u32)) -> &[u8] {
    let at = at as usize;
    raw.get(at..at.saturating_add(len as usize))
        .unwrap_or_default()
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
    /// The names and values of fields of our own, one behind the other.
    ours: Vec<u8>,
    list: Vec<Entry>,
}

/// What most heads have room for in what is added to them.
const OURS: usize = 128;

impl Fields {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// No fields yet, whose spans will lie in `raw`.
    pub fn over(raw: Bytes, capacity: usize) -> Self {
        Self {
            raw,
            ours: Vec::new(),
            list: Vec::with_capacity(capacity),
        }
    }

    /// Adds a field that lies in `raw`: `name` and `value` are (offset, length). A span outside `raw` reads as empty.
    pub fn push_span(&mut self, id: FieldId, name: (u32, u32), value: (u32, u32)) {
        self.list.push(Entry {
            id,
            ours: false,
            name,
            value,
        });
    }

    /// As [`Self::push_span`], and instead of an earlier one of just that name: for headers that are a map to who reads them, in which the
    /// last of a name counts.
    pub fn put_span(&mut self, id: FieldId, name: (u32, u32), value: (u32, u32)) {
        let new = part(&self.raw, name);
        let is_it = |entry: &Entry| entry.id == id && self.name(entry) == new;
        let place = self.list.iter().position(is_it);
        if let Some(old) = place.and_then(|at| self.list.get_mut(at)) {
            *old = Entry {
                id,
                ours: false,
                name,
                value,
            };
        } else {
            self.push_span(id, name, value);
        }
    }

    /// Says in which bytes the spans lie: for a section that was read while its bytes were still in the read buffer.
    pub(crate) fn lie_in(&mut self, raw: Bytes) {
        self.raw = raw;
    }

    /// Copies what lies in the read buffer, so that the buffer can be used again while the fields live on.
    pub fn detach(&mut self) {
        self.raw = Bytes::copy_from_slice(&self.raw);
    }

    /// Adds a field of our own at the end.
    pub fn push(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let entry = self.own(name.as_ref(), value.as_ref());
        self.list.push(entry);
    }

    /// Replaces all fields of that name by one, at the place of the first, or at the end.
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let name = name.as_ref();
        let at = self.position(name);
        self.remove(name);
        let at = at.unwrap_or(self.list.len()).min(self.list.len());
        let entry = self.own(name, value.as_ref());
        self.list.insert(at, entry);
    }

    /// A field of our own, not yet in the list.
    fn own(&mut self, name: &[u8], value: &[u8]) -> Entry {
        if self.ours.is_empty() {
            self.ours.reserve(OURS.max(name.len() + value.len()));
        }
        Entry {
            id: FieldId::of(name),
            ours: true,
            name: self.keep(name),
            value: self.keep(value),
        }
    }

    /// Copies bytes behind our own; says where they lie. Beyond 4 GiB they read as empty.
    fn keep(&mut self, bytes: &[u8]) -> (u32, u32) {
        let at = u32::try_from(self.ours.len()).unwrap_or(u32::MAX);
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.ours.extend_from_slice(bytes);
        (at, len)
    }

    /// Drops all fields of that name, whatever its case; says how many.
    pub fn remove(&mut self, name: &[u8]) -> usize {
        let before = self.list.len();
        self.retain(|field| !field.name.eq_ignore_ascii_case(name));
        before - self.list.len()
    }

    /// Keeps only the fields for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) {
        let Self { raw, ours, list } = self;
        list.retain(|entry| keep(entry.field(raw, ours)));
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.list
            .iter()
            .map(|entry| entry.field(&self.raw, &self.ours))
    }

    /// All fields in order: their ids and names, and their values as parts of bytes that they share.
    pub fn shared(&self) -> impl Iterator<Item = (FieldId, &[u8], Bytes)> {
        let ours = Bytes::copy_from_slice(&self.ours);
        self.list.iter().map(move |entry| {
            let all = if entry.ours { &ours } else { &self.raw };
            let (at, len) = (entry.value.0 as usize, entry.value.1 as usize);
            let end = at.saturating_add(len);
            let value = match all.get(at..end) {
                Some(_) => all.slice(at..end),
                None => Bytes::new(),
            };
            (entry.id, self.name(entry), value)
        })
    }

    /// The first value of that name, whatever its case.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let id = FieldId::of(name);
        if id != FieldId::Other {
            return self.known(id);
        }
        self.iter()
            .find(|f| f.name.eq_ignore_ascii_case(name))
            .map(|f| f.value)
    }

    /// The first value of a known field.
    pub fn known(&self, id: FieldId) -> Option<&[u8]> {
        self.all_known(id).next()
    }

    /// All values of that name, in order.
    pub fn all<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |f| f.name.eq_ignore_ascii_case(name))
            .map(|f| f.value)
    }

    /// All values of a known field, in order.
    pub fn all_known(&self, id: FieldId) -> impl Iterator<Item = &[u8]> {
        self.list
            .iter()
            .filter(move |entry| entry.id == id)
            .map(|entry| part(entry.of(&self.raw, &self.ours), entry.value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn name(&self, entry: &Entry) -> &[u8] {
        part(entry.of(&self.raw, &self.ours), entry.name)
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
    fn put_keeps_the_last_of_a_name_in_its_own_case() {
        let mut fields = sample();
        fields.put_span(FieldId::Other, (15, 1), (12, 1));
        fields.put_span(FieldId::Host, (6, 4), (18, 1));
        let all: Vec<_> = fields
            .iter()
            .map(|field| (field.name, field.value))
            .collect();
        let expect = [(&b"A"[..], &b"1"[..]), (b"Host", b"2"), (b"a", b"x")];
        assert_eq!(all, expect);
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
    fn a_field_of_a_head_takes_little_room() {
        assert!(size_of::<Entry>() <= 20, "{}", size_of::<Entry>());
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
