//! The filters that a configuration may name: one list that can be read, handed to whoever builds a snapshot.

use std::sync::Arc;

use ringway_config::{self as config, PathError};
use serde_json::Value;

use super::{FilterSpec, fault, grpc_web, headers, ip_access};

/// What a filter's parser makes of its configuration; paths of errors are relative to it.
pub type Parsed = Result<Arc<dyn FilterSpec>, Vec<PathError>>;

type Parse = fn(&Value) -> Parsed;

/// Filters by name. A value and never a global: what is not in it does not exist.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    filters: Vec<(&'static str, Parse)>,
}

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
    }

    /// Adds a filter, in the place of an earlier one of that name.
    #[must_use]
    pub fn filter(mut self, name: &'static str, parse: Parse) -> Self {
        self.filters.retain(|(known, _)| *known != name);
        self.filters.push((name, parse));
        self
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
        const THERE: &str = "`headers`, `ip_access`, `fault`, `grpc_web`";
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
