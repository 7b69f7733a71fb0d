use std::fmt::Write as _;

use clap::{Args, Subcommand};

use super::command_deps::CommandDeps;
use super::sale::one_line;
use super::{CliError, CommonArgs, database, logging, print, print_json, wording};
#[cfg(feature = "distributed")]
use crate::config::QueueArgs;
use crate::control::{DeadLetterLine, Reply, Request};

/// `dlq …`
#[derive(Debug, Subcommand)]
pub(super) enum DlqCommand {
    /// List dead letters
    List(ListArgs),
    /// Show one with what it says
    Show(OneArgs),
    /// Try once more to make an order of one, for example with a newer version of this program
    Replay(OneArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only those with larger ids
    #[arg(long, value_name = "ID", default_value_t = 0)]
    after: i64,

    /// So many at most
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    max: usize,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct OneArgs {
    /// Id of the dead letter
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    id: i64,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct OutputArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,

    #[cfg(feature = "distributed")]
    #[command(flatten)]
    queue: QueueArgs,

    #[command(flatten)]
    common: CommonArgs,
}

/// Carries the command out.
pub(super) async fn run(command: DlqCommand) -> Result<(), CliError> {
    let (request, output) = match command {
        DlqCommand::List(args) => {
            let (after, max) = (args.after, args.max);
            (Request::DeadLetters { after, max }, args.output)
        }
        DlqCommand::Show(one) => (Request::DeadLetter { id: one.id }, one.output),
        DlqCommand::Replay(one) => (Request::Replay { id: one.id }, one.output),
    };
    let store = output.common.store.validate()?;
    logging::start(output.common.log.validate()?, "warn");
    let deps = CommandDeps {
        password: None,
        #[cfg(feature = "distributed")]
        queue: output.queue.validate_if_given()?,
    };
    match database::perform(&store, deps, request).await? {
        Reply::DeadLetters(letters) if output.json => print_json(&letters),
        Reply::DeadLetters(letters) if letters.is_empty() => print("There are no dead letters."),
        Reply::DeadLetters(letters) => print(&list(&letters)),
        Reply::DeadLetter(letter) if output.json => print_json(&letter),
        Reply::DeadLetter(letter) => print(&shown(&letter)),
        Reply::Replayed { id, decision } => {
            let outcome = wording::replayed(id, decision);
            if output.json {
                print_json(&outcome)
            } else {
                print(&outcome)
            }
        }
        other => Err(database::refused(other)),
    }
}

fn list(letters: &[DeadLetterLine]) -> String {
    let mut text = String::new();
    for letter in letters {
        let replayed = if letter.replayed_at.is_some() {
            "replayed"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "{:>6}  {}  {replayed:<8}  {}: {}",
            letter.id,
            letter.kept_at,
            one_line(&letter.position),
            one_line(&letter.problem)
        );
    }
    text
}

fn shown(letter: &DeadLetterLine) -> String {
    let replayed = letter.replayed_at.as_deref().unwrap_or("never");
    format!(
        "Dead letter {}\n  from      {}\n  kept      {}\n  replayed  {replayed}\n  problem   {}\n\n{}\n",
        letter.id,
        one_line(&letter.position),
        letter.kept_at,
        one_line(&letter.problem),
        letter.payload
    )
}
