//! Addresses, ranges, and paths of files.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::super::{Cx, Form, Shape};
use super::{Leaf, Wrong, because};
use crate::{AdminAddress, EndpointAddress, ListenAddress, PortRange};

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

/// Some ports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortsText(pub PortRange);

impl PortsText {
    fn of(first: u16, last: u16) -> Option<Self> {
        (1 <= first && first <= last).then_some(Self(PortRange { first, last }))
    }
}

impl Leaf for PortsText {
    const FORM: Form = Form {
        name: "ports",
        what: "a port such as `443`, or a range such as `8000-8999`",
    };
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        let port = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits)
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = port(first).zip(port(last));
        let range = range.and_then(|(first, last)| Self::of(first, last));
        range.ok_or(Wrong::Form)
    }
    fn number(number: f64) -> Option<Self> {
        let whole = number.fract() == 0.0 && (1.0..=f64::from(u16::MAX)).contains(&number);
        whole.then(|| Self::of(number as u16, number as u16))?
    }
    fn numbers() -> Option<Shape> {
        Some(Shape::Integer {
            min: 1,
            max: u64::from(u16::MAX),
        })
    }
    fn hole() -> Self {
        Self(PortRange { first: 1, last: 1 })
    }
}

/// The name of a discovery, with a port where one is written.
#[derive(Clone, Debug)]
pub(crate) struct DnsName {
    pub name: String,
    pub port: Option<u16>,
}

impl Leaf for DnsName {
    const FORM: Form = Form {
        name: "DNS name",
        what: "a name such as `api.internal:8080` or `_http._tcp.api.internal`",
    };
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => {
                let number = port.bytes().all(|byte| byte.is_ascii_digit());
                let port = port.parse().ok().filter(|port| number && *port > 0);
                (name, Some(port.ok_or(Wrong::Form)?))
            }
            None => (text, None),
        };
        if name.parse::<IpAddr>().is_ok() {
            return because("write a name: an address belongs into `endpoints`");
        }
        let name = name.to_ascii_lowercase();
        is_host(&name)
            .then_some(Self { name, port })
            .ok_or(Wrong::Form)
    }
    fn hole() -> Self {
        Self {
            name: String::new(),
            port: None,
        }
    }
}

/// An address that connections come from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BindAddress(pub IpAddr);

impl Leaf for BindAddress {
    const FORM: Form = Form {
        name: "source address",
        what: "an address of this machine without a port, such as `10.0.0.2`",
    };
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        text.parse().map(Self).map_err(|_| Wrong::Form)
    }
    fn hole() -> Self {
        Self(NO_ADDRESS.ip())
    }
}

/// A name server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DnsServer(pub SocketAddr);

/// The port of DNS (RFC 1035 §4.2).
const DNS_PORT: u16 = 53;

impl Leaf for DnsServer {
    const FORM: Form = Form {
        name: "name server",
        what: "an address such as `10.0.0.2`, `10.0.0.2:53` or `[fd00::2]:53`",
    };
    fn parse(text: &str, _: &Cx) -> Result<Self, Wrong> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self(SocketAddr::new(ip, DNS_PORT)));
        }
        let address = socket(text)?;
        if address.port() == 0 {
            return because("write a port from 1 to 65535");
        }
        Ok(Self(address))
    }
    fn hole() -> Self {
        Self(NO_ADDRESS)
    }
}

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
