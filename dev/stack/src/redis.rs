use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::home::Home;
use crate::port::Port;
use crate::process::wait_until;
use crate::program::{find, output};
use crate::{Authority, Certificate, Server};

/// A Redis that keeps everything in an append-only file and evicts nothing.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    encrypted: Option<Port>,
}

/// Asks it to end.
const ENDING: Signal = Signal::TERM;

impl Redis {
    /// Starts one.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one with further options of `redis-server`.
    pub fn with(options: &[&str]) -> Self {
        Self::started(Port::free(), options)
    }

    /// Starts one that has on disk what it answers, to be killed. Others put off writing, for up to
    /// 2 s, while the disk is busy with a sync, and lose it if they are killed then.
    pub fn synced() -> Self {
        Self::with(&["--appendfsync", "always"])
    }

    /// Starts one that encrypts on one port, to which [`encrypted_url`](Self::encrypted_url) leads, and
    /// not on the other. Its certificate is for `localhost` only.
    pub fn with_tls(authority: &Authority, options: &[&str]) -> Self {
        Self::encrypting(
            Port::free(),
            &authority.certify(&["DNS:localhost"]),
            options,
        )
    }

    pub(crate) fn encrypting(port: Port, certificate: &Certificate, options: &[&str]) -> Self {
        let (number, files) = (port.number().to_string(), certificate.files());
        let mut all = vec!["--tls-port", &number, "--tls-auth-clients", "no"];
        all.extend([
            "--tls-ca-cert-file",
            &files[0],
            "--tls-cert-file",
            &files[1],
        ]);
        all.extend(["--tls-key-file", &files[2]]);
        all.extend(options);
        let mut redis = Self::started(Port::free(), &all);
        redis.encrypted = Some(port);
        redis
    }

    /// `rediss://localhost:PORT`
    ///
    /// # Panics
    /// If it does not encrypt.
    pub fn encrypted_url(&self) -> String {
        let port = self.encrypted.as_ref().expect("it encrypts");
        format!("rediss://localhost:{}", port.number())
    }

    /// One that has its port and is not running yet; [`start_now`](Server::start_now) starts it.
    pub fn reserve() -> Self {
        Self::new(Home::fresh("redis", ENDING), Port::free(), &[])
    }

    /// One for a developer, not running yet: on the first free port from `port` on, with data that
    /// stay in the folder.
    pub fn at(folder: &Path, port: u16) -> Self {
        Self::new(Home::lasting(folder, ENDING), Port::free_from(port), &[])
    }

    /// Starts a replica and waits until it has what the primary has.
    pub fn replica_of(primary: &Self) -> Self {
        let of = format!("127.0.0.1 {}", primary.port());
        let redis = Self::with(&["--replicaof", &of]);
        let linked = || {
            let replication = redis.cli(&["info", "replication"]);
            replication.contains("master_link_status:up")
        };
        assert!(wait_until(linked), "the replica has no link");
        redis
    }

    pub(crate) fn started(port: Port, options: &[&str]) -> Self {
        let mut redis = Self::new(Home::fresh("redis", ENDING), port, options);
        redis.start_now();
        redis
    }

    fn new(home: Home, port: Port, options: &[&str]) -> Self {
        let (folder, number) = (home.folder().display().to_string(), port.number());
        let program = find("redis-server").display().to_string();
        let mut command = vec![program, "--port".to_owned(), number.to_string()];
        command.extend(["--dir".to_owned(), folder.clone()]);
        command.extend(SETTINGS.iter().chain(options).map(|&part| part.to_owned()));
        let ready = move || is_ready(number, &folder);
        Self {
            server: Server::new("Redis", (home, port), command, ready),
            encrypted: None,
        }
    }

    /// `redis://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    /// What `redis-cli` prints.
    ///
    /// # Panics
    /// If it fails or takes longer than 30 s.
    pub fn cli(&self, arguments: &[&str]) -> String {
        cli(self.port(), arguments).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// What a [`Redis`] had at some moment.
#[derive(Debug)]
pub struct RedisCopy {
    folder: PathBuf,
}

/// Where its data are.
const DATA: &str = "appendonlydir";

impl Redis {
    /// Copies what it has now. Nobody may write meanwhile.
    pub fn copy(&self) -> RedisCopy {
        let folder = (0..)
            .map(|number| self.folder().join(format!("copy-{number}")))
            .find(|folder| !folder.exists())
            .expect("numbers do not end");
        // Once the rewrite is over, the files are those of the moment that they name.
        let settled = || {
            let persistence = self.cli(&["info", "persistence"]);
            persistence.contains("aof_rewrite_in_progress:0")
                && persistence.contains("aof_rewrite_scheduled:0")
        };
        assert!(wait_until(settled), "Redis does not stop rewriting");
        copy_files(&self.folder().join(DATA), &folder);
        RedisCopy { folder }
    }

    /// Ends it and starts it again with what it had then, as after a disk is replaced by a backup.
    pub fn go_back_to(&mut self, copy: &RedisCopy) {
        if self.is_running() {
            self.stop();
        }
        let data = self.folder().join(DATA);
        fs::remove_dir_all(&data).expect("its data are there");
        copy_files(&copy.folder, &data);
        self.restart();
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a new folder");
    for file in fs::read_dir(from).expect("a folder").flatten() {
        fs::copy(file.path(), to.join(file.file_name())).expect("a copy");
    }
}

impl Deref for Redis {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Redis {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

const SETTINGS: [&str; 15] = [
    "--bind",
    "127.0.0.1",
    // Where there is IPv6.
    "-::1",
    "--save",
    "",
    "--appendonly",
    "yes",
    "--appendfsync",
    "everysec",
    "--maxmemory-policy",
    "noeviction",
    // A replica is in step at once, not after 5 s.
    "--repl-diskless-sync-delay",
    "0",
    "--enable-debug-command",
    "local",
];

/// Whether the Redis of this folder serves: some other program's would answer a ping, too.
fn is_ready(port: u16, folder: &str) -> bool {
    let answer = |arguments: &[&str]| cli(port, arguments).unwrap_or_default();
    // One that is still loading says LOADING. One with a password says NOAUTH, to everything.
    let ping = answer(&["ping"]);
    ping.contains("NOAUTH")
        || ping.contains("PONG") && answer(&["config", "get", "dir"]).contains(folder)
}

fn cli(port: u16, arguments: &[&str]) -> Result<String, String> {
    let port = port.to_string();
    output(&find("redis-cli"), ["-p", &port].iter().chain(arguments))
}
