//! The flash-sale server: the commands of `flashsale-server --help`.

mod cli;
mod config;
mod control;
mod moment;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run()
}
