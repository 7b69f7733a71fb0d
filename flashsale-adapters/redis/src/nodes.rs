use redis::{Cmd, Value};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::config::{InvalidRedisConfig, RedisConfig};
use crate::error::Fault;
use crate::link::{Away, Link, Request, Waits};
use crate::scripts::Script;

/// One Redis, or the nodes of a Redis Cluster. What is above does not see the difference.
#[derive(Debug)]
pub(crate) enum Nodes {
    /// One server.
    One(Box<Link>),
    /// Several, each with a part of the slots.
    Cluster(Cluster),
}

impl Nodes {
    pub(crate) fn new(config: &RedisConfig) -> Result<Self, InvalidRedisConfig> {
        let mut addresses = config.addresses()?;
        let waits = Waits {
            connect: std::time::Duration::from_millis(config.connect_ms.into()),
            response: std::time::Duration::from_millis(config.response_ms.into()),
        };
        if config.is_cluster() {
            return Ok(Self::Cluster(Cluster::new(addresses, waits)));
        }
        let address = addresses.pop().expect("a valid config has an address");
        Ok(Self::One(Box::new(Link::new(address, waits))))
    }

    /// Sends a request to where its keys are, and waits for the answer until `deadline`.
    pub(crate) async fn call(
        &self,
        request: &Request,
        away: Away,
        deadline: Instant,
    ) -> Result<Value, Fault> {
        match self {
            Self::One(link) => link.call(request, false, away, deadline).await,
            Self::Cluster(cluster) => cluster.call(request, away, deadline).await,
        }
    }

    /// Whether keys of different slots may be in one call.
    pub(crate) fn is_one(&self) -> bool {
        matches!(self, Self::One(_))
    }
}

impl Request {
    /// A command that is no script.
    pub(crate) fn command(slot: u16, command: Cmd) -> Self {
        Self {
            command,
            script: None,
            slot,
        }
    }

    /// A call of a script; arguments are added to [`command`](Self::command). `size` is about how
    /// many arguments there will be.
    pub(crate) fn script(slot: u16, script: &'static Script, keys: &[&str], size: usize) -> Self {
        let bytes = 64 + keys.len() * 32 + size * 24;
        let mut command = Cmd::with_capacity(3 + keys.len() + size, bytes);
        command.arg("EVALSHA").arg(script.sha.as_str());
        command.arg(keys.len()).arg(keys);
        Self {
            command,
            script: Some(script),
            slot,
        }
    }
}
