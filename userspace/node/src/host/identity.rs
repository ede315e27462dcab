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
