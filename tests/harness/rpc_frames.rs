//! Frames of Bolt, Dubbo 2 and Thrift, byte by byte.

use crate::Wire;

/// A frame of Bolt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bolt {
    /// 1, or 2 with its sub-version 1.
    pub proto: u8,
    /// [`ANSWER`], [`CALL`] or [`ONE_WAY`].
    pub kind: u8,
    /// 0: a heartbeat, 1: a call, 2: its answer, 100: a goodbye.
    pub command: u16,
    /// Whose it is.
    pub id: u32,
    /// The timeout of a call, the status of an answer.
    pub last: u32,
    /// The header block.
    pub headers: Vec<(String, String)>,
    /// The rest.
    pub content: Vec<u8>,
}

/// The kind of an answer.
pub const ANSWER: u8 = 0;
/// The kind of a call.
pub const CALL: u8 = 1;
/// The kind of a call that gets no answer.
pub const ONE_WAY: u8 = 2;

/// A call of version 1.
pub fn call(id: u32, headers: &[(&str, &str)], content: &str) -> Bolt {
    Bolt {
        proto: 1,
        kind: CALL,
        command: 1,
        id,
        last: 5000,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        content: content.as_bytes().to_vec(),
    }
}

/// The answer to a call or a heartbeat.
pub fn answer(to: &Bolt, content: &str) -> Bolt {
    Bolt {
        kind: ANSWER,
        command: if to.command == 0 { 0 } else { 2 },
        last: 0,
        headers: Vec::new(),
        content: content.as_bytes().to_vec(),
        ..to.clone()
    }
}

impl Bolt {
    /// As it is on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut block = Vec::new();
        for text in self.headers.iter().flat_map(|(name, value)| [name, value]) {
            block.extend_from_slice(&(text.len() as u32).to_be_bytes());
            block.extend_from_slice(text.as_bytes());
        }
        let mut bytes = vec![self.proto];
        if self.proto == 2 {
            bytes.push(1);
        }
        bytes.push(self.kind);
        bytes.extend_from_slice(&self.command.to_be_bytes());
        bytes.push(1);
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.push(1);
        if self.proto == 2 {
            bytes.push(0);
        }
        match self.kind {
            ANSWER => bytes.extend_from_slice(&(self.last as u16).to_be_bytes()),
            _ => bytes.extend_from_slice(&self.last.to_be_bytes()),
        }
        bytes.extend_from_slice(&0_u16.to_be_bytes());
        bytes.extend_from_slice(&(block.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&(self.content.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&block);
        bytes.extend_from_slice(&self.content);
        bytes
    }

    /// Takes the next frame off a wire; the class of an answer is passed over.
    #[track_caller]
    pub fn take(wire: &mut Wire) -> Self {
        let proto = wire.take(1)[0];
        if proto == 2 {
            wire.take(1);
        }
        let head = wire.take(9);
        if proto == 2 {
            wire.take(1);
        }
        let kind = head[0];
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0_u32, |n, byte| n << 8 | u32::from(*byte))
        };
        let last = number(&wire.take(if kind == ANSWER { 2 } else { 4 }));
        let lengths = wire.take(8);
        wire.take(number(&lengths[..2]) as usize);
        let block = wire.take(number(&lengths[2..4]) as usize);
        let content = wire.take(number(&lengths[4..]) as usize);
        let (mut texts, mut rest) = (Vec::new(), &block[..]);
        while !rest.is_empty() {
            let len = number(&rest[..4]) as usize;
            texts.push(String::from_utf8(rest[4..4 + len].to_vec()).unwrap());
            rest = &rest[4 + len..];
        }
        Self {
            proto,
            kind,
            command: number(&head[1..3]) as u16,
            id: number(&head[4..8]),
            last,
            headers: texts
                .chunks(2)
                .map(|pair| (pair[0].clone(), pair[1].clone()))
                .collect(),
            content,
        }
    }

    /// The next frame that is no heartbeat; those are answered.
    #[track_caller]
    pub fn take_call(wire: &mut Wire) -> Self {
        loop {
            let frame = Self::take(wire);
            if frame.command != 0 {
                return frame;
            }
            wire.send(answer(&frame, "").bytes());
        }
    }
}

/// A frame of Dubbo.
pub fn dubbo(flags: u8, status: u8, id: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xda, 0xbb, flags, status];
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Takes the next frame off a wire: flags, status, id and body.
#[track_caller]
pub fn take_dubbo(wire: &mut Wire) -> (u8, u8, u64, Vec<u8>) {
    let head = wire.take(16);
    assert_eq!(head[..2], [0xda, 0xbb]);
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0_u64, |n, byte| n << 8 | u64::from(*byte))
    };
    let body = wire.take(number(&head[12..]) as usize);
    (head[2], head[3], number(&head[4..12]), body)
}

/// The next call; heartbeats are answered.
#[track_caller]
pub fn take_dubbo_call(wire: &mut Wire) -> (u8, u8, u64, Vec<u8>) {
    loop {
        let frame = take_dubbo(wire);
        if frame.0 & 0x20 == 0 {
            return frame;
        }
        wire.send(dubbo(0x22, 20, frame.2, b"N"));
    }
}

/// The body of a call: `Echo.say(1, 2)`, version 1.0.0, group blue.
pub const DUBBO_CALL: &[u8] = b"\x052.0.2\x04Echo\x051.0.0\x03say\x02II\x91\x92H\x05group\x04blueZ";

/// CRC-32 (IEEE), bit by bit.
pub fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1));
    !bytes
        .iter()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// A framed message of Thrift's binary protocol with an empty struct.
pub fn thrift(kind: u8, name: &str, sequence: u32) -> Vec<u8> {
    let mut message = vec![0x80, 1, 0, kind];
    message.extend_from_slice(&(name.len() as u32).to_be_bytes());
    message.extend_from_slice(name.as_bytes());
    message.extend_from_slice(&sequence.to_be_bytes());
    message.push(0);
    framed(&message)
}

/// A length of four bytes, and so many bytes.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = (message.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    bytes
}

/// Kind, name and sequence of the next message.
#[track_caller]
pub fn take_thrift(wire: &mut Wire) -> (u8, String, u32) {
    let length = u32::from_be_bytes(wire.take(4).try_into().unwrap());
    let message = wire.take(length as usize);
    let name = u32::from_be_bytes(message[4..8].try_into().unwrap()) as usize;
    let sequence = message[8 + name..12 + name].try_into().unwrap();
    let name = String::from_utf8(message[8..8 + name].to_vec()).unwrap();
    (message[3], name, u32::from_be_bytes(sequence))
}
