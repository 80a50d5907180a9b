//! The filters of a route in order, and their run over one request.

use std::sync::Arc;

use bytes::Bytes;
use ringway_protocols::codec::Frame;
use ringway_protocols::message::ResponseHead;

use super::{Answered, Filter, FilterSpec, Flow, Step, Transforms};
use crate::request::{LocalReply, Outcome, RequestCx};
use crate::rng::Rng;

/// The specs that a request of one route meets: those of its listener's chain, then its route's own.
#[derive(Clone, Default)]
pub struct Chain {
    specs: Box<[Arc<dyn FilterSpec>]>,
}

impl Chain {
    /// The filters of a listener's chain, then those of a route.
    pub fn new(chain: &[Arc<dyn FilterSpec>], route: &[Arc<dyn FilterSpec>]) -> Self {
        Self {
            specs: chain.iter().chain(route).cloned().collect(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.specs.is_empty()
    }

    /// The run over one request. Nothing is allocated before the first filter starts.
    pub fn start<'a>(&'a self, rng: &'a Rng) -> Running<'a> {
        Running {
            specs: &self.specs,
            rng,
            started: Vec::new(),
        }
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain")
            .field("len", &self.specs.len())
            .finish()
    }
}

/// Filters on one request. Those that started (none after one that answered) see the answer and the end.
pub struct Running<'a> {
    specs: &'a [Arc<dyn FilterSpec>],
    rng: &'a Rng,
    started: Vec<Box<dyn Filter + 'a>>,
}

impl Running<'_> {
    /// Starts the filters, each with the request, until one does not continue.
    pub async fn on_request(&mut self, request: &mut RequestCx) -> Flow {
        let specs = self.specs;
        self.started.reserve_exact(specs.len());
        for spec in specs {
            let mut filter = spec.start(self.rng);
            let flow = finish(filter.on_request(request)).await;
            self.started.push(filter);
            match flow {
                Flow::Continue => {}
                Flow::Respond(_) | Flow::Abort => return flow,
            }
        }
        Flow::Continue
    }

    /// Shows the answer to the filters in reverse order. One that answers in its stead does so for those before it too:
    /// they see the new head, and what they change in it is in the reply that is returned.
    pub async fn on_response(&mut self, request: &RequestCx, response: &mut ResponseHead) -> Flow {
        let mut instead: Option<LocalReply> = None;
        for filter in self.started.iter_mut().rev() {
            match finish(filter.on_response(request, response)).await {
                Flow::Continue => {}
                Flow::Respond(mut reply) => {
                    response.status = reply.status;
                    response.reason.clear();
                    response.fields = std::mem::take(&mut reply.fields);
                    instead = Some(reply);
                }
                Flow::Abort => return Flow::Abort,
            }
        }
        match instead {
            None => Flow::Continue,
            Some(reply) => Flow::Respond(LocalReply {
                status: response.status,
                fields: std::mem::take(&mut response.fields),
                ..reply
            }),
        }
    }

    /// What changes the request's body, once all filters have let it go on.
    pub fn request_body(&mut self) -> Option<Box<Transforms>> {
        let steps = self.started.iter_mut();
        Transforms::new(steps.filter_map(|filter| filter.request_body()).collect())
    }

    /// How much of the body one of them wants to see whole.
    pub fn wants_body(&self) -> Option<u64> {
        let wanted = self.started.iter().filter_map(|filter| filter.wants_body());
        wanted.min()
    }

    /// Shows the whole body to who wants it, until one does not continue.
    pub fn on_body(&mut self, request: &mut RequestCx, body: &Bytes) -> Flow {
        let wanting = self.started.iter_mut();
        for filter in wanting.filter(|filter| filter.wants_body().is_some()) {
            match filter.on_body(request, body.clone()) {
                Flow::Continue => {}
                flow @ (Flow::Respond(_) | Flow::Abort) => return flow,
            }
        }
        Flow::Continue
    }

    /// What the answer to a call is in HTTP, as the filter says that made the call.
    pub fn on_answer(&mut self, answer: &Frame) -> Option<Answered> {
        let mut all = self.started.iter_mut();
        all.find_map(|filter| filter.on_answer(answer))
    }

    /// What changes the answer's body, once all filters have seen its head.
    pub fn response_body(&mut self) -> Option<Box<Transforms>> {
        let steps = self.started.iter_mut().rev();
        Transforms::new(steps.filter_map(|filter| filter.response_body()).collect())
    }

    /// Tells the filters that it is over.
    pub fn on_end(&mut self, request: &RequestCx, outcome: &Outcome) {
        for filter in &mut self.started {
            filter.on_end(request, outcome);
        }
    }
}

async fn finish(step: Step<'_>) -> Flow {
    match step {
        Step::Now(flow) => flow,
        Step::Later(future) => future.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::testing::{finish as wait, response};
    use crate::request::sample;
    use bytes::Bytes;
    use std::sync::Mutex;

    /// Writes down what it sees under its name; `answer` and `replace` make it speak.
    struct Witness {
        name: &'static str,
        seen: Arc<Mutex<Vec<String>>>,
        answer: bool,
        replace: bool,
    }

    struct Started<'a>(&'a Witness);

    impl FilterSpec for Witness {
        fn start<'a>(&'a self, _rng: &'a Rng) -> Box<dyn Filter + 'a> {
            Box::new(Started(self))
        }
    }

    impl Started<'_> {
        fn note(&self, what: impl std::fmt::Display) {
            self.0
                .seen
                .lock()
                .unwrap()
                .push(format!("{} {what}", self.0.name));
        }
    }

    impl Filter for Started<'_> {
        fn on_request<'a>(&'a mut self, _request: &'a mut RequestCx) -> Step<'a> {
            self.note("request");
            let answer = self.0.answer;
            Step::Later(Box::pin(async move {
                if answer {
                    Flow::Respond(LocalReply::text(403, "x", "no"))
                } else {
                    Flow::Continue
                }
            }))
        }
        fn on_response<'a>(
            &'a mut self,
            _request: &'a RequestCx,
            response: &'a mut ResponseHead,
        ) -> Step<'a> {
            self.note(response.status);
            response.fields.push("seen-by", self.0.name);
            if self.0.replace {
                return Step::Now(Flow::Respond(LocalReply::text(500, "replaced", "new")));
            }
            Step::Now(Flow::Continue)
        }
        fn on_end(&mut self, _request: &RequestCx, outcome: &Outcome) {
            self.note(format_args!("end {}", outcome.status));
        }
    }

    fn run(answer: &[bool], replace: &[bool]) -> (Vec<String>, Flow, Flow) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let specs: Vec<Arc<dyn FilterSpec>> = ["a", "b", "c"]
            .into_iter()
            .zip(answer.iter().zip(replace))
            .map(|(name, (answer, replace))| {
                Arc::new(Witness {
                    name,
                    seen: Arc::clone(&seen),
                    answer: *answer,
                    replace: *replace,
                }) as Arc<dyn FilterSpec>
            })
            .collect();
        let chain = Chain::new(&specs[..1], &specs[1..]);
        let rng = Rng::new(1);
        let mut running = chain.start(&rng);
        let mut request = sample("GET", "/", &[]);
        let first = wait(running.on_request(&mut request));
        let second = wait(running.on_response(&request, &mut response(200)));
        running.on_end(&request, &crate::filter::testing::outcome(200));
        let seen = seen.lock().unwrap().clone();
        (seen, first, second)
    }

    #[test]
    fn answers_go_back_in_reverse() {
        let (seen, first, second) = run(&[false; 3], &[false; 3]);
        assert!(matches!((first, second), (Flow::Continue, Flow::Continue)));
        assert_eq!(
            seen,
            [
                "a request",
                "b request",
                "c request",
                "c 200",
                "b 200",
                "a 200",
                "a end 200",
                "b end 200",
                "c end 200"
            ]
        );
    }

    #[test]
    fn one_that_answers_is_the_last_to_start() {
        let (seen, first, _) = run(&[false, true, false], &[false; 3]);
        assert!(matches!(first, Flow::Respond(reply) if reply.status == 403));
        assert_eq!(
            seen,
            [
                "a request",
                "b request",
                "b 200",
                "a 200",
                "a end 200",
                "b end 200"
            ]
        );
    }

    #[test]
    fn a_replaced_answer_is_what_the_others_see_and_change() {
        let (seen, _, second) = run(&[false; 3], &[false, true, false]);
        assert_eq!(seen[3..6], ["c 200", "b 200", "a 500"]);
        let Flow::Respond(reply) = second else {
            panic!("{second:?}")
        };
        assert_eq!(
            (reply.status, reply.body, reply.details),
            (500, Bytes::from("new"), "replaced")
        );
        assert_eq!(reply.fields.all(b"seen-by").collect::<Vec<_>>(), [b"a"]);
    }

    #[test]
    fn an_empty_chain_allocates_nothing() {
        let chain = Chain::default();
        let rng = Rng::new(1);
        let mut running = chain.start(&rng);
        assert!(matches!(
            wait(running.on_request(&mut sample("GET", "/", &[]))),
            Flow::Continue
        ));
        assert_eq!(running.started.capacity(), 0);
    }
}
