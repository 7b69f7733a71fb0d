use std::sync::Arc;
use std::time::Duration;

use flashsale_core::PortError;
use flashsale_core::ports::{HealthCheck, PasswordHasher, TokenIssuer};
use flashsale_core::services::{AcceptAfter, AuthService, EnginePorts, OnPublishFailure, Role};
use flashsale_embedded::{SystemClock, UuidV7};
use flashsale_kafka::{KafkaAttemptDecoder, KafkaAttemptQueue, KafkaConfig};
use flashsale_postgres::{PostgresConfig, PostgresDatabase};
use flashsale_redis::{RedisConfig, RedisStockStore};

use crate::app::Services;
use crate::dependency::Dependency;
use crate::metrics::Metrics;

/// The distributed engine: stock in Redis, attempts through Kafka, orders in PostgreSQL.
///
/// Any number of processes may have one over the same servers. Making it reaches out to none of
/// them, and none has to be there: it reconnects for ever.
#[derive(Clone, Debug)]
pub struct Distributed {
    database: PostgresDatabase,
    stock: Arc<RedisStockStore>,
    queue: Arc<KafkaAttemptQueue>,
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
    /// The attempts.
    pub kafka: KafkaConfig,
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
            queue: Arc::new(KafkaAttemptQueue::new(config.kafka)?),
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
        let clock = Arc::new(SystemClock);
        let ports = EnginePorts {
            stock: self.stock.clone(),
            queue: self.queue.clone(),
            orders: Arc::new(self.database.orders()),
            sales: Arc::new(self.database.sales()),
            attempts: Arc::new(self.database.attempts()),
            dead_letters: Arc::new(self.database.dead_letters()),
            decoder: Some(Arc::new(KafkaAttemptDecoder)),
            leadership: Arc::new(self.database.leadership()),
            clock: clock.clone(),
            ids: Arc::new(UuidV7),
            recorder: Arc::new(metrics.clone()),
        };
        let engine = ports
            .services()
            .accepting(self.accept_after)
            .on_publish_failure(self.on_publish_failure)
            .recording_refusals();
        let auth = AuthService {
            users: Arc::new(self.database.users()),
            hasher,
            tokens,
            clock,
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
        vec![
            dependency("stock", self.stock.clone(), !works),
            dependency("queue", self.queue.clone(), works),
            dependency("database", Arc::new(self.database.clone()), works),
        ]
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

    /// The queue, by itself.
    pub fn queue(&self) -> &Arc<KafkaAttemptQueue> {
        &self.queue
    }

    /// Hands over what the queue still has to send, and leaves the group of workers, within this
    /// time. For the end of a process; what is left then is in the outbox.
    pub async fn close(&self, within: Duration) {
        self.queue.close(within).await;
    }
}
