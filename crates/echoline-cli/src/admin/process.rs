//! Reads the state of this process from the system: processor time, memory, threads, descriptors.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeVal;

/// The state of this process at one time; `None` if the system does not provide a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ProcessState {
    /// The processor time in user and system mode together.
    pub(super) processor_time: Option<Duration>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) descriptors: Option<u64>,
    pub(super) descriptors_max: Option<u64>,
}

impl ProcessState {
    pub(super) fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            processor_time: processor_time(),
            resident_bytes: field(&status, "VmRSS:").map(|kib| kib * 1024),
            threads: field(&status, "Threads:"),
            descriptors: descriptors(),
            descriptors_max: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
        }
    }
}

fn processor_time() -> Option<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some(duration(usage.user_time())? + duration(usage.system_time())?)
}

fn duration(time: TimeVal) -> Option<Duration> {
    let seconds = u64::try_from(time.tv_sec()).ok()?;
    let micros = u64::try_from(time.tv_usec()).ok()?;
    Some(Duration::from_secs(seconds) + Duration::from_micros(micros))
}

/// Returns the number of open descriptors, without the one that reads the directory.
fn descriptors() -> Option<u64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as u64)
}

/// Returns the number after `label` in `/proc/PID/status`.
fn field(status: &str, label: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_provides_every_value() {
        let now = ProcessState::now();
        assert!(now.resident_bytes.unwrap() > 1 << 20, "{now:?}");
        assert!(now.processor_time.is_some() && now.threads.unwrap() >= 1, "{now:?}");
        assert!(now.descriptors.unwrap() >= 3 && now.descriptors_max.unwrap() > 3, "{now:?}");
        assert_eq!(field("VmRSS:\t    1234 kB\n", "VmRSS:"), Some(1234));
        assert_eq!(field("VmRSS:\n", "VmRSS:"), None);
    }
}
