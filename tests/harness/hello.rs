//! A ClientHello of TLS, made by hand: enough for whoever chooses by it, and for no handshake.

/// A vector with a length of `N` bytes before it.
fn vector<const N: usize>(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_be_bytes();
    [&length[8 - N..], bytes].concat()
}

/// The message, as one record. An empty name and no protocols leave their extensions out.
pub fn client_hello(name: &str, protocols: &[&str]) -> Vec<u8> {
    record(&message(name, protocols))
}

/// The message, in records of at most `size` bytes.
pub fn in_records(name: &str, protocols: &[&str], size: usize) -> Vec<u8> {
    let message = message(name, protocols);
    message
        .chunks(size)
        .map(record)
        .collect::<Vec<_>>()
        .concat()
}

fn record(fragment: &[u8]) -> Vec<u8> {
    [&[22, 3, 1], &*vector::<2>(fragment)].concat()
}

fn message(name: &str, protocols: &[&str]) -> Vec<u8> {
    let mut extensions = Vec::new();
    let mut extension = |kind: u16, data: &[u8]| {
        extensions.extend(kind.to_be_bytes());
        extensions.extend(vector::<2>(data));
    };
    if !name.is_empty() {
        let host = [&[0], &*vector::<2>(name.as_bytes())].concat();
        extension(0, &vector::<2>(&host));
    }
    if !protocols.is_empty() {
        let list: Vec<_> = protocols
            .iter()
            .map(|protocol| vector::<1>(protocol.as_bytes()))
            .collect();
        extension(16, &vector::<2>(&list.concat()));
    }
    extension(43, &[2, 3, 4]);
    // Padding, so that it is as long as what browsers send.
    extension(21, &[0; 1500]);
    let body = [
        &[3, 3][..],
        &[9; 32],
        &vector::<1>(&[7; 32]),
        &vector::<2>(&[0x13, 1]),
        &[1, 0],
        &vector::<2>(&extensions),
    ]
    .concat();
    [&[1], &*vector::<3>(&body)].concat()
}
