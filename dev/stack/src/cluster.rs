use std::process::Command;

use crate::Redis;
use crate::ports::free_port_with;
use crate::service::{PATIENCE, output};

/// A Redis Cluster of three primaries without replicas.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts the nodes and joins them.
    pub fn start() -> Self {
        let nodes: Vec<_> = (0..3)
            .map(|_| {
                // Each node also listens on a port 10,000 higher.
                let port = free_port_with(&[10_000]);
                let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
                let mut node = Redis::on(port, &options);
                node.start_now();
                node
            })
            .collect();
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]);
        for node in &nodes {
            create.arg(format!("127.0.0.1:{}", node.port()));
        }
        create.args(["--cluster-replicas", "0", "--cluster-yes"]);
        output(&mut create).unwrap_or_else(|error| panic!("{error}"));
        let since = std::time::Instant::now();
        let joined = |node: &Redis| node.cli(&["cluster", "info"]).contains("cluster_state:ok");
        while !nodes.iter().all(joined) {
            assert!(
                since.elapsed() < PATIENCE,
                "the cluster does not come together"
            );
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Self { nodes }
    }

    /// The URLs of all nodes, separated by commas.
    pub fn url(&self) -> String {
        let urls: Vec<_> = self.nodes.iter().map(Redis::url).collect();
        urls.join(",")
    }

    /// The nodes, one by one.
    pub fn nodes(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }
}
