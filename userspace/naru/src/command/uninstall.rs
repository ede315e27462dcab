use naru_node::{
    paths::Paths,
    uninstall::{Removed, Wishes, uninstall},
};

use crate::args::UninstallArgs;

/// Undoes init.
pub fn run(paths: &Paths, args: &UninstallArgs) -> anyhow::Result<()> {
    let wishes = Wishes { force: args.force, remove_conflist: args.remove_conflist };
    let removed = uninstall(paths, wishes)?;
    warn(&removed);
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

/// Says what the container runtime still has of naru.
fn warn(removed: &Removed) {
    for file in &removed.kept {
        eprintln!(
            "warning: {} stays, as somebody else wrote or changed it: the runtime goes on calling naru-cni, and pods \
             fail; remove it (05-naru.conflist: also by --remove-conflist)",
            file.display()
        );
    }
}
