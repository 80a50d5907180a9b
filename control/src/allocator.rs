//! The allocator of the binary: mimalloc, with the blocks that were freed last in front of it ([`shelves`]), and asked for an alignment only
//! where it would not give it anyway.
//!
//! The `mimalloc` crate's own asks each time. For sizes above 1 KiB that are no powers of two mimalloc then allocates more than
//! is asked for and aligns within, on a slow path, and frees on a slow path whatever lies in the same page: futures and
//! buffers of requests are mostly such.

mod shelves;

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys as mi;
use shelves::{SHELVES, class, size_of_class};

/// What every block of at least that size is aligned to (`MI_MAX_ALIGN_SIZE`).
const NATURAL: usize = 16;

pub(crate) struct Mimalloc;

/// The class of blocks that serve this; none: it is mimalloc's alone.
#[inline]
fn class_of(layout: &Layout) -> Option<usize> {
    match layout.align() <= NATURAL {
        true => class(layout.size()),
        false => None,
    }
}

#[expect(unsafe_code, reason = "an allocator is handed raw memory")]
// SAFETY: each method hands its caller's promises on to mimalloc, which keeps those of `GlobalAlloc`: blocks of the size asked
// for, aligned as `NATURAL` and the `_aligned` functions say, null where there is none, and no unwinding. Blocks of both kinds are
// freed and resized by the same functions. A layout that has a class is always given a block of the class's size, so that whoever
// has a layout of the same class may have the block after it; classes are multiples of `NATURAL`, and so is their alignment.
unsafe impl GlobalAlloc for Mimalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: see the impl.
        unsafe {
            let Some(class) = class_of(&layout) else {
                return mi::mi_malloc_aligned(layout.size(), layout.align()).cast();
            };
            match SHELVES.with(|shelves| shelves.take(class)) {
                Some(block) => block.as_ptr(),
                None => mi::mi_malloc(size_of_class(class)).cast(),
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: see the impl; a block of the class has room for the layout's size.
        unsafe {
            let Some(class) = class_of(&layout) else {
                return mi::mi_zalloc_aligned(layout.size(), layout.align()).cast();
            };
            match SHELVES.with(|shelves| shelves.take(class)) {
                Some(block) => {
                    block.write_bytes(0, layout.size());
                    block.as_ptr()
                }
                None => mi::mi_zalloc(size_of_class(class)).cast(),
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: see the impl; the block is its caller's last word on it.
        unsafe {
            match class_of(&layout) {
                Some(class) => SHELVES.with(|shelves| shelves.put(class, block)),
                None => mi::mi_free(block.cast()),
            }
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: see the impl; the caller says that the new size with the old alignment is a layout, and both blocks have room for the
        // smaller of the two sizes.
        unsafe {
            let new = Layout::from_size_align_unchecked(size, layout.align());
            match (class_of(&layout), class_of(&new)) {
                (Some(old), Some(new)) if old == new => block,
                (Some(_), Some(_)) => {
                    let moved = self.alloc(new);
                    if !moved.is_null() {
                        moved.copy_from_nonoverlapping(block, size.min(layout.size()));
                        self.dealloc(block, layout);
                    }
                    moved
                }
                (None, Some(new)) => mi::mi_realloc(block.cast(), size_of_class(new)).cast(),
                (_, None) => mi::mi_realloc_aligned(block.cast(), size, layout.align()).cast(),
            }
        }
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "what is tested is an allocator")]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn blocks_are_aligned_as_asked_and_keep_their_bytes_when_resized() {
        for align in [1, 2, 4, 8, 16, 32, 64, 128, 4096] {
            for size in (1..200).chain((200..300_000).step_by(397)) {
                for other in [size + align, size * 3, size / 2 + 1, size] {
                    // SAFETY: no size is zero; the blocks are written and read within their sizes and freed once.
                    unsafe {
                        let block = Mimalloc.alloc(layout(size, align));
                        assert!(!block.is_null() && block.addr().is_multiple_of(align));
                        block.write_bytes(7, size);
                        let moved = Mimalloc.realloc(block, layout(size, align), other);
                        assert!(!moved.is_null() && moved.addr().is_multiple_of(align));
                        assert_eq!((*moved, *moved.add(size.min(other) - 1)), (7, 7));
                        moved.write_bytes(8, other);
                        Mimalloc.dealloc(moved, layout(other, align));
                    }
                }
            }
        }
    }

    #[test]
    fn blocks_in_use_never_overlap() {
        let sizes = || (1..3000).chain((3000..200_000).step_by(1777));
        for round in 0..3_usize {
            let mut blocks = Vec::new();
            for (at, size) in sizes().enumerate() {
                // SAFETY: the size is not zero.
                let block = unsafe { Mimalloc.alloc(layout(size, 8)) };
                // SAFETY: the block has that size.
                unsafe { block.write_bytes((at + round) as u8, size) };
                blocks.push((block, size));
            }
            for (at, (block, size)) in blocks.into_iter().enumerate() {
                // SAFETY: the block has that size and is freed once.
                unsafe {
                    let bytes = std::slice::from_raw_parts(block, size);
                    assert!(bytes.iter().all(|byte| *byte == (at + round) as u8));
                    Mimalloc.dealloc(block, layout(size, 8));
                }
            }
        }
    }

    #[test]
    fn what_is_to_be_zero_is_zero_also_when_it_was_used_before() {
        for size in (1..400).chain((400..200_000).step_by(997)) {
            // SAFETY: the size is not zero; the blocks are written and read within it and freed once.
            unsafe {
                let used = Mimalloc.alloc(layout(size, 8));
                used.write_bytes(7, size);
                Mimalloc.dealloc(used, layout(size, 8));
                let block = Mimalloc.alloc_zeroed(layout(size, 8));
                let bytes = std::slice::from_raw_parts(block, size);
                assert!(bytes.iter().all(|byte| *byte == 0));
                Mimalloc.dealloc(block, layout(size, 8));
            }
        }
    }
}
