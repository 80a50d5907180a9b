//! The root of a task: a panic ends the task and not the core (settled question 16).

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future on the heap, made there: by `Box::pin` it would be made on the stack and all of it copied, most of it not yet written to.
/// That takes that `make` and what it calls are inlined.
#[inline(always)]
pub(super) fn boxed<F>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::into_pin(Box::write(Box::new_uninit(), make()))
}

/// What a task's root keeps beside it, dropped after it.
pub(super) trait Keeper {
    /// The task panicked.
    fn panicked(&self);
}

/// What `work` gives, or nothing if it panics.
pub(super) fn guarded<T>(keeper: &impl Keeper, work: impl FnOnce() -> Option<T>) -> Option<T> {
    // What a panic leaves half done is dropped with `work`.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_panic| {
        keeper.panicked();
        None
    })
}

/// A task and its keeper.
pub(super) struct Root<F, K> {
    task: F,
    keeper: K,
}

impl<F, K> Root<F, K> {
    pub(super) fn new(task: F, keeper: K) -> Self {
        Self { task, keeper }
    }
}

impl<F: Future<Output = ()>, K: Keeper> Future for Root<F, K> {
    type Output = ();

    #[expect(unsafe_code, reason = "pinning a field")]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: `task` is never moved out of its pinned owner, which has no `Drop` of its own; `keeper` is not pinned.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above.
        let task = unsafe { Pin::new_unchecked(&mut this.task) };
        // What a panic leaves half done belongs to this task, which is dropped next.
        guarded(&this.keeper, || Some(task.poll(cx))).unwrap_or(Poll::Ready(()))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[derive(Default)]
    struct Counted(Cell<u32>);

    impl Keeper for Counted {
        fn panicked(&self) {
            self.0.set(self.0.get() + 1);
        }
    }

    #[test]
    fn a_panic_gives_nothing_and_is_told() {
        let keeper = Counted::default();
        assert_eq!(guarded(&keeper, || Some(7)), Some(7));
        assert_eq!(guarded(&keeper, || None::<u32>), None);
        assert_eq!(keeper.0.get(), 0);
        assert_eq!(
            guarded(&keeper, || -> Option<u32> { panic!("as the test wants") }),
            None
        );
        assert_eq!(keeper.0.get(), 1);
    }
}
