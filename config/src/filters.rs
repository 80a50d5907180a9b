//! The configurations of the built-in filters, as plain data. `parse` takes what the file says and returns every error
//! at once, with its path inside the filter's own configuration.

use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;

use crate::native::{self, FaultRecord, HeadersRecord, IpAccessRecord};
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
        let record: HeadersRecord = native::read_part(value)?;
        Ok(Self {
            request: record.request.into(),
            response: record.response.into(),
        })
    }
}

impl IpAccess {
    /// From the file's words; every error has its path inside them.
    pub fn parse(value: &Value) -> Result<Self, Vec<PathError>> {
        let record: IpAccessRecord = native::read_part(value)?;
        Ok(Self {
            allow: record.allow.0,
            deny: record.deny.0,
        })
    }
}

impl FaultInjection {
    /// From the file's words; every error has its path inside them.
    pub fn parse(value: &Value) -> Result<Self, Vec<PathError>> {
        let record: FaultRecord = native::read_part(value)?;
        Ok(Self {
            delay: record.delay.map(|delay| FaultDelay {
                duration: delay.r#for,
                share: delay.share,
            }),
            abort: record.abort.map(|abort| FaultAbort {
                status: abort.status.u16(),
                share: abort.share,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_the_documented_forms() {
        let headers = HeadersFilter::parse(&json!({
            "request": {"set": {"x-a": "1"}, "remove": ["x-b"]},
            "response": {"add": {"vary": ["a", "b"]}},
        }));
        let headers = headers.unwrap();
        assert_eq!(headers.request.set, [("x-a".to_owned(), "1".to_owned())]);
        assert_eq!(headers.request.remove, ["x-b"]);
        assert_eq!(headers.response.add.len(), 2);

        let access = IpAccess::parse(&json!({"allow": ["10.0.0.0/8", "::1"]})).unwrap();
        assert_eq!(access.allow.len(), 2);

        let fault = json!({"delay": {"for": "200ms", "share": "10%"}, "abort": {"status": 503}});
        let fault = FaultInjection::parse(&fault).unwrap();
        let delay = fault.delay.unwrap();
        assert_eq!(delay.duration, Duration::from_millis(200));
        assert_eq!(delay.share.basis_points(), 1000);
        assert_eq!(fault.abort.unwrap().share, Percent::ALL);
    }

    #[test]
    fn all_errors_come_with_their_paths() {
        let fault = json!({"delay": {"for": "5"}, "abort": {"status": 99, "x": 1}});
        let errors = FaultInjection::parse(&fault).unwrap_err();
        let paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(paths, ["delay.for", "abort", "abort.status"]);
    }
}
