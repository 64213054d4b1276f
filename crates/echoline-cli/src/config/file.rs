//! Parses the text of a configuration file into tables of keys with their line numbers. Pure.

use std::fmt;

use toml::de::{DeArray, DeTable, DeValue};

/// The contents of a configuration file, in file order.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ConfigFile {
    pub(super) tables: Vec<ConfigTable>,
}

/// The settings of one command.
#[derive(Debug, PartialEq)]
pub(super) struct ConfigTable {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) keys: Vec<ConfigKey>,
}

/// One setting.
#[derive(Debug, PartialEq)]
pub(super) struct ConfigKey {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) value: ConfigValue,
}

/// A value, as it would be typed on the command line.
#[derive(Debug, PartialEq)]
pub(super) enum ConfigValue {
    Switch(bool),
    One(String),
    Many(Vec<String>),
}

/// An error in a configuration file, with its line number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ConfigFileError {
    pub(super) line: usize,
    pub(super) text: String,
}

impl fmt::Display for ConfigFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

impl ConfigFile {
    /// Parses the TOML text of a file.
    pub(super) fn parse(text: &str) -> Result<Self, ConfigFileError> {
        let document = DeTable::parse(text).map_err(|error| {
            let place = error.span().map_or(0, |span| span.start);
            ConfigFileError { line: line(text, place), text: error.message().replace('\n', ", ") }
        })?;
        let tables = in_order(document.get_ref()).into_iter().map(|(name, place, value)| {
            let line = line(text, place);
            let wrong = |words| Err(ConfigFileError { line, text: words });
            match value {
                DeValue::Table(table) => Ok(ConfigTable { name, line, keys: keys(text, table)? }),
                DeValue::Array(_) => wrong(format!(
                    "'{name}' is a list: write one table, [{name}], with all keys in it"
                )),
                _ => wrong(format!(
                    "'{name}' is not in a table: write the table of its command above it, for \
                     example [echo]"
                )),
            }
        });
        Ok(Self { tables: tables.collect::<Result<_, _>>()? })
    }

    /// Returns the settings of one command.
    pub(super) fn table(&self, name: &str) -> Option<&ConfigTable> {
        self.tables.iter().find(|table| table.name == name)
    }
}

fn keys(text: &str, table: &DeTable<'_>) -> Result<Vec<ConfigKey>, ConfigFileError> {
    let keys = in_order(table).into_iter().map(|(name, place, value)| {
        let line = line(text, place);
        let value = match value {
            DeValue::Array(values) => many(values).map(ConfigValue::Many),
            DeValue::Boolean(on) => Ok(ConfigValue::Switch(*on)),
            value => one(value).map(ConfigValue::One),
        };
        match value {
            Ok(value) => Ok(ConfigKey { name, line, value }),
            Err(words) => Err(ConfigFileError { line, text: format!("{name}: {words}") }),
        }
    });
    keys.collect()
}

fn many(values: &DeArray<'_>) -> Result<Vec<String>, String> {
    values.iter().map(|value| one(value.get_ref())).collect()
}

fn one(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Integer(number) => Err(format!("'{}' must be a decimal number", number.as_str())),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(on) => Ok(on.to_string()),
        DeValue::Datetime(_) => Err("this is a date: write text in quotes".to_owned()),
        DeValue::Array(_) => Err("a list cannot contain a list".to_owned()),
        DeValue::Table(_) => Err("this is a table: write KEY = VALUE".to_owned()),
    }
}

/// Returns the name, position and value of each entry of a table in file order, so that the first
/// error in the file is reported.
fn in_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<(String, usize, &'a DeValue<'i>)> {
    let entries = table.iter();
    let mut entries: Vec<_> = entries
        .map(|(key, value)| (key.get_ref().to_string(), key.span().start, value.get_ref()))
        .collect();
    entries.sort_by_key(|(_, place, _)| *place);
    entries
}

/// Returns the line number, from 1, of the byte at `place`.
fn line(text: &str, place: usize) -> usize {
    let before = text.as_bytes().get(..place).unwrap_or(text.as_bytes());
    memchr::memchr_iter(b'\n', before).count() + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tables_keys_and_lines_are_those_of_the_file() {
        let text = "# mine\n[echo]\nlisten = [\"127.0.0.1:1\", '[::1]:2']\nmode = 'raw'\n\n[chat]\n\
                    max-rooms = 10\ncheck = true\nzero.point = 1\n";
        let error = ConfigFile::parse(text).unwrap_err();
        assert_eq!(error.to_string(), "line 9: zero: this is a table: write KEY = VALUE");
        let file = ConfigFile::parse(text.strip_suffix("zero.point = 1\n").unwrap()).unwrap();
        let [echo, chat] = &file.tables[..] else { panic!("{file:?}") };
        assert_eq!((echo.line, echo.keys[0].line, echo.keys[1].line), (2, 3, 4));
        let addresses = ["127.0.0.1:1", "[::1]:2"].map(str::to_owned).to_vec();
        assert_eq!(echo.keys[0].value, ConfigValue::Many(addresses));
        assert_eq!(chat.keys[0].value, ConfigValue::One("10".to_owned()));
        assert_eq!(chat.keys[1].value, ConfigValue::Switch(true));
        assert_eq!(file.table("chat"), Some(chat));
        assert_eq!(file.table("send"), None);
    }

    #[test]
    fn errors_name_their_line() {
        for (text, sentence) in [
            ("listen = 'x'", "line 1: 'listen' is not in a table"),
            ("[[echo]]", "line 1: 'echo' is a list"),
            ("[echo]\nlisten = 0x10", "line 2: listen: '10' must be a decimal number"),
            ("[echo]\nlisten = [['x']]", "line 2: listen: a list cannot contain a list"),
            ("[echo]\nlisten = 2026-01-01", "line 2: listen: this is a date"),
            ("[echo]\n\nlisten = ", "line 3: "),
            ("[echo]\nmode = 'raw'\nmode = 'line'", "line 3: duplicate key"),
            ("[echo", "line 1: "),
        ] {
            let said = ConfigFile::parse(text).unwrap_err().to_string();
            assert!(said.starts_with(sentence), "{text:?}: {said}");
            assert!(!said.contains('\n'), "{text:?}: {said:?}");
        }
    }

    proptest! {
        /// Any file is either parsed or rejected with a one-line error.
        #[test]
        fn no_text_is_too_strange(text in "[\\[\\]=a-c\"'\n. 0-9#{},]{0,60}") {
            if let Err(mistake) = ConfigFile::parse(&text) {
                prop_assert!(mistake.line <= text.lines().count() + 1);
                prop_assert!(!mistake.to_string().contains('\n'));
            }
        }
    }
}
