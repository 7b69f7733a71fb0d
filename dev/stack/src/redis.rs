use std::process::Command;

use rustix::process::Signal;

use crate::ports::free_port;
use crate::service::{Service, fresh_folder, output};

/// A Redis that keeps everything in an append-only file and evicts nothing.
#[derive(Debug)]
pub struct Redis {
    service: Service,
    port: u16,
}

impl Redis {
    /// Starts one.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one with further options of `redis-server`.
    pub fn with(options: &[&str]) -> Self {
        let mut redis = Self::on(free_port(), options);
        redis.start_now();
        redis
    }

    /// One that has its port and is not running yet.
    pub fn reserve() -> Self {
        Self::on(free_port(), &[])
    }

    /// Starts a replica and waits until it has what the primary has.
    pub fn replica_of(primary: &Self) -> Self {
        let of = format!("127.0.0.1 {}", primary.port);
        let redis = Self::with(&["--replicaof", &of]);
        let since = std::time::Instant::now();
        while !redis
            .cli(&["info", "replication"])
            .contains("master_link_status:up")
        {
            assert!(
                since.elapsed() < crate::service::PATIENCE,
                "the replica has no link"
            );
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        redis
    }

    pub(crate) fn on(port: u16, options: &[&str]) -> Self {
        let mut service = Service::new("redis-server", fresh_folder("redis"), Signal::TERM);
        let folder = service.folder().display().to_string();
        let port_text = port.to_string();
        let mut command = vec!["redis-server", "--port", &port_text, "--bind", "127.0.0.1"];
        command.extend(["--dir", &folder, "--save", "", "--appendonly", "yes"]);
        command.extend([
            "--appendfsync",
            "everysec",
            "--maxmemory-policy",
            "noeviction",
        ]);
        command.extend([
            "--repl-diskless-sync-delay",
            "0",
            "--enable-debug-command",
            "local",
        ]);
        command.extend(options);
        service.set_command(command);
        Self { service, port }
    }

    /// Starts what was [reserved](Self::reserve).
    pub fn start_now(&mut self) {
        let (port, folder) = (self.port, self.service.folder().display().to_string());
        // Some other program's Redis would answer a ping, too; one with a password says so.
        self.service.start(|| {
            let dir = cli(port, &["config", "get", "dir"]).unwrap_or_default();
            dir.contains(&folder) || dir.contains("NOAUTH")
        });
    }

    /// `redis://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of its process, if it runs.
    pub fn id(&self) -> Option<u32> {
        self.service.id()
    }

    /// What `redis-cli` prints.
    ///
    /// # Panics
    /// If it fails.
    pub fn cli(&self, arguments: &[&str]) -> String {
        cli(self.port, arguments).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Ends it in good order; its data are kept.
    pub fn stop(&mut self) {
        self.service.stop();
    }

    /// Ends it with SIGKILL; its data are kept as far as it has written them.
    pub fn kill(&mut self) {
        self.service.kill();
    }

    /// Starts it again, after ending it if it runs, on the same port and data.
    pub fn restart(&mut self) {
        if self.service.is_running() {
            self.stop();
        }
        self.start_now();
    }

    /// Stops it in the middle of whatever it does.
    pub fn freeze(&self) {
        self.service.freeze();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.service.thaw();
    }
}

fn cli(port: u16, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("redis-cli");
    output(command.args(["-p", &port.to_string()]).args(arguments))
}
