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
        let known: Vec<_> = self
            .codecs
            .iter()
            .map(|codec| format!("`{}`", codec.name()))
            .collect();
        let nearest = self.codecs.iter().map(|codec| codec.name());
        let nearest = nearest.chain(["http", "http1", "http2", ANY]);
        let nearest = nearest.map(|known| (distance(name, known), known)).min();
        let hint = match nearest {
            Some((slips, nearest)) if slips * 3 <= nearest.len() => {
                format!(": did you mean `{nearest}`?")
            }
            Some(_) | None => String::new(),
        };
        format!(
            "there is no protocol `{name}`{hint}; beside HTTP's there are {}",
            known.join(", ")
        )
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

    /// Parses a list of filters, all errors at once; paths are relative to the list (`[1].abort`).
    pub fn build_all(
        &self,
        filters: &[config::Filter],
    ) -> Result<Vec<Arc<dyn FilterSpec>>, Vec<PathError>> {
        let mut specs = Vec::with_capacity(filters.len());
        let mut errors = Vec::new();
        for (at, filter) in filters.iter().enumerate() {
            match self.build(filter) {
                Ok(spec) => specs.push(spec),
                Err(all) => {
                    errors.extend(all.into_iter().map(|error| error.below(&format!("[{at}]"))))
                }
            }
        }
        if errors.is_empty() {
            Ok(specs)
        } else {
            Err(errors)
        }
    }

    fn unknown(&self, name: &str) -> String {
        let known: Vec<String> = self.names().map(|name| format!("`{name}`")).collect();
        let known = known.join(", ");
        let nearest = self
            .names()
            .map(|known| (distance(name, known), known))
            .min();
        match nearest {
            // A third of the letters wrong is a slip; more is another word.
            Some((slips, nearest)) if slips * 3 <= nearest.len() => {
                format!("there is no filter `{name}`; did you mean `{nearest}`? There are {known}")
            }
            Some(_) => format!("there is no filter `{name}`; there are {known}"),
            None => format!("there is no filter `{name}`"),
        }
    }
}

/// Letters to insert, drop or change (Levenshtein 1965).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
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

    #[test]
    fn all_errors_of_a_list_are_told() {
        let filter = |name: &str| config::Filter {
            name: Name::new(name),
            config: json!({}),
        };
        let errors = Registry::builtin()
            .build_all(&[filter("a"), filter("headers"), filter("b")])
            .err()
            .unwrap();
        let paths: Vec<&str> = errors.iter().map(|error| &*error.path).collect();
        assert_eq!(paths, ["[0]", "[2]"]);
    }

    #[test]
    fn distances_are_the_fewest_changes() {
        for (a, b, expect) in [
            ("", "", 0),
            ("a", "", 1),
            ("fault", "fualt", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expect, "{a} {b}");
        }
    }
}
