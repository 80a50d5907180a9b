//! `headers`: changes of the fields of requests and answers, at the filter's place in the chain.

use std::sync::Arc;

use ringway_config::filters::HeadersFilter;
use ringway_protocols::message::ResponseHead;
use serde_json::Value;

use super::{Filter, FilterSpec, Flow, Parsed, Step};
use crate::header_ops::HeaderOps;
use crate::observe::access_log::When;
use crate::request::RequestCx;
use crate::rng::Rng;

struct Spec {
    request: HeaderOps,
    response: HeaderOps,
}

struct Headers<'a>(&'a Spec);

pub(super) fn parse(value: &Value) -> Parsed {
    let config = HeadersFilter::parse(value)?;
    let mut errors = Vec::new();
    let spec = Spec {
        request: HeaderOps::compile(&config.request, When::Request, "request", &mut errors),
        response: HeaderOps::compile(&config.response, When::Response, "response", &mut errors),
    };
    if errors.is_empty() {
        Ok(Arc::new(spec))
    } else {
        Err(errors)
    }
}

impl FilterSpec for Spec {
    fn start<'a>(&'a self, _rng: &'a Rng) -> Box<dyn Filter + 'a> {
        Box::new(Headers(self))
    }
}

impl Filter for Headers<'_> {
    fn on_request<'a>(&'a mut self, request: &'a mut RequestCx) -> Step<'a> {
        self.0.request.apply_request(request);
        Step::Now(Flow::Continue)
    }

    fn on_response<'a>(
        &'a mut self,
        request: &'a RequestCx,
        response: &'a mut ResponseHead,
    ) -> Step<'a> {
        self.0.response.apply_response(request, response);
        Step::Now(Flow::Continue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::testing::{finish, response};
    use crate::filter::{Chain, Registry};
    use crate::request::sample;
    use ringway_config::{Filter, Name};
    use serde_json::json;

    #[test]
    fn changes_both_ways() {
        let filter = Filter {
            name: Name::new("headers"),
            config: json!({
                "request": { "set": { "x-from": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%" }, "remove": ["cookie"] },
                "response": { "add": { "x-status": "%RESPONSE_CODE%" } },
            }),
        };
        let spec = Registry::builtin().build(&filter).unwrap();
        let (chain, rng) = (Chain::new(&[spec], &[]), Rng::new(1));
        let mut running = chain.start(&rng);
        let mut request = sample("GET", "/", &[("Cookie", "a"), ("x-from", "forged")]);
        finish(running.on_request(&mut request));
        assert_eq!(request.head.fields.get(b"cookie"), None);
        assert_eq!(request.head.fields.get(b"x-from"), Some(&b"127.0.0.1"[..]));
        let mut answer = response(418);
        finish(running.on_response(&request, &mut answer));
        assert_eq!(answer.fields.get(b"x-status"), Some(&b"418"[..]));
    }
}
