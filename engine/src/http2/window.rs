//! How much a connection lets its other end send before we have passed it on: little at first, more where the path needs it, and less
//! again where others come to share it.
//!
//! A sender that may have one window in flight moves one window in each round trip. So a PING is sent once some of a window has
//! been passed on, and what comes before it is answered is what the path holds. If that is a good part of a window, the window was the
//! limit, and is doubled; if it is half of one, that is done twice. A slow reader never makes it grow: what is not passed on does not come.
//!
//! Streams have windows of one size (RFC 9113 §6.5.2), and what nobody reads fills its stream's, for as long as the stream lasts. So that
//! those which are stuck never fill the connection's, the size is bounded by the number of streams that are open, at the moment that
//! one more is: the first can have taken half of the connection's, the k-th a sixteenth of it divided by k-1 or the least that there
//! is for each, and all of those together are less than all.
//!
//! A size that shrinks takes from what each stream has left, which may be less than nothing then (§6.9.2). The codec gives room back when
//! data are taken off a stream and half of what is left has come together; of one whose data have all been taken before it shrank, it never
//! would, and its sender would wait for ever. So streams that have brought much are known here, and asked anew when the other end has taken
//! a smaller size.

use std::cell::{Cell, RefCell};

use h2::{FlowControl, RecvStream, StreamId};
use ringway_config::ByteSize;

/// Stretches between two looks double up to so many windows while nothing is found.
const STRETCH_MAX: u32 = 64;
/// RFC 9113 §6.9.1.
const LARGEST: u32 = (1 << 31) - 1;
/// What part of a window shows that it was the limit. The answer to a PING overtakes what a sender has in line: of one that fills its
/// window all the time not all of it is seen.
const FULL: u64 = 3;
/// What part of a window is passed on before the next look, where the last one found something: looks that follow each other closely
/// are not out of step with a sender that fills its window in bursts.
const SOON: u64 = 4;
/// What part of the connection's window the other streams' windows may be, one for each.
const SHARE: u32 = 16;
/// No window is smaller than a frame of the default size.
const LEAST: u32 = 16 << 10;

/// What a connection measures of itself.
pub(crate) struct Window {
    /// Of a stream: what is wanted, and what the other end was told.
    size: Cell<u32>,
    told: Cell<u32>,
    /// It was told less than before, and has not yet said that it knows.
    shrinking: Cell<bool>,
    /// Streams that have brought more than the least window.
    streams: RefCell<Vec<(StreamId, FlowControl)>>,
    /// What it may be: of one stream alone, and of each of the most that there can be.
    max: u32,
    least: u32,
    /// Of the whole connection, at most, and now.
    connection_max: u32,
    connection: Cell<u32>,
    allowed: u32,
    open: Cell<u32>,
    /// Bytes passed on since the last look.
    bytes: Cell<u64>,
    /// Bytes that had come when it began.
    from: Cell<u64>,
    /// A look is wanted, or under way.
    looking: Cell<Look>,
    /// How many times as much to let pass before the next.
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
        let (first, all) = (size(first), size(all));
        let quarter = all / 4 / streams.max(1);
        Self {
            size: Cell::new(first),
            told: Cell::new(first),
            shrinking: Cell::new(false),
            streams: RefCell::default(),
            max: size(max).min(all / 2).max(first),
            least: quarter.max(LEAST).min(first),
            connection_max: all,
            connection: Cell::new(first.saturating_mul(streams).min(all).max(first)),
            allowed: streams,
            open: Cell::new(0),
            bytes: Cell::new(0),
            from: Cell::new(0),
            looking: Cell::new(Look::No),
            stretch: Cell::new(1),
        }
    }

    /// Of a stream.
    pub(crate) fn stream(&self) -> u32 {
        self.size.get()
    }

    /// Of the connection. It does not shrink.
    pub(crate) fn connection(&self) -> u32 {
        self.connection.get()
    }

    /// Has the other end told what a stream's is, if it has changed, by who can: says whether it was.
    pub(crate) fn tell(&self, say: impl FnOnce(u32) -> bool) -> bool {
        let (size, before) = (self.size.get(), self.told.get());
        if size == before && !self.shrinking.get() {
            return false;
        }
        // Refused while SETTINGS of ours are under way: whoever drives the connection comes back when they are answered. Of a size that
        // shrank that is how it shows, and so the same is said once more.
        let told = say(size);
        if told {
            if self.shrinking.replace(size < before) {
                self.open_again();
            }
            self.told.set(size);
        }
        told
    }

    fn open_again(&self) {
        for (_, flow) in &mut *self.streams.borrow_mut() {
            // It fails only where more is given back than was taken.
            let _given_back = flow.release_capacity(0);
        }
    }

    /// Whether a stream that has brought so much has to be known.
    pub(crate) fn is_much(bytes: u64) -> bool {
        bytes >= u64::from(LEAST)
    }

    /// Knows a stream from now on, until it is forgotten.
    pub(crate) fn know(&self, stream: &mut RecvStream) -> StreamId {
        let flow = stream.flow_control();
        let id = flow.stream_id();
        self.streams.borrow_mut().push((id, flow.clone()));
        id
    }

    /// To be called before the stream is dropped: nothing tells the codec of its end as long as it is known here.
    pub(crate) fn forget(&self, stream: StreamId) {
        let mut streams = self.streams.borrow_mut();
        if let Some(at) = streams.iter().position(|(own, _)| *own == stream) {
            streams.swap_remove(at);
        }
    }

    /// A stream begins. Says whether windows have to shrink for it.
    pub(crate) fn enter(&self) -> bool {
        self.open.set(self.open.get() + 1);
        let shrinks = self.size.get() > self.limit();
        if shrinks {
            self.size.set(self.limit());
        }
        shrinks
    }

    /// A stream has ended. What its window was comes back when it is needed.
    pub(crate) fn leave(&self) {
        self.open.set(self.open.get().saturating_sub(1));
    }

    /// How large a stream's may be, with so many as are open: in steps, so that not each stream makes for a change.
    fn limit(&self) -> u32 {
        let share = match self.open.get() {
            0 | 1 => return self.max,
            open => self.connection_max / SHARE / (open - 1),
        };
        let step = share.checked_ilog2().map_or(0, |bits| 1 << bits);
        step.clamp(self.least.min(self.max), self.max)
    }

    /// Bytes have been passed on, or are about to. Says whether it is time to look.
    pub(crate) fn received(&self, bytes: usize) -> bool {
        self.bytes.set(self.bytes.get() + bytes as u64);
        let worth = u64::from(self.size.get()) / SOON * u64::from(self.stretch.get());
        if self.looking.get() != Look::No
            || self.bytes.get() < worth
            || self.size.get() >= self.limit()
        {
            return false;
        }
        self.looking.set(Look::Wanted);
        true
    }

    /// Whether a PING is to be sent; if so, the look begins. `came`: bytes on the connection, ever.
    pub(crate) fn begin(&self, came: u64) -> bool {
        let wanted = self.looking.get() == Look::Wanted;
        if wanted {
            self.looking.set(Look::UnderWay);
            self.from.set(came);
        }
        wanted
    }

    /// The PING was answered, when so many bytes had come. Says whether the windows have grown.
    pub(crate) fn end(&self, came: u64) -> bool {
        if self.looking.get() != Look::UnderWay {
            return false;
        }
        self.looking.set(Look::No);
        let (size, limit) = (self.size.get(), self.limit());
        self.bytes.set(0);
        let growth = match came.saturating_sub(self.from.get()) {
            seen if seen < u64::from(size) / FULL => {
                self.stretch.set((self.stretch.get() * 2).min(STRETCH_MAX));
                return false;
            }
            seen if seen < u64::from(size) / 2 => 2,
            // A path that holds many windows is not climbed in as many steps: each takes two round trips.
            _ => 4,
        };
        self.stretch.set(1);
        self.size
            .set(size.saturating_mul(growth).min(limit).max(size));
        let all = self.size.get().saturating_mul(self.allowed);
        let all = all.min(self.connection_max).max(self.size.get());
        self.connection.set(all.max(self.connection.get()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(max: u64) -> Window {
        Window::new(ByteSize(100), ByteSize(max), ByteSize(2000), 5)
    }

    #[test]
    fn a_path_that_holds_most_of_a_window_gets_a_larger_one() {
        let window = window(900);
        assert!(!window.received(24));
        assert!(window.received(1));
        assert!(!window.received(50), "one look at a time");
        assert!(window.begin(1000) && !window.begin(1000));
        assert!(!window.received(40));
        assert!(window.end(1040));
        assert_eq!((window.stream(), window.connection()), (200, 1000));
        assert!(window.received(50) && window.begin(1100));
        assert!(window.end(1200));
        assert_eq!(window.stream(), 800, "twice, if it was half full");
        assert!(window.received(200) && window.begin(2000));
        assert!(window.end(2800));
        assert_eq!(window.stream(), 900, "the limit holds");
        assert!(!window.received(100_000), "and is looked at no more");
    }

    #[test]
    fn a_path_that_does_not_is_looked_at_less_and_less() {
        let window = window(300);
        for stretch in [1, 2, 4] {
            assert!(!window.received(25 * stretch - 1));
            assert!(window.received(1));
            assert!(window.begin(7));
            assert!(!window.end(17));
        }
        assert_eq!((window.stream(), window.connection()), (100, 500));
    }

    /// Lets the windows grow as far as they go.
    fn fill(window: &Window) {
        for _ in 0..64 {
            while !window.received(1 << 20) && window.stream() < window.limit() {}
            window.begin(0);
            window.end(1 << 30);
        }
        assert_eq!(window.stream(), window.limit());
    }

    #[test]
    fn streams_that_nobody_reads_never_fill_the_connection() {
        for (first, max, all, streams) in [
            (256 << 10, 16 << 20, 32 << 20, 128),
            (256 << 10, 16 << 20, 64 << 20, 100),
        ] {
            let window = Window::new(ByteSize(first), ByteSize(max), ByteSize(all), streams);
            // Each takes as much as it ever could, before the next comes.
            let mut taken = 0;
            for _ in 0..streams {
                window.enter();
                fill(&window);
                taken += u64::from(window.stream());
                assert!(taken < all, "{taken} of {all}");
            }
            assert!(taken > all / 2, "that much is there to be used: {taken}");
            (1..streams).for_each(|_| window.leave());
            fill(&window);
            assert_eq!(u64::from(window.stream()), max, "alone, it has it all");
        }
    }

    #[test]
    fn a_change_is_told_once_and_again_where_it_was_refused_or_shrank() {
        let window = Window::new(ByteSize(64 << 10), ByteSize(1 << 20), ByteSize(1 << 20), 5);
        assert!(!window.tell(|_| true), "the first is in the preface");
        window.enter();
        fill(&window);
        assert!(window.tell(|size| size == 512 << 10));
        assert!(window.enter());
        assert!(!window.tell(|_| false));
        assert!(window.tell(|size| size == 64 << 10));
        assert!(!window.tell(|_| false), "not yet answered");
        assert!(window.tell(|size| size == 64 << 10) && !window.tell(|_| true));
    }
}
