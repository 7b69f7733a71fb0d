//! A shop on servers of its own.

use std::process::{Command, Output};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use flashsale_stack::{Kafka, Postgres, Redis};
use serde_json::Value;

use crate::support::{self, ServerProcess};

/// Shared by the tests that do nothing to it. Each takes a topic of its own.
static KAFKA: LazyLock<Kafka> = LazyLock::new(Kafka::start);
/// Shared by the tests that do nothing to it. Each takes a database of its own.
static POSTGRES: LazyLock<Postgres> = LazyLock::new(Postgres::start);

/// A database, a topic and a Redis that nobody else uses.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) redis: Redis,
    /// If they are this shop's alone.
    pub(crate) own: Option<Own>,
    pub(crate) database_url: String,
    brokers: String,
    topic: String,
}

/// Servers that a test may stop.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) kafka: Kafka,
    pub(crate) postgres: Postgres,
}

impl Shop {
    /// On a shared Kafka and PostgreSQL.
    pub(crate) fn new() -> Self {
        Self {
            redis: Redis::start(),
            database_url: POSTGRES.fresh_database(),
            brokers: KAFKA.brokers(),
            topic: fresh_topic(),
            own: None,
        }
    }

    /// On servers of its own, to be stopped at will.
    pub(crate) fn alone() -> Self {
        let own = Own {
            kafka: Kafka::start(),
            postgres: Postgres::start(),
        };
        Self::of(Redis::synced(), own)
    }

    /// On these servers, which need not run yet.
    pub(crate) fn of(redis: Redis, own: Own) -> Self {
        Self {
            redis,
            database_url: own.postgres.url(),
            brokers: own.kafka.brokers(),
            topic: fresh_topic(),
            own: Some(own),
        }
    }

    pub(crate) fn own(&mut self) -> &mut Own {
        self.own.as_mut().unwrap()
    }

    /// Where its Kafka is.
    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Where its attempts are.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// A command on this shop.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = support::Shop::program();
        command
            .args(arguments)
            .env("DATABASE_URL", &self.database_url)
            .env("REDIS_URL", self.redis.url())
            .env("KAFKA_BROKERS", &self.brokers)
            .env("KAFKA_TOPIC_FLASH_SALE_ATTEMPTS", &self.topic);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command prints as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Makes a sale; returns its id and that of its product.
    pub(crate) fn sale(&self, product: &str, stock: usize, start: &str, end: &str) -> (i64, i64) {
        let stock = stock.to_string();
        let mut arguments = vec!["sale", "create", "--product", product, "--stock", &stock];
        arguments.extend(["--start", start, "--end", end, "--json"]);
        let sale = self.json(&arguments);
        let id = |field: &str| sale[field].as_i64().unwrap();
        (id("id"), id("productId"))
    }

    pub(crate) fn serve_command(&self, role: &str) -> Command {
        let mut command = self.command(&["serve", "--role", role]);
        command.env("BCRYPT_COST", "4");
        command
    }

    /// Starts a server of this role and waits until it serves.
    pub(crate) fn serve(&self, role: &str) -> ServerProcess {
        ServerProcess::start(&mut self.serve_command(role))
    }

    /// What the database says.
    pub(crate) fn psql(&self, sql: &str) -> String {
        match &self.own {
            Some(own) => own.postgres.psql(&self.database_url, sql),
            None => POSTGRES.psql(&self.database_url, sql),
        }
    }

    /// One number from the database.
    pub(crate) fn count(&self, sql: &str) -> usize {
        let text = self.psql(sql);
        text.trim()
            .parse()
            .unwrap_or_else(|_| panic!("{sql}: {text}"))
    }

    /// What the audit of a sale says.
    pub(crate) fn audit(&self, sale: i64) -> Value {
        let sale = sale.to_string();
        let output = self.run(&["audit", &sale, "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    }
}

fn fresh_topic() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("attempts-{number}")
}
