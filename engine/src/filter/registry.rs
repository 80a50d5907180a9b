//! The filters that a configuration may name: one list that can be read, handed to whoever builds a snapshot.

use std::sync::Arc;

use ringway_config::{self as config, PathError};
use ringway_protocols::bolt::Bolt;
use ringway_protocols::codec::Codec;
use ringway_protocols::dubbo::Dubbo;
use ringway_protocols::tars::Tars;
use ringway_protocols::thrift::{DubboThrift, Thrift};
use serde_json::Value;

use super::{FilterSpec, fault, grpc_web, headers, ip_access, transcode};

/// What a filter's parser makes of its configuration; paths of errors are relative to it.
pub type Parsed = Result<Arc<dyn FilterSpec>, Vec<PathError>>;

type Parse = fn(&Value) -> Parsed;

/// Filters, and codecs of RPC protocols, by name. A value and never a global: what is not in it does not exist.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    filters: Vec<(&'static str, Parse)>,
    codecs: Vec<Arc<dyn Codec>>,
}

/// The name of a listener's protocol that stands for any that its clients' first bytes are of.
const ANY: &str = "auto";

impl Registry {
    /// A registry without filters.
    pub fn new() -> Self {
        Self::default()
    }

    /// All that come with the proxy.
    pub fn builtin() -> Self {
        Self::new()
            .filter("headers", headers::parse)
            .filter("ip_access", ip_access::parse)
            .filter("fault", fault::parse)
            .filter("grpc_web", grpc_web::parse)
            .filter("transcode", transcode::parse)
            .codec(Bolt)
            .codec(Dubbo)
            .codec(DubboThrift)
            .codec(Tars)
            .codec(Thrift)
    }

    /// Adds a filter, in the place of an earlier one of that name.
    #[must_use]
    pub fn filter(mut self, name: &'static str, parse: Parse) -> Self {
        self.filters.retain(|(known, _)| *known != name);
        self.filters.push((name, parse));
        self
    }

    /// Adds the codec of an RPC protocol, in the place of an earlier one of that name.
    #[must_use]
    pub fn codec(mut self, codec: impl Codec + 'static) -> Self {
        self.codecs.retain(|known| known.name() != codec.name());
        self.codecs.push(Arc::new(codec));
        self
    }

    /// The codec of an upstream's protocol.
    pub(crate) fn codec_of(&self, name: &str) -> Result<Arc<dyn Codec>, String> {
        let found = self.codecs.iter().find(|codec| codec.name() == name);
        found.cloned().ok_or_else(|| self.no_codec(name))
    }

    /// The codecs that a listener's clients may speak.
    pub(crate) fn codecs_of(&self, name: &str) -> Result<Vec<Arc<dyn Codec>>, String> {
        match name {
            ANY => Ok(self.codecs.clone()),
            name => self.codec_of(name).map(|codec| vec![codec]),
        }
    }

    fn no_codec(&self, name: &str) -> String {
        let names = || self.codecs.iter().map(|codec| codec.name());
        let known: Vec<_> = names().map(|name| format!("`{name}`")).collect();
        let known = known.join(", ");
        let all = names().chain(["http", "http1", "http2", ANY]);
        let hint = config::nearest(name, all).map_or_else(String::new, |nearest| {
            format!(": did you mean `{nearest}`?")
        });
        format!("there is no protocol `{name}`{hint}; beside HTTP's there are {known}")
    }

    /// The names, in the order they were added.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.filters.iter().map(|(name, _)| *name)
    }

    /// Parses one filter of a configuration. Paths of errors are relative to the filter's own configuration (`request.set`).
    pub fn build(&self, filter: &config::Filter) -> Parsed {
        let name = filter.name.as_str();
        match self.filters.iter().find(|(known, _)| *known == name) {
            Some((_, parse)) => parse(&filter.config),
            None => Err(vec![PathError::new("", self.unknown(name))]),
        }
    }

    fn unknown(&self, name: &str) -> String {
        let known: Vec<String> = self.names().map(|name| format!("`{name}`")).collect();
        let known = known.join(", ");
        match config::nearest(name, self.names()) {
            Some(nearest) => {
                format!("there is no filter `{name}`; did you mean `{nearest}`? There are {known}")
            }
            None if known.is_empty() => format!("there is no filter `{name}`"),
            None => format!("there is no filter `{name}`; there are {known}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_config::Name;
    use serde_json::json;

    fn errors(name: &str, config: Value) -> Vec<String> {
        let filter = config::Filter {
            name: Name::new(name),
            config,
        };
        match Registry::builtin().build(&filter) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn unknown_filters_are_named_with_what_there_is() {
        const THERE: &str = "`headers`, `ip_access`, `fault`, `grpc_web`, `transcode`";
        assert_eq!(
            errors("header", json!({})),
            [format!(
                "there is no filter `header`; did you mean `headers`? There are {THERE}"
            )]
        );
        assert_eq!(
            errors("cors", json!({})),
            [format!("there is no filter `cors`; there are {THERE}")]
        );
    }

    #[test]
    fn errors_have_their_path() {
        assert_eq!(
            errors("headers", json!({"request": {"set": {"x": "1"}}})),
            [""; 0]
        );
        let found = errors("headers", json!({"request": {"set": {"Host": "1"}}}));
        assert!(found[0].starts_with("request.set.Host: "), "{found:?}");
    }
}
