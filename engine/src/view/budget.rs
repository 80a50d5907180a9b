//! Bytes that messages take on a core which have to be whole before anything is done with them: calls in flight, and bodies of which a
//! filter makes calls. Where there is no more of it, one more is refused.

use std::cell::Cell;

/// What is taken of it.
#[derive(Debug, Default)]
pub(crate) struct Budget(Cell<u64>);

impl Budget {
    /// Takes so many bytes; whether there were as many.
    pub(crate) fn take(&self, bytes: u64, limit: u64) -> bool {
        let taken = self.0.get().saturating_add(bytes);
        let fits = taken <= limit;
        if fits {
            self.0.set(taken);
        }
        fits
    }

    /// Gives some back.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.0.set(self.0.get().saturating_sub(bytes));
    }
}

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held<'b> {
    budget: &'b Budget,
    bytes: u64,
}

impl<'b> Held<'b> {
    /// Nothing yet.
    pub(crate) fn new(budget: &'b Budget) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Takes so many bytes more; whether there were as many.
    pub(crate) fn grow(&mut self, bytes: u64, limit: u64) -> bool {
        let fits = self.budget.take(bytes, limit);
        if fits {
            self.bytes += bytes;
        }
        fits
    }

    /// What was made of what it stood for has so many bytes: that is taken, whether there are as many or not.
    pub(crate) fn become_of(&mut self, bytes: u64) {
        self.budget.give_back(self.bytes);
        let _there_is_no_limit = self.budget.take(bytes, u64::MAX);
        self.bytes = bytes;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_back() {
        let budget = Budget::default();
        {
            let (mut one, mut two) = (Held::new(&budget), Held::new(&budget));
            assert!(one.grow(6, 10) && one.grow(2, 10));
            assert!(!two.grow(3, 10));
            assert!(two.grow(2, 10));
            one.become_of(20);
            assert_eq!(budget.0.get(), 22);
            assert!(!two.grow(1, 10));
        }
        assert_eq!(budget.0.get(), 0);
    }
}
