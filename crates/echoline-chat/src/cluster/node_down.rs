//! The one line that says that a machine is gone, and who with it: written, and read back by who
//! compares transcripts. Pure.

/// People that are named; beyond it they are counted.
const NAMED_MAX: usize = 100;

/// What stands before the names.
const BEFORE: &str = ", and with it ";

/// The line: `east is gone, and with it ann, ben`.
pub(crate) fn words(machine: &str, reason: &str, names: &[String]) -> String {
    let named = names.len().min(NAMED_MAX);
    let mut words = format!("{machine} {reason}{BEFORE}{}", names[..named].join(", "));
    if named < names.len() {
        words.push_str(&format!(" and {} more", names.len() - named));
    }
    words
}

/// Who is gone by such a line; `None` where it is another.
pub(crate) fn read(words: &str) -> Option<NodeDownLine<'_>> {
    let (_, names) = words.split_once(BEFORE)?;
    let (names, is_all) = match names.split_once(" and ") {
        Some((names, more)) if more.ends_with(" more") => (names, false),
        Some(_) => return None,
        None => (names, true),
    };
    Some(NodeDownLine { names: names.split(", ").collect(), is_all })
}

/// Who is gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NodeDownLine<'a> {
    pub(crate) names: Vec<&'a str>,
    /// Whether nobody else is.
    pub(crate) is_all: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_gone_is_read_back() {
        let names: Vec<String> = (0..NAMED_MAX).map(|number| format!("n{number}")).collect();
        for count in [1, 2, NAMED_MAX] {
            let words = words("east", "is gone", &names[..count]);
            let departed = read(&words).unwrap();
            assert_eq!((departed.names.len(), departed.is_all), (count, true), "{words}");
        }
        assert_eq!(words("east", "is gone", &names[..2]), "east is gone, and with it n0, n1");
        let many = [names.clone(), names].concat();
        let words = words("east", "is gone", &many);
        assert!(words.ends_with("n99 and 100 more"));
        assert!(!read(&words).unwrap().is_all);
        assert_eq!(read("tea is ready"), None);
    }
}
