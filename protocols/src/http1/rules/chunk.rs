//! A chunk's first line: RFC 9112 §7.1.

use super::charset;
use crate::http1::Violation;

/// A chunk's size and its extensions' length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http1) struct ChunkLine {
    pub(in crate::http1) size: u64,
    pub(in crate::http1) extensions: usize,
}

/// Takes the line (without CR, LF, NUL) apart.
pub(in crate::http1) fn chunk_line(line: &[u8]) -> Result<ChunkLine, Violation> {
    let digits = line
        .iter()
        .position(|byte| !byte.is_ascii_hexdigit())
        .unwrap_or(line.len());
    let (digits, rest) = line.split_at_checked(digits).unwrap_or_default();
    if digits.is_empty() {
        return Err(Violation::ChunkSize);
    }
    let size = digits.iter().try_fold(0u64, |sum, byte| {
        let digit = char::from(*byte).to_digit(16)?;
        // A size that turns negative in somebody's `int64_t` is nobody's size.
        sum.checked_mul(16)?
            .checked_add(u64::from(digit))
            .filter(|sum| i64::try_from(*sum).is_ok())
    });
    let size = size.ok_or(Violation::ChunkSizeTooLarge)?;
    extensions(rest)?;
    Ok(ChunkLine {
        size,
        extensions: rest.len(),
    })
}

/// RFC 9112 §7.1.1: `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`. They are read only to be thrown away,
/// but others stop reading elsewhere, so what is not of the grammar is refused.
fn extensions(mut rest: &[u8]) -> Result<(), Violation> {
    while !rest.is_empty() {
        rest = skip_space(rest)
            .strip_prefix(b";")
            .ok_or(Violation::ChunkExtension)?;
        rest = token(skip_space(rest))?;
        if let Some(value) = skip_space(rest).strip_prefix(b"=") {
            let value = skip_space(value);
            rest = match value.strip_prefix(b"\"") {
                Some(inside) => quoted(inside)?,
                None => token(value)?,
            };
        }
    }
    Ok(())
}

fn skip_space(text: &[u8]) -> &[u8] {
    let space = text.iter().take_while(|byte| b" \t".contains(byte)).count();
    text.get(space..).unwrap_or_default()
}

/// What follows a token; there has to be one.
fn token(text: &[u8]) -> Result<&[u8], Violation> {
    let len = text
        .iter()
        .take_while(|byte| charset::is_tchar(**byte))
        .count();
    match len {
        0 => Err(Violation::ChunkExtension),
        _ => Ok(text.get(len..).unwrap_or_default()),
    }
}

/// What follows a quoted string, the text beginning after the opening quote (RFC 9110 §5.6.4).
fn quoted(mut text: &[u8]) -> Result<&[u8], Violation> {
    loop {
        text = match text {
            [b'"', rest @ ..] => return Ok(rest),
            [b'\\', byte, rest @ ..] if charset::is_value(&[*byte]) => rest,
            [byte, rest @ ..] if *byte != b'\\' && charset::is_value(&[*byte]) => rest,
            _ => return Err(Violation::ChunkExtension),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_line_is_a_size_and_extensions() {
        use Violation::{ChunkExtension, ChunkSize, ChunkSizeTooLarge};
        for (line, expect) in [
            ("0", Ok(0)),
            ("000", Ok(0)),
            ("aB", Ok(0xab)),
            ("00000000000000000000000005", Ok(5)),
            ("7fffffffffffffff", Ok(i64::MAX.unsigned_abs())),
            ("5;a", Ok(5)),
            ("5;a=b;c", Ok(5)),
            ("5 ; a = b", Ok(5)),
            ("5;a=\"b; \\\"c\\\"\"", Ok(5)),
            ("5;a=\"\";b=\"é\"", Ok(5)),
            ("8000000000000000", Err(ChunkSizeTooLarge)),
            ("FFFFFFFFFFFFFFFB", Err(ChunkSizeTooLarge)),
            ("10000000000000005", Err(ChunkSizeTooLarge)),
            ("", Err(ChunkSize)),
            (" 5", Err(ChunkSize)),
            ("-5", Err(ChunkSize)),
            ("+5", Err(ChunkSize)),
            (";a", Err(ChunkSize)),
            ("x5", Err(ChunkSize)),
            ("0x5", Err(ChunkExtension)),
            ("5 ", Err(ChunkExtension)),
            ("5\t", Err(ChunkExtension)),
            ("5 junk", Err(ChunkExtension)),
            ("5_0", Err(ChunkExtension)),
            ("5.", Err(ChunkExtension)),
            ("5,", Err(ChunkExtension)),
            ("5;", Err(ChunkExtension)),
            ("5;;a", Err(ChunkExtension)),
            ("5;a ", Err(ChunkExtension)),
            ("5;a=", Err(ChunkExtension)),
            ("5;=b", Err(ChunkExtension)),
            ("5;a[=x", Err(ChunkExtension)),
            ("5;a=b=c", Err(ChunkExtension)),
            ("5;a=\"b", Err(ChunkExtension)),
            ("5;a=\"b\\", Err(ChunkExtension)),
            ("5;a=\"b\"c", Err(ChunkExtension)),
            ("5;a=\"\u{1}\"", Err(ChunkExtension)),
            ("5;a=é", Err(ChunkExtension)),
        ] {
            let got = chunk_line(line.as_bytes()).map(|chunk| chunk.size);
            assert_eq!(got, expect, "{line:?}");
        }
    }
}
