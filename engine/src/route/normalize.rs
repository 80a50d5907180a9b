//! Makes a path plain before it is matched and forwarded, so that a route and the upstream cannot read it differently.
//!
//! Of all the spellings of a path one is kept: unreserved `%XX` are decoded and the hex of the others is upper case
//! (RFC 3986 §6.2.2), dot segments are resolved (§5.2.4). What upstreams are known to read differently is refused rather
//! than repaired: encoded separators, back-slashes, `/..;/`, dots that climb above the root. The query is never touched.
//! A path that is plain already costs one pass and no allocation.

use std::error::Error;
use std::fmt;

use bytes::Bytes;
use ringway_config::PathNormalize;

/// Why a path is refused, with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BadPath {
    /// It does not begin with `/`.
    NotAbsolute,
    /// A `%` without two hex digits.
    Escape,
    /// `%2F`.
    EncodedSlash,
    /// `\` or `%5C`: a separator to some upstreams.
    Backslash,
    /// NUL or `%00`: the end of the path to some upstreams.
    Nul,
    /// `#` or `%23`: the end of the path to some upstreams.
    Fragment,
    /// A byte that no URI holds as it is: white space, a control, or one above 0x7F.
    Byte,
    /// `..` in the first segment.
    AboveRoot,
    /// A dot segment with a parameter (`/..;x/`), which servlet containers resolve, or one made by a rewrite.
    DotSegment,
}

impl BadPath {
    /// RESPONSE_CODE_DETAILS of the refusal.
    pub fn details(self) -> &'static str {
        match self {
            Self::NotAbsolute => "path_normalization_failed{not_absolute}",
            Self::Escape => "path_normalization_failed{escape}",
            Self::EncodedSlash => "path_normalization_failed{encoded_slash}",
            Self::Backslash => "path_normalization_failed{backslash}",
            Self::Nul => "path_normalization_failed{nul}",
            Self::Fragment => "path_normalization_failed{fragment}",
            Self::Byte => "path_normalization_failed{byte}",
            Self::AboveRoot => "path_normalization_failed{above_root}",
            Self::DotSegment => "path_normalization_failed{dot_segment}",
        }
    }
}

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "a path begins with `/`",
            Self::Escape => "a `%` is followed by two hex digits",
            Self::EncodedSlash => "an encoded `/` is refused",
            Self::Backslash => "a `\\` is refused, encoded or not",
            Self::Nul => "a NUL is refused, encoded or not",
            Self::Fragment => "a `#` is refused, encoded or not",
            Self::Byte => "white space, controls and bytes above 0x7F must be percent-encoded",
            Self::AboveRoot => "`..` climbs above the root",
            Self::DotSegment => "`.` or `..` with a parameter is refused",
        })
    }
}

impl Error for BadPath {}

/// The target with its path made plain; `None` if it is already. `*` (OPTIONS) is.
pub fn normalize(
    target: &[u8],
    mode: PathNormalize,
    merge_slashes: bool,
) -> Result<Option<Bytes>, BadPath> {
    if target == b"*" {
        return Ok(None);
    }
    let (path, query) = split_query(target);
    let plain = match mode {
        PathNormalize::Strict => is_plain(path, merge_slashes)?,
        PathNormalize::Off => !(merge_slashes && memchr::memmem::find(path, b"//").is_some()),
    };
    if plain {
        return Ok(None);
    }
    let mut out = Vec::with_capacity(target.len());
    match mode {
        PathNormalize::Strict => rebuild(path, merge_slashes, &mut out)?,
        PathNormalize::Off => merge(path, &mut out),
    }
    out.extend_from_slice(query);
    Ok(Some(Bytes::from(out)))
}

/// The path, and the query with its `?` (empty if there is none).
pub(super) fn split_query(target: &[u8]) -> (&[u8], &[u8]) {
    let at = memchr::memchr(b'?', target).unwrap_or(target.len());
    target.split_at(at)
}

/// Whether a path that a rewrite made has segments that an upstream would resolve.
pub(super) fn has_dot_segment(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/')
        .any(|segment| dots(segment) != Dots::None)
}

/// Refuses every byte and escape that is refused; says whether there is nothing to change.
fn is_plain(path: &[u8], merge_slashes: bool) -> Result<bool, BadPath> {
    let mut plain = true;
    let mut rest = path.strip_prefix(b"/").ok_or(BadPath::NotAbsolute)?;
    if starts_dotted(rest) {
        plain = false;
    }
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match CLASS[usize::from(byte)] {
            Class::Plain => {}
            Class::Slash => {
                let merged = merge_slashes && rest.first() == Some(&b'/');
                plain &= !merged && !starts_dotted(rest);
            }
            Class::Percent => {
                let (&[high, low], after) = rest.split_first_chunk().ok_or(BadPath::Escape)?;
                rest = after;
                let value = escaped(high, low)?;
                let lower = high.is_ascii_lowercase() || low.is_ascii_lowercase();
                plain &= !lower && !is_unreserved(value);
            }
            Class::Bad(why) => return Err(why),
        }
    }
    // The one place where the loop cannot look ahead: `//` at the very beginning.
    Ok(plain && !(merge_slashes && path.starts_with(b"//")))
}

/// Whether the segment at the beginning of `rest` is a dot segment, in any spelling.
fn starts_dotted(rest: &[u8]) -> bool {
    if !matches!(rest.first(), Some(b'.' | b'%')) {
        return false;
    }
    let end = memchr::memchr(b'/', rest).unwrap_or(rest.len());
    dots(&rest[..end]) != Dots::None
}

/// Writes the plain form of a path whose bytes and escapes `is_plain` has let through.
fn rebuild(path: &[u8], merge_slashes: bool, out: &mut Vec<u8>) -> Result<(), BadPath> {
    let relative = path.strip_prefix(b"/").ok_or(BadPath::NotAbsolute)?;
    let mut segments = relative.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        let start = out.len();
        match dots(segment) {
            Dots::None if merge_slashes && segment.is_empty() && !last => {}
            Dots::None => {
                out.push(b'/');
                decode_unreserved(segment, out)?;
            }
            Dots::Same => {}
            Dots::Parent => {
                let parent = memchr::memrchr(b'/', out).ok_or(BadPath::AboveRoot)?;
                out.truncate(parent);
            }
            Dots::Parameter => return Err(BadPath::DotSegment),
        }
        // `/a/.` and `/a/b/..` are the directory `/a/`.
        if last && out.len() <= start {
            out.push(b'/');
        }
    }
    Ok(())
}

fn decode_unreserved(segment: &[u8], out: &mut Vec<u8>) -> Result<(), BadPath> {
    let mut rest = segment;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let (&[high, low], after) = rest.split_first_chunk().ok_or(BadPath::Escape)?;
        rest = after;
        match escaped(high, low)? {
            value if is_unreserved(value) => out.push(value),
            _ => {
                out.extend_from_slice(&[b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()])
            }
        }
    }
    Ok(())
}

fn merge(path: &[u8], out: &mut Vec<u8>) {
    for &byte in path {
        if byte != b'/' || out.last() != Some(&b'/') {
            out.push(byte);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dots {
    None,
    Same,
    Parent,
    Parameter,
}

/// What a segment is once its dots are decoded: `.`, `..`, either with a parameter after it, or an ordinary name.
fn dots(segment: &[u8]) -> Dots {
    let mut rest = segment;
    let mut count = 0;
    while let Some(after) = strip_either(rest, b'.', b"%2e") {
        rest = after;
        count += 1;
    }
    if count == 0 || count > 2 {
        return Dots::None;
    }
    match (rest.is_empty(), count) {
        (true, 1) => Dots::Same,
        (true, _) => Dots::Parent,
        (false, _) if strip_either(rest, b';', b"%3b").is_some() => Dots::Parameter,
        (false, _) => Dots::None,
    }
}

fn strip_either<'a>(text: &'a [u8], byte: u8, escape: &[u8; 3]) -> Option<&'a [u8]> {
    if let Some((first, rest)) = text.split_first()
        && *first == byte
    {
        return Some(rest);
    }
    let (head, rest) = text.split_first_chunk::<3>()?;
    head.eq_ignore_ascii_case(escape).then_some(rest)
}

/// The byte that an escape means, unless it is one that is refused.
fn escaped(high: u8, low: u8) -> Result<u8, BadPath> {
    let digit = |byte: u8| (byte as char).to_digit(16).ok_or(BadPath::Escape);
    let value = (digit(high)? << 4 | digit(low)?) as u8;
    match value {
        b'/' => Err(BadPath::EncodedSlash),
        b'\\' => Err(BadPath::Backslash),
        0 => Err(BadPath::Nul),
        b'#' => Err(BadPath::Fragment),
        other => Ok(other),
    }
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[derive(Clone, Copy)]
enum Class {
    Plain,
    Slash,
    Percent,
    Bad(BadPath),
}

const CLASS: [Class; 256] = {
    let mut table = [Class::Plain; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = match byte as u8 {
            b'/' => Class::Slash,
            b'%' => Class::Percent,
            b'\\' => Class::Bad(BadPath::Backslash),
            b'#' => Class::Bad(BadPath::Fragment),
            0 => Class::Bad(BadPath::Nul),
            0x21..=0x7e => Class::Plain,
            _ => Class::Bad(BadPath::Byte),
        };
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn strict(target: &str, merge: bool) -> Result<String, BadPath> {
        let out = normalize(target.as_bytes(), PathNormalize::Strict, merge)?;
        Ok(out.map_or_else(
            || target.to_owned(),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        ))
    }

    fn check(cases: &[(&str, &str)]) {
        for (target, expect) in cases {
            assert_eq!(strict(target, false).as_deref(), Ok(*expect), "{target}");
        }
    }

    #[test]
    fn plain_paths_are_not_copied() {
        for target in [
            "/",
            "*",
            "/a/b.c/d",
            "/.well-known/x",
            "/...",
            "/a/..b/",
            "/%20/%C3%A9",
            "/a//b",
            "//a",
            "/a;v=1/b",
            "/a?../%2e%2E\\#",
        ] {
            assert_eq!(
                normalize(target.as_bytes(), PathNormalize::Strict, false),
                Ok(None),
                "{target}"
            );
        }
    }

    #[test]
    fn one_spelling_is_left() {
        check(&[
            ("/%61%7e%2D", "/a~-"),
            ("/%c3%a9", "/%C3%A9"),
            ("/a%3fb?c%3f%61", "/a%3Fb?c%3f%61"),
            ("/%252e%252E/", "/%252e%252E/"),
            ("/a%0d%0ab", "/a%0D%0Ab"),
        ]);
    }

    #[test]
    fn dot_segments_are_resolved() {
        check(&[
            ("/.", "/"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/../b", "/b"),
            ("/a/b/../c/./d?e=/../", "/a/c/d?e=/../"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b/%2e", "/b/"),
            ("/a//../b", "/a/b"),
            ("/a/..//b", "//b"),
            ("/a/b/..?q", "/a/?q"),
        ]);
    }

    #[test]
    fn bypasses_are_refused() {
        for (target, why) in [
            ("/..", BadPath::AboveRoot),
            ("/a/../..", BadPath::AboveRoot),
            ("/%2e%2e/etc/passwd", BadPath::AboveRoot),
            ("/a%2fb", BadPath::EncodedSlash),
            ("/a/..%2Fb", BadPath::EncodedSlash),
            ("/a\\..\\b", BadPath::Backslash),
            ("/a%5cb", BadPath::Backslash),
            ("/a%00.png", BadPath::Nul),
            ("/a\0", BadPath::Nul),
            ("/a#b", BadPath::Fragment),
            ("/a%23b", BadPath::Fragment),
            ("/a%", BadPath::Escape),
            ("/a%2", BadPath::Escape),
            ("/a%zz", BadPath::Escape),
            ("/a%2%65", BadPath::Escape),
            ("/%%32e%%32e/", BadPath::Escape),
            ("/%u002e/", BadPath::Escape),
            ("/public/..;/admin", BadPath::DotSegment),
            ("/public/%2e.%3bx=1/admin", BadPath::DotSegment),
            ("/a/.;/b", BadPath::DotSegment),
            ("/a b", BadPath::Byte),
            ("/é", BadPath::Byte),
            ("/a\x7f", BadPath::Byte),
            ("a", BadPath::NotAbsolute),
            ("", BadPath::NotAbsolute),
            ("?a", BadPath::NotAbsolute),
        ] {
            assert_eq!(strict(target, false), Err(why), "{target}");
        }
    }

    #[test]
    fn slashes_are_merged_before_dots_are_resolved() {
        for (target, expect) in [
            ("//", "/"),
            ("//a///b//", "/a/b/"),
            ("/a//../b", "/b"),
            ("/a//.", "/a/"),
            ("/a/b?c//d", "/a/b?c//d"),
        ] {
            assert_eq!(strict(target, true).as_deref(), Ok(expect), "{target}");
        }
    }

    #[test]
    fn off_leaves_all_but_slashes() {
        let off = |target: &str, merge| normalize(target.as_bytes(), PathNormalize::Off, merge);
        assert_eq!(off("/a/..//%2f\\", false), Ok(None));
        assert_eq!(
            off("/a/..//%2f?x//", true),
            Ok(Some(Bytes::from_static(b"/a/../%2f?x//")))
        );
        assert_eq!(off("/a/?x//", true), Ok(None));
    }

    #[test]
    fn once_is_enough_and_nothing_dotted_is_left() {
        const PIECES: [&str; 16] = [
            "/", "/", "/", ".", "..", "%2e", "%2E", "a", "%41", "%c3", ";", "%25", "?", "b/", "//",
            "%3b",
        ];
        let rng = Rng::new(11);
        for _ in 0..50_000 {
            let target: String = std::iter::once("/")
                .chain((0..rng.below(10)).map(|_| PIECES[rng.below(16) as usize]))
                .collect();
            for merge in [false, true] {
                let Ok(once) = strict(&target, merge) else {
                    continue;
                };
                assert_eq!(strict(&once, merge).as_deref(), Ok(&*once), "{target}");
                let (path, _) = split_query(once.as_bytes());
                assert!(!has_dot_segment(path), "{target} gave {once}");
                assert!(!merge || !path.windows(2).any(|pair| pair == b"//"));
            }
        }
    }

    #[test]
    fn any_bytes_are_refused_or_made_plain() {
        let rng = Rng::new(12);
        for _ in 0..100_000 {
            let target: Vec<u8> = std::iter::once(b'/')
                .chain((0..rng.below(12)).map(|_| {
                    let likely = b"/.%%%eE25fFcC;\\#?a";
                    match rng.below(4) {
                        0 => rng.next() as u8,
                        _ => likely[rng.below(likely.len() as u64) as usize],
                    }
                }))
                .collect();
            for merge in [false, true] {
                let Ok(Some(once)) = normalize(&target, PathNormalize::Strict, merge) else {
                    continue;
                };
                let again = normalize(&once, PathNormalize::Strict, merge);
                assert_eq!(again, Ok(None), "{}", target.escape_ascii());
                assert!(once.starts_with(b"/"));
            }
        }
    }
}
