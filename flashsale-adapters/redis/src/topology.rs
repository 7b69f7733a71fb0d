use redis::Value;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::config::{InvalidRedisConfig, RedisConfig};
use crate::connection::{Connection, IfDown, Timeouts};
use crate::error::Fault;
use crate::request::Request;

/// One Redis, or the nodes of a Redis Cluster. What is above does not see the difference.
#[derive(Debug)]
pub(crate) enum Topology {
    /// One server.
    Single(Box<Connection>),
    /// Several, each with a part of the slots.
    Cluster(Cluster),
}

impl Topology {
    pub(crate) fn new(config: &RedisConfig) -> Result<Self, InvalidRedisConfig> {
        let mut addresses = config.addresses()?;
        let timeouts = Timeouts {
            connect: std::time::Duration::from_millis(config.connect_ms.into()),
            response: std::time::Duration::from_millis(config.response_ms.into()),
        };
        if config.is_cluster() {
            return Ok(Self::Cluster(Cluster::new(addresses, timeouts)));
        }
        let address = addresses.pop().expect("a valid config has an address");
        Ok(Self::Single(Box::new(Connection::new(address, timeouts))))
    }

    /// Sends a request to where its keys are, and waits for the answer until `deadline`.
    pub(crate) async fn call(
        &self,
        request: &Request,
        if_down: IfDown,
        deadline: Instant,
    ) -> Result<Value, Fault> {
        match self {
            Self::Single(connection) => connection.call(request, false, if_down, deadline).await,
            Self::Cluster(cluster) => cluster.call(request, if_down, deadline).await,
        }
    }

    /// Whether keys of different slots may be in one call.
    pub(crate) fn is_single(&self) -> bool {
        matches!(self, Self::Single(_))
    }
}
