//! In which families names had addresses when they were last asked for: an answer that lacks one is half an answer where the name
//! servers only failed to say it.

use std::collections::HashMap;
use std::net::IpAddr;

/// Names, and in which families they had addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Had(HashMap<String, Families>);

/// Families of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Families {
    pub(crate) ipv4: bool,
    pub(crate) ipv6: bool,
}

impl Families {
    /// Those of some addresses.
    pub(crate) fn of(addresses: &[IpAddr]) -> Self {
        Self {
            ipv4: addresses.iter().any(IpAddr::is_ipv4),
            ipv6: addresses.iter().any(IpAddr::is_ipv6),
        }
    }
}

impl Had {
    /// Those of a name.
    pub(crate) fn of(&self, name: &str) -> Families {
        self.0.get(name).copied().unwrap_or_default()
    }
}

impl FromIterator<(String, Families)> for Had {
    fn from_iter<T: IntoIterator<Item = (String, Families)>>(all: T) -> Self {
        Self(all.into_iter().collect())
    }
}
