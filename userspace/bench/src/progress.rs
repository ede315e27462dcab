//! The progress of a bench on a terminal, and its end by a signal.

use std::{
    io::{IsTerminal, Write, stderr},
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use anyhow::ensure;

/// Columns of the bar.
const BAR: usize = 30;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// A line that is written over; nothing where the error output is no terminal.
pub struct Progress {
    shown: bool,
    what: String,
    done: usize,
    total: usize,
    started: Instant,
}

impl Progress {
    /// Starts to heed SIGINT and SIGTERM: the bench ends by an error at its next step, and cleans up.
    #[must_use]
    pub fn start() -> Self {
        for signal in [libc::SIGINT, libc::SIGTERM] {
            let handler = note as extern "C" fn(libc::c_int);
            // SAFETY: the handler does nothing but store to an atomic.
            unsafe { libc::signal(signal, handler as libc::sighandler_t) };
        }
        Self {
            shown: stderr().is_terminal(),
            what: String::new(),
            done: 0,
            total: 0,
            started: Instant::now(),
        }
    }

    /// Begins something of `total` steps; 0 if they are not counted.
    pub fn begin(&mut self, what: &str, total: usize) {
        (self.what, self.done, self.total) = (what.to_owned(), 0, total);
        self.show();
    }

    /// Notes that a step is done.
    ///
    /// # Errors
    /// The bench was interrupted.
    pub fn step(&mut self) -> anyhow::Result<()> {
        self.done += 1;
        self.show();
        ensure!(!is_interrupted(), "interrupted");
        Ok(())
    }

    fn show(&self) {
        if !self.shown {
            return;
        }
        let seconds = self.started.elapsed().as_secs();
        let line = match self.total {
            0 => self.what.clone(),
            total => {
                let full = (BAR * self.done / total).min(BAR);
                format!(
                    "{} [{}{}] {}/{total}",
                    self.what,
                    "#".repeat(full),
                    " ".repeat(BAR - full),
                    self.done
                )
            }
        };
        // A bar that cannot be shown is no reason to end.
        let _ = write!(stderr(), "\r\x1b[K{seconds:>4} s  {line}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

/// Returns true if a signal has asked the bench to end.
#[must_use]
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
