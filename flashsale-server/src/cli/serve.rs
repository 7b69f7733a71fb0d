use std::time::Duration;

use clap::Args;
use flashsale_embedded::EmbeddedEngine;
use tokio::time::{Instant, sleep};

use super::database::{self, OpenFailure};
use super::server::{self, Server};
use super::shutdown::Shutdown;
use super::{CommonArgs, Failure, logging};
use crate::config::{ListenArgs, PasswordArgs, RoleArgs, StoreConfig, TokenArgs};
use crate::control::{ControlAddress, Reply, Request, ask, canonical};

/// `serve`
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    listen: ListenArgs,

    #[command(flatten)]
    token: TokenArgs,

    #[command(flatten)]
    password: PasswordArgs,

    #[command(flatten)]
    role: RoleArgs,

    #[command(flatten)]
    common: CommonArgs,
}

/// Serves until a signal comes.
pub(super) async fn run(args: ServeArgs) -> Result<(), Failure> {
    let log = args.common.log.validate()?;
    let store = args.common.store.validate()?;
    let listen = args.listen.validate()?;
    let token = args.token.validate()?;
    let password = args.password.validate()?;
    args.role.validate()?;
    logging::start(log, "info");

    let shutdown = Shutdown::listen()?;
    let listener = server::bind(&listen).await?;
    let engine = open(&store).await?;
    let file = canonical(&store.file);
    let server = Server::new(&engine, file.clone(), &token, password)?;
    let url = server::base_url(&listener)?;
    let ready = || tracing::info!(url, database = %file.display(), "serving");
    server
        .run(listener, listen.cors_origins, shutdown, ready)
        .await
}

/// Opens the database. A command that has it open for a moment is waited for; another server is
/// not.
async fn open(store: &StoreConfig) -> Result<EmbeddedEngine, Failure> {
    const COMMAND_WAIT: Duration = Duration::from_secs(2);
    let deadline = Instant::now() + COMMAND_WAIT;
    let address = ControlAddress::of(&store.file);
    loop {
        let in_use = match database::open(store) {
            Ok(engine) => return Ok(engine),
            Err(OpenFailure::InUse(in_use)) => in_use,
            Err(OpenFailure::Other(failure)) => return Err(failure),
        };
        let server = matches!(ask(&address, &Request::Ping).await, Ok(Reply::Pong));
        if server || Instant::now() >= deadline {
            return Err(Failure::failed(in_use));
        }
        sleep(Duration::from_millis(50)).await;
    }
}
