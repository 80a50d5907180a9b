//! Frames that carry nothing (RFC 9113 §10.5), and what they are paid with.
//!
//! There are two budgets, which useful work refills: requests, bytes of bodies, bytes that the other end has taken; and time does,
//! slowly, for keep-alives. So a client that answers a long download with thousands of window updates goes on for ever, and one that sends only those does not.

use super::frame::{self, Head};
use super::reason::{Cause, Failure, Reason};

/// What a request is worth in control frames: its reset, a priority, two window updates.
const PER_REQUEST: u32 = 4;
/// Bytes taken by the other end that are worth a control frame. Clients update two windows for each 16 KiB or so, some far more often.
const SENT_PER_FRAME: u64 = 1 << 10;
/// What a frame of DATA with this much in it is worth a control frame: PINGs that measure the path come with data.
const DATA_WORTH: usize = 256;
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
    pub(super) fn of(head: Head) -> Self {
        match head.kind {
            frame::DATA if head.len == 0 && !head.has(frame::END_STREAM) => Self::EmptyData,
            frame::DATA => Self::Data,
            frame::HEADERS => Self::Headers,
            frame::PRIORITY => Self::Priority,
            frame::RST_STREAM => Self::Reset,
            frame::SETTINGS => Self::Settings,
            frame::PUSH_PROMISE => Self::Push,
            frame::PING => Self::Ping,
            frame::GOAWAY => Self::GoAway,
            frame::WINDOW_UPDATE => Self::WindowUpdate,
            frame::CONTINUATION => Self::Continuation,
            _ => Self::Unknown,
        }
    }
}

/// How many frames without use the other end may send ahead of useful ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE and unknown frames.
    pub control: u32,
    /// DATA frames without a byte.
    pub empty: u32,
}

/// What is left of them.
#[derive(Debug)]
pub(super) struct Budget {
    budgets: Budgets,
    left: Budgets,
    /// Bytes that the other end has taken and that are not yet worth a frame.
    taken: u64,
    /// Milliseconds that have passed and are not yet worth one.
    waited: u64,
}

impl Budget {
    pub(super) fn new(budgets: Budgets) -> Self {
        Self {
            budgets,
            left: budgets,
            taken: 0,
            waited: 0,
        }
    }

    /// The other end has taken so many bytes.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.taken += bytes;
        let worth = self.taken / SENT_PER_FRAME;
        self.taken %= SENT_PER_FRAME;
        self.refill(u32::try_from(worth).unwrap_or(u32::MAX));
    }

    /// So much time has passed.
    pub(super) fn waited(&mut self, millis: u64) {
        self.waited += millis;
        let worth = self.waited / MILLIS_PER_FRAME;
        self.waited %= MILLIS_PER_FRAME;
        self.refill(u32::try_from(worth).unwrap_or(u32::MAX));
    }

    /// Takes a frame's price.
    pub(super) fn pay(&mut self, kind: FrameKind, head: Head) -> Result<(), Failure> {
        let left = &mut self.left;
        match kind {
            FrameKind::Headers => self.refill(PER_REQUEST),
            FrameKind::Data => {
                if head.len > 0 {
                    left.empty = self.budgets.empty;
                }
                if head.len >= DATA_WORTH {
                    self.refill(1);
                }
            }
            FrameKind::EmptyData => {
                left.empty = left.empty.checked_sub(1).ok_or(EMPTY)?;
            }
            FrameKind::Priority
            | FrameKind::Reset
            | FrameKind::Settings
            | FrameKind::Ping
            | FrameKind::WindowUpdate
            | FrameKind::Unknown => {
                left.control = left.control.checked_sub(1).ok_or(CONTROL)?;
            }
            FrameKind::Push | FrameKind::GoAway | FrameKind::Continuation => {}
        }
        Ok(())
    }

    fn refill(&mut self, frames: u32) {
        let control = self.left.control.saturating_add(frames);
        self.left.control = control.min(self.budgets.control);
    }
}

const CONTROL: Failure = Failure {
    reason: Reason::ENHANCE_YOUR_CALM,
    text: "too many frames that carry nothing",
    cause: Cause::Control,
};
const EMPTY: Failure = Failure {
    text: "too many DATA frames without a byte",
    cause: Cause::Empty,
    ..CONTROL
};
