//! What a cleartext connection speaks, told by its first bytes: RFC 9113 §3.4.

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The preface of HTTP/2.
    Http2,
    /// Something else: HTTP/1, if anything.
    Other,
    /// As yet they may be the preface's beginning.
    NeedMore,
}

/// Looks at the first bytes. Only those that could be the preface's keep it waiting: no request of HTTP/1 begins like it, since the
/// method `PRI` is reserved.
pub fn opening(bytes: &[u8]) -> Opening {
    let seen = bytes.len().min(PREFACE.len());
    match (bytes.get(..seen), PREFACE.get(..seen)) {
        (Some(came), Some(wanted)) if came == wanted => match seen == PREFACE.len() {
            true => Opening::Http2,
            false => Opening::NeedMore,
        },
        _ => Opening::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_beginning_of_the_preface_waits() {
        for cut in 0..PREFACE.len() {
            assert_eq!(opening(&PREFACE[..cut]), Opening::NeedMore, "{cut}");
            let mut other = PREFACE[..=cut].to_vec();
            other[cut] ^= 1;
            assert_eq!(opening(&other), Opening::Other, "{cut}");
        }
        assert_eq!(opening(PREFACE), Opening::Http2);
        assert_eq!(opening(&[PREFACE, b"x"].concat()), Opening::Http2);
        for other in ["P", "PR", "PRI * HTTP/2.0\r\n"] {
            assert_eq!(opening(other.as_bytes()), Opening::NeedMore, "{other}");
        }
        for other in [
            "PUT / HTTP/1.1",
            "POST",
            "PROPFIND",
            "PRI * HTTP/1.1",
            "\x16\x03",
            "G",
        ] {
            assert_eq!(opening(other.as_bytes()), Opening::Other, "{other}");
        }
    }
}
