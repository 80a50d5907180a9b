//! The static table (RFC 7541, Appendix A), and names found in it.

use super::name::is_same;
use crate::FieldId::{
    self, ContentLength, ContentType, Date, Expect, Host, Other, ProxyAuthenticate, Server,
    TransferEncoding, UserAgent, Via,
};

/// A line that both ends know from the start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fixed {
    pub(super) id: FieldId,
    pub(super) name: &'static [u8],
    pub(super) value: &'static [u8],
}

/// How many there are; the dynamic table's indices come behind.
pub(super) const FIXED: usize = 61;

const fn fixed(id: FieldId, name: &'static str, value: &'static str) -> Fixed {
    Fixed {
        id,
        name: name.as_bytes(),
        value: value.as_bytes(),
    }
}

/// The first of them has the index 1.
#[rustfmt::skip]
pub(super) static LINES: [Fixed; FIXED] = [
    fixed(Other, ":authority", ""),
    fixed(Other, ":method", "GET"),
    fixed(Other, ":method", "POST"),
    fixed(Other, ":path", "/"),
    fixed(Other, ":path", "/index.html"),
    fixed(Other, ":scheme", "http"),
    fixed(Other, ":scheme", "https"),
    fixed(Other, ":status", "200"),
    fixed(Other, ":status", "204"),
    fixed(Other, ":status", "206"),
    fixed(Other, ":status", "304"),
    fixed(Other, ":status", "400"),
    fixed(Other, ":status", "404"),
    fixed(Other, ":status", "500"),
    fixed(Other, "accept-charset", ""),
    fixed(Other, "accept-encoding", "gzip, deflate"),
    fixed(Other, "accept-language", ""),
    fixed(Other, "accept-ranges", ""),
    fixed(Other, "accept", ""),
    fixed(Other, "access-control-allow-origin", ""),
    fixed(Other, "age", ""),
    fixed(Other, "allow", ""),
    fixed(Other, "authorization", ""),
    fixed(Other, "cache-control", ""),
    fixed(Other, "content-disposition", ""),
    fixed(Other, "content-encoding", ""),
    fixed(Other, "content-language", ""),
    fixed(ContentLength, "content-length", ""),
    fixed(Other, "content-location", ""),
    fixed(Other, "content-range", ""),
    fixed(ContentType, "content-type", ""),
    fixed(Other, "cookie", ""),
    fixed(Date, "date", ""),
    fixed(Other, "etag", ""),
    fixed(Expect, "expect", ""),
    fixed(Other, "expires", ""),
    fixed(Other, "from", ""),
    fixed(Host, "host", ""),
    fixed(Other, "if-match", ""),
    fixed(Other, "if-modified-since", ""),
    fixed(Other, "if-none-match", ""),
    fixed(Other, "if-range", ""),
    fixed(Other, "if-unmodified-since", ""),
    fixed(Other, "last-modified", ""),
    fixed(Other, "link", ""),
    fixed(Other, "location", ""),
    fixed(Other, "max-forwards", ""),
    fixed(ProxyAuthenticate, "proxy-authenticate", ""),
    fixed(Other, "proxy-authorization", ""),
    fixed(Other, "range", ""),
    fixed(Other, "referer", ""),
    fixed(Other, "refresh", ""),
    fixed(Other, "retry-after", ""),
    fixed(Server, "server", ""),
    fixed(Other, "set-cookie", ""),
    fixed(Other, "strict-transport-security", ""),
    fixed(TransferEncoding, "transfer-encoding", ""),
    fixed(UserAgent, "user-agent", ""),
    fixed(Other, "vary", ""),
    fixed(Via, "via", ""),
    fixed(Other, "www-authenticate", ""),
];

/// The line of an index.
#[inline]
pub(super) fn line(index: usize) -> Option<&'static Fixed> {
    LINES.get(index.wrapping_sub(1))
}

/// Places of names, by [`place`].
const PLACES: usize = 256;

/// The index of each name's first line, at its place; zero where none is.
static NAMES: [u8; PLACES] = names();

/// Where a name stands, whatever its case: its length and three of its bytes tell all of them apart, which the compiler checks.
#[inline]
const fn place(length: usize, first: u8, middle: u8, last: u8) -> usize {
    let (first, middle, last) = (first | 0x20, middle | 0x20, last | 0x20);
    (length * 33 + first as usize * 27 + middle as usize * 32 + last as usize) % PLACES
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "run by the compiler, which refuses an index that is wrong"
)]
const fn names() -> [u8; PLACES] {
    let mut names = [0; PLACES];
    let mut last_place = PLACES;
    let mut at = 0;
    while at < FIXED {
        let name = LINES[at].name;
        let len = name.len();
        let place = place(len, name[0], name[len / 2], name[len - 1]);
        // Lines of one name stand together.
        if place != last_place {
            assert!(names[place] == 0, "two names have one place");
            names[place] = at as u8 + 1;
        }
        last_place = place;
        at += 1;
    }
    names
}

/// The first line with that name, whatever its case, and its index.
#[inline]
pub(super) fn by_name(name: &[u8]) -> Option<(usize, &'static Fixed)> {
    let (first, last) = (name.first()?, name.last()?);
    let middle = name.get(name.len() / 2)?;
    let index = NAMES.get(place(name.len(), *first, *middle, *last))?;
    let index = usize::from(*index);
    let found = line(index)?;
    is_same(found.name, name).then_some((index, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_names() {
        for line in &LINES {
            assert_eq!(line.id, FieldId::of(line.name), "{line:?}");
        }
    }

    #[test]
    fn names_are_found_in_any_case() {
        for fixed in &LINES {
            let (index, found) = by_name(&fixed.name.to_ascii_uppercase()).unwrap();
            assert_eq!(found.name, fixed.name);
            assert_eq!(line(index).unwrap().name, fixed.name);
            assert!(line(index - 1).is_none_or(|before| before.name != fixed.name));
        }
        for name in [&b""[..], b"x", b"vary-", b"varx", b"xary", b"tags"] {
            assert!(by_name(name).is_none(), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn indices_begin_at_one() {
        assert!(line(0).is_none());
        assert_eq!(line(1).unwrap().name, b":authority");
        assert_eq!(line(8).unwrap().value, b"200");
        assert_eq!(line(61).unwrap().name, b"www-authenticate");
        assert!(line(62).is_none());
    }
}
