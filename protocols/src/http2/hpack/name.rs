//! Names and values compared by words, and names whatever their case: it is done for most lines, and most are too short for a call.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * ONES;
/// The bit by which a letter's cases differ.
pub(super) const CASE: u64 = 0x20 * ONES;

/// Whether a name is that one, which is in lower case.
#[inline]
pub(super) fn is_same(lower: &[u8], name: &[u8]) -> bool {
    if lower.len() != name.len() {
        return false;
    }
    let (Some(last), Some(its_last)) = (lower.last_chunk(), name.last_chunk()) else {
        return lower.eq_ignore_ascii_case(name);
    };
    let pairs = lower.as_chunks().0.iter().zip(name.as_chunks().0);
    let last = differs(u64::from_le_bytes(*last), u64::from_le_bytes(*its_last));
    pairs.fold(last, |diff, (lower, name)| {
        diff | differs(u64::from_le_bytes(*lower), u64::from_le_bytes(*name))
    }) == 0
}

/// Whether two texts of one length are the same.
#[inline]
pub(super) fn is_equal(a: &[u8], b: &[u8]) -> bool {
    let (Some(last), Some(its_last)) = (a.last_chunk::<8>(), b.last_chunk::<8>()) else {
        return a == b;
    };
    let pairs = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
    let diff = |a: &[u8; 8], b: &[u8; 8]| u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
    let last = diff(last, its_last);
    a.len() == b.len() && pairs.fold(last, |all, (a, b)| all | diff(a, b)) == 0
}

/// Zero if eight bytes are the same, but for the case of letters. Those of the first are in lower case.
#[inline]
fn differs(lower: u64, name: u64) -> u64 {
    (lower ^ name) & !(letters(lower) >> 2)
}

/// The high bit of each byte that is a letter in lower case.
#[inline]
fn letters(bytes: u64) -> u64 {
    // Seven bits of each, so that nothing is carried to the next.
    let low = bytes & !HIGH;
    let from_a = low + (0x80 - b'a' as u64) * ONES;
    let behind_z = low + (0x7f - b'z' as u64) * ONES;
    from_a & !behind_z & !bytes & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_makes_a_difference() {
        for length in 0..40 {
            let text = vec![b'a'; length];
            assert!(is_equal(&text, &text.clone()));
            for at in 0..length {
                let mut other = text.clone();
                other[at] ^= 0x80;
                assert!(!is_equal(&text, &other), "{at} of {length}");
            }
        }
    }

    #[test]
    fn only_letters_have_a_case() {
        for (lower, other) in (0..=255).flat_map(|a| (0..=255).map(move |b| (a, b))) {
            let lower: u8 = lower;
            if lower.is_ascii_uppercase() {
                continue;
            }
            let other: u8 = other;
            let expect = lower.eq_ignore_ascii_case(&other);
            for (before, behind) in [(0, 0), (3, 4), (7, 0), (0, 9), (9, 0), (6, 7)] {
                let name = |byte| [&vec![0xff; before][..], &[byte], &vec![b'a'; behind]].concat();
                let same = is_same(&name(lower), &name(other));
                assert_eq!(same, expect, "{lower} {other}");
            }
        }
        assert!(!is_same(b"a", b"aa"));
        assert!(!is_same(b"aaaaaaaaa", b"aaaaaaaa"));
        assert!(is_same(b"", b""));
    }
}
