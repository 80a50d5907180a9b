//! Hosts by metadata: by which keys, and who is asked where there are none.

use super::cluster::metadata;
use crate::native::wire::{
    Cx, FallbackWord, Filled, NonEmpty, SelectorFallbackWord, SelectorItem, SelectorRecord,
    SubsetsRecord,
};
use crate::{Fallback, Selector, SelectorFallback, Subsets};

pub(super) fn subsets(record: SubsetsRecord, cx: &mut Cx) -> Subsets {
    let at = record.at;
    let mut selectors: Vec<Selector> = Vec::new();
    for (n, item) in record.selectors.0.into_iter().enumerate() {
        let at = format!("{at}.selectors[{n}]");
        let selector = selector(item, &at, cx);
        if selectors.iter().any(|other| other.keys == selector.keys) {
            cx.problem(&at, "another selector has these keys");
        }
        selectors.push(selector);
    }
    let subsets = Subsets {
        selectors,
        fallback: match record.fallback {
            FallbackWord::None => Fallback::None,
            FallbackWord::Any => Fallback::Any,
            FallbackWord::Default => Fallback::Default,
        },
        default: record.default.map(metadata).unwrap_or_default(),
    };
    match (subsets.falls_to_default(), subsets.default.is_empty()) {
        (true, true) => cx.problem(
            &at,
            "write the hosts' metadata in `default`, or another `fallback`",
        ),
        (false, false) => {
            cx.problem(&at, "leave `default` out, or write `fallback: default`");
        }
        (true, false) | (false, true) => {}
    }
    subsets
}

fn selector(item: SelectorItem, at: &str, cx: &mut Cx) -> Selector {
    let record = match item {
        SelectorItem::Keys(keys) => {
            return Selector {
                keys: sorted(keys),
                fallback: SelectorFallback::Cluster,
            };
        }
        SelectorItem::Record(record) => *record,
    };
    let SelectorRecord {
        by,
        fallback,
        fallback_keys_subset: fewer,
        ..
    } = record;
    let (keys, fewer) = (sorted(by), fewer.map(sorted));
    let by_fewer = fallback == Some(SelectorFallbackWord::KeysSubset);
    let fit = fewer
        .as_ref()
        .is_none_or(|fewer| fewer.len() < keys.len() && fewer.iter().all(|key| keys.contains(key)));
    if by_fewer != fewer.is_some() {
        let message = if by_fewer {
            "write some of the keys in `fallback_keys_subset`, or another `fallback`"
        } else {
            "leave `fallback_keys_subset` out, or write `fallback: keys_subset`"
        };
        cx.problem(at, message);
    } else if !fit {
        let at = format!("{at}.fallback_keys_subset");
        cx.problem(&at, "write some of the keys in `by`, and not all of them");
    }
    let fallback = match fallback {
        None => SelectorFallback::Cluster,
        Some(SelectorFallbackWord::None) => SelectorFallback::Own(Fallback::None),
        Some(SelectorFallbackWord::Any) => SelectorFallback::Own(Fallback::Any),
        Some(SelectorFallbackWord::Default) => SelectorFallback::Own(Fallback::Default),
        Some(SelectorFallbackWord::KeysSubset) => SelectorFallback::Keys(fewer.unwrap_or_default()),
    };
    Selector { keys, fallback }
}

fn sorted(keys: NonEmpty<Filled>) -> Vec<String> {
    let mut keys: Vec<String> = keys.0.into_iter().map(|key| key.0).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
