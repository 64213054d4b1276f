//! Shows the progress of a run on stderr: one line that changes on a terminal, else a line every
//! few seconds.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::files::output;
use echoline_base::amount::figures;
use echoline_load::RunProgress;

/// The interval between two lines if there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// The progress display of a load run.
pub(super) struct ProgressDisplay {
    kind: DisplayKind,
    /// Whether the display has already reported that a condition of `--fail-if` is certain to be
    /// met.
    certain_alarm_shown: Cell<bool>,
}

enum DisplayKind {
    Quiet,
    Terminal(ProgressBar),
    /// Plain lines. Contains the due time of the next line, counted from the start of the run.
    Plain(Cell<Duration>),
}

impl ProgressDisplay {
    /// Starts the display of a run of `planned` messages, or of a run that only time ends.
    pub(super) fn start(planned: Option<u64>, quiet: bool) -> Self {
        let kind = if quiet {
            DisplayKind::Quiet
        } else if std::io::stderr().is_terminal() && can_move(std::env::var_os("TERM").as_deref()) {
            DisplayKind::Terminal(bar(planned))
        } else {
            DisplayKind::Plain(PLAIN_EVERY.into())
        };
        Self { kind, certain_alarm_shown: Cell::new(false) }
    }

    /// Shows the progress after a label of the run.
    pub(super) fn show(&self, label: &str, view: &RunProgress) {
        if let Some(condition) =
            view.certain_alarm.filter(|_| !self.certain_alarm_shown.replace(true))
        {
            self.tell(&format!(
                "--fail-if {condition} is certain to be met: the run stops sending"
            ));
        }
        match &self.kind {
            DisplayKind::Quiet => {}
            DisplayKind::Terminal(bar) => {
                let settled = view.ledger.sent() + view.ledger.skipped();
                match view.end {
                    Some(end) => {
                        bar.set_length(millis(end));
                        bar.set_position(millis(view.elapsed.min(end)));
                    }
                    None => bar.set_position(settled),
                }
                bar.set_message(format!("{label}{}", describe(view)));
            }
            DisplayKind::Plain(due) => {
                // In a search the elapsed time starts at zero again for each run.
                due.set(due.get().min(view.elapsed + PLAIN_EVERY));
                if view.elapsed >= due.get() {
                    due.set(view.elapsed + PLAIN_EVERY);
                    let seconds = view.elapsed.as_secs_f64();
                    output::tell(&format!("{label}{seconds:.0} s: {}", describe(view)));
                }
            }
        }
    }

    /// Prints a line above the display.
    pub(super) fn tell(&self, text: &str) {
        match &self.kind {
            DisplayKind::Terminal(bar) => bar.suspend(|| output::tell(text)),
            DisplayKind::Quiet | DisplayKind::Plain(_) => output::tell(text),
        }
    }

    /// Removes the display.
    pub(super) fn clear(&self) {
        if let DisplayKind::Terminal(bar) = &self.kind {
            bar.finish_and_clear();
        }
    }
}

/// Returns whether a terminal understands the control sequences of a line that changes.
fn can_move(term: Option<&OsStr>) -> bool {
    term.is_some_and(|term| !term.is_empty() && term != "dumb")
}

fn bar(planned: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::new(planned.unwrap_or(0));
    let template = "{elapsed_precise} {bar:24} {percent:>3} %  {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Returns one line with the figures of the last second and the number of failures so far.
fn describe(view: &RunProgress) -> String {
    let ledger = &view.ledger;
    let mut line = String::new();
    if view.is_warm_up {
        line.push_str("warm-up, ");
    }
    if let Some(interval) = &view.recent {
        let seconds = view.recent_length.as_secs_f64().max(f64::MIN_POSITIVE);
        let rate = figures::per_second(interval.ok as f64 / seconds);
        let time = |quantile| {
            let nanos = interval.latency.value_at_quantile(quantile);
            figures::time(Duration::from_nanos(nanos))
        };
        let (p50, p99, max) = (time(0.5), time(0.99), time(1.0));
        // Writing to a string does not fail.
        let _ = write!(line, "{rate}/s, p50 {p50}, p99 {p99}, max {max}, ");
    } else {
        let _ = write!(line, "{} right, ", ledger.ok());
    }
    let failed = ledger.sent() - ledger.ok();
    let _ = write!(line, "{} open, {failed} failed", view.open);
    if ledger.skipped() > 0 {
        let _ = write!(line, ", {} skipped", ledger.skipped());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 11, item 45: on a dumb terminal the progress is plain lines.
    #[test]
    fn regression_a_dumb_terminal_gets_no_control_sequences() {
        for (term, moves) in [
            (Some("xterm-256color"), true),
            (Some("dumb"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(can_move(term.map(OsStr::new)), moves, "{term:?}");
        }
    }
}
