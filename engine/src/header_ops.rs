//! Changes of a message's fields, compiled: of a route, and of the `headers` filter.
//!
//! One buffer is filled per message with all names and values, and the new fields are slices of it: two allocations
//! however many lines, and no count of references that cores would share.

use bytes::Bytes;
use ringway_config::{self as config, PathError};
use ringway_protocols::message::ResponseHead;
use ringway_protocols::{FieldId, Fields};

use crate::observe::access_log::{Template, When};
use crate::request::RequestCx;

/// `remove`, then `set`, then `add`. Values are rendered before anything changes, so `%REQ(x)%` is what the client sent
/// even where `x` is removed.
#[derive(Debug, Default)]
pub struct HeaderOps {
    remove: Box<[Box<[u8]>]>,
    lines: Box<[Line]>,
}

#[derive(Debug)]
struct Line {
    how: How,
    name: Box<[u8]>,
    value: Template,
}

#[derive(Clone, Copy, Debug)]
enum How {
    /// In the place of all lines of that name.
    Set,
    /// After all lines.
    Add,
}

impl HeaderOps {
    /// Compiles what the configuration says at `place`; all that is wrong goes to `errors`.
    pub fn compile(
        ops: &config::HeaderOps,
        when: When,
        place: &str,
        errors: &mut Vec<PathError>,
    ) -> Self {
        for (at, name) in ops.remove.iter().enumerate() {
            if let Err(message) = check_name(name) {
                errors.push(PathError::new(format!("{place}.remove[{at}]"), message));
            }
        }
        let sets = ops.set.iter().map(|line| (How::Set, "set", line));
        let adds = ops.add.iter().map(|line| (How::Add, "add", line));
        let mut lines = Vec::with_capacity(ops.set.len() + ops.add.len());
        for (how, key, (name, value)) in sets.chain(adds) {
            let place = format!("{place}.{key}.{name}");
            if let Err(message) = check_name(name) {
                errors.push(PathError::new(&place, message));
            }
            match Template::compile(value, when) {
                Ok(value) => lines.push(Line {
                    how,
                    name: name.as_bytes().into(),
                    value,
                }),
                Err(all) => errors.extend(
                    all.iter()
                        .map(|error| PathError::new(&place, error.to_string())),
                ),
            }
        }
        Self {
            remove: ops
                .remove
                .iter()
                .map(|name| name.as_bytes().into())
                .collect(),
            lines: lines.into_boxed_slice(),
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.lines.is_empty()
    }

    /// Changes the request's fields.
    pub fn apply_request(&self, request: &mut RequestCx) {
        if self.is_empty() {
            return;
        }
        let rendered = self.render(request, None);
        self.apply(&mut request.head.fields, &rendered);
    }

    /// Changes the answer's fields.
    pub fn apply_response(&self, request: &RequestCx, response: &mut ResponseHead) {
        if self.is_empty() {
            return;
        }
        let rendered = self.render(request, Some(response));
        self.apply(&mut response.fields, &rendered);
    }

    fn render(&self, request: &RequestCx, response: Option<&ResponseHead>) -> Rendered {
        let mut text = Vec::new();
        let mut ends = Vec::with_capacity(self.lines.len());
        for line in &self.lines {
            text.extend_from_slice(&line.name);
            let name = text.len();
            line.value.render_value(request, response, &mut text);
            ends.push((name, text.len()));
        }
        Rendered {
            text: Bytes::from(text),
            ends,
        }
    }

    fn apply(&self, fields: &mut Fields, rendered: &Rendered) {
        for name in &self.remove {
            fields.remove(name);
        }
        let mut start = 0;
        for (line, (middle, end)) in self.lines.iter().zip(&rendered.ends) {
            let name = rendered.text.slice(start..*middle);
            let value = rendered.text.slice(*middle..*end);
            start = *end;
            // A value whose operators had nothing to say is no line at all.
            let nothing = value.is_empty() && line.value.literal().is_none();
            match (line.how, nothing) {
                (How::Set, true) => {
                    fields.remove(&name);
                }
                (How::Add, true) => {}
                (How::Set, false) => fields.set(name, value),
                (How::Add, false) => fields.push(name, value),
            }
        }
    }
}

struct Rendered {
    text: Bytes,
    /// Of each line the end of its name and of its value.
    ends: Vec<(usize, usize)>,
}

/// The framing of a message and the care of a connection are the proxy's: a wrong word there is request smuggling.
fn check_name(name: &str) -> Result<(), &'static str> {
    match FieldId::of(name.as_bytes()) {
        FieldId::Host => {
            Err("`host` is no field of the message here; write `rewrite: { host: … }`")
        }
        FieldId::Connection
        | FieldId::ContentLength
        | FieldId::KeepAlive
        | FieldId::ProxyConnection
        | FieldId::Te
        | FieldId::Trailer
        | FieldId::TransferEncoding
        | FieldId::Upgrade => Err("the proxy itself writes this field; it cannot be changed"),
        FieldId::ContentType
        | FieldId::Date
        | FieldId::Expect
        | FieldId::ProxyAuthenticate
        | FieldId::Server
        | FieldId::UserAgent
        | FieldId::Via
        | FieldId::XEnvoyUpstreamRqTimeoutMs
        | FieldId::XForwardedClientCert
        | FieldId::XForwardedFor
        | FieldId::XForwardedHost
        | FieldId::XForwardedProto
        | FieldId::XRequestId
        | FieldId::Other => is_token(name)
            .then_some(())
            .ok_or("this is no field name (RFC 9110 §5.1)"),
    }
}

fn is_token(name: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_tchar)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::sample;

    fn ops(add: &[(&str, &str)], set: &[(&str, &str)], remove: &[&str]) -> config::HeaderOps {
        let lines = |lines: &[(&str, &str)]| {
            lines
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        config::HeaderOps {
            add: lines(add),
            set: lines(set),
            remove: remove.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn check(ops: &config::HeaderOps, before: &[(&str, &str)], after: &[(&str, &str)]) {
        let mut errors = Vec::new();
        let ops = HeaderOps::compile(ops, When::Request, "x", &mut errors);
        assert_eq!(errors, []);
        let mut request = sample("GET", "/a?b", before);
        ops.apply_request(&mut request);
        let got: Vec<(String, String)> = request
            .head
            .fields
            .iter()
            .map(|field| {
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                (text(field.name), text(field.value))
            })
            .collect();
        let got: Vec<(&str, &str)> = got
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        assert_eq!(got, after);
    }

    #[test]
    fn removes_then_sets_then_adds() {
        check(
            &ops(&[("a", "3"), ("b", "4")], &[("B", "2"), ("c", "")], &["A"]),
            &[("a", "0"), ("b", "0"), ("x", "0"), ("b", "1"), ("A", "1")],
            &[("B", "2"), ("x", "0"), ("c", ""), ("a", "3"), ("b", "4")],
        );
    }

    #[test]
    fn values_are_those_from_before() {
        check(
            &ops(
                &[("p", "100%%")],
                &[("y", "<%REQ(x)%>"), ("z", "%REQ(none)%")],
                &["x"],
            ),
            &[("x", "1"), ("z", "old")],
            &[("y", "<1>"), ("p", "100%")],
        );
    }

    #[test]
    fn what_the_proxy_owns_is_refused() {
        let ops = ops(
            &[("Host", "x"), ("ok", "%NONSENSE%"), ("b", "a\r\nb")],
            &[("content-Length", "1"), ("a b", "1")],
            &["transfer-encoding", "", "fine"],
        );
        let mut errors = Vec::new();
        HeaderOps::compile(&ops, When::Request, "h", &mut errors);
        let paths: Vec<&str> = errors.iter().map(|error| &*error.path).collect();
        assert_eq!(
            paths,
            [
                "h.remove[0]",
                "h.remove[1]",
                "h.set.content-Length",
                "h.set.a b",
                "h.add.Host",
                "h.add.ok",
                "h.add.b"
            ]
        );
    }
}
