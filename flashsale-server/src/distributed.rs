use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use flashsale_core::domain::Attempt;
use flashsale_core::ports::{
    AttemptQueue, AttemptReader, HealthCheck, PasswordHasher, Published, QueuePosition, TokenIssuer,
};
use flashsale_core::services::{AcceptAfter, AuthService, EnginePorts, OnPublishFailure, Role};
use flashsale_core::{ErrorKind, PortError};
use flashsale_embedded::{SystemClock, UuidV7};
use flashsale_kafka::{KafkaAttemptDecoder, KafkaAttemptQueue, KafkaConfig};
use flashsale_postgres::{PostgresConfig, PostgresDatabase};
use flashsale_redis::{RedisConfig, RedisStockStore};

use crate::dependency::Dependency;
use crate::metrics::Metrics;
use crate::services::Services;

/// The distributed engine: stock in Redis, attempts through Kafka, orders in PostgreSQL.
///
/// Any number of processes may have one over the same servers. Making it reaches out to none of
/// them, and none has to be there: it reconnects for ever.
#[derive(Clone, Debug)]
pub struct Distributed {
    database: PostgresDatabase,
    stock: Arc<RedisStockStore>,
    queue: Option<Arc<KafkaAttemptQueue>>,
    accept_after: AcceptAfter,
    on_publish_failure: OnPublishFailure,
}

/// Where the servers are.
#[derive(Clone, Debug)]
pub struct DistributedConfig {
    /// The orders, sales and users, and the audit trail.
    pub postgres: PostgresConfig,
    /// The stock and the results.
    pub redis: RedisConfig,
    /// The attempts. Without it the shop's side works, as far as it need not ask the queue; a
    /// process that sells or decides needs it.
    pub kafka: Option<KafkaConfig>,
    /// When an attempt is accepted.
    pub accept_after: AcceptAfter,
    /// What becomes of an attempt that the queue does not take.
    pub on_publish_failure: OnPublishFailure,
}

/// Why a [`DistributedConfig`] cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DistributedInvalid {
    /// The database.
    #[error(transparent)]
    Postgres(#[from] flashsale_postgres::ConfigError),
    /// The stock store.
    #[error(transparent)]
    Redis(#[from] flashsale_redis::InvalidRedisConfig),
    /// The queue.
    #[error(transparent)]
    Kafka(#[from] flashsale_kafka::ConfigError),
}

impl Distributed {
    /// An engine over these servers. Has to be called inside a tokio runtime.
    ///
    /// # Errors
    /// If a setting cannot be used whatever the servers say.
    pub fn new(config: DistributedConfig) -> Result<Self, DistributedInvalid> {
        Ok(Self {
            database: PostgresDatabase::new(config.postgres)?,
            stock: Arc::new(RedisStockStore::new(config.redis)?),
            queue: match config.kafka {
                Some(kafka) => Some(Arc::new(KafkaAttemptQueue::new(kafka)?)),
                None => None,
            },
            accept_after: config.accept_after,
            on_publish_failure: config.on_publish_failure,
        })
    }

    /// The services over this engine, for a process of this role.
    pub fn services(
        &self,
        hasher: Arc<dyn PasswordHasher>,
        tokens: Arc<dyn TokenIssuer>,
        role: Role,
    ) -> Services {
        let metrics = Metrics::new();
        let engine = self
            .ports(&metrics)
            .services()
            .accepting(self.accept_after)
            .on_publish_failure(self.on_publish_failure)
            .recording_refusals();
        let auth = AuthService {
            users: Arc::new(self.database.users()),
            hasher,
            tokens,
            clock: Arc::new(SystemClock),
        };
        Services {
            dependencies: self.dependencies(role),
            ..Services::new(engine, auth, metrics)
        }
    }

    /// A process that takes attempts needs the stock store; the outbox stands in for the queue, and
    /// the catalogue in memory for the database. A worker cannot work without queue and database.
    fn dependencies(&self, role: Role) -> Vec<Dependency> {
        let dependency = |name, health: Arc<dyn HealthCheck>, needed| Dependency {
            name,
            health,
            needed,
        };
        let works = role == Role::Worker;
        let mut all = vec![dependency("stock", self.stock.clone(), !works)];
        if let Some(queue) = &self.queue {
            all.push(dependency("queue", queue.clone(), works));
        }
        all.push(dependency(
            "database",
            Arc::new(self.database.clone()),
            works,
        ));
        all
    }

    fn ports(&self, metrics: &Metrics) -> EnginePorts {
        let Self {
            database,
            stock,
            queue,
            ..
        } = self;
        EnginePorts {
            stock: stock.clone(),
            queue: match queue {
                Some(queue) => queue.clone(),
                None => Arc::new(NoQueue),
            },
            orders: Arc::new(database.orders()),
            sales: Arc::new(database.sales()),
            attempts: Arc::new(database.attempts()),
            dead_letters: Arc::new(database.dead_letters()),
            decoder: Some(Arc::new(KafkaAttemptDecoder)),
            leadership: Arc::new(database.leadership()),
            clock: Arc::new(SystemClock),
            ids: Arc::new(UuidV7),
            recorder: Arc::new(metrics.clone()),
        }
    }

    /// Brings the database up to date. Safe from several processes at once.
    ///
    /// # Errors
    /// If the database does not answer, or is not what this build can use.
    pub async fn migrate(&self) -> Result<(), PortError> {
        self.database.migrate().await
    }

    /// The database, by itself.
    pub fn database(&self) -> &PostgresDatabase {
        &self.database
    }

    /// The stock store, by itself.
    pub fn stock(&self) -> &Arc<RedisStockStore> {
        &self.stock
    }

    /// The queue, by itself, if there is one.
    pub fn queue(&self) -> Option<&Arc<KafkaAttemptQueue>> {
        self.queue.as_ref()
    }

    /// Hands over what the queue still has to send, and leaves the group of workers, within this
    /// time. For the end of a process; what is left then is in the outbox.
    pub async fn close(&self, within: Duration) {
        if let Some(queue) = &self.queue {
            queue.close(within).await;
        }
    }
}

/// Stands in for a queue that is not configured.
#[derive(Debug)]
struct NoQueue;

#[async_trait]
impl AttemptQueue for NoQueue {
    async fn publish(&self, attempts: &[Attempt]) -> Result<Vec<Published>, PortError> {
        Ok(vec![Published::Unconfirmed; attempts.len()])
    }

    async fn subscribe(&self, _: &str) -> Result<Box<dyn AttemptReader>, PortError> {
        Err(not_configured("subscribe"))
    }

    async fn end(&self) -> Result<QueuePosition, PortError> {
        Err(not_configured("end"))
    }

    async fn lag(&self, _: &str, _: &QueuePosition) -> Result<u64, PortError> {
        Err(not_configured("lag"))
    }
}

fn not_configured(operation: &'static str) -> PortError {
    PortError::new(ErrorKind::Misconfigured, "engine", operation)
        .with_source("KAFKA_BROKERS is not set")
}
