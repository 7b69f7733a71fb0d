use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    BackgroundConfig, Distributed, DistributedConfig, DistributedInvalid, Metrics, Role, Services,
};
use flashsale_core::domain::Attempt;
use flashsale_core::ports::{
    AttemptQueue, AttemptReader, HealthCheck, PasswordHasher, Published, QueuePosition,
};
use flashsale_core::services::AuthService;
use flashsale_core::{ErrorKind, PortError};
use flashsale_embedded::SystemClock;
use flashsale_kafka::{KafkaAttemptQueue, KafkaConfig};
use flashsale_postgres::{PostgresConfig, PostgresDatabase};
use flashsale_redis::{RedisConfig, RedisStockStore};
use tokio::time::{Instant, sleep};

use super::CliError;
use super::command_deps::CommandDeps;
use super::credentials::{NoTokens, hasher, tokens};
use super::server::{Server, Startup};
use crate::config::{PasswordConfig, QueueConfig, ServersConfig, TokenConfig};
use crate::control::{Commands, Reply, Request};
use crate::distributed::ports;
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

fn not_given(operation: &'static str) -> PortError {
    PortError::new(ErrorKind::Misconfigured, "command", operation)
        .with_source("KAFKA_BROKERS is not set")
}

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
    let config = DistributedConfig {
        postgres: PostgresConfig::new(servers.database_url.reveal()),
        redis: RedisConfig::new(servers.redis_url()?.reveal()),
        kafka: kafka(queue),
        accept_after: queue.accept_after,
        on_publish_failure: queue.on_publish_failure,
    };
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
            let queue = look("KAFKA_BROKERS", || first.queue().check());
            tokio::try_join!(database, stock, queue).map(|_| ())
        }),
        beside: Box::pin(async move {
            let stock = wait_on("REDIS_URL", || beside.stock().check());
            let queue = wait_on("KAFKA_BROKERS", || beside.queue().check());
            tokio::join!(stock, queue);
        }),
        last: Box::pin(async move { last.close(CLOSE_GRACE).await }),
    }
}

/// Brings the database up to date.
pub(super) async fn migrate(servers: &ServersConfig) -> Result<(), CliError> {
    let database = database_of(servers)?;
    let deadline = Some(Instant::now() + COMMAND_WAIT);
    wait_for("DATABASE_URL", deadline, || database.migrate()).await?;
    wait_for("DATABASE_URL", deadline, || database.check()).await
}

/// Carries a request out. The servers that serve buyers hear of it from the database.
pub(super) async fn perform(
    servers: &ServersConfig,
    deps: CommandDeps,
    request: Request,
) -> Result<Reply, CliError> {
    let database = database_of(servers)?;
    // Users are in the database alone.
    let redis = match request {
        Request::UserCreate(_) => RedisConfig::new("redis://127.0.0.1"),
        _ => RedisConfig::new(servers.redis_url()?.reveal()),
    };
    let stock = RedisStockStore::new(redis).map_err(|error| setting("REDIS_URL", &error))?;
    let deadline = Some(Instant::now() + COMMAND_WAIT);
    wait_for("DATABASE_URL", deadline, || database.migrate()).await?;
    wait_for("DATABASE_URL", deadline, || database.check()).await?;
    let hasher = hasher(deps.password)?;
    let queue: Arc<dyn AttemptQueue> = match &deps.queue {
        Some(queue) => Arc::new(KafkaAttemptQueue::new(kafka(queue)).map_err(queue_setting)?),
        None => Arc::new(NoQueue),
    };
    let mut services = services(&database, Arc::new(stock), queue, hasher);
    if let Some(queue) = deps.queue {
        services.engine.recovery = services.engine.recovery.of_group(&queue.group);
        services.engine.auditor.group = queue.group;
    }
    Ok(Commands::new(&services).perform(request).await)
}

fn services(
    database: &PostgresDatabase,
    stock: Arc<RedisStockStore>,
    queue: Arc<dyn AttemptQueue>,
    hasher: Arc<dyn PasswordHasher>,
) -> Services {
    let metrics = Metrics::new();
    let ports = ports(database, stock, queue, &metrics);
    let auth = AuthService {
        users: Arc::new(database.users()),
        hasher,
        tokens: Arc::new(NoTokens),
        clock: Arc::new(SystemClock),
    };
    Services::new(ports.services(), auth, metrics)
}

fn database_of(servers: &ServersConfig) -> Result<PostgresDatabase, CliError> {
    let config = PostgresConfig {
        // A command does one thing after the other.
        connections_max: 2,
        ..PostgresConfig::new(servers.database_url.reveal())
    };
    PostgresDatabase::new(config).map_err(|error| setting("DATABASE_URL", &error))
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

/// For commands, which take no attempts.
#[derive(Debug)]
struct NoQueue;

#[async_trait::async_trait]
impl AttemptQueue for NoQueue {
    async fn publish(&self, attempts: &[Attempt]) -> Result<Vec<Published>, PortError> {
        Ok(vec![Published::Unconfirmed; attempts.len()])
    }

    async fn subscribe(&self, _: &str) -> Result<Box<dyn AttemptReader>, PortError> {
        Err(not_given("subscribe"))
    }

    async fn end(&self) -> Result<QueuePosition, PortError> {
        Err(not_given("end"))
    }

    async fn lag(&self, _: &str, _: &QueuePosition) -> Result<u64, PortError> {
        Err(not_given("lag"))
    }
}
