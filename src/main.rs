//! The `burn-zoo` command.

mod cli;

/// Training asks for the same large blocks again and again; the system's allocator gives each back
/// and has it cleared anew.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run()
}
