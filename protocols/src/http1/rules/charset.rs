//! Which bytes may stand where.

const TOKEN: u8 = 1;
const PATH: u8 = 2;
const QUERY: u8 = 4;
const REG_NAME: u8 = 8;
const PLAIN: u8 = 16;

/// The classes of each byte.
static CLASS: [u8; 256] = classes();

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated when compiled: a wrong index does not build"
)]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        table[at] = class(at as u8);
        at += 1;
    }
    table
}

const fn class(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            TOKEN | PATH | QUERY | REG_NAME | PLAIN
        }
        // `%` in a host's name is settled by the two digits that have to follow.
        b'!' | b'$' | b'&' | b'\'' | b'*' | b'+' | b'%' => TOKEN | PATH | QUERY | REG_NAME,
        b'(' | b')' | b';' | b'=' => PATH | QUERY | REG_NAME,
        // RFC 3986 allows a comma in a host's name; it is how others join two `Host` fields.
        b':' | b'@' | b',' | b'/' | b'?' => PATH | QUERY,
        // Against RFC 3986 from here on, but browsers send them raw (WHATWG URL, percent-encode sets of path and query).
        b'[' | b']' => PATH | QUERY,
        b'|' => TOKEN | PATH | QUERY,
        b'^' | b'`' => TOKEN | QUERY,
        b'\\' | b'{' | b'}' => QUERY,
        b'#' => TOKEN,
        b'"' | b'<' | b'>' | 0..=b' ' | 0x7f..=0xff => 0,
    }
}

fn has(byte: u8, class: u8) -> bool {
    CLASS.get(usize::from(byte)).is_some_and(|c| c & class != 0)
}

fn all(bytes: &[u8], class: u8) -> bool {
    let common = bytes.iter().fold(class, |common, byte| {
        common & CLASS.get(usize::from(*byte)).copied().unwrap_or(0)
    });
    common != 0
}

/// RFC 9110 §5.6.2: `tchar`.
pub(in crate::http1) fn is_tchar(byte: u8) -> bool {
    has(byte, TOKEN)
}

/// RFC 3986 §2.3: `unreserved`, which is a part of every class.
pub(super) fn is_plain(byte: u8) -> bool {
    has(byte, PLAIN)
}

/// RFC 9110 §5.6.2: `token`, not empty.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, TOKEN)
}

/// Whether a path may hold these bytes as they are.
pub(super) fn is_path(bytes: &[u8]) -> bool {
    all(bytes, PATH)
}

/// Whether a query may.
pub(super) fn is_query(bytes: &[u8]) -> bool {
    all(bytes, QUERY)
}

/// RFC 9110 §5.5: `field-vchar`, SP and HTAB. Values are most of a head, so that eight bytes are looked at in one step.
pub(super) fn is_value(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let doubtful = words
        .iter()
        .fold(0, |doubt, word| doubt | controls(u64::from_le_bytes(*word)));
    (doubtful == 0 || words.as_flattened().iter().all(is_value_byte))
        && rest.iter().all(is_value_byte)
}

fn is_value_byte(byte: &u8) -> bool {
    !byte.is_ascii_control() || *byte == b'\t'
}

/// Not zero if a byte of the word is below 0x20 or is 0x7f: a borrow may only spread from a byte that is, so that there is no
/// false zero.
fn controls(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low = word.wrapping_sub(EACH * 0x20) & !word;
    let delete = word ^ (EACH * 0x7f);
    let delete = delete.wrapping_sub(EACH) & !delete;
    (low | delete) & (EACH * 0x80)
}

/// RFC 3986 §3.2.2: bytes of `reg-name`, without the comma.
pub(super) fn is_reg_name(bytes: &[u8]) -> bool {
    all(bytes, REG_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(class: fn(&[u8]) -> bool) -> Vec<u8> {
        (0..=255).filter(|byte| class(&[*byte])).collect()
    }

    #[test]
    fn tokens_are_those_of_the_rfc() {
        let mut want = b"!#$%&'*+-.^_`|~".to_vec();
        want.extend((b'0'..=b'9').chain(b'a'..=b'z').chain(b'A'..=b'Z'));
        want.sort_unstable();
        assert_eq!(set(is_token), want);
    }

    #[test]
    fn values_are_all_but_control_bytes() {
        let want: Vec<u8> = (0..=255u8)
            .filter(|b| !(*b < 32 && *b != 9 || *b == 127))
            .collect();
        assert_eq!(set(is_value), want);
        // Beside any other byte, at any place of a word.
        for (byte, beside) in (0..=255u8).flat_map(|a| (0..=255u8).map(move |b| (a, b))) {
            let good = want.contains(&byte) && want.contains(&beside);
            for at in 0..11 {
                let mut value = [beside; 11];
                value[at] = byte;
                assert_eq!(is_value(&value), good, "{byte} beside {beside} at {at}");
            }
        }
    }

    #[test]
    fn targets_hold_what_browsers_send_raw_and_no_more() {
        let outside =
            |set: Vec<u8>| -> Vec<u8> { (0x21..0x7f).filter(|byte| !set.contains(byte)).collect() };
        assert_eq!(outside(set(is_path)), b"\"#<>\\^`{}");
        assert_eq!(outside(set(is_query)), b"\"#<>");
        assert!(!is_path(b"a b") && !is_query("é".as_bytes()) && !is_query(b"\x7f"));
    }
}
