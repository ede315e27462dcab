use naru_node::{paths::Paths, uninstall::uninstall};

use crate::args::UninstallArgs;

/// Undoes init.
pub fn run(paths: &Paths, args: &UninstallArgs) -> anyhow::Result<()> {
    let removed = uninstall(paths, args.force)?;
    if !removed.was_initialised {
        println!("nothing to undo: this machine is not a node");
        return Ok(());
    }
    for pod in &removed.pods {
        println!("detached {pod}");
    }
    for lease in &removed.lost {
        println!("not given back: {lease}");
    }
    for setting in &removed.stays {
        println!("stays as it is, as the notes of what it was are gone: {setting}");
    }
    println!("uninstalled; {} settings of the machine are as they were before", removed.restored.len());
    Ok(())
}
