//! Real servers for tests: Redis, Redis Cluster, PostgreSQL and Kafka as processes of this machine,
//! each on ports and in a folder of its own.
//!
//! A value is a guard. Dropping it ends its process and removes its folder, and so does the death
//! of the test process, however that comes about. Everything is blocking, and panics with the end
//! of the server's log when something does not work within 30 s.
//!
//! The programs have to be installed: `dev/services install` does that.

mod cluster;
mod kafka;
mod ports;
mod postgres;
mod redis;
mod service;

pub use cluster::RedisCluster;
pub use kafka::Kafka;
pub use postgres::Postgres;
pub use redis::Redis;
