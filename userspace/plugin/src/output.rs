//! The two outputs of a call. Standard output is the reply: without a reader the call has not succeeded. Standard error
//! is the runtime's log: a line that it does not accept is lost, and has no other effect.

use std::{
    fmt,
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use naru_core::printable;

/// Writes a line to the runtime's log.
macro_rules! log {
    ($($part:tt)*) => { $crate::output::line(format_args!($($part)*)) };
}

/// The line of `log!`.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    let text = format!("{}\n", printable(&text.to_string()));
    let _ = io::stderr().write_all(text.as_bytes());
}

/// True if standard output was closed when the process began.
static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// The standard library opens `/dev/null` in the place of a closed descriptor before `main`, and writing succeeds.
extern "C" fn look() {
    // SAFETY: a system call on a number.
    let is_open = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) } != -1;
    WAS_CLOSED.store(!is_open, Ordering::Relaxed);
}

// SAFETY: the C library calls the functions of this section once, before `main` and before any thread, and `look` needs
// nothing that does not exist by then.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

/// Writes the reply.
pub(crate) fn write(text: &str) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    if WAS_CLOSED.load(Ordering::Relaxed) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()
}
