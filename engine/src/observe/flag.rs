//! Response flags in words, as Envoy has them for `%RESPONSE_FLAGS_LONG%`.

/// Every flag that the proxy sets, and several at once where they go together.
const WORDS: [(&str, &str); 19] = [
    ("NR", "NoRouteFound"),
    ("UH", "NoHealthyUpstream"),
    ("UF", "UpstreamConnectionFailure"),
    ("UO", "UpstreamOverflow"),
    ("URX", "UpstreamRetryLimitExceeded"),
    (
        "UF,URX",
        "UpstreamConnectionFailure,UpstreamRetryLimitExceeded",
    ),
    (
        "UC,URX",
        "UpstreamConnectionTermination,UpstreamRetryLimitExceeded",
    ),
    (
        "UT,URX",
        "UpstreamRequestTimeout,UpstreamRetryLimitExceeded",
    ),
    ("UC", "UpstreamConnectionTermination"),
    ("UPE", "UpstreamProtocolError"),
    ("UT", "UpstreamRequestTimeout"),
    ("SI", "StreamIdleTimeout"),
    ("DC", "DownstreamConnectionTermination"),
    ("DPE", "DownstreamProtocolError"),
    ("DT", "DurationTimeout"),
    ("UAEX", "UnauthorizedExternalService"),
    ("DI", "DelayInjected"),
    ("FI", "FaultInjected"),
    ("DI,FI", "DelayInjected,FaultInjected"),
];

/// A flag in words. One of a filter of somebody's own is its own word.
pub(super) fn in_words(flag: &str) -> &str {
    let known = WORDS.iter().find(|(short, _)| *short == flag);
    known.map_or(flag, |(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_go_together_are_the_words_of_each() {
        for (flag, words) in WORDS {
            let each: Vec<_> = flag.split(',').map(in_words).collect();
            assert_eq!(each.join(","), words, "{flag}");
        }
        assert_eq!((in_words("-"), in_words("MINE")), ("-", "MINE"));
    }
}
