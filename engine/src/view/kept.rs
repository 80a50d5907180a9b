//! What clients of RPC protocols have a core keep for them: frames that they have sent in part, answers that they have not taken. When it
//! becomes too much, whoever has it keep the most is ended, so that none is ended for what another does.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Weak;

/// A connection that has kept no more than this is not counted: it is less than its buffers in the kernel take.
pub(crate) const SMALL: u64 = 64 << 10;

/// A connection for which something is kept.
pub(crate) trait Keeping {
    /// Ends it at once.
    fn end(&self);
}

/// How much is kept for a connection, and which it is.
type Share = (u64, Weak<dyn Keeping>);

/// What is kept, by connection.
#[derive(Default)]
pub(crate) struct Kept {
    total: Cell<u64>,
    of: RefCell<BTreeMap<u64, Share>>,
}

impl Kept {
    /// So many bytes are kept for a connection now. Ends whoever has the most while all together have more than `limit`.
    pub(crate) fn note(
        &self,
        id: u64,
        bytes: u64,
        limit: u64,
        who: impl FnOnce() -> Weak<dyn Keeping>,
    ) {
        let mut of = self.of.borrow_mut();
        let (before, _) = of.entry(id).or_insert_with(|| (0, who()));
        self.total.set(self.total.get() - *before + bytes);
        *before = bytes;
        drop(of);
        while self.total.get() > limit {
            let of = self.of.borrow();
            let most = of.iter().max_by_key(|(_, (bytes, _))| *bytes);
            let Some(id) = most.map(|(id, _)| *id) else {
                return;
            };
            drop(of);
            if let Some(who) = self.forget(id).and_then(|who| who.upgrade()) {
                who.end();
            }
        }
    }

    /// Nothing is kept for it any more.
    pub(crate) fn forget(&self, id: u64) -> Option<Weak<dyn Keeping>> {
        let (bytes, who) = self.of.borrow_mut().remove(&id)?;
        self.total.set(self.total.get() - bytes);
        Some(who)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[derive(Default)]
    struct One(Cell<bool>);

    impl Keeping for One {
        fn end(&self) {
            self.0.set(true);
        }
    }

    #[test]
    fn whoever_has_the_most_is_ended_until_the_rest_fits() {
        let kept = Kept::default();
        let all: Vec<Rc<One>> = (0..4).map(|_| Rc::default()).collect();
        let note = |id: usize, bytes| {
            let who: Weak<One> = Rc::downgrade(&all[id]);
            kept.note(id as u64, bytes, 100, || who);
        };
        let ended = || -> Vec<bool> { all.iter().map(|one| one.0.get()).collect() };
        note(0, 40);
        note(1, 50);
        note(0, 20);
        note(2, 30);
        assert_eq!((ended(), kept.total.get()), (vec![false; 4], 100));
        note(3, 10);
        assert_eq!(ended(), [false, true, false, false]);
        assert_eq!(kept.total.get(), 60);
        note(3, 90);
        assert_eq!(ended(), [false, true, false, true]);
        kept.forget(0);
        kept.forget(2);
        assert_eq!(kept.total.get(), 0);
        assert!(kept.forget(1).is_none());
    }
}
