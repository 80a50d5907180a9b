//! The heads of a peer's frames, counted before the codec sees them: what it does not show, and answers or stores all the same.
//!
//! ```text
//!   preface ─► head (9 bytes) ─► payload (skipped, but for SETTINGS) ─► head ─► …
//! ```
//!
//! What is wrong with a frame by itself, and what the codec would call by a wrong name, is found here too: a length that is not its
//! kind's (RFC 9113 §4.2), more on a stream that has ended (§5.1), a window that is none (§6.5.2). And what it lets pass: a preface
//! without SETTINGS (§3.4), pseudo-fields in trailers (§8.1).
//!
//! Frames that carry nothing (RFC 9113 §10.5) are paid for out of two budgets. Useful work refills them: requests, bytes of bodies,
//! bytes that the peer has taken; and time does, slowly, for keep-alives. So a client that answers a long download with thousands of window updates goes on for ever, and one
//! that sends only those does not.

use super::block::Block;
use super::heads::{END_STREAM, HEAD, Heads, length, stream};

/// The preface's length.
const PREFACE: u32 = 24;
/// An entry of SETTINGS, and the one of them that is looked at.
const ENTRY: usize = 6;
const INITIAL_WINDOW_SIZE: u16 = 4;
/// RFC 9113 §6.9.1.
const LARGEST_WINDOW: u32 = (1 << 31) - 1;
/// How many of the streams that ended last are remembered: a frame that comes late comes soon.
const ENDED: usize = 32;
/// ACK, of SETTINGS.
const ACK: u8 = 0x1;
/// END_HEADERS, of HEADERS and CONTINUATION.
const END_HEADERS: u8 = 0x4;
/// What a request is worth in control frames: its reset, a priority, two window updates.
const PER_REQUEST: u32 = 4;
/// Bytes taken by the peer that are worth a control frame. Clients update two windows for each 16 KiB or so, some far more often.
const SENT_PER_FRAME: u64 = 1 << 10;
/// What a frame of DATA with this much in it is worth a control frame: PINGs that measure the path come with data.
const DATA_WORTH: u32 = 256;
/// Time that is worth a control frame: no load, and more than keep-alives need.
const MILLIS_PER_FRAME: u64 = 100;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "RFC 9113 §6 names them")]
pub enum FrameKind {
    Data,
    /// DATA without a byte and without an end.
    EmptyData,
    Headers,
    Priority,
    Reset,
    Settings,
    Push,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// Of an extension that nobody asked for.
    Unknown,
}

impl FrameKind {
    /// All of them, in the order of [`FrameKind::index`].
    pub const ALL: &'static [Self] = &[
        Self::Data,
        Self::EmptyData,
        Self::Headers,
        Self::Priority,
        Self::Reset,
        Self::Settings,
        Self::Push,
        Self::Ping,
        Self::GoAway,
        Self::WindowUpdate,
        Self::Continuation,
        Self::Unknown,
    ];

    /// Its place in [`FrameKind::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    fn of(head: &[u8; HEAD], length: u32) -> Self {
        let [_, _, _, kind, flags, ..] = *head;
        match kind {
            0 if length == 0 && flags & END_STREAM == 0 => Self::EmptyData,
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::Reset,
            4 => Self::Settings,
            5 => Self::Push,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            _ => Self::Unknown,
        }
    }
}

/// How many frames without use a peer may send ahead of useful ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE and unknown frames.
    pub control: u32,
    /// DATA frames without a byte.
    pub empty: u32,
}

/// Why a connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// The budget of control frames is used up.
    Control,
    /// The budget of empty DATA is.
    Empty,
    /// A frame's length is not one of its kind: `FRAME_SIZE_ERROR`.
    FrameSize,
    /// DATA or HEADERS on a stream that the peer has ended: `STREAM_CLOSED`.
    StreamClosed,
    /// PUSH_PROMISE of a client: `PROTOCOL_ERROR` (RFC 9113 §8.4).
    Push,
    /// SETTINGS_INITIAL_WINDOW_SIZE beyond what a window may be: `FLOW_CONTROL_ERROR`.
    Window,
    /// The first frame is not SETTINGS: `PROTOCOL_ERROR`.
    Preface,
    /// A pseudo-field in trailers: `PROTOCOL_ERROR`.
    PseudoTrailer,
}

/// Reads a peer's bytes for the heads of its frames.
#[derive(Debug)]
pub struct FrameScanner {
    heads: Heads,
    budgets: Budgets,
    /// What is left of them.
    left: Budgets,
    /// Bytes that the peer has taken and that are not yet worth a frame.
    taken: u64,
    /// Milliseconds that have passed and are not yet worth one.
    waited: u64,
    /// Bytes of DATA, since somebody last asked.
    data: u64,
    /// A header block has begun and not ended.
    in_block: bool,
    /// A frame has come.
    begun: bool,
    /// The latest stream that the peer has begun: HEADERS of no later one are trailers.
    latest: u32,
    /// The bytes to skip are a field block of trailers.
    trailers: Option<Block>,
    /// The bytes to skip are SETTINGS; what is here of an entry.
    settings: bool,
    entry: ([u8; ENTRY], usize),
    /// The streams that the peer ended last, and the place of the next.
    ended: ([u32; ENDED], usize),
}

impl FrameScanner {
    /// For a connection of which nothing has come, the preface neither.
    pub fn new(budgets: Budgets) -> Self {
        Self {
            heads: Heads::behind(PREFACE),
            budgets,
            left: budgets,
            taken: 0,
            waited: 0,
            data: 0,
            in_block: false,
            begun: false,
            latest: 0,
            trailers: None,
            settings: false,
            entry: ([0; ENTRY], 0),
            ended: ([0; ENDED], 0),
        }
    }

    /// Whether a header block has begun and its end has not come.
    pub fn is_in_block(&self) -> bool {
        self.in_block
    }

    /// How many bytes of DATA have come since this was last asked, whole with the head of their frame.
    pub fn take_data(&mut self) -> u64 {
        std::mem::take(&mut self.data)
    }

    /// The peer has taken so many bytes.
    pub fn sent(&mut self, bytes: u64) {
        self.taken += bytes;
        let worth = self.taken / SENT_PER_FRAME;
        self.taken %= SENT_PER_FRAME;
        self.refill_control(u32::try_from(worth).unwrap_or(u32::MAX));
    }

    /// So much time has passed.
    pub fn waited(&mut self, millis: u64) {
        self.waited += millis;
        let worth = self.waited / MILLIS_PER_FRAME;
        self.waited %= MILLIS_PER_FRAME;
        self.refill_control(u32::try_from(worth).unwrap_or(u32::MAX));
    }

    /// Looks at the next bytes; `saw` hears of each frame that begins in them. After an error there is no more to look at.
    pub fn scan(&mut self, mut bytes: &[u8], mut saw: impl FnMut(FrameKind)) -> Result<(), Breach> {
        while !bytes.is_empty() {
            let (payload, head) = self.heads.next(&mut bytes);
            if self.settings {
                payload.iter().try_for_each(|byte| self.setting(*byte))?;
            }
            if let Some(block) = &mut self.trailers
                && block.has_pseudo(payload)
            {
                return Err(Breach::PseudoTrailer);
            }
            if let Some(head) = head {
                self.frame(&head, &mut saw)?;
            }
        }
        Ok(())
    }

    fn frame(&mut self, head: &[u8; HEAD], saw: &mut impl FnMut(FrameKind)) -> Result<(), Breach> {
        let [_, _, _, _, flags, ..] = *head;
        let (length, id) = (length(head), stream(head));
        let kind = FrameKind::of(head, length);
        saw(kind);
        if !is_length(kind, length, flags) {
            return Err(Breach::FrameSize);
        }
        if !std::mem::replace(&mut self.begun, true)
            && (kind != FrameKind::Settings || flags & ACK != 0)
        {
            return Err(Breach::Preface);
        }
        self.settings = kind == FrameKind::Settings;
        self.block(kind, id, head);
        // Within a header block, anything but its continuation is the codec's to refuse.
        if !self.in_block {
            self.stream(kind, id, flags)?;
        }
        match kind {
            FrameKind::Headers | FrameKind::Continuation => {
                self.in_block = flags & END_HEADERS == 0;
                if kind == FrameKind::Headers {
                    self.refill_control(PER_REQUEST);
                }
            }
            FrameKind::Data => {
                if length >= DATA_WORTH {
                    self.refill_control(1);
                }
                if length > 0 {
                    self.left.empty = self.budgets.empty;
                }
                self.data += u64::from(length);
            }
            FrameKind::EmptyData => {
                self.left.empty = self.left.empty.checked_sub(1).ok_or(Breach::Empty)?;
            }
            FrameKind::Priority
            | FrameKind::Reset
            | FrameKind::Settings
            | FrameKind::Ping
            | FrameKind::WindowUpdate
            | FrameKind::Unknown => {
                self.left.control = self.left.control.checked_sub(1).ok_or(Breach::Control)?;
            }
            FrameKind::Push => return Err(Breach::Push),
            // The codec ends the connection with its last stream.
            FrameKind::GoAway => {}
        }
        Ok(())
    }

    /// Notes the streams that the peer ends, and finds what comes behind.
    fn stream(&mut self, kind: FrameKind, id: u32, flags: u8) -> Result<(), Breach> {
        let ends = match kind {
            FrameKind::Data | FrameKind::EmptyData | FrameKind::Headers => {
                if id != 0 && self.ended.0.contains(&id) {
                    return Err(Breach::StreamClosed);
                }
                flags & END_STREAM != 0
            }
            FrameKind::Reset => true,
            FrameKind::Priority
            | FrameKind::Settings
            | FrameKind::Push
            | FrameKind::Ping
            | FrameKind::GoAway
            | FrameKind::WindowUpdate
            | FrameKind::Continuation
            | FrameKind::Unknown => false,
        };
        if ends {
            let (streams, next) = &mut self.ended;
            if let Some(place) = streams.get_mut(*next) {
                *place = id;
            }
            *next = (*next + 1) % ENDED;
        }
        Ok(())
    }

    /// Notes where field blocks of trailers begin, go on and end.
    fn block(&mut self, kind: FrameKind, id: u32, head: &[u8; HEAD]) {
        match (kind, &mut self.trailers) {
            (FrameKind::Continuation, Some(block)) => block.go_on(head),
            (FrameKind::Headers, _) if id <= self.latest => {
                self.trailers = Some(Block::new(head));
            }
            (FrameKind::Headers, trailers) => {
                self.latest = id;
                *trailers = None;
            }
            (_, trailers) => *trailers = None,
        }
    }

    /// The next byte of SETTINGS.
    fn setting(&mut self, byte: u8) -> Result<(), Breach> {
        let (entry, filled) = &mut self.entry;
        if let Some(place) = entry.get_mut(*filled) {
            *place = byte;
        }
        *filled = (*filled + 1) % ENTRY;
        let [high, low, value @ ..] = *entry;
        let is_window = u16::from_be_bytes([high, low]) == INITIAL_WINDOW_SIZE;
        match *filled == 0 && is_window && u32::from_be_bytes(value) > LARGEST_WINDOW {
            true => Err(Breach::Window),
            false => Ok(()),
        }
    }

    fn refill_control(&mut self, frames: u32) {
        self.left.control = self
            .left
            .control
            .saturating_add(frames)
            .min(self.budgets.control);
    }
}

/// Whether a frame of a kind may be so long (RFC 9113 §6). What the codec finds by itself, and calls by its name, is left to it.
fn is_length(kind: FrameKind, length: u32, flags: u8) -> bool {
    match kind {
        FrameKind::Priority => length == 5,
        FrameKind::Reset | FrameKind::WindowUpdate => length == 4,
        FrameKind::Ping => length == 8,
        FrameKind::Settings if flags & ACK != 0 => length == 0,
        FrameKind::Settings => length.is_multiple_of(6),
        // The codec calls a shorter one by a wrong name.
        FrameKind::GoAway => length >= 8,
        FrameKind::Data
        | FrameKind::EmptyData
        | FrameKind::Headers
        | FrameKind::Push
        | FrameKind::Continuation
        | FrameKind::Unknown => true,
    }
}
