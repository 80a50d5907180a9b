//! The answer that sends a client elsewhere.

use bytes::Bytes;
use ringway_config::{self as config, RedirectPath};
use ringway_protocols::Fields;
use ringway_protocols::message::RequestHead;

use super::Matched;
use super::action::{DIRECT_RESPONSE, NO_HOST, is_authority};
use super::hosts::without_port;
use super::normalize::split_query;
use super::rewrite::{check_path, join};
use crate::request::LocalReply;

/// A compiled redirect. What is absent stays as the request has it.
#[derive(Clone, Debug)]
pub struct Redirect {
    code: u16,
    scheme: Option<Box<str>>,
    host: Option<Box<str>>,
    path: Path,
    strip_query: bool,
}

#[derive(Clone, Debug)]
enum Path {
    Same,
    /// A whole path, which may bring a query of its own.
    Full(Box<str>),
    Prefix {
        matched: Box<[u8]>,
        to: Box<str>,
    },
}

impl Redirect {
    /// Compiles a redirect; the error is the key that is wrong (with its dot) and why.
    pub(super) fn build(
        redirect: &config::Redirect,
        matched: &Matched,
    ) -> Result<Self, (&'static str, String)> {
        if redirect.scheme.is_none() && redirect.host.is_none() && redirect.path.is_none() {
            return Err((
                "",
                "this sends the client where it is; say `scheme`, `host`, `path` or `prefix`"
                    .to_owned(),
            ));
        }
        if !matches!(redirect.code, 301 | 302 | 303 | 307 | 308) {
            return Err((
                ".code",
                "the code of a redirect is 301, 302, 303, 307 or 308".to_owned(),
            ));
        }
        if redirect
            .scheme
            .as_deref()
            .is_some_and(|scheme| scheme != "http" && scheme != "https")
        {
            return Err((".scheme", "a scheme is `http` or `https`".to_owned()));
        }
        if redirect
            .host
            .as_deref()
            .is_some_and(|host| !is_authority(host))
        {
            return Err((".host", NO_HOST.to_owned()));
        }
        let path = match &redirect.path {
            None => Path::Same,
            Some(RedirectPath::Full(text)) => {
                let path = text.split_once('?').map_or(text.as_str(), |(path, _)| path);
                let sound = text
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && byte != b'#');
                check_path(path).map_err(|message| (".path", message))?;
                sound.then_some(()).ok_or((
                    ".path",
                    "a query here holds no space and no `#`; percent-encode them".to_owned(),
                ))?;
                Path::Full(text.as_str().into())
            }
            Some(RedirectPath::Prefix(to)) => {
                check_path(to).map_err(|message| (".prefix", message))?;
                let Matched::Literal(literal) = matched else {
                    return Err((
                        ".prefix",
                        "what a `regex` matched is no prefix; write `path`".to_owned(),
                    ));
                };
                Path::Prefix {
                    matched: literal.clone(),
                    to: to.as_str().into(),
                }
            }
        };
        Ok(Self {
            code: redirect.code,
            scheme: redirect.scheme.as_deref().map(Into::into),
            host: redirect.host.as_deref().map(Into::into),
            path,
            strip_query: redirect.strip_query,
        })
    }

    /// The answer to a request that came by `scheme`.
    pub(super) fn reply(&self, head: &RequestHead, scheme: &str) -> LocalReply {
        let mut fields = Fields::new();
        fields.push("location", self.location(head, scheme));
        LocalReply {
            status: self.code,
            fields,
            body: Bytes::new(),
            details: DIRECT_RESPONSE,
            flag: "-",
        }
    }

    fn location(&self, head: &RequestHead, scheme: &str) -> Bytes {
        let mut out = Vec::with_capacity(head.authority.len() + head.target.len() + 64);
        let to = self.scheme.as_deref().unwrap_or(scheme);
        let authority = match &self.host {
            Some(host) => host.as_bytes(),
            // One port does not speak both schemes, so the port goes with the scheme that it belonged to.
            None if to != scheme => without_port(&head.authority),
            None => &head.authority,
        };
        // An HTTP/1.0 request may name no host; then the answer can only be relative.
        if !authority.is_empty() {
            out.extend_from_slice(to.as_bytes());
            out.extend_from_slice(b"://");
            out.extend_from_slice(authority);
        }
        let start = out.len();
        self.path(&head.target, &mut out);
        if start == 0 {
            // `//x` alone would be a reference to the host `x` (RFC 3986 §4.2).
            let slashes = out.iter().take_while(|byte| **byte == b'/').count();
            out.drain(..slashes.saturating_sub(1));
        }
        Bytes::from(out)
    }

    fn path(&self, target: &[u8], out: &mut Vec<u8>) {
        let (path, query) = split_query(target);
        // `*` names no path to come back to.
        let path = if path == b"*" { b"/" } else { path };
        let mut query = if self.strip_query { b"" } else { query };
        match &self.path {
            Path::Same => out.extend_from_slice(path),
            Path::Full(text) => {
                if text.contains('?') {
                    query = b"";
                }
                out.extend_from_slice(text.as_bytes());
            }
            Path::Prefix { matched, to } => match path.strip_prefix(&**matched) {
                Some(rest) => join(to.as_bytes(), rest, out),
                None => out.extend_from_slice(path),
            },
        }
        out.extend_from_slice(query);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::sample;

    fn redirect(
        scheme: Option<&str>,
        host: Option<&str>,
        path: Option<RedirectPath>,
    ) -> config::Redirect {
        config::Redirect {
            scheme: scheme.map(str::to_owned),
            host: host.map(str::to_owned),
            path,
            code: 302,
            strip_query: false,
        }
    }

    fn check(redirect: &config::Redirect, authority: &str, target: &str, expect: &str) {
        let matched = Matched::Literal(b"/old".as_slice().into());
        let mut head = sample("GET", target, &[]).head;
        head.authority = Bytes::copy_from_slice(authority.as_bytes());
        let reply = Redirect::build(redirect, &matched)
            .unwrap()
            .reply(&head, "http");
        let location = reply.fields.get(b"location").unwrap();
        assert_eq!(String::from_utf8_lossy(location), expect, "{redirect:?}");
    }

    #[test]
    fn what_is_not_said_stays() {
        let full = |text: &str| Some(RedirectPath::Full(text.to_owned()));
        let prefix = |text: &str| Some(RedirectPath::Prefix(text.to_owned()));
        let https = redirect(Some("https"), None, None);
        check(&https, "a.test", "/x?y", "https://a.test/x?y");
        check(&https, "a.test:80", "/x", "https://a.test/x");
        check(&https, "a.test:8080", "/", "https://a.test/");
        check(&https, "[::1]:80", "/", "https://[::1]/");
        check(&https, "[::1]", "/", "https://[::1]/");
        check(&https, "a.test", "*", "https://a.test/");
        check(
            &redirect(None, Some("b.test:81"), None),
            "a.test:80",
            "/x",
            "http://b.test:81/x",
        );
        check(
            &redirect(None, None, full("/y")),
            "a.test:81",
            "/x?z",
            "http://a.test:81/y?z",
        );
        check(
            &redirect(None, None, full("/y?w")),
            "a.test",
            "/x?z",
            "http://a.test/y?w",
        );
        check(
            &redirect(None, None, prefix("/new")),
            "a.test",
            "/old/x?z",
            "http://a.test/new/x?z",
        );
        check(
            &redirect(None, None, prefix("/")),
            "a.test",
            "/old/x",
            "http://a.test/x",
        );
        check(
            &redirect(None, None, prefix("/")),
            "a.test",
            "/old",
            "http://a.test/",
        );
        let stripped = config::Redirect {
            strip_query: true,
            ..redirect(None, Some("b.test"), None)
        };
        check(&stripped, "a.test", "/x?z", "http://b.test/x");
    }

    #[test]
    fn without_a_host_it_names_no_other() {
        let same = redirect(
            Some("https"),
            None,
            Some(RedirectPath::Prefix("/".to_owned())),
        );
        check(&same, "", "/old//evil.test/", "/evil.test/");
        check(&same, "", "/old", "/");
    }

    #[test]
    fn redirects_that_lead_nowhere_are_refused() {
        let matched = Matched::Regex;
        let full = |text: &str| redirect(None, None, Some(RedirectPath::Full(text.to_owned())));
        for (redirect, key) in [
            (redirect(None, None, None), ""),
            (
                config::Redirect {
                    code: 300,
                    ..full("/")
                },
                ".code",
            ),
            (redirect(Some("ftp"), None, None), ".scheme"),
            (redirect(None, Some("a b"), None), ".host"),
            (redirect(None, Some("a/b"), None), ".host"),
            (full("x"), ".path"),
            (full("/\r\nx: y"), ".path"),
            (full("/?a#b"), ".path"),
            (
                redirect(None, None, Some(RedirectPath::Prefix("/x".to_owned()))),
                ".prefix",
            ),
        ] {
            assert_eq!(
                Redirect::build(&redirect, &matched).unwrap_err().0,
                key,
                "{redirect:?}"
            );
        }
    }
}
