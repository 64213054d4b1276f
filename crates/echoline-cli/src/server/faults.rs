//! Planned faults: builds the plan from flags, and logs its counts.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use clap::Args;

use crate::admin::FaultControl;
use crate::process::reload::{Commit, ReloadHook};
use crate::server::check_report::CheckReport;
use crate::usage_error::{UsageError, WrongSetting};
use crate::values;
use echoline::Address;
use echoline::faults::{FaultKind, FaultPlan, FaultRule, Faults};
use echoline::listener::Scheme;
use echoline_base::poison::IgnorePoison;

/// The flags about planned faults.
#[derive(Debug, Args)]
#[command(next_help_heading = "Fault injection")]
pub(crate) struct FaultArgs {
    /// Fault to inject into connections or datagrams.
    ///
    /// The flag is repeatable. For example 'delay=50ms±10ms p=0.1' or 'reset after=1KiB'.
    /// docs/faults.md lists all faults.
    #[arg(long, env = "ECHOLINE_FAULT", value_name = "RULE", value_delimiter = ';')]
    fault: Vec<FaultRule>,

    /// File with faults, one per line; # begins a comment.
    #[arg(long, env = "ECHOLINE_FAULT_FILE", value_name = "FILE")]
    fault_file: Option<PathBuf>,

    /// Seed of random faults [default: a new one, which is logged].
    ///
    /// With the same seed and the same faults a run repeats the same random decisions.
    #[arg(long, env = "ECHOLINE_FAULT_SEED", value_name = "N")]
    #[arg(value_parser = |text: &str| values::number_in(text, 0..=u64::MAX))]
    fault_seed: Option<u64>,
}

impl FaultArgs {
    /// Returns the configured faults. If none are configured, returns an empty plan if it is
    /// `changeable` while the server runs, else `None`.
    pub(crate) fn start(&self, changeable: FaultChanges) -> anyhow::Result<Option<Faults>> {
        let plan = self.plan()?;
        if plan.is_empty() && changeable == FaultChanges::No {
            return Ok(None);
        }
        let seed = match self.fault_seed {
            Some(seed) => seed,
            // 32 bits, so that the seed is short enough to type.
            None => getrandom::u32().context("the system has no random bytes")?.into(),
        };
        Ok(Some(Faults::new(plan, seed)))
    }

    /// Returns the rules of the file, then those of the flags.
    fn plan(&self) -> anyhow::Result<FaultPlan> {
        let mut plan = match &self.fault_file {
            Some(path) => {
                let flag = format!("--fault-file {}", path.display());
                let text = std::fs::read_to_string(path);
                let text = text.with_context(|| format!("cannot read {flag}"))?;
                text.parse().map_err(|error| WrongSetting(format!("{flag}: {error}")))?
            }
            None => FaultPlan::default(),
        };
        for rule in &self.fault {
            plan.push(rule.clone())
                .map_err(|error| UsageError::new(format!("--fault: {error}")))?;
        }
        Ok(plan)
    }

    /// Checks whether the plan can be read, and lists the rules without an effect.
    pub(crate) fn check<'a>(
        &self,
        listen: impl Iterator<Item = &'a Address>,
        findings: &mut CheckReport,
    ) {
        match self.plan() {
            Ok(plan) if plan.is_empty() => {}
            Ok(plan) => {
                findings.right(format!("plans faults: {}", rules(&plan)));
                idle(&plan, listen).into_iter().for_each(|sentence| findings.note(sentence));
            }
            Err(error) => findings.wrong(format!("{error:#}")),
        }
    }

    /// Returns the hook that reloads the plan from the flags and the file. A plan that was
    /// installed over the admin address stays unless they have changed.
    pub(crate) fn reload_hook(&self, faults: &Faults) -> ReloadHook<Self> {
        let (faults, read) = (faults.clone(), Arc::new(Mutex::new(faults.plan())));
        let prepare = move |flags: &Self| {
            let plan = flags.plan()?;
            if plan == *read.lock().ignore_poison() {
                return Ok(None);
            }
            let (faults, read) = (faults.clone(), Arc::clone(&read));
            let commit: Commit = Box::new(move || {
                let said = format!("faults: {}", rules(&plan));
                faults.replace(plan.clone());
                *read.lock().ignore_poison() = plan;
                said
            });
            Ok(Some(commit))
        };
        ReloadHook { keys: &["fault", "fault-file"], prepare: Box::new(prepare) }
    }
}

fn rules(plan: &FaultPlan) -> String {
    match plan.rules().len() {
        0 => "no rules".to_owned(),
        1 => "1 rule".to_owned(),
        count => format!("{count} rules"),
    }
}

/// Returns a sentence for each rule that has no effect on the addresses in `listen`.
fn idle<'a>(plan: &FaultPlan, listen: impl Iterator<Item = &'a Address>) -> Vec<String> {
    let (mut streams, mut datagrams) = (false, false);
    for address in listen {
        let is_udp = address.scheme() == Scheme::Udp;
        (streams, datagrams) = (streams || !is_udp, datagrams || is_udp);
    }
    let without_effect = plan.rules().iter().filter_map(|rule| {
        let kind = rule.kind();
        let acts = kind.is_for_streams() && streams || kind.is_for_datagrams() && datagrams;
        let what = if kind.is_for_streams() { "streams" } else { "datagrams" };
        (!acts).then(|| format!("'{rule}' has no effect here: it is for {what} only"))
    });
    without_effect.collect()
}

/// Whether the plan may be replaced while the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultChanges {
    No,
    Yes,
}

/// Logs the plan, and how to repeat it with the same seed.
pub(crate) fn announce<'a>(faults: &Faults, listen: impl Iterator<Item = &'a Address>) {
    let plan = faults.plan();
    if plan.is_empty() {
        return;
    }
    tracing::info!("faults are planned; --fault-seed {} repeats them", faults.seed());
    plan.rules().iter().for_each(|rule| tracing::info!("fault: {rule}"));
    idle(&plan, listen).into_iter().for_each(|sentence| tracing::warn!("{sentence}"));
}

/// Logs how often each fault was injected.
pub(crate) fn log_counts(faults: &Faults) {
    let totals = faults.totals().into_iter().filter(|(_, count)| *count > 0);
    let counts: Vec<String> = totals.map(|(kind, count)| format!("{kind}={count}")).collect();
    if !counts.is_empty() {
        tracing::info!("planned faults; {}", counts.join(" "));
    } else if !faults.plan().is_empty() {
        tracing::info!("planned faults; none took place");
    }
}

/// Returns the functions through which the admin address reads and replaces the faults.
pub(crate) fn control(faults: &Faults) -> FaultControl {
    let [seed, rules, totals, replace] = [(); 4].map(|()| faults.clone());
    let named = |(kind, count): (FaultKind, u64)| (kind.name(), count);
    FaultControl {
        seed: Box::new(move || seed.seed()),
        rules: Box::new(move || rules.counts()),
        totals: Box::new(move || totals.totals().into_iter().map(named).collect()),
        replace: Box::new(move |text| replace.set_plan(text).map_err(|error| error.to_string())),
    }
}
