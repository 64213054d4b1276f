//! The line that announces that a node went down with its users, and its parser. The comparison of
//! transcripts uses the parser.

/// The maximum number of names in the line. Further users are only counted.
const NAMED_MAX: usize = 100;

/// The text between the reason and the names.
const BEFORE: &str = ", and with it ";

/// Returns the line, for example `east is gone, and with it ann, ben`.
pub fn node_down_line(node: &str, reason: &str, names: &[String]) -> String {
    let named = names.len().min(NAMED_MAX);
    let mut words = format!("{node} {reason}{BEFORE}{}", names[..named].join(", "));
    if named < names.len() {
        words.push_str(&format!(" and {} more", names.len() - named));
    }
    words
}

/// Parses such a line. Returns `None` for any other line.
pub fn read_node_down_line(words: &str) -> Option<NodeDownLine<'_>> {
    let (_, names) = words.split_once(BEFORE)?;
    let (names, is_all) = match names.split_once(" and ") {
        Some((names, more)) if more.ends_with(" more") => (names, false),
        Some(_) => return None,
        None => (names, true),
    };
    Some(NodeDownLine { names: names.split(", ").collect(), is_all })
}

/// The users that the line of a downed node names.
#[derive(Debug, PartialEq, Eq)]
pub struct NodeDownLine<'a> {
    /// The names of the users.
    pub names: Vec<&'a str>,
    /// Whether the line names all users of the node.
    pub is_all: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_names_back() {
        let names: Vec<String> = (0..NAMED_MAX).map(|number| format!("n{number}")).collect();
        for count in [1, 2, NAMED_MAX] {
            let words = node_down_line("east", "is gone", &names[..count]);
            let departed = read_node_down_line(&words).unwrap();
            assert_eq!((departed.names.len(), departed.is_all), (count, true), "{words}");
        }
        assert_eq!(
            node_down_line("east", "is gone", &names[..2]),
            "east is gone, and with it n0, n1"
        );
        let many = [names.clone(), names].concat();
        let words = node_down_line("east", "is gone", &many);
        assert!(words.ends_with("n99 and 100 more"));
        assert!(!read_node_down_line(&words).unwrap().is_all);
        assert_eq!(read_node_down_line("tea is ready"), None);
    }
}
