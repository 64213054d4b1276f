//! Looks whether the files of a certificate have changed.
//!
//! It looks at them instead of being told (inotify), because certificates are replaced in many
//! ways: written over, renamed into place, or by a symbolic link to a folder that is another one
//! now (Kubernetes), and mounted from where nobody tells.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use super::{TlsFlags, announce, describe, left, replacement};
use crate::restart::keep_running;
use echoline::tls::Certificates;
use echoline_base::poison::IgnorePoison;

/// How often it looks. A change is taken up when it is the same at two looks, so that a certificate
/// and its key that are replaced one after the other are taken together.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often somebody is warned whose certificate is about to expire.
const WARN_EVERY: u32 = 24 * 60 * 60;

/// The thread that looks; it ends with the process.
#[derive(Clone, Debug)]
pub(super) struct Watch(Arc<Mutex<Follower>>);

impl Watch {
    /// Has `certificates` follow the files of `flags`.
    pub(super) fn start(flags: TlsFlags, certificates: Certificates) -> io::Result<Self> {
        let watch = Self(Arc::new(Mutex::new(Follower::new(flags))));
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
        // Each time from the beginning; what the follower has seen is kept.
        let work = move || keep_running("the watch over --cert", &look);
        thread::Builder::new().name("certificates".to_owned()).spawn(work)?;
        Ok(watch)
    }

    /// Has it look at the files of `flags`, which have just been read, from now on.
    pub(super) fn follow(&self, flags: TlsFlags) {
        *lock(&self.0) = Follower::new(flags);
    }
}

/// A follower is never left half changed, so a panic elsewhere must not take it away.
fn lock(follower: &Mutex<Follower>) -> MutexGuard<'_, Follower> {
    follower.lock().ignore_poison()
}

fn reload(flags: &TlsFlags, certificates: &Certificates) {
    match flags.config(replacement(certificates)) {
        Ok(config) => {
            certificates.replace(config);
            announce(certificates, "the files have changed");
        }
        Err(error) => tracing::error!(
            "the files have changed, and the old certificate stays ({}): {error:#}",
            describe(certificates)
        ),
    }
}

/// What tells one state of a file from another; `None` where there is no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

/// Which files are followed, which state of them was read, and which was seen at the last look.
#[derive(Debug)]
struct Follower {
    flags: TlsFlags,
    read: Vec<Option<Stamp>>,
    seen: Vec<Option<Stamp>>,
}

impl Follower {
    fn new(flags: TlsFlags) -> Self {
        let read = stamps(flags.files());
        Self { flags, seen: read.clone(), read }
    }

    /// Looks; what is to be read anew where something has changed and come to rest. Each state is
    /// told once.
    fn look(&mut self) -> Option<TlsFlags> {
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

fn stamps<'a>(files: impl Iterator<Item = &'a Path>) -> Vec<Option<Stamp>> {
    let stamp = |path| {
        let file = fs::metadata(path).ok()?;
        Some(Stamp {
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
    struct Only {
        #[command(flatten)]
        tls: TlsFlags,
    }

    #[test]
    fn a_change_is_taken_up_once_when_it_has_come_to_rest() {
        let folder = tempfile::tempdir().unwrap();
        let [cert, key] = ["cert", "key"].map(|name| folder.path().join(name));
        fs::write(&cert, "1").unwrap();
        fs::write(&key, "1").unwrap();
        let [cert_flag, key_flag] = [&cert, &key].map(|path| path.to_str().unwrap());
        let flags = Only::parse_from(["test", "--cert", cert_flag, "--key", key_flag]).tls;
        let mut follower = Follower::new(flags);
        assert!(follower.look().is_none());
        fs::write(&cert, "22").unwrap();
        assert!(follower.look().is_none(), "the key is still to come");
        fs::write(&key, "22").unwrap();
        assert!(follower.look().is_none());
        assert!(follower.look().is_some());
        assert!(follower.look().is_none());
        fs::remove_file(&key).unwrap();
        assert!(follower.look().is_none());
        assert!(follower.look().is_some(), "a file that is gone is said, once");
    }
}
