//! Separators with the date, printed between lines of different days.

/// The day of the last line that was shown to a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Days {
    shown: String,
}

impl Days {
    /// Creates the state of a reader before the first line. Lines of `today` need no separator.
    pub fn new(today: String) -> Self {
        Self { shown: today }
    }

    /// Returns the separator to print before a line of `day`. Returns `None` if the previous line
    /// is of the same day.
    pub fn turn(&mut self, day: String) -> Option<String> {
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

    /// Issue 11, item 16: a separator is printed when the day changes, also if it changes back to
    /// today.
    #[test]
    fn regression_a_separator_marks_each_change_of_the_day() {
        let mut days = Days::new("Monday".to_owned());
        assert_eq!(days.turn("Monday".to_owned()), None);
        assert_eq!(days.turn("Friday".to_owned()).unwrap(), "--- Friday ---");
        assert_eq!(days.turn("Friday".to_owned()), None);
        assert_eq!(days.turn("Monday".to_owned()).unwrap(), "--- Monday ---");
        assert_eq!(days.turn("Monday".to_owned()), None);
    }
}
