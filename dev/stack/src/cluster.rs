use crate::Redis;
use crate::port::Port;
use crate::process::wait_until;
use crate::program::{find, run};

/// A Redis Cluster of three primaries without replicas.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// How far above its port each node talks to the others.
    const BUS: u16 = 10_000;

    /// Starts the nodes and joins them.
    pub fn start() -> Self {
        let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
        let node = |_| Redis::started(Port::free_with(Self::BUS), &options);
        let nodes: Vec<_> = (0..3).map(node).collect();
        let mut create = vec!["--cluster".to_owned(), "create".to_owned()];
        create.extend(
            nodes
                .iter()
                .map(|node| format!("127.0.0.1:{}", node.port())),
        );
        create.push("--cluster-yes".to_owned());
        run(&find("redis-cli"), create);
        let joined = |node: &Redis| node.cli(&["cluster", "info"]).contains("cluster_state:ok");
        let all_joined = wait_until(|| nodes.iter().all(joined));
        assert!(all_joined, "the cluster does not come together");
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
