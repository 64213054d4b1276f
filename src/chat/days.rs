//! On which day lines of the past were said: a separator whenever the day changes. Pure.

/// The day of the last line that somebody was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Days {
    shown: String,
}

impl Days {
    /// Before the first line a reader takes every line for one of `today`.
    pub(super) fn new(today: String) -> Self {
        Self { shown: today }
    }

    /// The separator that stands before a line of `day`, if the line before was of another day.
    pub(super) fn turn(&mut self, day: String) -> Option<String> {
        if day == self.shown {
            return None;
        }
        let separator = format!("--- {day} ---");
        self.shown = day;
        Some(separator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 11, item 16: lines of other days are told from today's, and today's from those.
    #[test]
    fn regression_a_separator_stands_where_the_day_changes() {
        let mut days = Days::new("Monday".to_owned());
        assert_eq!(days.turn("Monday".to_owned()), None);
        assert_eq!(days.turn("Friday".to_owned()).unwrap(), "--- Friday ---");
        assert_eq!(days.turn("Friday".to_owned()), None);
        assert_eq!(days.turn("Monday".to_owned()).unwrap(), "--- Monday ---");
        assert_eq!(days.turn("Monday".to_owned()), None);
    }
}
