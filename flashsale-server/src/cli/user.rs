use std::io::{self, BufRead, IsTerminal, Read};

use clap::{Args, Subcommand};

use super::command_deps::CommandDeps;
use super::{CliError, CommonArgs, database, logging, print, print_json};
use crate::config::PasswordArgs;
use crate::control::{NewUserRequest, Reply, Request};

/// `user …`
#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Make a user; the password is asked for, or read from standard input
    Create(CreateArgs),
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// What the user logs in with, 3 to 64 characters
    #[arg(long, value_name = "NAME")]
    username: String,

    /// E-mail address
    #[arg(long, value_name = "ADDRESS")]
    email: String,

    /// The name as the person writes it
    #[arg(long, value_name = "NAME")]
    full_name: Option<String>,

    /// Give the user the role `admin`; tokens of the user say so
    #[arg(long)]
    admin: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    password: PasswordArgs,

    #[command(flatten)]
    common: CommonArgs,
}

/// Makes the user.
pub(super) async fn run(UserCommand::Create(args): UserCommand) -> Result<(), CliError> {
    let store = args.common.store.validate()?;
    let password = args.password.validate()?;
    logging::start(args.common.log.validate()?, "warn");
    let request = NewUserRequest {
        username: args.username,
        email: args.email,
        full_name: args.full_name,
        password: read_password()?,
        admin: args.admin,
    };
    let deps = CommandDeps {
        password: Some(password),
        #[cfg(feature = "distributed")]
        queue: None,
    };
    match database::perform(&store, deps, Request::UserCreate(request)).await? {
        Reply::User(user) if args.json => print_json(&user),
        Reply::User(user) => print(&format!(
            "User {} ({}) has the id {} and the role {}.",
            user.username, user.email, user.user_id, user.role
        )),
        other => Err(database::refused(other)),
    }
}

/// Asks for the password twice on a terminal, without echo; else takes the first line of standard
/// input.
fn read_password() -> Result<String, CliError> {
    let failed =
        |error: io::Error| CliError::failed(format!("the password cannot be read: {error}"));
    if io::stdin().is_terminal() {
        let first = rpassword::prompt_password("Password: ").map_err(failed)?;
        let again = rpassword::prompt_password("Again: ").map_err(failed)?;
        if first != again {
            return Err(CliError::failed(
                "the two passwords differ; nothing was done",
            ));
        }
        return Ok(first);
    }
    let mut line = String::new();
    io::stdin()
        .lock()
        .take(4_096)
        .read_line(&mut line)
        .map_err(failed)?;
    let password = line.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        let why = "no password came from standard input; give it as one line";
        return Err(CliError::failed(why));
    }
    Ok(password.to_owned())
}
