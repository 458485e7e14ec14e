//! The `burn-zoo` command.

mod allocator;
mod cli;

fn main() -> std::process::ExitCode {
    allocator::keep_blocks();
    cli::run()
}
