use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use crate::{BackgroundConfig, Distributed, DistributedConfig, DistributedInvalid, Role};
use flashsale_core::ports::HealthCheck;
use flashsale_core::services::{AcceptAfter, OnPublishFailure};
use flashsale_core::{ErrorKind, PortError};
use flashsale_kafka::KafkaConfig;
use flashsale_postgres::PostgresConfig;
use flashsale_redis::RedisConfig;
use tokio::time::{Instant, sleep};

use super::CliError;
use super::command_deps::CommandDeps;
use super::credentials::{NoTokens, hasher, tokens};
use super::server::{Server, Startup};
use crate::config::{PasswordConfig, QueueConfig, ServersConfig, TokenConfig};
use crate::control::{Commands, Reply, Request};
use crate::error_chain::error_chain;

/// How long a command waits for a server that does not answer yet.
const COMMAND_WAIT: Duration = Duration::from_secs(10);
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How long a server that does not answer keeps a process from serving, about.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// How often a server that is waited for is mentioned in the log.
const REMIND: Duration = Duration::from_secs(5);
/// How long the queue may take at the end.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

fn kafka(queue: &QueueConfig) -> KafkaConfig {
    KafkaConfig {
        topic: queue.topic.clone(),
        partition_by: queue.partition_by,
        properties: queue
            .properties
            .iter()
            .map(|(name, value)| (name.clone(), value.reveal().to_owned()))
            .collect(),
        ..KafkaConfig::new(&queue.brokers)
    }
}

fn queue_setting(error: flashsale_kafka::ConfigError) -> CliError {
    match error {
        error @ flashsale_kafka::ConfigError::Topic { .. } => {
            setting("KAFKA_TOPIC_FLASH_SALE_ATTEMPTS", &error)
        }
        error @ flashsale_kafka::ConfigError::Property { .. } => {
            setting("KAFKA_PROPERTIES", &error)
        }
        error => setting("KAFKA_BROKERS", &error),
    }
}

/// The engine of these settings.
pub(super) fn stack(servers: &ServersConfig, queue: &QueueConfig) -> Result<Distributed, CliError> {
    engine(DistributedConfig {
        postgres: PostgresConfig::new(servers.database_url.reveal()),
        redis: RedisConfig::new(servers.redis_url()?.reveal()),
        kafka: Some(kafka(queue)),
        accept_after: queue.accept_after,
        on_publish_failure: queue.on_publish_failure,
    })
}

fn engine(config: DistributedConfig) -> Result<Distributed, CliError> {
    Distributed::new(config).map_err(|error| match error {
        DistributedInvalid::Postgres(error) => setting("DATABASE_URL", &error),
        DistributedInvalid::Redis(error) => setting("REDIS_URL", &error),
        DistributedInvalid::Kafka(error) => queue_setting(error),
    })
}

/// A server over the engine. Without a token configuration it knows nobody.
pub(super) fn server(
    stack: &Distributed,
    token: Option<&TokenConfig>,
    password: PasswordConfig,
    role: Role,
    group: &str,
) -> Result<Server, CliError> {
    let tokens = tokens(token)?;
    let hasher = hasher(Some(password))?;
    Ok(Server {
        services: Arc::new(stack.services(hasher, tokens, role)),
        background: BackgroundConfig {
            role,
            group: group.to_owned(),
        },
        file: None,
    })
}

/// Waits for the database, however long that takes, and looks at the other servers meanwhile; stops
/// at once if one of them cannot be used as it is. Who does not answer yet may be away for long, and
/// that ends nothing any more once this process serves, whatever turns out later.
pub(super) fn startup(stack: Distributed) -> Startup {
    let (first, beside, last) = (stack.clone(), stack.clone(), stack);
    Startup {
        first: Box::pin(async move {
            let database = async {
                wait_for("DATABASE_URL", None, || first.migrate()).await?;
                wait_for("DATABASE_URL", None, || first.database().check()).await
            };
            let stock = look("REDIS_URL", || first.stock().check());
            let queue = look("KAFKA_BROKERS", || check_queue(&first));
            tokio::try_join!(database, stock, queue).map(|_| ())
        }),
        beside: Box::pin(async move {
            let stock = wait_on("REDIS_URL", || beside.stock().check());
            let queue = wait_on("KAFKA_BROKERS", || check_queue(&beside));
            tokio::join!(stock, queue);
        }),
        last: Box::pin(async move { last.close(CLOSE_GRACE).await }),
    }
}

async fn check_queue(engine: &Distributed) -> Result<(), PortError> {
    match engine.queue() {
        Some(queue) => queue.check().await,
        None => Ok(()),
    }
}

/// Brings the database up to date.
pub(super) async fn migrate(servers: &ServersConfig) -> Result<(), CliError> {
    make_ready(&command_engine(servers, no_redis(), None)?).await
}

/// Carries a request out. The servers that serve buyers hear of it from the database.
pub(super) async fn perform(
    servers: &ServersConfig,
    deps: CommandDeps,
    request: Request,
) -> Result<Reply, CliError> {
    let redis = match request {
        Request::UserCreate(_) => no_redis(),
        _ => RedisConfig::new(servers.redis_url()?.reveal()),
    };
    let engine = command_engine(servers, redis, deps.queue.as_ref())?;
    make_ready(&engine).await?;
    let mut services = engine.services(hasher(deps.password)?, Arc::new(NoTokens), Role::Worker);
    if let Some(queue) = deps.queue {
        services.engine.recovery = services.engine.recovery.of_group(&queue.group);
        services.engine.auditor.group = queue.group;
    }
    Ok(Commands::new(&services).perform(request).await)
}

/// The engine of a command, which does one thing after the other and takes no attempts.
fn command_engine(
    servers: &ServersConfig,
    redis: RedisConfig,
    queue: Option<&QueueConfig>,
) -> Result<Distributed, CliError> {
    engine(DistributedConfig {
        postgres: PostgresConfig {
            connections_max: 2,
            ..PostgresConfig::new(servers.database_url.reveal())
        },
        redis,
        kafka: queue.map(kafka),
        accept_after: AcceptAfter::default(),
        on_publish_failure: OnPublishFailure::default(),
    })
}

/// For commands that only need the database: what is never asked need not be there.
fn no_redis() -> RedisConfig {
    RedisConfig::new("redis://127.0.0.1")
}

async fn make_ready(engine: &Distributed) -> Result<(), CliError> {
    let deadline = Some(Instant::now() + COMMAND_WAIT);
    wait_for("DATABASE_URL", deadline, || engine.migrate()).await?;
    wait_for("DATABASE_URL", deadline, || engine.database().check()).await
}

/// Tries until it works; gives up at the deadline, or at once if trying again is of no use.
async fn wait_for<F>(
    name: &'static str,
    deadline: Option<Instant>,
    attempt: impl Fn() -> F,
) -> Result<(), CliError>
where
    F: Future<Output = Result<(), PortError>>,
{
    let mut remind_at = Instant::now();
    loop {
        let fault = match attempt().await {
            Ok(()) => return Ok(()),
            Err(fault) => fault,
        };
        let now = Instant::now();
        if !fault.kind().is_transient() || deadline.is_some_and(|deadline| now >= deadline) {
            return Err(setting(name, &cause(&fault)));
        }
        if now >= remind_at && deadline.is_none() {
            let error = cause(&fault);
            tracing::warn!(setting = name, error, "waiting for a server");
            remind_at = now + REMIND;
        }
        sleep(RETRY_PAUSE).await;
    }
}

/// Gives a server a moment to answer. It may be away, but not set up so that it cannot be used.
async fn look<F>(name: &'static str, attempt: impl Fn() -> F) -> Result<(), CliError>
where
    F: Future<Output = Result<(), PortError>>,
{
    let deadline = Instant::now() + LOOK_MAX;
    loop {
        match attempt().await {
            Ok(()) => return Ok(()),
            Err(fault) if !fault.kind().is_transient() => {
                return Err(setting(name, &cause(&fault)));
            }
            Err(_) if Instant::now() + RETRY_PAUSE >= deadline => return Ok(()),
            Err(_) => sleep(RETRY_PAUSE).await,
        }
    }
}

/// Waits beside a process that serves until a server can be used. What has to be mended is said
/// once; until then `GET /ready` says that the server is down.
async fn wait_on<F>(name: &'static str, attempt: impl Fn() -> F)
where
    F: Future<Output = Result<(), PortError>>,
{
    let mut said = None;
    let mut remind_at = Instant::now();
    while let Err(fault) = attempt().await {
        let error = cause(&fault);
        let now = Instant::now();
        if !fault.kind().is_transient() {
            if said.as_ref() != Some(&error) {
                tracing::error!(
                    setting = name,
                    error,
                    "a server cannot be used as it is set up; mend it, this process goes on meanwhile"
                );
            }
            said = Some(error);
        } else if now >= remind_at {
            tracing::warn!(setting = name, error, "waiting for a server");
            remind_at = now + REMIND;
        }
        sleep(RETRY_PAUSE).await;
    }
    if said.is_some() {
        tracing::info!(setting = name, "the server can be used now");
    }
}

fn setting(name: &str, error: &dyn std::fmt::Display) -> CliError {
    CliError::failed(format!("{name}: {error}"))
}

/// What is behind a fault, in one line.
fn cause(fault: &PortError) -> String {
    match (fault.kind(), fault.source()) {
        // The source says it all.
        (ErrorKind::Misconfigured, Some(source)) => error_chain(source),
        _ => error_chain(fault),
    }
}
