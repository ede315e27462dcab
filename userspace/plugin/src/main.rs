//! `naru-cni`: the program that a container runtime runs to attach and to detach a pod. The same file is `naru-ipam`
//! and `loopback` when it is called by those names.
//!
//! A call is one process: it has no threads, no log, and no configuration but the runtime's. Standard output gets the
//! JSON reply and nothing else.

#[macro_use]
mod output;

mod answer;
mod cause;
mod clock;
mod delegate;
mod ipam;
mod loopback;
mod setting;
mod verbs;

use std::{env, ffi::OsString, io, path::Path, process::ExitCode};

use naru_cni_types::{Call, Error, Version, read_stdin, version_reply};
use naru_core::printable;

/// The reply, or the error with the version of the configuration, if that is known.
pub(crate) type Answer = Result<String, (Option<Version>, Error)>;

fn main() -> ExitCode {
    hear_of_full_files();
    let program = env::args_os().next().unwrap_or_default();
    let (text, code) = match answer(&program) {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err((version, error)) => {
            // The runtime shows it to people.
            let [msg, details] = [&error.msg, &error.details].map(|text| printable(text).into_owned());
            let error = Error { msg, details, ..error };
            log!("{}: {error}", name_of(&program));
            (error.to_json(version), ExitCode::FAILURE)
        }
    };
    match output::write(&text) {
        Ok(()) => code,
        Err(why) => {
            // Nobody knows the result: the attachment stands, and DEL finds it.
            log!("{}: standard output: {why}", name_of(&program));
            ExitCode::FAILURE
        }
    }
}

/// Ignores the signal for a write beyond an inherited limit of file sizes, which would end the process silently: the
/// write then fails with an error that can be reported.
fn hear_of_full_files() {
    // SAFETY: a system call on numbers; nothing else runs yet.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// The file name by which this program was called.
fn name_of(program: &OsString) -> &str {
    Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or("naru-cni")
}

fn answer(program: &OsString) -> Answer {
    let unknown = |error| (None, error);
    let call = Call::from_environment(|name| env::var_os(name)).map_err(unknown)?;
    let stdin = read_stdin(io::stdin().lock()).map_err(unknown)?;
    if call == Call::Version {
        return Ok(version_reply(&stdin));
    }
    match name_of(program) {
        "loopback" => loopback::answer(call, &stdin),
        "naru-ipam" => ipam::answer(call, &stdin),
        _ => verbs::answer(call, &stdin),
    }
}
