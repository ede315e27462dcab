//! Places at which tests make a process fail or die; without the feature `failpoints` they are compiled to nothing.

/// A test's wish at a step, given by `NARU_FAILPOINT=<what>:<step>`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whim {
    /// Nothing.
    Go,
    /// `fail`: the step counts as failed after it was done.
    Fail,
}

/// The step is about to begin: `kill:<step>` ends the process here, as SIGKILL would, and `pause:<step>` waits here
/// while the file exists that `NARU_FAILPOINT_FILE` names, after it made one beside it with the suffix `.reached`.
#[cfg(feature = "failpoints")]
pub fn reach(step: &str) -> Whim {
    let wanted = std::env::var("NARU_FAILPOINT").unwrap_or_default();
    match wanted.split_once(':') {
        Some(("kill", name)) if name == step => {
            // SAFETY: no memory is involved; the process ends.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            Whim::Go
        }
        Some(("fail", name)) if name == step => Whim::Fail,
        Some(("pause", name)) if name == step => {
            pause(std::path::Path::new(&std::env::var_os("NARU_FAILPOINT_FILE").unwrap_or_default()));
            Whim::Go
        }
        _ => Whim::Go,
    }
}

#[cfg(feature = "failpoints")]
fn pause(file: &std::path::Path) {
    // A test that cannot see the file waits in vain, and says so.
    let _ = std::fs::write(file.with_extension("reached"), "");
    while file.exists() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// Without the feature no step ever fails on request.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub const fn reach(_step: &str) -> Whim {
    Whim::Go
}
