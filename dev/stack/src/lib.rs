//! Real servers for tests and developers: Redis, Redis Cluster, PostgreSQL and Kafka as processes
//! of this machine, each on a port and in a folder of its own.
//!
//! ```no_run
//! use flashsale_stack::{Kafka, Postgres, Redis};
//!
//! let mut redis = Redis::start();
//! redis.cli(&["set", "greeting", "hello"]);
//! redis.kill();
//! redis.restart();
//! assert_eq!(redis.cli(&["get", "greeting"]).trim(), "hello");
//! ```
//!
//! A value is a guard: dropping it ends its process and removes its folder, and so does the death
//! of the test process, however that comes about. What the servers have in common, faults above
//! all, is in [`Server`], to which each dereferences.
//!
//! Everything is blocking, takes at most 30 s, and panics with the end of the server's log when it
//! does not work. The programs have to be installed: `dev/services install` does that. Linux only,
//! for it looks into `/proc`.

mod authority;
mod cluster;
mod home;
mod kafka;
mod port;
mod postgres;
mod process;
mod program;
mod redis;
mod server;
mod skip;

pub use authority::{Authority, Certificate};
pub use cluster::RedisCluster;
pub use kafka::Kafka;
pub use postgres::Postgres;
pub use redis::{Redis, RedisCopy};
pub use server::Server;
pub use skip::skip;
