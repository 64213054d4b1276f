//! How far a run is, on stderr while it goes: one line that changes on a terminal, else a line
//! every few seconds.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;
use echoline_base::amount::figures;
use echoline_load::View;

/// The interval between two lines if there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// The display of a run while it goes on.
pub(super) struct Live {
    kind: Kind,
    /// It was said that a condition is certain to come true.
    said_foregone: Cell<bool>,
}

enum Kind {
    Quiet,
    Terminal(ProgressBar),
    /// When the next line is due, from the start of the run.
    Plain(Cell<Duration>),
}

impl Live {
    /// Watches a run of so many messages, or of a length of time.
    pub(super) fn start(planned: Option<u64>, quiet: bool) -> Self {
        let kind = if quiet {
            Kind::Quiet
        } else if std::io::stderr().is_terminal() && can_move(std::env::var_os("TERM").as_deref()) {
            Kind::Terminal(bar(planned))
        } else {
            Kind::Plain(PLAIN_EVERY.into())
        };
        Self { kind, said_foregone: Cell::new(false) }
    }

    /// Shows how far the run is, after a word on which run it is.
    pub(super) fn show(&self, label: &str, view: &View) {
        if let Some(condition) = view.foregone.filter(|_| !self.said_foregone.replace(true)) {
            self.tell(&format!("--fail-if {condition} is certain to come true: sends no more"));
        }
        match &self.kind {
            Kind::Quiet => {}
            Kind::Terminal(bar) => {
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
            Kind::Plain(due) => {
                // The next of several runs begins at zero.
                due.set(due.get().min(view.elapsed + PLAIN_EVERY));
                if view.elapsed >= due.get() {
                    due.set(view.elapsed + PLAIN_EVERY);
                    let seconds = view.elapsed.as_secs_f64();
                    output::tell(&format!("{label}{seconds:.0} s: {}", describe(view)));
                }
            }
        }
    }

    /// Says something beside it.
    pub(super) fn tell(&self, text: &str) {
        match &self.kind {
            Kind::Terminal(bar) => bar.suspend(|| output::tell(text)),
            Kind::Quiet | Kind::Plain(_) => output::tell(text),
        }
    }

    /// Takes it away.
    pub(super) fn clear(&self) {
        if let Kind::Terminal(bar) = &self.kind {
            bar.finish_and_clear();
        }
    }
}

/// Whether a terminal understands the control sequences of a line that changes.
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

/// The last second in one line, and what failed so far.
fn describe(view: &View) -> String {
    let ledger = &view.ledger;
    let mut line = String::new();
    if view.is_warm_up {
        line.push_str("warm-up, ");
    }
    if let Some(slot) = &view.recent {
        let seconds = view.recent_length.as_secs_f64().max(f64::MIN_POSITIVE);
        let rate = figures::per_second(slot.ok as f64 / seconds);
        let time = |quantile| {
            let nanos = slot.latency.value_at_quantile(quantile);
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
