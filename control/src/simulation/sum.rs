//! What happened in a run, counted.

use std::ops::AddAssign;

/// Declares the counts, and that they add up.
macro_rules! counts {
    ($($name:ident),* $(,)?) => {
        /// What happened, counted.
        #[derive(Debug, Default)]
        pub(super) struct Sum {
            $(pub(super) $name: u64,)*
        }

        impl AddAssign for Sum {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }

        impl Sum {
            /// Whether there was some of everything.
            pub(super) fn has_everything(&self) -> bool {
                true $(&& self.$name > 0)*
            }
        }
    };
}

counts! {
    requests,
    tries,
    further,
    ejected,
    spared,
    marked,
    full,
    nobody,
    in_panic,
    waited,
    moved,
    gave_up,
    stuck,
    slow,
}
