//! The report as one HTML page, which needs no network access and no scripts. It supports light and
//! dark mode and narrow screens. The template `templates/load-report.html` escapes everything.

use std::time::Duration;

use askama::Template;

use super::chart::{Axis, ChartLine, LineChart, LineRole};
use super::csv::{interval_max, interval_percentile};
use super::text::{datagrams, headline, outage, purpose_name, skip_reason_text, time, time_rows};
use super::{LoadReport, LoopMode};
use crate::report::{SearchStep, SearchTrace};
use crate::statistics::{
    DurationHistogram, MessageOutcome, Percentile, SeriesInterval, SkipReason, rank,
};
use crate::verdict::Metric;
use echoline_base::amount::figures;
use echoline_base::printable::{printable, printable_lines};

/// Steps of the percentile curve from one power of ten to the next.
const CURVE_STEPS: f64 = 40.0;

#[derive(Template)]
#[template(path = "load-report.html")]
struct ReportPage<'report> {
    report: &'report LoadReport,
    title: String,
    headline: String,
    is_open: bool,
    key_figures: Vec<KeyFigure>,
    figures: Vec<ChartSection>,
    times: Vec<(String, String, Vec<String>)>,
    percentiles: Vec<String>,
    planned: String,
    sent: String,
    skipped_count: String,
    stopped: Option<String>,
    outage: Option<String>,
    outcomes: Vec<OutcomeRow>,
    datagrams: Vec<(&'static str, String)>,
    skipped: Vec<(String, &'static str)>,
    reasons: Vec<(String, String)>,
    wrong_example: Option<String>,
    steps: Vec<StepRow>,
}

/// A key figure in large letters.
struct KeyFigure {
    name: String,
    value: String,
    is_bad: bool,
}

/// A chart with its caption and legend.
struct ChartSection {
    title: &'static str,
    caption: String,
    legend: Vec<(String, &'static str)>,
    svg: String,
}

/// A row of the ledger.
struct OutcomeRow {
    name: &'static str,
    messages: String,
    share: String,
    is_bad: bool,
}

/// A row of the search.
struct StepRow {
    cells: Vec<String>,
    held: bool,
    broken: String,
}

impl LoadReport {
    /// Returns the report as one self-contained HTML page.
    #[must_use]
    pub fn to_html(&self) -> String {
        let ledger = &self.record.ledger;
        let skipped = ledger.skipped_by_reason().filter(|&(end, _)| end != SkipReason::Stopped);
        let reasons = self.record.reasons().into_iter();
        let percentiles = &self.settings.percentiles;
        let page = ReportPage {
            report: self,
            title: printable(&self.settings.targets.join(", ")).into_owned(),
            headline: headline(&self.settings),
            is_open: self.settings.mode == LoopMode::Open,
            key_figures: self.key_figures(),
            figures: self.figures(),
            times: time_rows(&self.record, &self.settings.percentiles)
                .into_iter()
                .map(|(name, times)| time_row(name, &times, percentiles))
                .collect(),
            percentiles: percentiles.iter().map(ToString::to_string).collect(),
            planned: figures::count(ledger.planned()),
            sent: figures::count(ledger.sent()),
            skipped_count: figures::count(ledger.skipped()),
            stopped: (ledger.stopped() > 0).then(|| figures::count(ledger.stopped())),
            outage: outage(&self.record.outage),
            outcomes: self.outcomes(),
            datagrams: datagrams(self)
                .into_iter()
                .flatten()
                .map(|(name, count)| (name, figures::count(count)))
                .collect(),
            skipped: skipped
                .map(|(end, messages)| (figures::count(messages), skip_reason_text(end)))
                .collect(),
            reasons: reasons
                .map(|(reason, count)| (printable(reason).into_owned(), figures::count(count)))
                .collect(),
            wrong_example: self
                .record
                .wrong_example()
                .map(|example| printable(example).into_owned()),
            steps: self
                .search
                .iter()
                .flat_map(|search| search.steps.iter().map(step_row))
                .collect(),
        };
        let page = page.render().expect("every value of the page can be written into a text");
        // Askama escapes markup, and this call escapes characters that reorder the text around
        // them.
        printable_lines(&page).into_owned()
    }

    fn key_figures(&self) -> Vec<KeyFigure> {
        let key_figure = |metric: Metric, name: &str| {
            let figure = metric.of(&self.record, self.elapsed);
            KeyFigure {
                name: name.to_owned(),
                value: figure.map_or_else(|| "–".to_owned(), |figure| metric.show(figure)),
                is_bad: metric == Metric::Errors && figure.is_some_and(|share| share > 0.0),
            }
        };
        let [p50, _, p99, p999] = Percentile::DEFAULTS.map(Metric::Percentile);
        let mut key_figures = vec![
            key_figure(Metric::Rate, "correct replies"),
            key_figure(p50, "p50"),
            key_figure(p99, "p99"),
            key_figure(p999, "p99.9"),
            key_figure(Metric::Max, "max"),
            key_figure(Metric::Errors, "errors"),
        ];
        if let Some(search) = &self.search {
            let value = search.highest.map_or_else(|| "none".to_owned(), figures::rate);
            let name = "highest rate that held".to_owned();
            key_figures.insert(0, KeyFigure { name, value, is_bad: search.highest.is_none() });
        }
        key_figures
    }

    fn outcomes(&self) -> Vec<OutcomeRow> {
        let ledger = &self.record.ledger;
        let sent = ledger.sent();
        let line = |outcome: MessageOutcome| {
            let messages = ledger.count(outcome);
            let share = if sent == 0 { 0.0 } else { messages as f64 / sent as f64 };
            OutcomeRow {
                name: outcome.name(),
                messages: figures::count(messages),
                share: figures::percent(share),
                is_bad: !matches!(outcome, MessageOutcome::Ok | MessageOutcome::InFlight)
                    && messages > 0,
            }
        };
        MessageOutcome::ALL.map(line).into()
    }

    fn figures(&self) -> Vec<ChartSection> {
        let mut figures = vec![self.percentile_curve()];
        // With a single point, the charts would only repeat the figures above.
        if self.elapsed >= 2 * self.record.series.length() {
            figures.extend([self.latency_over_time(), self.rates()]);
        }
        if let Some(search) = &self.search {
            figures.insert(0, search_curve(search));
        }
        figures.retain(|figure| !figure.svg.is_empty());
        figures
    }

    fn percentile_curve(&self) -> ChartSection {
        let record = &self.record;
        let mut lines = vec![curve("service time", LineRole::Usual, &record.service)];
        if record.latency.count() > 0 {
            lines.push(curve(
                "latency from the intended send time",
                LineRole::Tail,
                &record.latency,
            ));
        }
        if record.failures(MessageOutcome::TimedOut).count() > 0 {
            lines.insert(0, curve("with time-outs", LineRole::Frame, &record.response_times()));
        }
        let caption = "At p99, 99 % of the messages were answered within the time shown. A curve \
                       ends where fewer than ten samples lie beyond it.";
        let caption = caption.to_owned();
        figure("Percentiles", caption, Axis::Tail, Axis::Logarithmic(axis_time), lines)
    }

    fn latency_over_time(&self) -> ChartSection {
        let tail = self.highest_common_percentile();
        let [p50, ..] = Percentile::DEFAULTS;
        let percentile =
            |percentile| move |interval: &SeriesInterval| interval_percentile(interval, percentile);
        let lines = vec![
            self.over_time("max", LineRole::Frame, interval_max),
            self.over_time(&tail.to_string(), LineRole::Tail, percentile(tail)),
            self.over_time("p50", LineRole::Usual, percentile(p50)),
        ];
        let what = if self.settings.mode == LoopMode::Open { "Latency" } else { "Service time" };
        let caption = format!("{what} of the correct replies of each {}.", self.stretch());
        let seconds = Axis::Seconds(self.elapsed.as_secs_f64());
        figure("Latency over time", caption, seconds, Axis::Logarithmic(axis_time), lines)
    }

    /// Returns the highest percentile that at least half of the intervals have enough samples for.
    fn highest_common_percentile(&self) -> Percentile {
        let intervals = self.record.series.intervals();
        let [_, p90, p99, p999] = Percentile::DEFAULTS;
        let tells_most = |percentile: &Percentile| {
            let telling =
                intervals.iter().filter(|interval| percentile.is_certain(interval.latency.len()));
            2 * telling.count() >= intervals.len()
        };
        [p999, p99].into_iter().find(tells_most).unwrap_or(p90)
    }

    fn stretch(&self) -> String {
        match self.record.series.length().as_secs() {
            1 => "second".to_owned(),
            seconds => format!("{seconds} seconds"),
        }
    }

    fn over_time(
        &self,
        name: &str,
        role: LineRole,
        figure: impl Fn(&SeriesInterval) -> Option<Duration>,
    ) -> ChartLine {
        let length = self.record.series.length().as_secs_f64();
        let intervals = self.record.series.intervals().iter().enumerate();
        let point = |(index, interval): (usize, &SeriesInterval)| {
            (index as f64 * length, figure(interval).map(|time| time.as_secs_f64()))
        };
        ChartLine { name: name.to_owned(), role, points: intervals.map(point).collect() }
    }

    fn rates(&self) -> ChartSection {
        let mut lines = vec![
            self.rate_line("sent", LineRole::Frame, |interval| interval.sent),
            self.rate_line("answered correctly", LineRole::Usual, |interval| interval.ok),
        ];
        if self.record.ledger.sent() > self.record.ledger.ok() {
            lines.push(self.rate_line("failed", LineRole::Bad, |interval| interval.failed));
        }
        let caption =
            "Messages per second. A reply counts in the second in which it arrived.".to_owned();
        let axes = (Axis::Seconds(self.elapsed.as_secs_f64()), Axis::Linear(axis_rate));
        figure("Rate over time", caption, axes.0, axes.1, lines)
    }

    fn rate_line(
        &self,
        name: &str,
        role: LineRole,
        count: impl Fn(&SeriesInterval) -> u64,
    ) -> ChartLine {
        let length = self.record.series.length().as_secs_f64();
        let intervals = self.record.series.intervals();
        let points = intervals.iter().enumerate().filter_map(|(index, interval)| {
            let start = index as f64 * length;
            // The last interval may be incomplete. Its rate is computed from its actual length, and
            // omitted if that length is too short.
            let covered = (self.elapsed.as_secs_f64() - start).min(length);
            let is_telling = covered >= length / 4.0 || (index == 0 && covered > 0.0);
            is_telling.then(|| (start, Some(count(interval) as f64 / covered)))
        });
        ChartLine { name: name.to_owned(), role, points: points.collect() }
    }
}

fn figure(
    title: &'static str,
    caption: String,
    x: Axis,
    y: Axis,
    mut lines: Vec<ChartLine>,
) -> ChartSection {
    lines.retain(ChartLine::has_figures);
    let legend = lines.iter().map(|line| (line.name.clone(), line.role.class())).collect();
    let names: Vec<_> = lines.iter().map(|line| line.name.as_str()).collect();
    let label = format!("{title}: {}", names.join(", "));
    ChartSection { title, caption, legend, svg: LineChart { label, x, y, lines }.svg() }
}

/// Returns the curve of the percentiles that have at least ten samples beyond them.
fn curve(name: &str, role: LineRole, times: &DurationHistogram) -> ChartLine {
    let points = (0..).map(|step| f64::from(step) / CURVE_STEPS).map_while(|x| {
        let percentile = Percentile::new(100.0 * (1.0 - 10f64.powf(-x)))?;
        let is_within = percentile.quantile() < 1.0 && percentile.is_certain(times.count());
        let time =
            || Duration::from_nanos(times.histogram().value_at_quantile(percentile.quantile()));
        is_within.then(|| (x, Some(time().as_secs_f64())))
    });
    ChartLine { name: name.to_owned(), role, points: points.collect() }
}

fn search_curve(search: &SearchTrace) -> ChartSection {
    let mut steps: Vec<&SearchStep> = search.steps.iter().collect();
    steps.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    // A rate that was tried repeatedly has one point: the median of its trials.
    let line = |name: &str, role, figure: fn(&SearchStep) -> Option<Duration>| {
        let tries = steps.chunk_by(|one, other| one.rate == other.rate);
        let point = |tries: &[&SearchStep]| {
            let times = tries.iter().filter_map(|&step| figure(step));
            let seconds: Vec<_> = times.map(|time| time.as_secs_f64()).collect();
            (tries[0].rate, rank::median(&seconds))
        };
        ChartLine { name: name.to_owned(), role, points: tries.map(point).collect() }
    };
    let lines = vec![
        line("p99.9", LineRole::Frame, |step| step.p999),
        line("p99", LineRole::Tail, |step| step.p99),
        line("p50", LineRole::Usual, |step| step.p50),
        broken_rates(&steps),
    ];
    let caption = format!("Latency at each tested rate. The objective was {}.", search.objective);
    let axes = (Axis::Logarithmic(axis_rate), Axis::Logarithmic(axis_time));
    figure("Search for the highest rate", caption, axes.0, axes.1, lines)
}

/// Marks the rates that did not hold with dots, without a line between them.
fn broken_rates(steps: &[&SearchStep]) -> ChartLine {
    let broken = steps.iter().filter(|step| !step.held());
    let dot = |step: &&SearchStep| {
        let time = step.p99.or(step.p50).map(|time| time.as_secs_f64());
        [(step.rate, time), (step.rate, None)]
    };
    let name = "p99 of the rates that did not hold".to_owned();
    ChartLine { name, role: LineRole::Bad, points: broken.flat_map(dot).collect() }
}

fn time_row(
    name: String,
    times: &DurationHistogram,
    percentiles: &[Percentile],
) -> (String, String, Vec<String>) {
    let percentiles = percentiles.iter().map(|&percentile| times.percentile(percentile));
    let figures = percentiles.chain([times.max()]).map(time).collect();
    (name, figures::count(times.count()), figures)
}

fn step_row(step: &SearchStep) -> StepRow {
    let mut cells = vec![figures::rate(step.rate), figures::rate(step.achieved)];
    cells.extend([step.p50, step.p99, step.p999].map(time));
    cells.push(figures::percent(step.errors));
    cells.push(purpose_name(step.purpose).to_owned());
    StepRow { cells, held: step.held(), broken: step.broken.join("; ") }
}

/// Formats a tick: `5 ms`. Ticks are round figures.
fn axis_time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        ..0.999e-6 => (seconds * 1e9, "ns"),
        ..0.999e-3 => (seconds * 1e6, "µs"),
        ..0.999 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    format!("{value:.0} {unit}")
}

fn axis_rate(per_second: f64) -> String {
    if per_second == 0.0 { "0".to_owned() } else { figures::rate(per_second) }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use crate::statistics::RunRecord;
    use echoline_base::printable::is_harmful;

    #[test]
    fn a_page_is_self_contained_and_escaped() {
        for report in [sample::open(), sample::closed(), sample::search()] {
            let page = report.to_html();
            for stranger in
                ["<script", "<img", "<link", "<iframe", "<b>\"", "href=", "url(", "@import"]
            {
                assert!(!page.contains(stranger), "{stranger} in {page}");
            }
            let links = page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "");
            assert!(!links.contains("http"), "{page}");
        }
        let page = sample::open().to_html();
        assert!(page.contains("&#60;script&#62;&#38;&#34;&#39;&#60;/script&#62;"), "{page}");
        assert!(page.contains("wrong: &#60;img src") && !page.contains('\x1b'), "{page}");
    }

    #[test]
    fn a_page_has_the_charts_of_its_run() {
        let titles = |page: &str| {
            ["Search for the", "Percentiles", "Latency over", "Rate over", "Do not trust"]
                .map(|title| page.contains(title))
        };
        let (open, closed) = (sample::open().to_html(), sample::closed().to_html());
        assert_eq!(titles(&open), [false, true, true, true, true]);
        assert_eq!(titles(&closed), [false, true, false, false, false]);
        assert_eq!(titles(&sample::search().to_html()), [true; 5]);
        assert!(open.contains("Latency is measured from") && !open.contains("Closed loop"));
        assert!(closed.contains("Closed loop: each client waits"));
        assert_eq!(open.matches("<svg").count(), 2 * 3);
    }

    #[test]
    fn writes_a_page_for_a_run_without_replies() {
        let mut report = sample::closed();
        report.record = RunRecord::new(30);
        report.elapsed = std::time::Duration::ZERO;
        let page = report.to_html();
        assert!(page.contains("<td class=\"number\">0</td>") && !page.contains("NaN"));
    }

    /// Issue 12, item 15: a foreign report injects neither markup nor characters that reorder text
    /// into the page, and no formula into the table.
    #[test]
    fn attack_a_report_injects_neither_markup_nor_formulas() {
        let mut report = sample::open();
        let foreign = "=cmd|'/c x'!A1<b>\u{202e}\u{9b}";
        report.settings.targets = vec![foreign.to_owned()];
        report.settings.listed.push((foreign.to_owned(), foreign.to_owned()));
        report.started = foreign.to_owned();
        report.version = foreign.to_owned();
        for text in [report.to_html(), report.to_string(), report.to_json(), report.to_hdr_log()] {
            let plain = text.replace(['\n', '\t'], "");
            assert!(!plain.contains(is_harmful), "{text}");
        }
        assert!(!report.to_html().contains("<b>\\"), "markup");
        let csv = report.to_csv();
        let cells = csv.lines().skip(1).flat_map(|line| line.split(','));
        let is_plain =
            |cell: &str| cell.is_empty() || cell.starts_with(|c: char| c.is_ascii_digit());
        assert!(cells.into_iter().all(is_plain), "{csv}");
    }
}
