use super::HostError;

/// The identity of this boot: `NARU_BOOT_ID` where it is set (tests, the lab), else the kernel's.
///
/// # Errors
/// The kernel's cannot be read.
pub fn boot_id() -> Result<String, HostError> {
    if let Some(given) = std::env::var("NARU_BOOT_ID").ok().filter(|id| !id.is_empty()) {
        return Ok(given);
    }
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path).map_err(|error| HostError::file(path, "read", error))?;
    Ok(text.trim().to_owned())
}

/// The identity of the installed system, `/etc/machine-id`; `NARU_MACHINE_ID` where it is set (tests). `None` where
/// there is none, or not yet one.
#[must_use]
pub fn machine_id() -> Option<String> {
    given_machine().or_else(|| line_of("/etc/machine-id")).filter(|id| id != "uninitialized")
}

/// Returns the identity of the hardware or the virtual machine, which its firmware shows to root.
#[must_use]
pub fn product_uuid() -> Option<String> {
    if given_machine().is_some() { None } else { line_of("/sys/class/dmi/id/product_uuid") }
}

fn given_machine() -> Option<String> {
    std::env::var("NARU_MACHINE_ID").ok().filter(|id| !id.is_empty())
}

fn line_of(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|line| !line.is_empty())
}

/// The machine's host name, the node's name unless another is given.
#[must_use]
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_id_is_one_line() {
        assert!(!boot_id().unwrap().contains('\n'));
    }
}
