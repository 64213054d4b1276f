//! Watches the files of a certificate for changes.
//!
//! It polls instead of using inotify, because certificates are replaced in many ways: overwritten,
//! renamed into place, through a changed symbolic link to a folder (Kubernetes), or on a mounted
//! file system that sends no events.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use super::{TlsArgs, announce, describe, left, replacement};
use crate::process::reload::{Commit, ReloadHook};
use crate::process::restart::keep_running;
use echoline::tls::Certificates;
use echoline_base::poison::IgnorePoison;

/// The poll interval. A change counts once two polls see the same state, so that a certificate and
/// a key that are replaced one after the other are loaded together.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The interval, in polls, between warnings about a certificate that expires soon.
const WARN_EVERY: u32 = 24 * 60 * 60;

/// The settings that take effect without a restart.
const LIVE: [&str; 5] = ["cert", "key", "alpn", "client-ca", "client-auth"];

/// The thread that polls. It ends with the process.
#[derive(Clone, Debug)]
struct CertificateWatcher(Arc<Mutex<FileFollower>>);

impl CertificateWatcher {
    /// Starts the thread that updates `certificates` when the files of `flags` change.
    fn start(flags: TlsArgs, certificates: Certificates) -> io::Result<Self> {
        let watch = Self(Arc::new(Mutex::new(FileFollower::new(flags))));
        let follower = Arc::clone(&watch.0);
        let look = move || {
            for look in 1.. {
                thread::sleep(LOOK_EVERY);
                let news = lock(&follower).look();
                if let Some(flags) = news {
                    reload(&flags, &certificates);
                } else if look % WARN_EVERY == 0 && left(&certificates) < super::SOON {
                    announce(&certificates, "TLS");
                }
            }
            Ok(())
        };
        // After a panic the loop starts again; the state of the follower is kept.
        let work = move || keep_running("the watch over --cert", &look);
        thread::Builder::new().name("certificates".to_owned()).spawn(work)?;
        Ok(watch)
    }

    /// Follows the files of `flags` from now on. They must have just been read.
    fn follow(&self, flags: TlsArgs) {
        *lock(&self.0) = FileFollower::new(flags);
    }
}

/// Updates `certificates` when their files change, on a separate thread, and at a reload.
///
/// # Errors
/// If the thread cannot be started.
pub(crate) fn follow(
    flags: &TlsArgs,
    certificates: &Certificates,
) -> io::Result<ReloadHook<TlsArgs>> {
    announce(certificates, "TLS");
    let watch = CertificateWatcher::start(flags.clone(), certificates.clone())?;
    let certificates = certificates.clone();
    let prepare = move |flags: &TlsArgs| {
        // This always reloads, because the files may have changed even if the flags have not.
        let flags = flags.clone();
        let config = flags.config(replacement(&certificates))?;
        let (certificates, watch) = (certificates.clone(), watch.clone());
        let commit: Commit = Box::new(move || {
            certificates.replace(config);
            watch.follow(flags);
            describe(&certificates)
        });
        Ok(Some(commit))
    };
    Ok(ReloadHook { keys: &LIVE, prepare: Box::new(prepare) })
}

/// A poisoned lock is safe to use, because no change of a follower is left incomplete.
fn lock(follower: &Mutex<FileFollower>) -> MutexGuard<'_, FileFollower> {
    follower.lock().ignore_poison()
}

fn reload(flags: &TlsArgs, certificates: &Certificates) {
    match flags.config(replacement(certificates)) {
        Ok(config) => {
            certificates.replace(config);
            announce(certificates, "the files have changed");
        }
        Err(error) => tracing::error!(
            "the files have changed, but the old certificate is still used ({}): {error:#}",
            describe(certificates)
        ),
    }
}

/// Identifies one state of a file; `None` if there is no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

/// The followed files, their state when they were read, and their state at the last poll.
#[derive(Debug)]
struct FileFollower {
    flags: TlsArgs,
    read: Vec<Option<FileStamp>>,
    seen: Vec<Option<FileStamp>>,
}

impl FileFollower {
    fn new(flags: TlsArgs) -> Self {
        let read = stamps(flags.files());
        Self { flags, seen: read.clone(), read }
    }

    /// Polls the files. Returns the flags to reload with if the files have changed and are stable.
    /// Each state is returned once.
    fn look(&mut self) -> Option<TlsArgs> {
        let now = stamps(self.flags.files());
        let rests = now == self.seen;
        self.seen.clone_from(&now);
        if !rests || now == self.read {
            return None;
        }
        self.read = now;
        Some(self.flags.clone())
    }
}

fn stamps<'a>(files: impl Iterator<Item = &'a Path>) -> Vec<Option<FileStamp>> {
    let stamp = |path| {
        let file = fs::metadata(path).ok()?;
        Some(FileStamp {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            changed: (file.mtime(), file.mtime_nsec()),
        })
    };
    files.map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct TestCli {
        #[command(flatten)]
        tls: TlsArgs,
    }

    #[test]
    fn a_change_is_reported_once_when_it_is_stable() {
        let folder = tempfile::tempdir().unwrap();
        let [cert, key] = ["cert", "key"].map(|name| folder.path().join(name));
        fs::write(&cert, "1").unwrap();
        fs::write(&key, "1").unwrap();
        let [cert_flag, key_flag] = [&cert, &key].map(|path| path.to_str().unwrap());
        let flags = TestCli::parse_from(["test", "--cert", cert_flag, "--key", key_flag]).tls;
        let mut follower = FileFollower::new(flags);
        assert!(follower.look().is_none());
        fs::write(&cert, "22").unwrap();
        assert!(follower.look().is_none(), "the key has not been replaced yet");
        fs::write(&key, "22").unwrap();
        assert!(follower.look().is_none());
        assert!(follower.look().is_some());
        assert!(follower.look().is_none());
        fs::remove_file(&key).unwrap();
        assert!(follower.look().is_none());
        assert!(follower.look().is_some(), "a missing file is reported once");
    }
}
