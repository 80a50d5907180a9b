//! What becomes of a request, compiled: clusters by weight, and answers that are made once.

use std::sync::Arc;

use bytes::Bytes;
use ringway_config::{self as config, Name, PathError};
use ringway_protocols::Fields;

use super::redirect::Redirect;
use super::rewrite::{self, Rewrite};
use super::{Matched, regexes};
use crate::request::LocalReply;

/// RESPONSE_CODE_DETAILS of what a route answers itself.
pub(super) const DIRECT_RESPONSE: &str = "direct_response";

/// What becomes of a request.
#[derive(Debug)]
pub enum Action {
    /// It goes to a cluster.
    Forward(Forward),
    /// It gets this answer.
    Respond(LocalReply),
    /// It is sent elsewhere: [`Found::redirect`](super::Found::redirect) makes the answer.
    Redirect(Redirect),
}

/// How a request goes to a cluster.
#[derive(Debug)]
pub struct Forward {
    /// Timeouts, retries and the rest, as configured.
    pub config: Arc<config::Forward>,
    /// The clusters and their weights.
    pub clusters: Weighted,
    /// The cluster of `config.mirror`.
    pub mirror: Option<ClusterRef>,
    /// The authority sent upstream, where it is not the client's.
    pub host: Option<Bytes>,
    pub(super) rewrite: Option<Arc<Rewrite>>,
}

/// A cluster that a table refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRef {
    /// Its place in [`Router::clusters`](super::Router::clusters).
    pub index: u32,
    /// Its name.
    pub name: Name,
}

/// Clusters, each with its weight.
#[derive(Debug)]
pub struct Weighted {
    /// Each with the sum of the weights up to its own; none has the weight 0, and there is one at least.
    list: Box<[(u64, ClusterRef)]>,
}

impl Weighted {
    /// The cluster that 64 random bits choose.
    pub fn choose(&self, random: u64) -> &ClusterRef {
        if let [(_, only)] = &*self.list {
            return only;
        }
        let total = self.list.last().map_or(0, |(sum, _)| *sum);
        let point = ((u128::from(random) * u128::from(total)) >> 64) as u64;
        let at = self.list.partition_point(|(sum, _)| *sum <= point);
        &self.list[at.min(self.list.len() - 1)].1
    }

    fn fresh(&self) -> Self {
        Self {
            list: self
                .list
                .iter()
                .map(|(sum, cluster)| (*sum, cluster.fresh()))
                .collect(),
        }
    }
}

impl ClusterRef {
    fn fresh(&self) -> Self {
        Self {
            index: self.index,
            name: fresh_name(&self.name),
        }
    }
}

impl Action {
    /// The same, with nothing whose count of references is another core's.
    pub(super) fn for_core(&self) -> Self {
        match self {
            Self::Forward(forward) => Self::Forward(Forward {
                config: Arc::clone(&forward.config),
                clusters: forward.clusters.fresh(),
                mirror: forward.mirror.as_ref().map(ClusterRef::fresh),
                host: forward.host.as_deref().map(Bytes::copy_from_slice),
                rewrite: forward.rewrite.clone(),
            }),
            Self::Respond(reply) => Self::Respond(fresh_reply(reply)),
            Self::Redirect(redirect) => Self::Redirect(redirect.clone()),
        }
    }
}

pub(super) fn fresh_name(name: &Name) -> Name {
    Name::new(name.as_str())
}

fn fresh_reply(reply: &LocalReply) -> LocalReply {
    let mut fields = Fields::new();
    for field in reply.fields.iter() {
        fields.push(
            Bytes::copy_from_slice(field.name),
            Bytes::copy_from_slice(field.value),
        );
    }
    LocalReply {
        fields,
        body: Bytes::copy_from_slice(&reply.body),
        ..*reply
    }
}

/// Compiles actions; every error goes to `errors`.
pub(super) struct Builder<'a> {
    pub(super) strict: bool,
    pub(super) clusters: &'a mut Vec<Name>,
    pub(super) regexes: &'a mut regexes::Collector,
    pub(super) errors: &'a mut Vec<PathError>,
}

impl Builder<'_> {
    /// `None` where something is wrong.
    pub(super) fn build(
        &mut self,
        action: &config::Action,
        matched: &Matched,
        place: &str,
    ) -> Option<Action> {
        match action {
            config::Action::Forward(forward) => {
                self.forward(forward, matched, place).map(Action::Forward)
            }
            config::Action::Respond(respond) => {
                let made = respond_with(respond)
                    .map_err(|(key, message)| (format!("respond.{key}"), message));
                self.keep(made, place).map(Action::Respond)
            }
            config::Action::Redirect(redirect) => {
                let made = Redirect::build(redirect, matched);
                let made = made.map_err(|(key, message)| (format!("redirect{key}"), message));
                self.keep(made, place).map(Action::Redirect)
            }
        }
    }

    fn keep<T>(&mut self, made: Result<T, (String, String)>, place: &str) -> Option<T> {
        made.map_err(|(key, message)| {
            self.errors
                .push(PathError::new(format!("{place}.{key}"), message))
        })
        .ok()
    }

    fn forward(
        &mut self,
        forward: &config::Forward,
        matched: &Matched,
        place: &str,
    ) -> Option<Forward> {
        let clusters = self.weighted(&forward.clusters, place);
        let rewrite = match &forward.rewrite.path {
            None => Ok(None),
            Some(path) => rewrite::build(path, matched, self.strict, self.regexes)
                .map(|rewrite| Some(Arc::new(rewrite))),
        };
        let rewrite = rewrite.map_err(|(key, message)| (format!("rewrite.{key}"), message));
        let rewrite = self.keep(rewrite, place);
        let host = match forward.rewrite.host.as_deref() {
            Some(host) if !is_authority(host) => {
                Err(("rewrite.host".to_owned(), NO_HOST.to_owned()))
            }
            other => Ok(other.map(|host| Bytes::copy_from_slice(host.as_bytes()))),
        };
        let host = self.keep(host, place);
        Some(Forward {
            mirror: forward
                .mirror
                .as_ref()
                .map(|mirror| self.cluster(&mirror.cluster)),
            config: Arc::new(forward.clone()),
            clusters: clusters?,
            host: host?,
            rewrite: rewrite?,
        })
    }

    fn weighted(&mut self, clusters: &[config::WeightedCluster], place: &str) -> Option<Weighted> {
        let mut sum = 0;
        let mut list = Vec::with_capacity(clusters.len());
        for cluster in clusters.iter().filter(|cluster| cluster.weight > 0) {
            sum += u64::from(cluster.weight);
            list.push((sum, self.cluster(&cluster.cluster)));
        }
        if list.is_empty() {
            self.errors.push(PathError::new(
                format!("{place}.cluster"),
                "one cluster at least has a weight above 0",
            ));
            return None;
        }
        Some(Weighted {
            list: list.into_boxed_slice(),
        })
    }

    fn cluster(&mut self, name: &Name) -> ClusterRef {
        let known = self.clusters.iter().position(|known| known == name);
        let index = known.unwrap_or_else(|| {
            self.clusters.push(name.clone());
            self.clusters.len() - 1
        });
        ClusterRef {
            index: index as u32,
            name: name.clone(),
        }
    }
}

pub(super) const NO_HOST: &str = "write a host, or a host and a port";

/// Whether a text can be an authority as it is: no white space, no user, nothing of a path.
pub(super) fn is_authority(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"/?#@\\\"<>^`{|}".contains(&byte))
}

/// The answer, or the key that is wrong and why.
fn respond_with(respond: &config::Respond) -> Result<LocalReply, (&'static str, String)> {
    if !(200..=599).contains(&respond.status) {
        return Err(("status", "a status is 200 to 599".to_owned()));
    }
    // RFC 9110 §15.3.5, §15.3.6 and §15.4.5: these answers have no content.
    if matches!(respond.status, 204 | 205 | 304) && !respond.body.is_empty() {
        return Err((
            "body",
            format!("an answer with status {} has no body", respond.status),
        ));
    }
    let content_type = match &respond.content_type {
        Some(text)
            if text
                .bytes()
                .any(|byte| byte != b'\t' && byte.is_ascii_control()) =>
        {
            return Err((
                "content_type",
                "a field's value has no control characters".to_owned(),
            ));
        }
        Some(text) => Some(text.as_str()),
        None => (!respond.body.is_empty()).then_some("text/plain; charset=utf-8"),
    };
    let mut fields = Fields::new();
    if let Some(text) = content_type {
        fields.push("content-type", Bytes::copy_from_slice(text.as_bytes()));
    }
    Ok(LocalReply {
        status: respond.status,
        fields,
        body: Bytes::copy_from_slice(respond.body.as_bytes()),
        details: DIRECT_RESPONSE,
        flag: "-",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn weighted(weights: &[u32]) -> Option<Weighted> {
        let list: Vec<config::WeightedCluster> = (0..)
            .zip(weights)
            .map(|(n, weight)| config::WeightedCluster {
                cluster: Name::new(&format!("c{n}")),
                weight: *weight,
            })
            .collect();
        let mut builder = Builder {
            strict: true,
            clusters: &mut Vec::new(),
            regexes: &mut regexes::Collector::default(),
            errors: &mut Vec::new(),
        };
        builder.weighted(&list, "")
    }

    #[test]
    fn clusters_are_chosen_by_weight() {
        let rng = Rng::new(1);
        let clusters = weighted(&[90, 0, 10, 100]).unwrap();
        let mut seen = std::collections::BTreeMap::<String, u32>::new();
        for _ in 0..100_000 {
            *seen
                .entry(clusters.choose(rng.next()).name.to_string())
                .or_default() += 1;
        }
        for (name, expect) in [("c0", 45_000), ("c2", 5_000), ("c3", 50_000)] {
            assert!(seen[name].abs_diff(expect) < 700, "{seen:?}");
        }
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn the_ends_of_the_range_choose_the_ends() {
        let clusters = weighted(&[u32::MAX, u32::MAX, 1]).unwrap();
        assert_eq!(clusters.choose(0).name.as_str(), "c0");
        assert_eq!(clusters.choose(u64::MAX).name.as_str(), "c2");
        assert_eq!(weighted(&[7]).unwrap().choose(u64::MAX).name.as_str(), "c0");
        assert!(weighted(&[0, 0]).is_none());
    }

    #[test]
    fn answers_without_content_have_no_body() {
        let respond = |status, body: &str| {
            respond_with(&config::Respond {
                status,
                body: body.to_owned(),
                content_type: None,
            })
        };
        assert_eq!(
            respond(200, "ok").unwrap().fields.get(b"content-type"),
            Some(&b"text/plain; charset=utf-8"[..])
        );
        assert!(respond(204, "").unwrap().fields.is_empty());
        assert_eq!(respond(204, "x").unwrap_err().0, "body");
        assert_eq!(respond(100, "").unwrap_err().0, "status");
        assert_eq!(respond(600, "").unwrap_err().0, "status");
    }
}
