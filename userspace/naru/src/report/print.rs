//! Output of the commands. Text from outside may hold characters that control a terminal: every command prints them by
//! number, through this file. A reader that has gone or a disk that is full makes the command fail with a message.

use std::{
    fmt,
    io::{self, ErrorKind, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use naru_core::{printable, printable_lines};

/// Prints a line.
macro_rules! outln {
    ($($part:tt)*) => { $crate::report::lines(&format!($($part)*), true) };
}

/// Prints lines that have their ends, such as a table.
macro_rules! out {
    ($($part:tt)*) => { $crate::report::lines(&format!($($part)*), false) };
}

/// Prints a line to standard error.
macro_rules! errln {
    ($($part:tt)*) => { $crate::report::warning(format_args!($($part)*)) };
}

/// True once standard output did not accept a line.
static IS_BROKEN: AtomicBool = AtomicBool::new(false);

/// Returns true if something that was printed did not reach anybody.
pub fn is_broken() -> bool {
    IS_BROKEN.load(Ordering::Relaxed)
}

/// Prints one line, or lines, for `outln!` and `out!`.
pub fn lines(text: &str, is_one: bool) {
    if is_broken() {
        return;
    }
    let text = if is_one { format!("{}\n", printable(text)) } else { printable_lines(text).into_owned() };
    let mut output = io::stdout().lock();
    if let Err(error) = output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        IS_BROKEN.store(true, Ordering::Relaxed);
        if error.kind() != ErrorKind::BrokenPipe {
            warning(format_args!("naru: standard output: {error}"));
        }
    }
}

/// The line of `errln!`; one that cannot be written is lost.
pub fn warning(text: fmt::Arguments<'_>) {
    let text = format!("{}\n", printable(&text.to_string()));
    let _ = io::stderr().write_all(text.as_bytes());
}

/// The agent's log on standard error, one event a line, without colours: a colour sequence could not be told from one
/// inside a name.
#[derive(Clone, Copy)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        // A log line that cannot be written stops nothing.
        warning(format_args!("{}", text.strip_suffix('\n').unwrap_or(&text)));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
