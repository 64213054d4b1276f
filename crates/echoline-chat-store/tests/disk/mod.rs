//! A small disk, for tests that fill it.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// A small disk in memory. It is unmounted when this value is dropped.
pub(crate) struct Disk(tempfile::TempDir);

impl Disk {
    /// Mounts a disk of this size. If this user has no right to mount, prints that and returns
    /// `None`.
    pub(crate) fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "tmpfs"])
            .arg(folder.path());
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        if !mounted {
            let words = b"SKIPPED, not passed: this test needs the right to mount a tmpfs\n";
            std::io::stderr().write_all(words).unwrap();
        }
        mounted.then(|| Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Fills the disk.
    pub(crate) fn fill(&self) {
        let mut ballast = File::create(self.path().join("ballast")).unwrap();
        std::io::copy(&mut std::io::repeat(7), &mut ballast).unwrap_err();
    }

    pub(crate) fn clear(&self) {
        fs::remove_file(self.path().join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
