//! Texts that mean something: durations, sizes, addresses, names, and so on. Each says its form once; what it is not is
//! refused with that form.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::{ANY_TEXT, Cx, Form, KnownName, Shape, Wire, nearest, whole};
use crate::native::tree::{Node, Value};
use crate::{AdminAddress, ByteSize, Domain, EndpointAddress, ListenAddress, Name, Percent};

/// Why a text is not of the form.
pub(crate) enum Wrong {
    /// It just is not.
    Form,
    /// A sentence that says more. It shows the text as `{shown}` only, because that may have come from the environment.
    Because(String),
}

/// Where the sentence of a `Wrong::Because` shows the value.
const SHOWN: &str = "{shown}";

/// A text of some form.
pub(crate) trait Leaf: Sized {
    /// The form.
    const FORM: Form;
    /// Reads it.
    fn parse(text: &str, cx: &Cx) -> Result<Self, Wrong>;
    /// What stands in after a problem.
    fn hole() -> Self;
    /// Reads what is no text, where a number is short for one.
    fn number(_: f64) -> Option<Self> {
        None
    }
    /// The numbers that `number` takes.
    fn numbers() -> Option<Shape> {
        None
    }
}

impl<T: Leaf> Wire for T {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        let result = match &node.value {
            Value::Unknown => return None,
            Value::Text(text) => T::parse(text, cx),
            Value::Integer(_) => whole(node)
                .and_then(|number| T::number(number as f64))
                .ok_or(Wrong::Form),
            Value::Float(number) => T::number(*number).ok_or(Wrong::Form),
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => Err(Wrong::Form),
        };
        match result {
            Ok(value) => Some(value),
            Err(Wrong::Form) => {
                let quotes = match (&node.value, T::numbers()) {
                    (Value::Integer(_) | Value::Float(_) | Value::Bool(_), None) => {
                        " (a text that looks like a number or boolean needs quotes)"
                    }
                    _ => "",
                };
                let what = T::shape().what();
                let message = format!("write {what} here, not {}{quotes}", node.shown());
                cx.problem_at(&node.path, node.span.clone(), message);
                None
            }
            Err(Wrong::Because(message)) => {
                let message = message.replace(SHOWN, &node.shown());
                cx.problem_at(&node.path, node.span.clone(), message);
                None
            }
        }
    }
    fn shape() -> Shape {
        match T::numbers() {
            None => Shape::Text(T::FORM),
            Some(numbers) => Shape::AnyOf(vec![Shape::Text(T::FORM), numbers]),
        }
    }
    fn hole() -> Self {
        <T as Leaf>::hole()
    }
}

fn because<T>(message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Because(message.into()))
}

/// Declares a leaf that wraps a text which a test accepts.
macro_rules! text_leaf {
    ($(#[doc = $doc:literal])* $name:ident, $form:literal, $what:literal, $parse:expr) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) struct $name(pub String);

        impl Leaf for $name {
            const FORM: Form = Form { name: $form, what: $what };
            fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
                let parse: fn(&str) -> Result<String, Wrong> = $parse;
                parse(text).map(Self)
            }
            fn hole() -> Self {
                Self(String::new())
            }
        }
    };
}

impl Leaf for String {
    const FORM: Form = ANY_TEXT;
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        Ok(text.to_owned())
    }
    fn hole() -> Self {
        Self::new()
    }
}

impl Leaf for Name {
    const FORM: Form = Form {
        name: "name",
        what: "a name such as `web`",
    };
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        if text.is_empty() || text.len() > 128 || text.chars().any(char::is_control) {
            return because("write a name of 1 to 128 characters, without control characters");
        }
        Ok(Self::new(text))
    }
    fn hole() -> Self {
        Self::new("")
    }
}

/// The name of a cluster that exists.
#[derive(Clone, Debug)]
pub(crate) struct ClusterRef(pub Name);

impl Leaf for ClusterRef {
    const FORM: Form = Form {
        name: "cluster name",
        what: "the name of a cluster",
    };
    fn parse(text: &str, cx: &Cx) -> Result<Self, Wrong> {
        known(text, &cx.clusters, "cluster", "clusters").map(Self)
    }
    fn hole() -> Self {
        Self(Name::new(""))
    }
}

/// The name of a route table that exists.
#[derive(Clone, Debug)]
pub(crate) struct RouteTableRef(pub Name);

impl Leaf for RouteTableRef {
    const FORM: Form = Form {
        name: "route table name",
        what: "the name of a route table",
    };
    fn parse(text: &str, cx: &Cx) -> Result<Self, Wrong> {
        known(text, &cx.route_tables, "route table", "route_tables").map(Self)
    }
    fn hole() -> Self {
        Self(Name::new(""))
    }
}

fn known(text: &str, names: &[KnownName], kind: &str, list: &str) -> Result<Name, Wrong> {
    if names.iter().any(|known| known.name == text) {
        return Ok(Name::new(text));
    }
    let open = names.iter().filter(|known| !known.secret);
    let open: Vec<_> = open.map(|known| known.name.as_str()).collect();
    let hint = match nearest(text, open.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if open.is_empty() => format!("add it to `{list}`"),
        None => {
            let some: Vec<_> = open
                .iter()
                .take(8)
                .map(|name| format!("`{name}`"))
                .collect();
            format!("write {}, or add it to `{list}`", super::either(&some))
        }
    };
    because(format!("unknown {kind} {SHOWN}: {hint}"))
}

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

impl Leaf for IpNet {
    const FORM: Form = Form {
        name: "range",
        what: "an address or range such as `10.0.0.0/8` or `::1`",
    };
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        let single = |text: &str| text.parse::<IpAddr>().ok().map(Self::from);
        text.parse::<Self>()
            .ok()
            .or_else(|| single(text))
            .map(|net| net.trunc())
            .ok_or(Wrong::Form)
    }
    fn hole() -> Self {
        Self::from(IpAddr::from([0, 0, 0, 0]))
    }
}

/// A file's path; a relative one begins where the configuration file is.
fn path(text: &str, cx: &Cx) -> Result<PathBuf, Wrong> {
    if text.is_empty() || text.contains('\0') {
        return because("write the path of a file");
    }
    Ok(cx.base.join(Path::new(text)))
}

impl Leaf for PathBuf {
    const FORM: Form = Form {
        name: "path",
        what: "the path of a file",
    };
    fn parse(text: &str, cx: &Cx) -> Result<Self, Wrong> {
        path(text, cx)
    }
    fn hole() -> Self {
        Self::new()
    }
}

/// What `sun_path` holds, less its NUL (unix(7)).
const UNIX_PATH_MAX: usize = 107;

fn unix(text: &str, cx: &Cx) -> Option<Result<PathBuf, Wrong>> {
    let path = path(text.strip_prefix("unix:")?, cx);
    Some(path.and_then(|path| {
        if path.as_os_str().len() > UNIX_PATH_MAX {
            return because(format!(
                "write a shorter path: a Unix socket's has at most {UNIX_PATH_MAX} bytes"
            ));
        }
        Ok(path)
    }))
}

/// An address and port, with a word on the usual slips.
fn socket(text: &str) -> Result<SocketAddr, Wrong> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if text.starts_with(':') && text.parse::<IpAddr>().is_err() {
        return because(
            "write the address before the port: `0.0.0.0` for every IPv4, `[::]` for every IPv6",
        );
    }
    if text.parse::<IpAddr>().is_ok() {
        return because("write a port after the address, as in `127.0.0.1:8080` or `[::1]:8080`");
    }
    if text.matches(':').count() > 1 && !text.starts_with('[') {
        return because("write an IPv6 address in brackets, as in `[::1]:8080`");
    }
    Err(Wrong::Form)
}

const NO_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// A socket's mode where the file says none: its owner and group may connect.
pub(crate) const UNIX_MODE: u32 = 0o660;

impl Leaf for ListenAddress {
    const FORM: Form = Form {
        name: "listen address",
        what: "an address such as `0.0.0.0:8080`, `[::]:8080` or `unix:/run/web.sock`",
    };
    fn parse(text: &str, cx: &Cx) -> Result<Self, Wrong> {
        match unix(text, cx) {
            Some(path) => path.map(|path| Self::Unix {
                path,
                mode: UNIX_MODE,
            }),
            None if text.starts_with("localhost:") => {
                because("write an address, not a name: `127.0.0.1` or `[::1]` for localhost")
            }
            None => socket(text).map(Self::Tcp),
        }
    }
    fn hole() -> Self {
        Self::Tcp(NO_ADDRESS)
    }
}

impl Leaf for AdminAddress {
    const FORM: Form = Form {
        name: "admin address",
        what: "an address such as `127.0.0.1:9901` or `unix:/run/ringway-admin.sock`",
    };
    fn parse(text: &str, cx: &Cx) -> Result<Self, Wrong> {
        match unix(text, cx) {
            Some(path) => path.map(Self::Unix),
            None if text.starts_with("localhost:") => {
                because("write an address, not a name: `127.0.0.1` or `[::1]` for localhost")
            }
            None => socket(text).map(Self::Tcp),
        }
    }
    fn hole() -> Self {
        Self::Tcp(NO_ADDRESS)
    }
}

impl Leaf for EndpointAddress {
    const FORM: Form = Form {
        name: "endpoint address",
        what: "an address such as `127.0.0.1:9001`, `[::1]:9001`, `api.internal:8080` or `unix:/run/api.sock`",
    };
    fn parse(text: &str, cx: &Cx) -> Result<Self, Wrong> {
        if let Some(path) = unix(text, cx) {
            return path.map(Self::Unix);
        }
        if text.contains("://") {
            return because("write host and port only, without a scheme: `127.0.0.1:9001`");
        }
        let address = match text.rsplit_once(':') {
            Some((host, port)) if is_host(host) && host.parse::<IpAddr>().is_err() => {
                let number = port.bytes().all(|byte| byte.is_ascii_digit());
                let port = port.parse().ok().filter(|_| number).ok_or(Wrong::Form)?;
                Self::Name(host.to_ascii_lowercase(), port)
            }
            None if is_host(text) => {
                return because("write a port after the host, as in `api.internal:8080`");
            }
            Some(_) | None => Self::Ip(socket(text)?),
        };
        match &address {
            Self::Ip(ip) if ip.port() == 0 => because("write a port from 1 to 65535"),
            Self::Name(_, 0) => because("write a port from 1 to 65535"),
            Self::Ip(_) | Self::Name(..) | Self::Unix(_) => Ok(address),
        }
    }
    fn hole() -> Self {
        Self::Ip(NO_ADDRESS)
    }
}

/// A host name (RFC 1123 §2.1, and `_`, which people use); one that ends like a number is no name.
fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let text = text.strip_suffix('.').unwrap_or(text);
    let last = text.rsplit('.').next().unwrap_or("");
    text.len() <= 253
        && text.split('.').all(label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

impl Leaf for Domain {
    const FORM: Form = Form {
        name: "domain",
        what: "a host such as `www.example.com`, `*.example.com`, `www.*` or `*`",
    };
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        let text = text.to_ascii_lowercase();
        if text == "*" {
            return Ok(Self::Any);
        }
        let bracketed = text.starts_with('[') && text.ends_with(']');
        if !bracketed && text.contains(':') {
            return because("write the host without a port: a domain is matched without it");
        }
        let whole = |text: &str| {
            let parts = text.trim_matches('.');
            !parts.is_empty() && parts.split('.').all(|label| !label.is_empty())
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
        let (domain, rest) = if let Some(rest) = text.strip_prefix('*') {
            if !rest.starts_with('.') {
                return because("write a `.` after the `*`, as in `*.example.com`");
            }
            (Self::Suffix(rest.to_owned()), rest)
        } else if let Some(rest) = text.strip_suffix('*') {
            if !rest.ends_with('.') {
                return because("write a `.` before the `*`, as in `www.*`");
            }
            (Self::Prefix(rest.to_owned()), rest)
        } else {
            (Self::Exact(text.clone()), text.as_str())
        };
        if !whole(rest) || !rest.bytes().all(plain) {
            return Err(Wrong::Form);
        }
        Ok(domain)
    }
    fn hole() -> Self {
        Self::Exact(String::new())
    }
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(token)
}

fn clean(text: &str) -> Result<String, Wrong> {
    if text.contains(['\r', '\n', '\0']) {
        return because(
            "leave line breaks and NUL out of this value: they would split the message",
        );
    }
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return because("leave control characters out of this value");
    }
    Ok(text.to_owned())
}

/// Fields that the proxy itself writes, because they frame the message or concern one hop (RFC 9110 §7.6.1).
const OWN_FIELDS: &[&str] = &[
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

text_leaf!(
    /// A field's name to match, lower case.
    FieldName,
    "header name",
    "a header name such as `x-team`",
    |text| {
        if text.starts_with(':') {
            return because("write a header name; match the host with `domains`, the path with `path`");
        }
        is_token(text)
            .then(|| text.to_ascii_lowercase())
            .ok_or(Wrong::Form)
    }
);

text_leaf!(
    /// A field's name to change, as it is to be written.
    ChangedField,
    "header name",
    "a header name such as `x-team`",
    |text| {
        if !is_token(text) {
            return Err(Wrong::Form);
        }
        if OWN_FIELDS.contains(&text.to_ascii_lowercase().as_str()) {
            return because("this header cannot be changed: the proxy writes it itself to frame the message");
        }
        if text.eq_ignore_ascii_case("host") {
            return because("the host is changed by the route's `rewrite: {host: ...}`, not as a header");
        }
        Ok(text.to_owned())
    }
);

text_leaf!(
    /// A field's value.
    FieldValue,
    "text",
    "a text without line breaks",
    clean
);

text_leaf!(
    /// A method.
    Method,
    "method",
    "a method such as `GET`",
    |text| {
        if !is_token(text) {
            return Err(Wrong::Form);
        }
        if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return because("write methods in capitals, such as `GET`: they are compared case by case");
        }
        if text == "CONNECT" {
            return because("leave `CONNECT` out: it is refused before routes are asked");
        }
        Ok(text.to_owned())
    }
);

text_leaf!(
    /// A path, as a request's.
    UrlPath,
    "URL path",
    "a path that begins with `/`",
    |text| {
        if text.contains(['?', '#']) {
            return because("write the path without `?` and `#`: match queries with `query`");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return because("write spaces and characters beyond ASCII in a path as %XX");
        }
        text.starts_with('/')
            .then(|| text.to_owned())
            .ok_or(Wrong::Form)
    }
);

text_leaf!(
    /// Host with or without a port, as in a `Host` field.
    Authority,
    "host",
    "a host such as `example.com` or `example.com:8443`",
    |text| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
        let fits = !text.is_empty() && text.len() <= 255 && text.bytes().all(plain);
        fits.then(|| text.to_owned()).ok_or(Wrong::Form)
    }
);

text_leaf!(
    /// A token.
    Token,
    "token",
    "a word of letters, digits and `-`",
    |text| is_token(text).then(|| text.to_owned()).ok_or(Wrong::Form)
);

text_leaf!(
    /// A regular expression; compiled when a snapshot is built.
    Regex,
    "regular expression",
    "a regular expression such as `/v[0-9]+/.*`",
    |text| {
        if text.is_empty() {
            return Err(Wrong::Form);
        }
        Ok(text.to_owned())
    }
);

text_leaf!(
    /// A text that is not empty.
    Filled,
    "text",
    "a text that is not empty",
    |text| (!text.is_empty()).then(|| text.to_owned()).ok_or(Wrong::Form)
);

text_leaf!(
    /// An access log's format.
    LogText,
    "log format",
    "a log format such as `%RESPONSE_CODE% %DURATION%`",
    |text| {
        if text.is_empty() {
            return Err(Wrong::Form);
        }
        Ok(text.to_owned())
    }
);

/// The mode of a Unix socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode(pub u32);

impl Leaf for Mode {
    const FORM: Form = Form {
        name: "mode",
        what: "permissions in quotes, such as \"0660\"",
    };
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let mode = u32::from_str_radix(digits, 8).map_err(|_| Wrong::Form)?;
        (mode <= 0o777 && digits.len() >= 3)
            .then_some(Self(mode))
            .ok_or(Wrong::Form)
    }
    fn hole() -> Self {
        Self(UNIX_MODE)
    }
}
