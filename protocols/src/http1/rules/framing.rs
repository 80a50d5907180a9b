//! What says how long a body is: RFC 9112 §6. Anything that two parsers could read in two ways is refused.

use super::charset::is_token;
use crate::http1::Violation;

/// What `Transfer-Encoding` says, where it says something that we do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http1) enum Coding {
    /// `chunked`, once, alone.
    Chunked,
}

/// Takes a `Content-Length` beside those before it.
pub(in crate::http1) fn length(seen: &mut Option<u64>, value: &[u8]) -> Result<(), Violation> {
    let length = decimal(value).ok_or(Violation::LengthInvalid)?;
    match seen.replace(length) {
        None => Ok(()),
        Some(_) => Err(Violation::LengthDuplicate),
    }
}

/// `1*DIGIT` below 2^64; `parse` of the standard library would take a `+`.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Takes a `Transfer-Encoding` beside those before it.
///
/// Other codings than `chunked` would have to be undone or passed on; nobody sends them, and every peer reads them differently.
pub(in crate::http1) fn coding(seen: &mut Option<Coding>, value: &[u8]) -> Result<(), Violation> {
    if seen.is_some() {
        return Err(Violation::CodingDuplicate);
    }
    if !value.eq_ignore_ascii_case(b"chunked") {
        return Err(other_coding(value));
    }
    *seen = Some(Coding::Chunked);
    Ok(())
}

/// A list of known codings with `chunked` once and last is understood but not done; all else is wrong.
#[cold]
fn other_coding(value: &[u8]) -> Violation {
    let mut names = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let last = names.next_back().unwrap_or_default();
    let mut rest = names.peekable();
    let beneath = rest.peek().is_some()
        && rest.all(|name| is_token(name) && !name.eq_ignore_ascii_case(b"chunked"));
    match beneath && last.eq_ignore_ascii_case(b"chunked") {
        true => Violation::CodingUnsupported,
        false => Violation::CodingInvalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_digits_below_2_to_the_64() {
        for (value, expect) in [
            ("0", Some(0)),
            ("5", Some(5)),
            ("0000000000000000000000000005", Some(5)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("18446744073709551621", None),
            ("99999999999999999999", None),
            ("", None),
            ("+5", None),
            ("-0", None),
            ("5 ", None),
            ("5 5", None),
            ("5,5", None),
            ("5;", None),
            ("0x5", None),
            ("5.0", None),
            ("5e0", None),
            ("5_0", None),
            ("\"5\"", None),
            ("５", None),
            ("5\u{b}", None),
        ] {
            let mut seen = None;
            let result = length(&mut seen, value.as_bytes());
            assert_eq!(result.ok().and(seen), expect, "{value:?}");
        }
    }

    #[test]
    fn a_second_length_is_refused_even_if_equal() {
        let mut seen = Some(5);
        assert_eq!(length(&mut seen, b"5"), Err(Violation::LengthDuplicate));
    }

    #[test]
    fn a_coding_is_chunked_alone() {
        use Violation::{CodingInvalid, CodingUnsupported};
        for (value, expect) in [
            ("chunked", Ok(())),
            ("CHUNKED", Ok(())),
            ("gzip, chunked", Err(CodingUnsupported)),
            ("cow,chunked", Err(CodingUnsupported)),
            ("", Err(CodingInvalid)),
            ("identity", Err(CodingInvalid)),
            ("chunked, gzip", Err(CodingInvalid)),
            ("chunked, chunked", Err(CodingInvalid)),
            (",chunked", Err(CodingInvalid)),
            ("chunked,", Err(CodingInvalid)),
            ("chunked;a=b", Err(CodingInvalid)),
            ("xchunked", Err(CodingInvalid)),
            ("chunk", Err(CodingInvalid)),
            ("cow chunked bar", Err(CodingInvalid)),
            ("\"chunked\"", Err(CodingInvalid)),
            ("chun\u{212a}ed", Err(CodingInvalid)),
            ("chunked\u{a0}", Err(CodingInvalid)),
        ] {
            assert_eq!(coding(&mut None, value.as_bytes()), expect, "{value:?}");
        }
        let mut seen = Some(Coding::Chunked);
        assert_eq!(
            coding(&mut seen, b"chunked"),
            Err(Violation::CodingDuplicate)
        );
    }
}
