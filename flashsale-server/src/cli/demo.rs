use std::env;
use std::fmt::Write as _;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::Args;
use flashsale_core::ports::Clock;
use flashsale_embedded::SystemClock;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::embedded::{self, OpenFailure};
use super::server::{self, Server};
use super::shutdown::Shutdown;
use super::{CliError, database, logging, print};
use crate::config::{
    FileConfig, ListenArgs, ListenConfig, LogArgs, PasswordConfig, Secret, TokenConfig,
};
use crate::control::{Commands, NewSaleRequest, NewUserRequest, Reply, Request, SaleLine};

/// `demo`
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    #[command(flatten)]
    listen: ListenArgs,

    #[command(flatten)]
    log: LogArgs,
}

/// Name and password of the demo's users.
const USERS: [(&str, &str); 2] = [("alice", "wonderland"), ("bob", "can-we-fix-it")];
const UNITS: u64 = 100;
const SALE_MS: i64 = 3_600_000;
/// How many ports after the requested one are tried.
const PORTS_TRIED: u16 = 100;

/// Serves a fresh shop in a temporary folder until a signal comes, and removes the folder.
pub(super) async fn run(args: DemoArgs) -> Result<(), CliError> {
    let listen = args.listen.validate()?;
    logging::start(args.log.validate()?, "warn");
    let shutdown = Shutdown::listen()?;
    let listener = bind_nearby(&listen).await?;
    let url = server::base_url(&listener)?;

    let folder = tempfile::Builder::new()
        .prefix("flashsale-demo-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .map_err(|error| CliError::failed(format!("no temporary folder: {error}")))?;
    let served = serve(&folder, listener, &url, listen, shutdown).await;
    let path = folder.path().to_owned();
    folder.close().map_err(|error| {
        CliError::failed(format!("{} cannot be removed: {error}", path.display()))
    })?;
    served
}

/// The engine is closed when this returns, so that its folder can be removed.
async fn serve(
    folder: &TempDir,
    listener: TcpListener,
    url: &str,
    listen: ListenConfig,
    shutdown: Shutdown,
) -> Result<(), CliError> {
    let store = FileConfig {
        file: folder.path().join("demo.db"),
    };
    let token = TokenConfig {
        secret: random_secret()?,
        expires_in_s: 86_400,
    };
    let engine = embedded::open(&store).map_err(|failure| match failure {
        OpenFailure::InUse(in_use) => CliError::failed(in_use),
        OpenFailure::Other(failure) => failure,
    })?;
    let password = PasswordConfig::default();
    let server = Server::embedded(&engine, &store.file, Some(&token), password)?;
    let sale = seed(&server.commands()).await?;
    let mut text = String::new();
    let port = listener
        .local_addr()
        .map_or(listen.port, |address| address.port());
    if listen.port != 0 && port != listen.port {
        let requested = listen.port;
        let _ = writeln!(
            text,
            "Port {requested} is taken, so this demo uses port {port}.\n"
        );
    }
    text.push_str(&introduction(url, &sale, &store.file));
    let ready = || {
        // Whoever cannot read this has closed the output, and may still use the server.
        let _ = print(&text);
    };
    let shutdown_delay = listen.shutdown_delay;
    let http = listen.http(password.login_concurrency);
    server
        .run(listener, http, shutdown_delay, shutdown, None, ready)
        .await
}

/// Listens on the requested port or the next one that is free.
async fn bind_nearby(listen: &ListenConfig) -> Result<TcpListener, CliError> {
    let last = listen.port.saturating_add(PORTS_TRIED);
    for port in listen.port..last {
        match server::try_bind(&listen.host, port).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Ok(listener) => return Ok(listener),
            Err(_) => break,
        }
    }
    server::bind(listen).await
}

fn random_secret() -> Result<Secret, CliError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| CliError::failed(format!("the system gives no random bytes: {error}")))?;
    Ok(Secret::new(bytes.iter().fold(
        String::new(),
        |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        },
    )))
}

/// Makes the product, its sale and the users.
async fn seed(commands: &Commands) -> Result<SaleLine, CliError> {
    for (username, password) in USERS {
        let request = NewUserRequest {
            username: username.to_owned(),
            email: format!("{username}@example.org"),
            full_name: None,
            password: password.to_owned(),
            admin: false,
        };
        match commands.perform(Request::UserCreate(request)).await {
            Reply::User(_) => {}
            other => return Err(database::refused(other)),
        }
    }
    let now = SystemClock.now();
    let request = NewSaleRequest {
        product: "Limited Sneaker".to_owned(),
        description: "One hundred pairs, one per person".to_owned(),
        start_ms: now.as_millis(),
        end_ms: now.plus_ms(SALE_MS).as_millis(),
        stock: UNITS,
    };
    match commands.perform(Request::SaleCreate(request)).await {
        Reply::Sale(sale) => Ok(sale),
        other => Err(database::refused(other)),
    }
}

fn introduction(url: &str, sale: &SaleLine, file: &Path) -> String {
    let SaleLine {
        id,
        product_id,
        product_name,
        stock,
        end_time,
        ..
    } = sale;
    let [(alice, alice_password), (bob, bob_password)] = USERS;
    let program = env::args()
        .next()
        .unwrap_or_else(|| "flashsale-server".to_owned());
    let file = file.display();
    format!(
        r#"A throw-away shop is open at {url}

  sale {id}    {stock} units of "{product_name}" until {end_time}
  users     {alice} (password {alice_password}) and {bob} (password {bob_password})
  API       {url}/api-docs in a browser, {url}/api-docs/openapi.json for tools

Try it in another terminal, line by line:

  # log in
  TOKEN=$(curl -s {url}/api/auth/login -H 'content-type: application/json' -d '{{"username":"{alice}","password":"{alice_password}"}}' | sed 's/.*"token" *: *"\([^"]*\)".*/\1/')
  # what is on sale?
  curl -s {url}/api/flash-sale/status -H "Authorization: Bearer $TOKEN"
  # buy one; doing it again gives the same attempt
  curl -s -X POST {url}/api/flash-sale/attempt/{id} -H "Authorization: Bearer $TOKEN"
  # did it work?
  curl -s {url}/api/orders/status/{product_id} -H "Authorization: Bearer $TOKEN"

And as the shop:

  export DATABASE_URL='sqlite://{file}'
  {program} sale list
  {program} audit {id}

Ctrl-C ends the demo and removes everything.
"#
    )
}
