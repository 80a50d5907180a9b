//! Which lines the encoder keeps in the table, by what is known of a field.

use super::fixed;
use crate::FieldId;

/// What becomes of a line with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Kept at once: one of few values, message after message.
    Keep,
    /// Kept when the same is seen again: values of others, which may be the same for ever or never.
    KeepSeen,
    /// Not kept: another one each time.
    Plain,
    /// Kept by nobody on the way: a secret, or easy to guess byte by byte (RFC 7541 §7.1.3).
    Never,
}

/// What is known of a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// The index of its first line in the static table; zero if it has none.
    pub(super) fixed: u8,
    pub(super) how: How,
}

const fn known(fixed: u8, how: How) -> Known {
    Known { fixed, how }
}

/// Of the names that the proxy knows.
#[inline]
pub(super) fn by_id(id: FieldId) -> Known {
    match id {
        FieldId::ContentLength => known(28, How::Plain),
        FieldId::ContentType => known(31, How::Keep),
        // The same for a second, which on a busy connection are many messages.
        FieldId::Date => known(33, How::KeepSeen),
        FieldId::Expect => known(35, How::Keep),
        FieldId::Host => known(38, How::KeepSeen),
        FieldId::ProxyAuthenticate => known(48, How::KeepSeen),
        FieldId::Server => known(54, How::Keep),
        FieldId::TransferEncoding => known(57, How::Keep),
        FieldId::UserAgent => known(58, How::KeepSeen),
        FieldId::Via => known(60, How::Keep),
        FieldId::Connection
        | FieldId::KeepAlive
        | FieldId::ProxyConnection
        | FieldId::Te
        | FieldId::Trailer
        | FieldId::Upgrade
        | FieldId::XForwardedProto => known(0, How::Keep),
        FieldId::XForwardedClientCert
        | FieldId::XForwardedFor
        | FieldId::XForwardedHost
        | FieldId::Other => known(0, How::KeepSeen),
        FieldId::XEnvoyUpstreamRqTimeoutMs | FieldId::XRequestId => known(0, How::Plain),
    }
}

/// Of any other name, with that value.
pub(super) fn by_name(name: &[u8], value: &[u8]) -> Known {
    let Some((index, _)) = fixed::by_name(name) else {
        return known(0, How::KeepSeen);
    };
    let how = match HOW.get(index) {
        _ if index == COOKIE && value.len() < SHORT_COOKIE => How::Never,
        how => how.copied().unwrap_or(How::KeepSeen),
    };
    known(u8::try_from(index).unwrap_or(0), how)
}

/// The index of `cookie`; a value below that length is guessed more easily than it is worth keeping.
const COOKIE: usize = 32;
const SHORT_COOKIE: usize = 20;

/// By the index of a name in the static table.
static HOW: [How; fixed::FIXED + 1] = all();

#[expect(
    clippy::indexing_slicing,
    reason = "run by the compiler, which refuses an index that is wrong"
)]
const fn all() -> [How; fixed::FIXED + 1] {
    let mut all = [How::Plain; fixed::FIXED + 1];
    let mut index = 1;
    while index < all.len() {
        all[index] = how(fixed::LINES[index - 1].name);
        index += 1;
    }
    all
}

const fn how(name: &[u8]) -> How {
    match name {
        b"authorization" | b"proxy-authorization" | b"set-cookie" => How::Never,
        b":path"
        | b"age"
        | b"content-range"
        | b"etag"
        | b"expires"
        | b"if-match"
        | b"if-modified-since"
        | b"if-none-match"
        | b"if-range"
        | b"if-unmodified-since"
        | b"last-modified"
        | b"location"
        | b"range"
        | b"referer" => How::Plain,
        b":authority" | b":method" | b":scheme" => How::Keep,
        _ => How::KeepSeen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_those_of_the_names() {
        for (at, line) in fixed::LINES.iter().enumerate() {
            let (first, _) = fixed::by_name(line.name).unwrap();
            let known = by_id(line.id);
            let is_known = line.id != FieldId::Other;
            assert!(!is_known || usize::from(known.fixed) == first, "{line:?}");
            assert!(line.name != b"cookie" || COOKIE == at + 1);
        }
    }
}
