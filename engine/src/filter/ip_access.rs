//! `ip_access`: who may come in, by the client's address.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use ringway_config::filters::IpAccess;
use serde_json::Value;

use super::{Filter, FilterSpec, Flow, Parsed, Step};
use crate::request::{LocalReply, RequestCx};
use crate::rng::Rng;

struct Spec {
    /// `None`: all that are not denied may come in.
    allow: Option<Ranges>,
    deny: Ranges,
}

struct Access<'a>(&'a Spec);

pub(super) fn parse(value: &Value) -> Parsed {
    let config = IpAccess::parse(value)?;
    Ok(Arc::new(Spec {
        allow: (!config.allow.is_empty()).then(|| Ranges::new(&config.allow)),
        deny: Ranges::new(&config.deny),
    }))
}

impl Spec {
    /// `deny` is asked first. A client without an address (on a Unix socket) is in no range, so an `allow` list keeps it out.
    fn admits(&self, client: Option<IpAddr>) -> bool {
        let within = |ranges: &Ranges| client.is_some_and(|client| ranges.contains(client));
        !within(&self.deny) && self.allow.as_ref().is_none_or(within)
    }
}

impl FilterSpec for Spec {
    fn start<'a>(&'a self, _rng: &'a Rng) -> Box<dyn Filter + 'a> {
        Box::new(Access(self))
    }
}

impl Filter for Access<'_> {
    fn on_request<'a>(&'a mut self, request: &'a mut RequestCx) -> Step<'a> {
        if self.0.admits(request.peer.client) {
            return Step::Now(Flow::Continue);
        }
        let reply = LocalReply::text(403, "ip_access_denied", "access denied\n");
        Step::Now(Flow::Respond(LocalReply {
            flag: "UAEX",
            ..reply
        }))
    }
}

/// Address ranges, sorted and without overlaps, so that a list of thousands costs a binary search.
///
/// IPv4 is kept as IPv4-mapped IPv6 (RFC 4291 §2.5.5.2): a client that comes as `::ffff:192.0.2.1`, as IPv4 clients do on
/// an IPv6 socket, is the same client.
struct Ranges(Box<[(u128, u128)]>);

impl Ranges {
    fn new(nets: &[IpNet]) -> Self {
        let mut all: Vec<(u128, u128)> = nets
            .iter()
            .map(|net| (bits(net.network()), bits(net.broadcast())))
            .collect();
        all.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match merged.last_mut() {
                Some(before) if first <= before.1 => before.1 = before.1.max(last),
                Some(_) | None => merged.push((first, last)),
            }
        }
        Self(merged.into_boxed_slice())
    }

    fn contains(&self, address: IpAddr) -> bool {
        let address = bits(address);
        let after = self.0.partition_point(|(first, _)| *first <= address);
        after
            .checked_sub(1)
            .and_then(|at| self.0.get(at))
            .is_some_and(|(_, last)| address <= *last)
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::testing::finish;
    use crate::filter::{Chain, Registry};
    use crate::request::sample;
    use ringway_config::{Filter, Name};
    use serde_json::json;

    fn check(allow: &[&str], deny: &[&str], cases: &[(&str, bool)]) {
        let mut config = json!({});
        for (key, list) in [("allow", allow), ("deny", deny)] {
            if !list.is_empty() {
                config[key] = json!(list);
            }
        }
        let filter = Filter {
            name: Name::new("ip_access"),
            config,
        };
        let spec = Registry::builtin().build(&filter).unwrap();
        let (chain, rng) = (Chain::new(&[], &[spec]), Rng::new(1));
        for (client, expect) in cases {
            let mut request = sample("GET", "/", &[]);
            request.peer.client = client.parse().ok();
            match finish(chain.start(&rng).on_request(&mut request)) {
                Flow::Continue => assert!(expect, "{client}"),
                Flow::Respond(reply) => {
                    assert!(!expect, "{client}");
                    assert_eq!(
                        (reply.status, reply.details, reply.flag),
                        (403, "ip_access_denied", "UAEX")
                    );
                }
                Flow::Abort => panic!("aborted"),
            }
        }
    }

    #[test]
    fn deny_beats_allow_and_allow_keeps_out_the_rest() {
        check(
            &["10.0.0.0/8", "2001:db8::/32"],
            &["10.1.0.0/16", "10.1.2.0/24", "2001:db8:1::1/128"],
            &[
                ("10.0.0.1", true),
                ("10.1.0.0", false),
                ("10.1.255.255", false),
                ("10.2.0.0", true),
                ("11.0.0.0", false),
                ("9.255.255.255", false),
                ("::ffff:10.0.0.1", true),
                ("::ffff:10.1.2.3", false),
                ("2001:db8::1", true),
                ("2001:db8:1::1", false),
                ("2001:db9::", false),
                ("unix", false),
            ],
        );
    }

    #[test]
    fn without_an_allow_list_all_but_the_denied_come_in() {
        check(
            &[],
            &["::ffff:192.0.2.0/120", "0.0.0.0/32"],
            &[
                ("192.0.2.9", false),
                ("192.0.3.0", true),
                ("0.0.0.0", false),
                ("::1", true),
                ("unix", true),
            ],
        );
        check(
            &[],
            &["0.0.0.0/0"],
            &[
                ("1.2.3.4", false),
                ("::1", true),
                ("255.255.255.255", false),
            ],
        );
        check(
            &["::/0"],
            &[],
            &[("1.2.3.4", true), ("::1", true), ("unix", false)],
        );
    }
}
