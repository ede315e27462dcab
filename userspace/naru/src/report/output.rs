use clap::Args;

/// The form of the output.
#[derive(Args, Clone, Copy, Debug)]
pub struct OutputArgs {
    /// Print JSON of a stable shape in place of a table.
    #[arg(long)]
    pub json: bool,
}
