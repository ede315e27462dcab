use std::fs;

use serde::{Deserialize, Serialize};

use crate::figure::{Figure, Verdict};

/// Version of the file's shape.
pub const VERSION: u32 = 1;

/// A whole run, as `--json` writes it.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// [`VERSION`] of whoever wrote it.
    pub version: u32,
    /// The machine.
    pub host: Host,
    /// Notes for readers: things that the machine lacks or that disturbed the run.
    pub notes: Vec<String>,
    /// The results.
    pub figures: Vec<Figure>,
}

/// A machine.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// Version of the kernel.
    pub kernel: String,
    /// Model of the CPUs.
    pub cpu: String,
    /// Their number.
    pub cpus: usize,
    /// Load average over a minute before the bench.
    pub load: f64,
}

impl Host {
    /// This machine.
    #[must_use]
    pub fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let model = |text: &str| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: model(&read("/proc/cpuinfo")).unwrap_or_default(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            load: read("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|first| first.parse().ok())
                .unwrap_or_default(),
        }
    }
}

impl Run {
    /// A run on this machine.
    #[must_use]
    pub fn new(host: Host, notes: Vec<String>, figures: Vec<Figure>) -> Self {
        Self { version: VERSION, host, notes, figures }
    }

    /// The figures that miss their gate.
    pub fn missed(&self) -> impl Iterator<Item = &Figure> {
        self.figures.iter().filter(|figure| figure.verdict() == Some(Verdict::Missed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Group, Limit};

    #[test]
    fn a_run_survives_the_way_through_a_file() {
        let figure = Figure::new(Group::Traffic, "a / b: TCP_RR", "ratio", vec![0.1, 1.0 / 3.0]).unwrap();
        let limited = figure.clone().limited(Some(Limit::at_least(0.9, 1.0)));
        let run = Run::new(Host::this(), vec!["busy".to_owned()], vec![figure, limited]);
        let file = std::env::temp_dir().join(format!("naru-bench-{}.json", std::process::id()));
        crate::report::save(&run, &file).unwrap();
        let read = crate::report::load(&file);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(read.unwrap(), run);
        assert_eq!(run.missed().count(), 1);
    }
}
