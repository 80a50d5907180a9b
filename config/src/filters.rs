//! The configurations of the built-in filters, as plain data. `parse` takes what the file says and returns every error
//! at once, with its path inside the filter's own configuration.

use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{HeaderOps, PathError, Percent};

/// `headers`: changes of the fields of requests and answers.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HeadersFilter {
    /// Changes of the request, before it goes on.
    pub request: HeaderOps,
    /// Changes of the answer, before it goes back.
    pub response: HeaderOps,
}

/// `ip_access`: who may come in, by the client's address. `deny` is asked first; where there is an `allow` list, all
/// that it does not hold are refused with 403.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct IpAccess {
    /// Ranges let in; empty: all that are not denied.
    pub allow: Vec<IpNet>,
    /// Ranges refused.
    pub deny: Vec<IpNet>,
}

/// `fault`: delays and errors on purpose, for tests of what depends on the upstream. The delay comes before the abort.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FaultInjection {
    /// Waiting.
    pub delay: Option<FaultDelay>,
    /// Answering with an error.
    pub abort: Option<FaultAbort>,
}

/// A delay of some requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultDelay {
    /// How long (`for` in the file).
    pub duration: Duration,
    /// The share of requests. Default all.
    pub share: Percent,
}

/// An answer in the upstream's stead for some requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultAbort {
    /// Its status, 200 to 599.
    pub status: u16,
    /// The share of requests. Default all.
    pub share: Percent,
}

impl HeadersFilter {
    /// From the file's words; every error has its path inside them.
    pub fn parse(value: &Value) -> Result<Self, Vec<PathError>> {
        let wire: HeadersWire = read(value)?;
        Ok(Self {
            request: wire.request.into(),
            response: wire.response.into(),
        })
    }
}

impl IpAccess {
    /// From the file's words; every error has its path inside them.
    pub fn parse(value: &Value) -> Result<Self, Vec<PathError>> {
        let wire: IpAccessWire = read(value)?;
        Ok(Self {
            allow: wire.allow,
            deny: wire.deny,
        })
    }
}

impl FaultInjection {
    /// From the file's words; every error has its path inside them.
    pub fn parse(value: &Value) -> Result<Self, Vec<PathError>> {
        let wire: FaultWire = read(value)?;
        let delay = match wire.delay {
            None => None,
            Some(delay) => Some(FaultDelay {
                duration: delay
                    .duration
                    .strip_suffix("ms")
                    .and_then(|text| text.parse().ok())
                    .map(Duration::from_millis)
                    .ok_or_else(|| vec![PathError::new("delay.for", "write as in `200ms`")])?,
                share: share(delay.share.as_ref(), "delay.share")?,
            }),
        };
        let abort = match wire.abort {
            None => None,
            Some(abort) => Some(FaultAbort {
                status: abort.status,
                share: share(abort.share.as_ref(), "abort.share")?,
            }),
        };
        Ok(Self { delay, abort })
    }
}

fn share(value: Option<&Value>, path: &str) -> Result<Percent, Vec<PathError>> {
    let number = match value {
        None => Some(100.0),
        Some(Value::String(text)) => text.strip_suffix('%').and_then(|text| text.parse().ok()),
        Some(other) => other.as_f64(),
    };
    number
        .and_then(Percent::new)
        .ok_or_else(|| vec![PathError::new(path, "write 0% to 100%")])
}

fn read<T: for<'de> Deserialize<'de>>(value: &Value) -> Result<T, Vec<PathError>> {
    T::deserialize(value).map_err(|error| vec![PathError::new("", error.to_string())])
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct HeadersWire {
    request: OpsWire,
    response: OpsWire,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct OpsWire {
    add: Map<String, Value>,
    set: Map<String, Value>,
    remove: Vec<String>,
}

impl From<OpsWire> for HeaderOps {
    fn from(wire: OpsWire) -> Self {
        let pairs = |map: Map<String, Value>| {
            map.into_iter()
                .filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())))
                .collect()
        };
        Self {
            add: pairs(wire.add),
            set: pairs(wire.set),
            remove: wire.remove,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct IpAccessWire {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultWire {
    delay: Option<DelayWire>,
    abort: Option<AbortWire>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DelayWire {
    #[serde(rename = "for")]
    duration: String,
    share: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AbortWire {
    status: u16,
    share: Option<Value>,
}
