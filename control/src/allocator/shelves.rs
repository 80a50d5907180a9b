//! The blocks that a thread freed last, by class of size: the next one who asks for that class gets the last of them.
//!
//! mimalloc hands out the blocks of a page in turn: one that is freed comes back only when all others of its page have been used. A
//! core's request allocates some twenty blocks for a moment, which so wander through a page (64 KiB) for each size, and find each block
//! gone from the caches. The block that was freed last is in them. bench/README.md has the figures.
//!
//! The classes are mimalloc's own: a block is not larger for being of a class. What a thread keeps is bounded by class, in number and in
//! bytes. A block may be freed on another thread than it was made on, and then serves there. What lies on a thread's shelves when it
//! ends is given back.

use std::cell::Cell;
use std::ptr::NonNull;

use libmimalloc_sys as mi;

/// Blocks up to that size are kept. The largest for which mimalloc has pages of several.
const SIZE_MAX: usize = 128 << 10;
const CLASSES: usize = 48;
/// So much of a class is kept at most: twenty of the futures of requests, which are the largest of what each makes for itself. All
/// classes together may so come to 5 MiB a thread, and to a few hundred KiB in practice.
const KEPT_BYTES: usize = 128 << 10;
/// And so many blocks: what a turn of a busy core frees, and then allocates again.
const KEPT_MAX: usize = 256;
/// Buffers of large bodies, one of each direction.
const KEPT_MIN: usize = 2;

/// The class of blocks for that size: of sixteen bytes up to 128, of a quarter of a power of two above. None for what is larger, and
/// for nothing.
#[inline]
pub(super) fn class(size: usize) -> Option<usize> {
    let last = size.wrapping_sub(1);
    if last < 128 {
        Some(last >> 4)
    } else if last < SIZE_MAX {
        let log = last.ilog2() as usize;
        Some((log - 5) << 2 | (last >> (log - 2) & 3))
    } else {
        None
    }
}

/// How large the blocks of a class are.
#[inline]
pub(super) const fn size_of_class(class: usize) -> usize {
    match class < 8 {
        true => (class + 1) << 4,
        false => ((class & 3) + 5) << ((class >> 2) + 3),
    }
}

/// How many blocks of a class are kept.
const fn kept(class: usize) -> u32 {
    let fit = KEPT_BYTES / size_of_class(class);
    (if fit > KEPT_MAX {
        KEPT_MAX
    } else if fit < KEPT_MIN {
        KEPT_MIN
    } else {
        fit
    }) as u32
}

/// One class's blocks: each begins with the address of the next.
struct Shelf {
    top: Cell<Option<NonNull<u8>>>,
    /// How many more there may be. None before the shelves are open, and after they are closed.
    room: Cell<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    New,
    Open,
    Closed,
}

/// A thread's shelves.
pub(super) struct Shelves {
    shelves: [Shelf; CLASSES],
    state: Cell<State>,
}

thread_local! {
    /// Without a destructor, so that reaching it costs nothing: [`CLOSING`] has that.
    pub(super) static SHELVES: Shelves = const { Shelves::new() };
    static CLOSING: Closing = const { Closing };
}

/// Closes its thread's shelves when the thread ends.
struct Closing;

impl Drop for Closing {
    fn drop(&mut self) {
        SHELVES.with(Shelves::close);
    }
}

#[expect(
    unsafe_code,
    reason = "blocks are raw memory, chained through themselves"
)]
impl Shelves {
    const fn new() -> Self {
        Self {
            shelves: [const {
                Shelf {
                    top: Cell::new(None),
                    room: Cell::new(0),
                }
            }; CLASSES],
            state: Cell::new(State::New),
        }
    }

    /// The block of that class that was freed last, if one is here.
    #[inline]
    pub(super) fn take(&self, class: usize) -> Option<NonNull<u8>> {
        let shelf = self.shelves.get(class)?;
        let block = shelf.top.get()?;
        // SAFETY: who put it there gave it up, and `put` wrote this.
        shelf.top.set(unsafe { block.cast().read() });
        shelf.room.set(shelf.room.get() + 1);
        Some(block)
    }

    /// Keeps a block, or gives it back.
    ///
    /// # Safety
    ///
    /// It is a block of mimalloc's of at least the class's size, and nobody uses it any more.
    #[inline]
    pub(super) unsafe fn put(&self, class: usize, block: *mut u8) {
        if let Some(shelf) = self.shelves.get(class)
            && let Some(room) = shelf.room.get().checked_sub(1)
        {
            // SAFETY: the block is the caller's to give, and the smallest class has room for an address.
            unsafe { block.cast::<Option<NonNull<u8>>>().write(shelf.top.get()) };
            shelf.top.set(NonNull::new(block));
            shelf.room.set(room);
        } else {
            // SAFETY: the caller's.
            unsafe { self.put_aside(class, block) };
        }
    }

    /// What there is no room for; a thread's first block opens its shelves.
    ///
    /// # Safety
    ///
    /// As for [`Self::put`].
    #[cold]
    unsafe fn put_aside(&self, class: usize, block: *mut u8) {
        if self.state.get() == State::New {
            self.open();
            // It fails in a thread that is ending, which then frees without keeping.
            if CLOSING.try_with(|_| ()).is_err() {
                self.close();
            }
            // SAFETY: the caller's; it does not come here again but to give it back.
            unsafe { self.put(class, block) };
        } else {
            // SAFETY: the caller's.
            unsafe { mi::mi_free(block.cast()) };
        }
    }

    fn open(&self) {
        self.state.set(State::Open);
        for (class, shelf) in self.shelves.iter().enumerate() {
            shelf.room.set(kept(class));
        }
    }

    /// Gives everything back, and keeps nothing from now on.
    fn close(&self) {
        self.state.set(State::Closed);
        for (class, shelf) in self.shelves.iter().enumerate() {
            while let Some(block) = self.take(class) {
                // SAFETY: a block of mimalloc's that nobody else has.
                unsafe { mi::mi_free(block.as_ptr().cast()) };
            }
            shelf.room.set(0);
        }
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "what is tested is raw memory")]
mod tests {
    use super::*;

    unsafe extern "C" {
        /// How large a block for that size is.
        safe fn mi_good_size(size: usize) -> usize;
    }

    fn made(class: usize) -> *mut u8 {
        // SAFETY: any size may be asked for.
        unsafe { mi::mi_malloc(size_of_class(class)).cast() }
    }

    /// How many blocks lie on a shelf.
    fn count(shelves: &Shelves, class: usize) -> usize {
        let mut next = shelves.shelves[class].top.get();
        let mut count = 0;
        while let Some(block) = next {
            count += 1;
            // SAFETY: `put` wrote it.
            next = unsafe { block.cast().read() };
        }
        count
    }

    #[test]
    fn a_class_is_of_the_smallest_blocks_that_fit() {
        assert_eq!((class(0), class(SIZE_MAX + 1)), (None, None));
        assert_eq!((class(1), class(SIZE_MAX)), (Some(0), Some(CLASSES - 1)));
        for size in 1..=SIZE_MAX {
            let class = class(size).unwrap();
            let fits = size_of_class(class);
            assert!(fits >= size && fits.is_multiple_of(16), "{size}: {fits}");
            assert!(
                class == 0 || size_of_class(class - 1) < size,
                "{size}: {fits}"
            );
        }
    }

    #[test]
    fn a_class_is_no_larger_than_what_mimalloc_gives_for_its_sizes() {
        for size in 1..=SIZE_MAX {
            let good = mi_good_size(size).next_multiple_of(16);
            assert!(
                size_of_class(class(size).unwrap()) <= good,
                "{size}: {good}"
            );
        }
    }

    #[test]
    fn the_last_block_comes_first() {
        let shelves = Shelves::new();
        shelves.open();
        let blocks = [made(3), made(3), made(3)];
        // SAFETY: they are mimalloc's, of that class, and put once.
        blocks
            .iter()
            .for_each(|block| unsafe { shelves.put(3, *block) });
        assert!(shelves.take(2).is_none() && shelves.take(4).is_none());
        for block in blocks.iter().rev() {
            assert_eq!(shelves.take(3), NonNull::new(*block));
        }
        assert!(shelves.take(3).is_none());
        // SAFETY: as above; they were taken.
        blocks
            .iter()
            .for_each(|block| unsafe { shelves.put(3, *block) });
        shelves.close();
    }

    #[test]
    fn a_shelf_is_bounded_in_number_and_bytes_and_empty_once_closed() {
        let shelves = Shelves::new();
        shelves.open();
        let mut bytes = 0;
        for class in 0..CLASSES {
            // SAFETY: each is mimalloc's, of that class, and put once.
            (0..2 * KEPT_MAX).for_each(|_| unsafe { shelves.put(class, made(class)) });
            let kept = count(&shelves, class);
            assert!((KEPT_MIN..=KEPT_MAX).contains(&kept));
            assert!(kept == KEPT_MIN || kept * size_of_class(class) <= KEPT_BYTES);
            bytes += kept * size_of_class(class);
        }
        assert!(bytes < 5 << 20, "{bytes}");
        shelves.close();
        for class in 0..CLASSES {
            // SAFETY: as above.
            unsafe { shelves.put(class, made(class)) };
            assert_eq!(count(&shelves, class), 0);
        }
    }

    #[test]
    fn a_block_may_be_freed_on_another_thread_which_gives_back_what_it_keeps_when_it_ends() {
        let blocks: Vec<usize> = (0..10 * KEPT_MAX)
            .map(|_| made(5).expose_provenance())
            .collect();
        let other = std::thread::spawn(move || {
            for block in blocks {
                let block = std::ptr::with_exposed_provenance_mut(block);
                // SAFETY: each is mimalloc's, of that class, and put once.
                SHELVES.with(|shelves| unsafe { shelves.put(5, block) });
            }
            SHELVES.with(|shelves| (shelves.state.get(), count(shelves, 5)))
        });
        let (state, count) = other.join().unwrap();
        assert_eq!((state, count), (State::Open, kept(5) as usize));
        let ended = std::thread::spawn(|| {
            thread_local! { static LAST: Last = const { Last }; }
            struct Last;
            impl Drop for Last {
                fn drop(&mut self) {
                    // SAFETY: it is mimalloc's, of that class, and put once.
                    SHELVES.with(|shelves| unsafe { shelves.put(6, made(6)) });
                }
            }
            LAST.with(|_| ());
            // SAFETY: as above.
            SHELVES.with(|shelves| unsafe { shelves.put(6, made(6)) });
        });
        ended.join().unwrap();
    }
}
