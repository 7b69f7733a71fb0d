use crate::port::Port;
use crate::process::wait_until;
use crate::program::{find, run};
use crate::{Authority, Redis};

/// A Redis Cluster of three primaries without replicas.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

const OPTIONS: [&str; 4] = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];

impl RedisCluster {
    /// How far above its port each node talks to the others.
    const BUS: u16 = 10_000;

    /// Starts the nodes and joins them.
    pub fn start() -> Self {
        let node = |port: Port| (port.number(), Redis::started(port, &OPTIONS));
        Self::joined(node, &[])
    }

    /// Starts nodes that encrypt, also among each other, and joins them.
    pub fn with_tls(authority: &Authority) -> Self {
        let certificate = authority.certify(&["DNS:localhost", "IP:127.0.0.1"]);
        let options = [&OPTIONS[..], &["--tls-cluster", "yes"]].concat();
        let node = |port: Port| {
            let number = port.number();
            (number, Redis::encrypting(port, &certificate, &options))
        };
        Self::joined(node, &["--tls", "--cacert", &authority.file()])
    }

    fn joined(node: impl Fn(Port) -> (u16, Redis), options: &[&str]) -> Self {
        let node = |_| node(Port::free_with(Self::BUS));
        let (ports, nodes): (Vec<_>, Vec<_>) = (0..3).map(node).unzip();
        let mut create: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        create.extend(["--cluster".to_owned(), "create".to_owned()]);
        create.extend(ports.iter().map(|port| format!("127.0.0.1:{port}")));
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

    /// The same for nodes that encrypt.
    pub fn encrypted_url(&self) -> String {
        let urls: Vec<_> = self.nodes.iter().map(Redis::encrypted_url).collect();
        urls.join(",")
    }

    /// The nodes, one by one.
    pub fn nodes(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }
}
