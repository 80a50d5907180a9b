//! The allocator of the binary: mimalloc, asked for an alignment only where it would not give it anyway.
//!
//! The `mimalloc` crate's own asks each time. For sizes above 1 KiB that are no powers of two mimalloc then allocates more than
//! is asked for and aligns within, on a slow path, and frees on a slow path whatever lies in the same page: futures and
//! buffers of requests are mostly such.

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys as mi;

/// What every block of at least that size is aligned to (`MI_MAX_ALIGN_SIZE`; smaller ones to their size).
const NATURAL: usize = 16;

pub(crate) struct Mimalloc;

/// Whether any block of that size is aligned as asked.
fn is_natural(layout: &Layout) -> bool {
    layout.align() <= NATURAL && layout.align() <= layout.size()
}

#[expect(unsafe_code, reason = "an allocator is handed raw memory")]
// SAFETY: each method hands its caller's promises on to mimalloc, which keeps those of `GlobalAlloc`: blocks of the size asked
// for, aligned as `is_natural` and the `_aligned` functions say, null where there is none, and no unwinding. Blocks of both kinds are
// freed and resized by the same functions.
unsafe impl GlobalAlloc for Mimalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: see the impl.
        unsafe {
            if is_natural(&layout) {
                mi::mi_malloc(layout.size()).cast()
            } else {
                mi::mi_malloc_aligned(layout.size(), layout.align()).cast()
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: see the impl.
        unsafe {
            if is_natural(&layout) {
                mi::mi_zalloc(layout.size()).cast()
            } else {
                mi::mi_zalloc_aligned(layout.size(), layout.align()).cast()
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: see the impl.
        unsafe { mi::mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: see the impl; a smaller block than its alignment is none that any block is aligned for.
        unsafe {
            if layout.align() <= NATURAL && layout.align() <= size {
                mi::mi_realloc(block.cast(), size).cast()
            } else {
                mi::mi_realloc_aligned(block.cast(), size, layout.align()).cast()
            }
        }
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "what is tested is an allocator")]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_as_asked_and_keep_their_bytes_when_resized() {
        for align in [1, 2, 4, 8, 16, 32, 64, 128, 4096] {
            for size in (1..200).chain((200..70_000).step_by(197)) {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: the layout's size is not zero; the block is written within its size and freed once.
                unsafe {
                    let block = Mimalloc.alloc(layout);
                    assert!(!block.is_null() && block.addr().is_multiple_of(align));
                    block.write_bytes(7, size);
                    let larger = Mimalloc.realloc(block, layout, size + align);
                    assert!(!larger.is_null() && larger.addr().is_multiple_of(align));
                    assert_eq!((*larger, *larger.add(size - 1)), (7, 7));
                    Mimalloc.dealloc(larger, layout);
                }
            }
        }
    }
}
