use naru_sandbox::tool::with_input;

/// Runs the lines, commands of `ip` without their first word, in the namespace.
///
/// # Errors
/// One of them fails: with what `ip` said.
pub fn ip(netns: &str, lines: &str) -> anyhow::Result<()> {
    with_input(netns, "ip -batch -", lines).map(drop)
}

/// Runs the lines, commands of `bridge` without their first word, in the namespace.
///
/// # Errors
/// One of them fails: with what `bridge` said.
pub fn bridge(netns: &str, lines: &str) -> anyhow::Result<()> {
    with_input(netns, "bridge -batch -", lines).map(drop)
}

/// Loads the rules in the namespace.
///
/// # Errors
/// `nft` refuses them.
pub fn nft(netns: &str, rules: &str) -> anyhow::Result<()> {
    with_input(netns, "nft -f -", rules).map(drop)
}
