//! Two hashes that others use too, so that a ring made here is the ring made there: XXH64 (Collet) and MurmurHash2 of 64 bits
//! (Appleby), which is what GNU's C++ library calls `std::hash`. Neither resists who chooses the keys.

use std::net::IpAddr;

const P1: u64 = 0x9E37_79B1_85EB_CA87;
const P2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const P3: u64 = 0x1656_67B1_9E37_79F9;
const P4: u64 = 0x85EB_CA77_C2B2_AE63;
const P5: u64 = 0x27D4_EB2F_1656_67C5;

/// The hash of a client, by its address.
pub(crate) fn of_address(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => xxh64(&address.octets(), 0),
        IpAddr::V6(address) => xxh64(&address.octets(), 0),
    }
}

fn round(acc: u64, lane: u64) -> u64 {
    acc.wrapping_add(lane.wrapping_mul(P2))
        .rotate_left(31)
        .wrapping_mul(P1)
}

fn word(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

/// XXH64.
pub(crate) fn xxh64(data: &[u8], seed: u64) -> u64 {
    let (stripes, mut rest) = data.as_chunks::<32>();
    let mut hash = if stripes.is_empty() {
        seed.wrapping_add(P5)
    } else {
        let mut acc = [
            seed.wrapping_add(P1).wrapping_add(P2),
            seed.wrapping_add(P2),
            seed,
            seed.wrapping_sub(P1),
        ];
        for stripe in stripes {
            for (acc, lane) in acc.iter_mut().zip(stripe.as_chunks::<8>().0) {
                *acc = round(*acc, word(lane));
            }
        }
        let turns = [1, 7, 12, 18];
        let sum = acc.iter().zip(turns).fold(0_u64, |sum, (acc, turn)| {
            sum.wrapping_add(acc.rotate_left(turn))
        });
        acc.iter().fold(sum, |hash, acc| {
            (hash ^ round(0, *acc)).wrapping_mul(P1).wrapping_add(P4)
        })
    };
    hash = hash.wrapping_add(data.len() as u64);
    let (lanes, tail) = rest.as_chunks::<8>();
    for lane in lanes {
        hash = (hash ^ round(0, word(lane)))
            .rotate_left(27)
            .wrapping_mul(P1)
            .wrapping_add(P4);
    }
    rest = tail;
    if let Some((half, tail)) = rest.split_first_chunk::<4>() {
        hash = (hash ^ u64::from(u32::from_le_bytes(*half)).wrapping_mul(P1))
            .rotate_left(23)
            .wrapping_mul(P2)
            .wrapping_add(P3);
        rest = tail;
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(P5))
            .rotate_left(11)
            .wrapping_mul(P1);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(P2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(P3);
    hash ^ (hash >> 32)
}

/// The seed that GNU's C++ library uses.
pub(crate) const STD_HASH_SEED: u64 = 0xc70f_6907;

/// MurmurHash2, the 64-bit version for 64-bit machines.
pub(crate) fn murmur2(data: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mut hash = seed ^ (data.len() as u64).wrapping_mul(M);
    let (lanes, tail) = data.as_chunks::<8>();
    for lane in lanes {
        let mut k = word(lane).wrapping_mul(M);
        k = (k ^ (k >> 47)).wrapping_mul(M);
        hash = (hash ^ k).wrapping_mul(M);
    }
    if !tail.is_empty() {
        let mut last = [0; 8];
        last.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
        hash = (hash ^ word(&last)).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 47)).wrapping_mul(M);
    hash ^ (hash >> 47)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xxh64_gives_the_published_values() {
        // From the reference implementation's own checks and its users' manuals.
        for (text, seed, expect) in [
            ("", 0, 0xef46_db37_51d8_e999),
            ("a", 0, 0xd24e_c4f1_a98c_6e5b),
            ("abc", 0, 0x44bc_2cf5_ad77_0999),
            ("xxhash", 0, 0x32dd_3895_2c4b_c720),
            ("xxhash", 20_141_025, 0xb559_b98d_844e_0635),
            (
                "Call me Ishmael. Some years ago--never mind how long precisely-",
                0,
                0x02a2_e854_70d6_fd96,
            ),
        ] {
            assert_eq!(xxh64(text.as_bytes(), seed), expect, "{text:?}");
        }
    }

    #[test]
    fn murmur2_gives_what_the_c_plus_plus_library_gives() {
        // The places of hosts on a ring of twelve that Envoy's own tests print for `MURMUR_HASH_2`.
        let places: Vec<u64> = (80..86)
            .flat_map(|port| (0..2).map(move |replica| format!("127.0.0.1:{port}_{replica}")))
            .map(|key| murmur2(key.as_bytes(), STD_HASH_SEED))
            .collect();
        for place in [
            1_358_027_074_129_602_068,
            4_361_834_613_929_391_114,
            7_224_494_972_555_149_682,
            7_701_421_856_454_313_576,
            8_649_315_368_077_433_379,
            8_739_448_859_063_030_639,
            9_887_544_217_113_020_895,
            10_150_910_876_324_007_731,
            15_168_472_011_420_622_455,
            15_427_156_902_705_414_897,
            16_375_050_414_328_759_093,
        ] {
            assert!(places.contains(&place), "{place} {places:?}");
        }
    }
}
