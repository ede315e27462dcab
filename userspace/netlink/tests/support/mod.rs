//! Network namespaces without a name, which vanish with their last descriptor, also after a panic.

use std::{
    os::fd::{AsFd, OwnedFd},
    process::Command,
};

use naru_netlink::netns::{current_netns, in_netns};

/// A network namespace of a test.
pub struct Netns {
    fd: OwnedFd,
}

impl Netns {
    /// A fresh one, with nothing but a loopback device that is down.
    pub fn new() -> Self {
        let make = || {
            // SAFETY: only this thread leaves its namespace, and it ends right after.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "unshare: are we root?");
            current_netns().unwrap()
        };
        Self { fd: std::thread::spawn(make).join().unwrap() }
    }

    /// The namespace itself.
    pub fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Runs `work` inside.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        in_netns(self.fd(), work).unwrap()
    }

    /// Runs a command line inside and returns what it printed.
    pub fn sh(&self, line: &str) -> String {
        self.run(|| {
            let output = Command::new("sh").args(["-c", line]).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{line}: {errors}");
            String::from_utf8(output.stdout).unwrap()
        })
    }
}
