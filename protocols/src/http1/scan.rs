//! Finds the ends of lines, each byte looked at once however small the portions in which the bytes come.

use super::Violation;

/// How far a line may reach.
#[derive(Clone, Copy)]
pub(super) struct Cap {
    /// The last offset at which the line's CR may stand.
    pub(super) end: usize,
    /// What it is to reach beyond.
    pub(super) why: Violation,
}

impl Cap {
    /// At most `limit` bytes from `start`.
    pub(super) fn new(start: usize, limit: usize, why: Violation) -> Self {
        Self {
            end: start.saturating_add(limit),
            why,
        }
    }

    /// The nearer of the two; this one if they are equally near.
    pub(super) fn or(self, other: Self) -> Self {
        if other.end < self.end { other } else { self }
    }
}

/// Where a reader of lines stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LineScanner {
    /// The first byte of the line.
    start: usize,
    /// The first byte not yet looked at.
    at: usize,
}

impl LineScanner {
    /// Whether nothing has been looked at yet.
    pub(super) fn is_new(&self) -> bool {
        self.at == 0
    }

    /// Where the line begins that is being read.
    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// The next whole line as (start, end without CRLF), or none if its end is not here yet.
    ///
    /// Whatever the portions, the same bytes give the same result: of two rules broken, the one that an earlier byte breaks.
    pub(super) fn next(
        &mut self,
        input: &[u8],
        cap: Cap,
    ) -> Result<Option<(usize, usize)>, Violation> {
        let rest = input.get(self.at..).unwrap_or_default();
        let Some(found) = memchr::memchr3(b'\r', b'\n', 0, rest) else {
            if input.len() > cap.end {
                return Err(cap.why);
            }
            self.at = input.len();
            return Ok(None);
        };
        let end = self.at + found;
        if end > cap.end {
            return Err(cap.why);
        }
        match (rest.get(found), rest.get(found + 1)) {
            (Some(b'\r'), Some(b'\n')) => {
                let start = self.start;
                self.start = end + 2;
                self.at = end + 2;
                Ok(Some((start, end)))
            }
            (Some(b'\r'), None) => {
                self.at = end;
                Ok(None)
            }
            (Some(b'\r'), Some(_)) => Err(Violation::BareCr),
            (Some(b'\n'), _) => Err(Violation::BareLf),
            _ => Err(Violation::Nul),
        }
    }
}
