//! `cargo xtask lab --kubernetes`: a real cluster of two nodes, and naru from its manifest.

use std::process::Command;

use crate::{
    image,
    run::{self, step},
    setup::Needs,
    workspace::Workspace,
};

/// Brings the cluster up, shows pods that talk, and takes it down; with `keep` at Ctrl-C.
///
/// # Errors
/// Set-up or build fails, or something in the cluster does.
pub fn run(workspace: &Workspace, keep: bool) -> anyhow::Result<()> {
    Needs::kubernetes(false).install()?;
    let image = image::build(workspace)?;
    let built = ["build", "--package", "naru-e2e", "--bin", "kubernetes"];
    step("build the lab", run::cargo().current_dir(&workspace.root).args(built))?;
    let mut lab = Command::new(workspace.target.join("debug/kubernetes"));
    lab.arg("--image").arg(image).arg("--manifest").arg(workspace.root.join("deploy/naru.yaml"));
    lab.arg("--directory").arg(workspace.target.join("kubernetes"));
    if keep {
        lab.arg("--keep");
    }
    step("Kubernetes", &mut lab)
}
