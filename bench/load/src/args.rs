//! The command line: `--key value` pairs, all the same to keep the parser out of the way.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use crate::error::LoadError;
use crate::form::Form;

/// The options given.
#[derive(Debug, Default)]
pub(crate) struct Args(BTreeMap<String, String>);

impl Args {
    /// Reads the words after the command.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, LoadError> {
        let mut options = BTreeMap::new();
        while let Some(word) = words.next() {
            let Some(key) = word.strip_prefix("--") else {
                return Err(LoadError::Usage("options begin with `--`"));
            };
            let Some(value) = words.next() else {
                return Err(LoadError::Usage("an option lacks its value"));
            };
            options.insert(key.to_owned(), value);
        }
        Ok(Self(options))
    }

    /// An option that must be there.
    pub(crate) fn need<T: FromStr>(&self, key: &str) -> Result<T, LoadError> {
        self.find(key)?
            .ok_or(LoadError::Usage("an option is missing"))
    }

    /// An option that may be there.
    pub(crate) fn find<T: FromStr>(&self, key: &str) -> Result<Option<T>, LoadError> {
        let parsed = self.0.get(key).map(|text| text.parse());
        parsed
            .transpose()
            .map_err(|_| LoadError::Usage("an option's value makes no sense"))
    }

    /// What is spoken: HTTP/1.1 unless told.
    pub(crate) fn form(&self) -> Result<Form, LoadError> {
        Ok(self.find("form")?.unwrap_or(Form::Http))
    }

    /// Seconds, with a fraction.
    pub(crate) fn seconds(&self, key: &str) -> Result<Duration, LoadError> {
        Duration::try_from_secs_f64(self.need(key)?)
            .map_err(|_| LoadError::Usage("an option's value is no time"))
    }

    /// Numbers parted by commas; none if the option is absent.
    pub(crate) fn list<T: FromStr>(&self, key: &str) -> Result<Vec<T>, LoadError> {
        let Some(text) = self.find::<String>(key)? else {
            return Ok(Vec::new());
        };
        text.split(',')
            .map(|item| item.parse())
            .collect::<Result<_, _>>()
            .map_err(|_| LoadError::Usage("an option's list makes no sense"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, LoadError> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn pairs_are_read_and_odd_words_refused() {
        let args = parse("--rate 5 --cores 0,1").unwrap();
        assert_eq!(args.need::<u32>("rate").unwrap(), 5);
        assert_eq!(args.list::<u32>("cores").unwrap(), [0, 1]);
        assert!(args.find::<u32>("close").unwrap().is_none());
        assert!(parse("--rate").is_err());
        assert!(parse("rate 5").is_err());
        assert!(parse("--rate x").unwrap().need::<u32>("rate").is_err());
    }
}
