//! gRPC over HTTP/2, as far as a proxy has to know it: how a call is told, its status, its time.
//!
//! What a fault or a status of HTTP is to a client of gRPC stands here and nowhere else.

use std::time::Duration;

use ringway_protocols::{FieldId, Fields};

use crate::fault::FaultKind;

/// The name of the status among the trailers, or in the head of an answer that is nothing else.
pub const STATUS: &str = "grpc-status";
/// What goes with it.
pub const MESSAGE: &str = "grpc-message";
/// The client's limit.
pub const TIMEOUT: &str = "grpc-timeout";

macro_rules! statuses {
    ($($(#[$doc:meta])+ $id:ident = $code:literal $name:literal $label:literal,)+) => {
        /// How a call ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Status { $($(#[$doc])+ $id = $code,)+ }

        impl Status {
            /// All of them, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$id,)+];

            /// The name that gRPC gives it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$id => $name,)+ }
            }

            /// The name that access logs of Envoy give it.
            pub fn label(self) -> &'static str {
                match self { $(Self::$id => $label,)+ }
            }
        }
    };
}

statuses! {
    /// It did.
    Ok = 0 "OK" "OK",
    /// By its caller.
    Cancelled = 1 "CANCELLED" "Canceled",
    /// Otherwise than can be said.
    Unknown = 2 "UNKNOWN" "Unknown",
    /// What it was asked with makes no sense.
    InvalidArgument = 3 "INVALID_ARGUMENT" "InvalidArgument",
    /// Its time was over.
    DeadlineExceeded = 4 "DEADLINE_EXCEEDED" "DeadlineExceeded",
    /// What it asked for is not there.
    NotFound = 5 "NOT_FOUND" "NotFound",
    /// What it was to make is there.
    AlreadyExists = 6 "ALREADY_EXISTS" "AlreadyExists",
    /// It may not.
    PermissionDenied = 7 "PERMISSION_DENIED" "PermissionDenied",
    /// Something has run out.
    ResourceExhausted = 8 "RESOURCE_EXHAUSTED" "ResourceExhausted",
    /// Things are not as it needs them.
    FailedPrecondition = 9 "FAILED_PRECONDITION" "FailedPrecondition",
    /// By another one.
    Aborted = 10 "ABORTED" "Aborted",
    /// It went beyond the end.
    OutOfRange = 11 "OUT_OF_RANGE" "OutOfRange",
    /// Nobody serves such.
    Unimplemented = 12 "UNIMPLEMENTED" "Unimplemented",
    /// What must never be was.
    Internal = 13 "INTERNAL" "Internal",
    /// Nobody is there to serve it now.
    Unavailable = 14 "UNAVAILABLE" "Unavailable",
    /// Data are lost.
    DataLoss = 15 "DATA_LOSS" "DataLoss",
    /// Nobody knows who it is.
    Unauthenticated = 16 "UNAUTHENTICATED" "Unauthenticated",
}

impl Status {
    /// The number on the wire, and its place in [`Status::ALL`].
    pub fn code(self) -> usize {
        self as usize
    }

    /// What a fault is to a client of gRPC.
    pub fn of_fault(kind: FaultKind) -> Self {
        match kind {
            FaultKind::NoRoute | FaultKind::NoTunnel => Self::Unimplemented,
            FaultKind::NoHost
            | FaultKind::ConnectRefused
            | FaultKind::ConnectTimeout
            | FaultKind::ConnectFailed
            | FaultKind::TlsFailed
            | FaultKind::TlsTimeout
            | FaultKind::Reset
            | FaultKind::Truncated => Self::Unavailable,
            FaultKind::FirstByteTimeout
            | FaultKind::PerTryTimeout
            | FaultKind::PerTryIdleTimeout
            | FaultKind::RequestTimeout
            | FaultKind::IdleTimeout
            | FaultKind::ClientTooSlow => Self::DeadlineExceeded,
            FaultKind::Overflow | FaultKind::BodyTooLarge => Self::ResourceExhausted,
            FaultKind::ClientGone => Self::Cancelled,
            FaultKind::UpstreamProtocol
            | FaultKind::BodyProtocol
            | FaultKind::ClientProtocol
            | FaultKind::Internal => Self::Internal,
        }
    }

    /// What an answer of HTTP without a status of gRPC is to such a client (gRPC's `http-grpc-status-mapping`); 413 is none of that
    /// list, and says what has run out.
    pub fn of_http(status: u16) -> Self {
        match status {
            400 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            413 => Self::ResourceExhausted,
            429 | 502 | 503 | 504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    /// What fields say: the status, if they have one; one that no version of gRPC knows is unknown.
    pub fn of_fields(fields: &Fields) -> Option<Self> {
        let code = std::str::from_utf8(fields.get(STATUS.as_bytes())?).ok();
        let code = code.and_then(|text| text.parse::<usize>().ok());
        let known = code.and_then(|code| Self::ALL.get(code).copied());
        Some(known.unwrap_or(Self::Unknown))
    }
}

/// Whether a message is one of gRPC: `application/grpc`, alone or with its encoding. That of gRPC-Web is none.
pub fn is_grpc(fields: &Fields) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    let Some((head, rest)) = fields
        .known(FieldId::ContentType)
        .and_then(|text| text.split_at_checked(TYPE.len()))
    else {
        return false;
    };
    head.eq_ignore_ascii_case(TYPE) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// A text as `grpc-message` says it: what is not printable ASCII, and `%`, in percents.
pub fn message(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// What `grpc-timeout` says: up to eight digits and a unit. `None` if it says something else.
pub fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// A time as `grpc-timeout` says it, in the finest unit that takes it; none is left as the least that can be said.
pub fn timeout_text(left: Duration) -> String {
    const MOST: u128 = 99_999_999;
    let units = [
        (left.as_micros().max(1), 'u'),
        (left.as_millis(), 'm'),
        (u128::from(left.as_secs()), 'S'),
    ];
    let fits = units.into_iter().find(|(number, _)| *number <= MOST);
    let (number, unit) = fits.unwrap_or((u128::from(left.as_secs() / 3600).min(MOST), 'H'));
    format!("{number}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(content_type: &'static str) -> bool {
        let mut fields = Fields::new();
        fields.push("content-type", content_type);
        is_grpc(&fields)
    }

    #[test]
    fn a_call_is_told_by_its_type() {
        for (content_type, is) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web-text+proto", false),
            ("application/grpcx", false),
            ("application/gr", false),
            ("text/plain", false),
        ] {
            assert_eq!(typed(content_type), is, "{content_type}");
        }
    }

    #[test]
    fn timeouts_are_read_and_written() {
        for (text, expect) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("100000000n", None),
            ("1s", None),
            ("m", None),
            ("", None),
            ("-1m", None),
            ("1.5S", None),
        ] {
            assert_eq!(timeout(text.as_bytes()), expect, "{text}");
        }
        for (left, text) in [
            (Duration::ZERO, "1u"),
            (Duration::from_nanos(1500), "1u"),
            (Duration::from_millis(1500), "1500000u"),
            (Duration::from_secs(1000), "1000000m"),
            (Duration::from_secs(1_000_000), "1000000S"),
            (Duration::from_secs(99_999_999 * 3600), "99999999H"),
        ] {
            assert_eq!(timeout_text(left), text);
        }
    }

    #[test]
    fn statuses_have_their_codes() {
        for (code, status) in Status::ALL.iter().enumerate() {
            assert_eq!(status.code(), code);
        }
        let of = |text: &'static str| {
            let mut fields = Fields::new();
            fields.push("Grpc-Status", text);
            Status::of_fields(&fields)
        };
        assert_eq!(of("14"), Some(Status::Unavailable));
        assert_eq!(of("17"), Some(Status::Unknown));
        assert_eq!(of("x"), Some(Status::Unknown));
        assert_eq!(Status::of_fields(&Fields::new()), None);
    }

    #[test]
    fn messages_are_in_percents() {
        assert_eq!(message("100% für\n"), "100%25 f%C3%BCr%0A");
    }
}
