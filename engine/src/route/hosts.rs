//! Which virtual host a request asks for: exact, then the longest suffix, then the longest prefix, then any.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use ringway_config::{Domain, PathError, VirtualHost};

use super::scratch::Scratch;

/// The domains of a table, each with the number of its virtual host.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: HashMap<Box<[u8]>, u32>,
    suffix: Wild,
    prefix: Wild,
    any: Option<u32>,
}

/// Beginnings or ends of hosts, looked up by length, the longest first.
#[derive(Debug, Default)]
struct Wild {
    lengths: Vec<usize>,
    by_text: HashMap<Box<[u8]>, u32>,
}

impl Hosts {
    pub(super) fn build(hosts: &[VirtualHost], errors: &mut Vec<PathError>) -> Self {
        let mut out = Self::default();
        for (number, host) in (0_u32..).zip(hosts) {
            for (at, domain) in host.domains.iter().enumerate() {
                if let Err(message) = out.insert(domain, number) {
                    errors.push(PathError::new(
                        format!("virtual_hosts[{number}].domains[{at}]"),
                        message,
                    ));
                }
            }
        }
        out.suffix.sort();
        out.prefix.sort();
        out
    }

    fn insert(&mut self, domain: &Domain, number: u32) -> Result<(), &'static str> {
        let map = match domain {
            Domain::Any if self.any.is_some() => return Err(TWICE),
            Domain::Any => {
                self.any = Some(number);
                return Ok(());
            }
            Domain::Exact(_) => &mut self.exact,
            Domain::Suffix(_) => &mut self.suffix.by_text,
            Domain::Prefix(_) => &mut self.prefix.by_text,
        };
        match map.entry(text_of(domain)?.into_boxed_slice()) {
            Entry::Occupied(_) => Err(TWICE),
            Entry::Vacant(place) => {
                place.insert(number);
                Ok(())
            }
        }
    }

    /// The virtual host of an authority.
    pub(super) fn find(&self, authority: &[u8]) -> Option<u32> {
        if self.exact.is_empty() && self.suffix.lengths.is_empty() && self.prefix.lengths.is_empty()
        {
            return self.any;
        }
        let host = host_of(authority);
        let mut scratch;
        let host = if host.iter().any(u8::is_ascii_uppercase) {
            scratch = Scratch::new();
            scratch.fill(host.iter().map(u8::to_ascii_lowercase))
        } else {
            host
        };
        self.exact
            .get(host)
            .copied()
            .or_else(|| self.suffix.find(host, |len| host.get(host.len() - len..)))
            .or_else(|| self.prefix.find(host, |len| host.get(..len)))
            .or(self.any)
    }
}

const TWICE: &str =
    "this domain is already in this table; a host can be answered by one virtual host only";

impl Wild {
    fn sort(&mut self) {
        self.lengths = self.by_text.keys().map(|text| text.len()).collect();
        self.lengths.sort_unstable_by(|a, b| b.cmp(a));
        self.lengths.dedup();
    }

    /// The `*` stands for one character at least, so only texts shorter than the host are asked.
    fn find<'a>(&self, host: &[u8], part: impl Fn(usize) -> Option<&'a [u8]>) -> Option<u32> {
        self.lengths
            .iter()
            .filter(|len| **len < host.len())
            .find_map(|len| self.by_text.get(part(*len)?).copied())
    }
}

/// The host of an authority: without the port, and without the dot of a fully qualified name.
fn host_of(authority: &[u8]) -> &[u8] {
    let host = without_port(authority);
    host.strip_suffix(b".").unwrap_or(host)
}

/// An authority without its port. An IPv6 address is in brackets, so a colon before `]` is none of a port.
pub(super) fn without_port(authority: &[u8]) -> &[u8] {
    let after_brackets = memchr::memrchr(b']', authority).unwrap_or(0);
    match memchr::memrchr(b':', authority) {
        Some(colon) if colon >= after_brackets => &authority[..colon],
        Some(_) | None => authority,
    }
}

/// The bytes to look for, or why no host can be so.
fn text_of(domain: &Domain) -> Result<Vec<u8>, &'static str> {
    let text = match domain {
        Domain::Exact(text) | Domain::Suffix(text) => text.strip_suffix('.').unwrap_or(text),
        Domain::Prefix(text) => text,
        Domain::Any => "",
    };
    if text.is_empty() {
        return Err("a domain is not empty; write `*` for all hosts");
    }
    if text.contains(':') && !text.contains('[') {
        return Err("a domain has no port; write the host alone");
    }
    if text
        .bytes()
        .any(|byte| !(0x21..0x7f).contains(&byte) || b"/?#@\\*".contains(&byte))
    {
        return Err("write a host name, `*.suffix`, `prefix.*` or `*`");
    }
    Ok(text.to_ascii_lowercase().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_config::Name;

    fn table(domains: &[&[Domain]]) -> Result<Hosts, Vec<PathError>> {
        let hosts: Vec<VirtualHost> = domains
            .iter()
            .map(|domains| VirtualHost {
                name: Name::new("x"),
                domains: domains.to_vec(),
                routes: Vec::new(),
            })
            .collect();
        let mut errors = Vec::new();
        let hosts = Hosts::build(&hosts, &mut errors);
        if errors.is_empty() {
            Ok(hosts)
        } else {
            Err(errors)
        }
    }

    fn exact(text: &str) -> Domain {
        Domain::Exact(text.to_owned())
    }
    fn suffix(text: &str) -> Domain {
        Domain::Suffix(text.to_owned())
    }
    fn prefix(text: &str) -> Domain {
        Domain::Prefix(text.to_owned())
    }

    #[test]
    fn exact_beats_suffix_beats_prefix_beats_any() {
        let hosts = table(&[
            &[Domain::Any],
            &[exact("www.example.com"), exact("[::1]")],
            &[suffix(".example.com")],
            &[suffix(".a.example.com")],
            &[prefix("www.")],
            &[prefix("www.example.")],
        ])
        .unwrap();
        for (authority, expect) in [
            ("www.example.com", 1),
            ("WWW.Example.COM:8080", 1),
            ("www.example.com.", 1),
            ("www.example.com.:80", 1),
            ("b.example.com", 2),
            ("x.a.example.com", 3),
            (".a.example.com", 2),
            (".example.com", 0),
            ("www.org", 4),
            ("www.example.org", 5),
            ("www.", 0),
            ("example.com", 0),
            ("[::1]:80", 1),
            ("[::1]", 1),
            ("[::2]", 0),
            ("", 0),
            (":80", 0),
        ] {
            assert_eq!(
                hosts.find(authority.as_bytes()),
                Some(expect),
                "{authority}"
            );
        }
        let long = format!("{}.EXAMPLE.com", "x".repeat(500));
        assert_eq!(hosts.find(long.as_bytes()), Some(2));
    }

    #[test]
    fn a_host_that_no_domain_takes_is_none() {
        let hosts = table(&[&[exact("a")]]).unwrap();
        assert_eq!(hosts.find(b"b"), None);
        assert_eq!(table(&[]).unwrap().find(b"b"), None);
    }

    #[test]
    fn impossible_domains_are_errors() {
        let errors = table(&[
            &[exact("a"), exact("A."), Domain::Any],
            &[exact("a:80"), suffix(""), Domain::Any, prefix("a b")],
        ])
        .unwrap_err();
        let paths: Vec<&str> = errors.iter().map(|error| &*error.path).collect();
        assert_eq!(
            paths,
            [
                "virtual_hosts[0].domains[1]",
                "virtual_hosts[1].domains[0]",
                "virtual_hosts[1].domains[1]",
                "virtual_hosts[1].domains[2]",
                "virtual_hosts[1].domains[3]",
            ]
        );
    }
}
