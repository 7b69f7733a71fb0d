//! The commands: each takes only the settings it uses, and leaves with 0 (done), 1 (not done) or
//! 2 (wrong settings or arguments); `audit` has codes of its own.

mod audit;
mod command_deps;
mod credentials;
mod database;
mod demo;
#[cfg(feature = "distributed")]
mod distributed;
mod dlq;
mod embedded;
mod error;
mod logging;
mod migrate;
mod sale;
mod serve;
mod server;
mod shutdown;
mod user;
mod wording;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use error::CliError;

use crate::config::{LogArgs, StoreArgs};

/// A flash-sale engine: sells a limited number of units to a crowd, never one too many.
///
/// Without a command it serves. A setting is a flag or an environment variable; the flag wins.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    serve: serve::ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run API and worker in one process (the default)
    Serve(Box<serve::ServeArgs>),
    /// Serve a throw-away shop with a product, an open sale and two users, and show how to use it
    Demo(demo::DemoArgs),
    /// Create the database or bring it up to date, and exit
    Migrate(CommonArgs),
    /// Manage sales, on a stopped or a running server
    #[command(subcommand)]
    Sale(sale::SaleCommand),
    /// Manage users, on a stopped or a running server
    #[command(subcommand)]
    User(user::UserCommand),
    /// Account for every unit of a sale: exits 0 exact, 1 drift that is being repaired,
    /// 2 violation, 3 not audited
    Audit(audit::AuditArgs),
    /// Look at messages of the queue that could not be turned into orders
    #[command(subcommand)]
    Dlq(dlq::DlqCommand),
    /// Print the OpenAPI document
    Openapi,
}

/// What every command that uses the database takes.
#[derive(Clone, Debug, Args)]
struct CommonArgs {
    #[command(flatten)]
    store: StoreArgs,

    #[command(flatten)]
    log: LogArgs,
}

/// Runs the command of this process's arguments: all that the program does.
///
/// For a program with a memory allocator or a name of its own. It reads the environment, sets up
/// logging and handles signals, so nothing else belongs into the process.
pub fn run_command_line() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            return CliError::failed(format!("the system gives no threads: {error}")).report();
        }
    };
    let serve = || Command::Serve(Box::new(cli.serve));
    let command = cli.command.unwrap_or_else(serve);
    let done = runtime.block_on(execute(command));
    // Whatever still runs on other threads was either answered for or has nobody waiting for it.
    runtime.shutdown_timeout(Duration::from_millis(500));
    match done {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

async fn execute(command: Command) -> Result<ExitCode, CliError> {
    match command {
        Command::Serve(args) => serve::run(*args).await?,
        Command::Demo(args) => demo::run(args).await?,
        Command::Migrate(args) => migrate::run(args).await?,
        Command::Sale(command) => sale::run(command).await?,
        Command::User(command) => user::run(command).await?,
        Command::Audit(args) => return audit::run(args).await,
        Command::Dlq(command) => dlq::run(command).await?,
        Command::Openapi => print(&crate::openapi())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes to standard output. A reader who has seen enough (`| head`) is no failure.
fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| {
        if !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        out.flush()
    });
    match written {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(CliError::failed(format!(
            "the output cannot be written: {error}"
        ))),
    }
}

/// Writes a value as one line of JSON.
fn print_json(value: &impl serde::Serialize) -> Result<(), CliError> {
    print(&serde_json::to_string(value).expect("what is printed is plain data"))
}
