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
        outln!("nothing to undo: this machine is not a node");
        return Ok(());
    }
    for pod in &removed.pods {
        outln!("detached {pod}");
    }
    for lease in &removed.lost {
        outln!("not given back: {lease}");
    }
    for setting in &removed.stays {
        outln!("{setting}: stays as it is, because its former value is no longer known");
    }
    outln!("uninstalled; {} settings of the machine restored", removed.restored.len());
    Ok(())
}

/// Prints the remains of naru in the container runtime's configuration.
fn warn(removed: &Removed) {
    for file in &removed.kept {
        errln!(
            "warning: {} stays, because somebody else wrote or changed it: the runtime still calls naru-cni, and pods \
             fail; remove the file (05-naru.conflist: also by --remove-conflist)",
            file.display()
        );
    }
}
