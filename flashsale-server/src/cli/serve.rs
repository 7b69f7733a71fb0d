use crate::Role;
use clap::Args;

#[cfg(feature = "distributed")]
use super::distributed;
use super::server::{self, Server};
use super::shutdown::Shutdown;
use super::{CliError, CommonArgs, embedded, logging};
#[cfg(feature = "distributed")]
use crate::config::QueueArgs;
use crate::config::{ListenArgs, PasswordArgs, RoleArgs, StoreConfig, TokenArgs};

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

    #[cfg(feature = "distributed")]
    #[command(flatten)]
    queue: QueueArgs,

    #[command(flatten)]
    common: CommonArgs,
}

/// Serves until a signal comes.
pub(super) async fn run(args: ServeArgs) -> Result<(), CliError> {
    let log = args.common.log.validate()?;
    let store = args.common.store.validate()?;
    let listen = args.listen.validate()?;
    let role = args.role.validate(&store)?;
    let password = args.password.validate()?;
    // A worker logs nobody in.
    let token = match role {
        Role::Worker => None,
        Role::All | Role::Api => Some(args.token.validate()?),
    };
    #[cfg(feature = "distributed")]
    let queue = match store {
        StoreConfig::File(_) => None,
        StoreConfig::Servers(_) => Some(args.queue.validate()?),
    };
    logging::start(log, "info");

    let shutdown = Shutdown::listen()?;
    let listener = server::bind(&listen).await?;
    let url = server::base_url(&listener)?;
    let (server, startup) = match &store {
        StoreConfig::File(file) => {
            let engine = embedded::open_to_serve(file).await?;
            let token = token.as_ref();
            let server = Server::embedded(&engine, &file.file, token, password)?;
            (server, None)
        }
        #[cfg(feature = "distributed")]
        StoreConfig::Servers(servers) => {
            let queue = queue.as_ref().expect("checked for servers above");
            let stack = distributed::stack(servers, queue)?;
            let server = distributed::server(&stack, token.as_ref(), password, role, &queue.group)?;
            tracing::info!(url, ?role, "listening");
            (server, Some(distributed::startup(stack)))
        }
    };
    let ready = || tracing::info!(url, ?role, "serving");
    let shutdown_delay = listen.shutdown_delay;
    let http = listen.http(password.login_concurrency);
    server
        .run(listener, http, shutdown_delay, shutdown, startup, ready)
        .await
}
