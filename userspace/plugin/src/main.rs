//! `naru-cni`: what a container runtime runs to attach a pod, and to detach it. The same file answers as
//! `naru-ipam` and as `loopback` when it is called by those names.
//!
//! One process per call: no runtime with threads, no log, no configuration but what the runtime sends.
//! The answer is JSON on standard output and nothing else goes there.

mod answer;
mod cause;
mod clock;
mod delegate;
mod ipam;
mod loopback;
mod setting;
mod verbs;

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use naru_cni_types::{Call, Error, Version, read_stdin, version_reply};

/// What was asked of us: the error, with the version of the configuration as far as it could be told.
pub(crate) type Answer = Result<String, (Option<Version>, Error)>;

fn main() -> ExitCode {
    let program = env::args_os().next().unwrap_or_default();
    let (text, code) = match answer(&program) {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err((version, error)) => {
            eprintln!("{}: {error}", name_of(&program));
            (error.to_json(version), ExitCode::FAILURE)
        }
    };
    // Who closed our output does not read an error either.
    let _ = io::stdout().write_all(text.as_bytes());
    code
}

/// The file name we were called by.
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
