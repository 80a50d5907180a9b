//! How much a connection lets its other end send before we have passed it on: little at first, and more where the path needs it.
//!
//! A sender that may have one window in flight moves one window in each round trip. So a PING is sent once a window's worth has
//! come, and what comes before it is answered is what the path holds. If that is most of a window, the window was the limit, and is
//! doubled. A slow reader never makes it grow: what is not passed on does not come.

use std::cell::Cell;

use ringway_config::ByteSize;

/// Stretches between two looks double up to so many windows while nothing is found.
const STRETCH_MAX: u32 = 64;
/// RFC 9113 §6.9.1.
const LARGEST: u32 = (1 << 31) - 1;

/// What a connection measures of itself.
pub(crate) struct Window {
    /// Of a stream.
    size: Cell<u32>,
    max: u32,
    /// Of the whole connection, at most.
    connection_max: u32,
    streams: u32,
    /// Bytes since the last look, or since it began.
    bytes: Cell<u64>,
    /// A look is wanted, or under way.
    looking: Cell<Look>,
    /// How many windows' worth to let pass before the next.
    stretch: Cell<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    No,
    Wanted,
    UnderWay,
}

impl Window {
    /// Windows of streams that begin with `first` and grow to `max`, of so many streams, which together have `all` at most.
    pub(crate) fn new(first: ByteSize, max: ByteSize, all: ByteSize, streams: u32) -> Self {
        let size = |bytes: ByteSize| u32::try_from(bytes.0).unwrap_or(LARGEST).min(LARGEST);
        Self {
            size: Cell::new(size(first)),
            max: size(max),
            connection_max: size(all),
            streams,
            bytes: Cell::new(0),
            looking: Cell::new(Look::No),
            stretch: Cell::new(1),
        }
    }

    /// Of a stream.
    pub(crate) fn stream(&self) -> u32 {
        self.size.get()
    }

    /// Of the connection: no stream takes another's share, as long as that is within the limit.
    pub(crate) fn connection(&self) -> u32 {
        let all = self.size.get().saturating_mul(self.streams);
        all.min(self.connection_max).max(self.size.get())
    }

    /// Bytes have come. Says whether it is time to look.
    pub(crate) fn received(&self, bytes: usize) -> bool {
        self.bytes.set(self.bytes.get() + bytes as u64);
        let worth = u64::from(self.size.get()) * u64::from(self.stretch.get());
        if self.looking.get() != Look::No || self.size.get() >= self.max || self.bytes.get() < worth
        {
            return false;
        }
        self.looking.set(Look::Wanted);
        true
    }

    /// Whether a PING is to be sent; if so, the look begins.
    pub(crate) fn begin(&self) -> bool {
        let wanted = self.looking.get() == Look::Wanted;
        if wanted {
            self.looking.set(Look::UnderWay);
            self.bytes.set(0);
        }
        wanted
    }

    /// Whether a look is under way.
    pub(crate) fn is_measuring(&self) -> bool {
        self.looking.get() == Look::UnderWay
    }

    /// The PING was answered. Says whether the windows have grown.
    pub(crate) fn end(&self) -> bool {
        if self.looking.get() != Look::UnderWay {
            return false;
        }
        self.looking.set(Look::No);
        let size = self.size.get();
        let full = self.bytes.replace(0) >= u64::from(size) * 2 / 3;
        if full {
            self.size.set(size.saturating_mul(2).min(self.max));
            self.stretch.set(1);
        } else {
            self.stretch.set((self.stretch.get() * 2).min(STRETCH_MAX));
        }
        full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(max: u64) -> Window {
        Window::new(ByteSize(100), ByteSize(max), ByteSize(1000), 5)
    }

    #[test]
    fn a_path_that_holds_most_of_a_window_gets_a_larger_one() {
        let window = window(300);
        assert!(!window.received(99));
        assert!(window.received(1));
        assert!(!window.received(50), "one look at a time");
        assert!(window.begin() && !window.begin());
        assert!(!window.received(80));
        assert!(window.end());
        assert_eq!((window.stream(), window.connection()), (200, 1000));
        assert!(window.received(200) && window.begin());
        window.received(200);
        assert!(window.end());
        assert_eq!(window.stream(), 300, "the limit holds");
        assert!(!window.received(100_000), "and is looked at no more");
    }

    #[test]
    fn a_path_that_does_not_is_looked_at_less_and_less() {
        let window = window(300);
        for stretch in [1, 2, 4] {
            assert!(!window.received(100 * stretch - 1));
            assert!(window.received(1));
            assert!(window.begin());
            window.received(10);
            assert!(!window.end());
        }
        assert_eq!((window.stream(), window.connection()), (100, 500));
    }
}
