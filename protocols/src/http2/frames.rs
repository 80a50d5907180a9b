//! The heads of a peer's frames, counted before the codec sees them: what it does not show, and answers or stores all the same.
//!
//! ```text
//!   preface ─► head (9 bytes) ─► payload (skipped) ─► head ─► …
//! ```
//!
//! Frames that carry nothing (RFC 9113 §10.5) are paid for out of two budgets. Useful work refills them: requests, bytes of bodies,
//! bytes that the peer has taken; and time does, slowly, for keep-alives. So a client that answers a long download with thousands of window updates goes on for ever, and one
//! that sends only those does not.

/// The preface's length.
const PREFACE: u32 = 24;
/// A frame's head.
const HEAD: usize = 9;
/// END_STREAM, of DATA and HEADERS.
const END_STREAM: u8 = 0x1;
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

/// Which budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in `Budgets`")]
pub enum Excess {
    Control,
    Empty,
}

/// Reads a peer's bytes for the heads of its frames.
#[derive(Debug)]
pub struct FrameScanner {
    /// Bytes to pass over before the next head.
    skip: u32,
    head: [u8; HEAD],
    /// How much of `head` is here.
    filled: usize,
    budgets: Budgets,
    /// What is left of them.
    left: Budgets,
    /// Bytes that the peer has taken and that are not yet worth a frame.
    taken: u64,
    /// Milliseconds that have passed and are not yet worth one.
    waited: u64,
    /// A header block has begun and not ended.
    in_block: bool,
}

impl FrameScanner {
    /// For a connection of which nothing has come, the preface neither.
    pub fn new(budgets: Budgets) -> Self {
        Self {
            skip: PREFACE,
            head: [0; HEAD],
            filled: 0,
            budgets,
            left: budgets,
            taken: 0,
            waited: 0,
            in_block: false,
        }
    }

    /// Whether a header block has begun and its end has not come.
    pub fn is_in_block(&self) -> bool {
        self.in_block
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
    pub fn scan(&mut self, mut bytes: &[u8], mut saw: impl FnMut(FrameKind)) -> Result<(), Excess> {
        while !bytes.is_empty() {
            let skip = bytes.len().min(self.skip as usize);
            self.skip -= u32::try_from(skip).unwrap_or(self.skip);
            bytes = bytes.get(skip..).unwrap_or_default();
            let (more, rest) = bytes
                .split_at_checked(HEAD - self.filled)
                .unwrap_or((bytes, &[]));
            for (to, from) in self.head.iter_mut().skip(self.filled).zip(more) {
                *to = *from;
            }
            self.filled += more.len();
            bytes = rest;
            if self.filled == HEAD {
                self.filled = 0;
                self.frame(&mut saw)?;
            }
        }
        Ok(())
    }

    fn frame(&mut self, saw: &mut impl FnMut(FrameKind)) -> Result<(), Excess> {
        let [high, middle, low, _, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.skip = length;
        let kind = FrameKind::of(&self.head, length);
        saw(kind);
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
            }
            FrameKind::EmptyData => {
                self.left.empty = self.left.empty.checked_sub(1).ok_or(Excess::Empty)?;
            }
            FrameKind::Priority
            | FrameKind::Reset
            | FrameKind::Settings
            | FrameKind::Ping
            | FrameKind::WindowUpdate
            | FrameKind::Unknown => {
                self.left.control = self.left.control.checked_sub(1).ok_or(Excess::Control)?;
            }
            // The codec ends the connection at once.
            FrameKind::Push | FrameKind::GoAway => {}
        }
        Ok(())
    }

    fn refill_control(&mut self, frames: u32) {
        self.left.control = self
            .left
            .control
            .saturating_add(frames)
            .min(self.budgets.control);
    }
}
