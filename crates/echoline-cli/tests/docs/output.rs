//! Compares printed output with a page, and shows the difference.

/// The mask on a page. Within a line it matches any text. Alone on a line, it matches any number of
/// lines.
const MASK: char = '…';

/// Returns the lines of output as a terminal shows them.
pub(crate) fn lines(text: &str) -> Vec<String> {
    text.replace('\r', "").lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Returns the difference between the output on a page and the printed output, if there is one.
///
/// Lines that only the page has begin with `-`, lines that only the output has begin with `+`.
pub(crate) fn difference(shown: &[String], printed: &[String]) -> Option<String> {
    let costs = costs(shown, printed);
    if costs[0][0] == 0 {
        return None;
    }
    let (mut row, mut column) = (0, 0);
    let mut text = String::new();
    while row < shown.len() || column < printed.len() {
        let here = costs[row][column];
        let (sign, line) = if row < shown.len()
            && column < printed.len()
            && is_like(&printed[column], &shown[row])
            && here == costs[row + 1][column + 1]
        {
            (row, column) = (row + 1, column + 1);
            (' ', &printed[column - 1])
        } else if row < shown.len() && here == costs[row + 1][column] + removal(&shown[row]) {
            row += 1;
            (if is_any(&shown[row - 1]) { ' ' } else { '-' }, &shown[row - 1])
        } else {
            column += 1;
            let masked = row < shown.len() && is_any(&shown[row]);
            (if masked { ' ' } else { '+' }, &printed[column - 1])
        };
        text.push_str(&format!("  {sign} {line}\n"));
    }
    Some(text)
}

/// `costs[row][column]` is the least number of lines by which `shown[row..]` and
/// `printed[column..]` differ.
fn costs(shown: &[String], printed: &[String]) -> Vec<Vec<usize>> {
    let mut costs = vec![vec![0; printed.len() + 1]; shown.len() + 1];
    for row in (0..=shown.len()).rev() {
        for column in (0..=printed.len()).rev() {
            let mut choices = Vec::new();
            if let Some(line) = shown.get(row) {
                choices.push(costs[row + 1][column] + removal(line));
                if column < printed.len() && is_like(&printed[column], line) {
                    choices.push(costs[row + 1][column + 1]);
                }
            }
            if column < printed.len() {
                let is_masked = shown.get(row).is_some_and(|line| is_any(line));
                choices.push(costs[row][column + 1] + usize::from(!is_masked));
            }
            costs[row][column] = choices.into_iter().min().unwrap_or(0);
        }
    }
    costs
}

fn removal(line: &str) -> usize {
    usize::from(!is_any(line))
}

/// Returns whether a line of a page matches any number of lines.
fn is_any(line: &str) -> bool {
    line.chars().eq([MASK])
}

fn is_like(line: &str, shown: &str) -> bool {
    let shown = shown.trim_end();
    let mut parts = shown.split(MASK);
    let Some(mut rest) = parts.next().and_then(|start| line.strip_prefix(start)) else {
        return false;
    };
    let Some(end) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_text_within_a_line() {
        for (line, shown, is) in [
            ("Echo: hello", "Echo: hello", true),
            ("Echo: hello", "Echo: hell", false),
            ("2026 INFO ready in 3 ms", "…INFO ready in … ms", true),
            ("INFO ready", "… INFO ready", false),
            ("ab", "ab…b", false),
            ("one two three", "one…three", true),
            ("one", "…", true),
        ] {
            assert_eq!(is_like(line, shown), is, "{line} {shown}");
        }
    }

    #[test]
    fn masks_lines_and_shows_what_differs() {
        let equal = |shown, printed| difference(&lines(shown), &lines(printed)).is_none();
        assert!(equal("a\n…\nd\n", "a\r\nb\nc  \nd"));
        assert!(equal("…", "") && equal("", "") && !equal("", "a"));
        let difference = difference(&lines("a\n…\nwanted\nz"), &lines("a\nb\nc\nfound\nz\nmore"));
        assert_eq!(
            difference.unwrap(),
            "    a\n    b\n    c\n    found\n  - wanted\n    z\n  + more\n"
        );
    }
}
