//! What a misspelt word was probably meant to be: for keys and values, and for names that only the engine knows.

/// The word of `known` that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= limit || (candidate.starts_with(word) && word.len() >= 4)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that make one word of the other; `-` and `_` are one.
fn distance(a: &str, b: &str) -> usize {
    let plain = |word: &str| -> Vec<char> {
        word.to_lowercase()
            .replace('-', "_")
            .chars()
            .take(64)
            .collect()
    };
    let (a, b) = (plain(a), plain(b));
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(x != y);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_was_probably_meant() {
        let known = [
            "timeout",
            "idle_timeout",
            "request_headers",
            "retry",
            "name",
        ];
        for (word, expect) in [
            ("tiemout", Some("timeout")),
            ("timeouts", Some("timeout")),
            ("Timeout", Some("timeout")),
            ("idle-timeout", Some("idle_timeout")),
            ("request_header", Some("request_headers")),
            ("request", Some("request_headers")),
            ("rety", Some("retry")),
            ("nmae", Some("name")),
            ("tls", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), expect, "{word}");
        }
    }
}
