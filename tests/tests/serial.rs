//! Settings of the whole machine: one at a time, restored whatever happens.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking, their helpers too")]

use std::{fs, path::PathBuf};

use naru_e2e::{
    lab::Lab,
    matrix::{self, Plan},
    probe::ping,
};

/// A machine-wide setting, put back when dropped.
struct Setting {
    path: PathBuf,
    before: String,
}

impl Setting {
    fn set(key: &str, value: &str) -> Self {
        let path = PathBuf::from("/proc/sys").join(key);
        let before = fs::read_to_string(&path).unwrap();
        let setting = Self { path, before };
        fs::write(&setting.path, value).unwrap();
        setting
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.path, &self.before) {
            eprintln!("restore {}: {error}", self.path.display());
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn two_hundred_pods_talk_with_a_neighbour_table_of_32() {
    let lab = Lab::up("--families dual --underlay dual --pods 100").unwrap();
    // Thresholds are raised from below and lowered from above, so that none is ever above the next.
    let _table: Vec<Setting> = ["ipv4", "ipv6"]
        .iter()
        .flat_map(|family| {
            [("gc_thresh1", "8"), ("gc_thresh2", "16"), ("gc_thresh3", "32")].map(|pair| (family, pair))
        })
        .map(|(family, (name, value))| Setting::set(&format!("net/{family}/neigh/default/{name}"), value))
        .collect();
    for v6 in [false, true] {
        let first = lab.must_host("p1-1", v6).unwrap();
        for pod in &lab.pods {
            let pod = lab.must_host(&pod.name, v6).unwrap();
            ping::all_return(&first, &pod, 56, 1).unwrap();
            ping::all_return(&lab.must_host("n1", v6).unwrap(), &pod, 56, 1).unwrap();
        }
    }
    matrix::must_pass(&lab, &Plan::variant()).unwrap();
}
