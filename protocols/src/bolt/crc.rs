//! The checksum of version 2: CRC-32 (IEEE) of all bytes before it.

use crc32fast::Hasher;

/// The checksum of bytes.
pub(super) fn sum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// The checksum after four bytes changed, of which `behind` more bytes were summed. What was wrong stays wrong, so that the
/// checksum still speaks for the sender's bytes; and no body is summed again for its id.
pub(super) fn mended(crc: u32, old: [u8; 4], new: [u8; 4], behind: usize) -> u32 {
    // CRC is linear but for its start and end: of equally long texts, crc(a ^ b) = crc(a) ^ crc(b) ^ crc(zeros).
    let delta = u32::from_ne_bytes(old) ^ u32::from_ne_bytes(new);
    let change = sum(&delta.to_ne_bytes()) ^ sum(&[0; 4]);
    // With nothing in it, the second text only moves the first one on.
    let mut moved = Hasher::new_with_initial_len(change, 4);
    moved.combine(&Hasher::new_with_initial_len(0, behind as u64));
    crc ^ moved.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mended_sum_is_the_sum_of_the_changed_bytes() {
        for len in [4, 5, 10, 24, 1000, 70_001] {
            let mut bytes: Vec<u8> = (0..len).map(|at| (at * 31 % 251) as u8).collect();
            for at in [0, 1, len / 2, len - 4] {
                let before = sum(&bytes);
                let Some(old) = bytes.get(at..).and_then(|b| b.first_chunk().copied()) else {
                    continue;
                };
                let new = [9, 0, 255, at as u8];
                bytes[at..at + 4].copy_from_slice(&new);
                assert_eq!(mended(before, old, new, len - at - 4), sum(&bytes));
            }
        }
    }
}
