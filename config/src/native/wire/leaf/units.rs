//! Durations, sizes and shares: numbers with their units.

use std::time::Duration;

use super::super::{Cx, Form, Shape};
use super::{Leaf, Wrong, because};
use crate::{ByteSize, Percent};

/// Beyond this no limit means anything, and sums of times stay far from overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

impl Leaf for Duration {
    const FORM: Form = Form {
        name: "duration",
        what: "a duration such as `5s`, `250ms`, `1m30s` or `2h`",
    };
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        let duration = duration(text).ok_or(Wrong::Form)?;
        if duration > LONGEST {
            return because("write a duration of at most 366 days, as `366d`");
        }
        Ok(duration)
    }
    fn number(number: f64) -> Option<Self> {
        (number == 0.0).then_some(Self::ZERO)
    }
    fn numbers() -> Option<Shape> {
        Some(Shape::Only(0.into()))
    }
    fn hole() -> Self {
        Self::ZERO
    }
}

/// One or more numbers, each with its unit.
fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() || text.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(unit_at)?;
        let end = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(end)?;
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return None,
        };
        if number.starts_with('.') || number.ends_with('.') {
            return None;
        }
        let seconds = number.parse::<f64>().ok()? * seconds;
        // Rounded, because 0.001 has no exact double and 3 ms should be 3 ms.
        let nanos = (seconds * 1e6).round() / 1e6;
        total = total.checked_add(Duration::try_from_secs_f64(nanos).ok()?)?;
        rest = tail;
    }
    Some(total)
}

/// A duration that is not zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Positive(pub Duration);

impl Leaf for Positive {
    const FORM: Form = <Duration as Leaf>::FORM;
    fn parse(text: &str, cx: &Cx) -> Result<Self, Wrong> {
        let duration = <Duration as Leaf>::parse(text, cx)?;
        if duration.is_zero() {
            return because("write a duration longer than zero, such as `5s`");
        }
        Ok(Self(duration))
    }
    fn hole() -> Self {
        Self(Duration::from_secs(1))
    }
}

impl Leaf for ByteSize {
    const FORM: Form = Form {
        name: "size",
        what: "a size such as `64KiB` or `1MB`",
    };
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        let unit_at = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(unit_at).ok_or(Wrong::Form)?;
        let bytes: u64 = match unit.trim_start() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            "kB" | "KB" => 1000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => return Err(Wrong::Form),
        };
        if let Ok(number) = number.parse::<u64>() {
            return match number.checked_mul(bytes) {
                Some(bytes) => Ok(Self(bytes)),
                None => because("write a size that fits in 64 bits"),
            };
        }
        let plain = number.starts_with(|c: char| c.is_ascii_digit())
            && number.ends_with(|c: char| c.is_ascii_digit());
        match number.parse::<f64>() {
            Ok(number) if plain && number < 1e6 => Ok(Self((number * bytes as f64) as u64)),
            Ok(_) | Err(_) => Err(Wrong::Form),
        }
    }
    fn number(number: f64) -> Option<Self> {
        (number.fract() == 0.0 && (0.0..9e15).contains(&number)).then_some(Self(number as u64))
    }
    fn numbers() -> Option<Shape> {
        Some(Shape::Integer {
            min: 0,
            max: u64::MAX,
        })
    }
    fn hole() -> Self {
        Self(1)
    }
}

/// The size of a buffer for heads: room for a request line that every server must take, and for no more than memory has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadSize(pub ByteSize);

impl Leaf for HeadSize {
    const FORM: Form = <ByteSize as Leaf>::FORM;
    fn parse(text: &str, cx: &Cx) -> Result<Self, Wrong> {
        let size = <ByteSize as Leaf>::parse(text, cx)?;
        if !(256..=16 << 20).contains(&size.0) {
            return because("write a size from 256 bytes to `16MiB`");
        }
        Ok(Self(size))
    }
    fn number(number: f64) -> Option<Self> {
        (256.0..=f64::from(16 << 20))
            .contains(&number)
            .then(|| <ByteSize as Leaf>::number(number).map(Self))?
    }
    fn numbers() -> Option<Shape> {
        Some(Shape::Integer {
            min: 256,
            max: 16 << 20,
        })
    }
    fn hole() -> Self {
        Self(ByteSize(256))
    }
}

/// A flow-control window of HTTP/2: room for a frame, and no more than its numbers hold (RFC 9113 §6.9.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window(pub ByteSize);

impl Leaf for Window {
    const FORM: Form = <ByteSize as Leaf>::FORM;
    fn parse(text: &str, cx: &Cx) -> Result<Self, Wrong> {
        let size = <ByteSize as Leaf>::parse(text, cx)?;
        if !(16 << 10..=1 << 30).contains(&size.0) {
            return because("write a size from `16KiB` to `1GiB`");
        }
        Ok(Self(size))
    }
    fn number(number: f64) -> Option<Self> {
        (f64::from(16 << 10)..=f64::from(1 << 30))
            .contains(&number)
            .then(|| <ByteSize as Leaf>::number(number).map(Self))?
    }
    fn numbers() -> Option<Shape> {
        Some(Shape::Integer {
            min: 16 << 10,
            max: 1 << 30,
        })
    }
    fn hole() -> Self {
        Self(ByteSize(16 << 10))
    }
}

impl Leaf for Percent {
    const FORM: Form = Form {
        name: "share",
        what: "a share from `0%` to `100%`",
    };
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        let number = text.strip_suffix('%').unwrap_or(text).trim_end();
        let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let percent = number.parse().ok().filter(|_| plain);
        percent.and_then(Self::new).ok_or(Wrong::Form)
    }
    fn number(number: f64) -> Option<Self> {
        Self::new(number)
    }
    fn numbers() -> Option<Shape> {
        Some(Shape::Number { min: 0, max: 100 })
    }
    fn hole() -> Self {
        Self::ALL
    }
}
