use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use flashsale_stack::{Kafka, Postgres, Redis};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::history::now;
use crate::options::Engine;
use crate::process::{Links, Process, Role};

/// Everything that a shop runs on, each process and server behind proxies.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) engine: Engine,
    pub(crate) processes: Vec<Process>,
    pub(crate) servers: Option<Servers>,
    /// Held while a command works on the file of the embedded engine: a server that starts just
    /// then is turned away, as it should be.
    file: Mutex<()>,
    folder: TempDir,
    /// A copy of it, so that a build meanwhile does not change what is tested.
    program: PathBuf,
    database_url: String,
    redis_url: Option<String>,
    /// How many faults are under way.
    harmed: AtomicUsize,
    /// What processes did that they should not.
    troubles: Mutex<Vec<String>>,
}

/// The servers of the distributed engine.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) redis: Mutex<Redis>,
    pub(crate) kafka: Mutex<Kafka>,
    pub(crate) postgres: Mutex<Postgres>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) output: Output,
    pub(crate) ended: Duration,
}

impl Ran {
    pub(crate) fn succeeded(&self) -> bool {
        self.output.status.success()
    }

    pub(crate) fn complaint(&self) -> String {
        let error = String::from_utf8_lossy(&self.output.stderr);
        error.trim().to_owned()
    }

    /// Nothing if it succeeded, else what it complained of.
    pub(crate) fn confirmed(&self) -> Result<(), String> {
        if self.succeeded() {
            Ok(())
        } else {
            let complaint = self.complaint();
            Err(format!("a command at rest does not succeed: {complaint}"))
        }
    }

    pub(crate) fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.output.stdout).ok()
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn program_in(folder: &TempDir) -> PathBuf {
    let program = folder.path().join("flashsale-server");
    fs::copy(env!("CARGO_BIN_EXE_flashsale-server"), &program).unwrap();
    program
}

impl Stack {
    pub(crate) async fn start(engine: Engine) -> Arc<Self> {
        match engine {
            Engine::Embedded => Self::embedded().await,
            Engine::Distributed => Self::distributed().await,
        }
    }

    async fn embedded() -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let program = program_in(&folder);
        let database_url = format!("sqlite://{}", folder.path().join("shop.db").display());
        let process = Process::new("server", Role::All, None).await;
        Self::started(Self {
            engine: Engine::Embedded,
            processes: vec![process],
            servers: None,
            file: Mutex::new(()),
            folder,
            program,
            database_url,
            redis_url: None,
            harmed: AtomicUsize::new(0),
            troubles: Mutex::default(),
        })
        .await
    }

    async fn distributed() -> Arc<Self> {
        let mut processes = Vec::new();
        for (name, role) in [
            ("api 1", Role::Api),
            ("api 2", Role::Api),
            ("worker 1", Role::Worker),
            ("worker 2", Role::Worker),
        ] {
            processes.push(Process::new(name, role, Some(Links::nowhere().await)).await);
        }
        let doors: Vec<_> = processes.iter().filter_map(Process::links).collect();
        let doors: Vec<_> = doors
            .iter()
            .map(|links| links.kafka.address().port())
            .collect();
        let servers = spawn_blocking(move || {
            thread::scope(|scope| {
                let kafka = scope.spawn(move || {
                    let mut kafka = Kafka::behind(&doors);
                    kafka.start_now();
                    kafka
                });
                let postgres = scope.spawn(Postgres::start);
                let redis = scope.spawn(Redis::synced);
                (
                    redis.join().unwrap(),
                    kafka.join().unwrap(),
                    postgres.join().unwrap(),
                )
            })
        });
        let (redis, kafka, postgres) = servers.await.unwrap();
        for (process, door) in processes.iter().zip(kafka.doors()) {
            let links = process.links().unwrap();
            links.redis.lead_to(local(redis.port()));
            links.kafka.lead_to(local(door));
            links.postgres.lead_to(local(postgres.port()));
        }
        let database_url = postgres.url();
        let redis_url = Some(redis.url());
        let folder = tempfile::tempdir().unwrap();
        let servers = Servers {
            redis: Mutex::new(redis),
            kafka: Mutex::new(kafka),
            postgres: Mutex::new(postgres),
        };
        Self::started(Self {
            engine: Engine::Distributed,
            processes,
            servers: Some(servers),
            file: Mutex::new(()),
            program: program_in(&folder),
            folder,
            database_url,
            redis_url,
            harmed: AtomicUsize::new(0),
            troubles: Mutex::default(),
        })
        .await
    }

    async fn started(stack: Self) -> Arc<Self> {
        let stack = Arc::new(stack);
        let starts: Vec<_> = (0..stack.processes.len())
            .map(|index| {
                let stack = Arc::clone(&stack);
                spawn_blocking(move || stack.start_process(index))
            })
            .collect();
        for start in starts {
            start.await.unwrap();
        }
        stack
    }

    /// The program with these arguments, as somebody at the machine of the stores would run it.
    fn program(&self) -> Command {
        let mut command = Command::new(&self.program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .env_clear()
            .env("PATH", path)
            .stdin(Stdio::null())
            .env("DATABASE_URL", &self.database_url)
            // What a killed server leaves goes with the shop.
            .env("TMPDIR", self.folder.path());
        if let Some(redis) = &self.redis_url {
            command.env("REDIS_URL", redis);
        }
        command
    }

    /// Starts a process of ours and waits until it listens.
    pub(crate) fn start_process(&self, index: usize) {
        let _alone = self.file.lock().unwrap();
        let mut command = self.program();
        let process = &self.processes[index];
        command.args(["serve", "--role", process.role.name()]);
        command.env("BCRYPT_COST", "4");
        if let Some(links) = process.links() {
            let postgres = links.postgres.address();
            command
                .env("REDIS_URL", format!("redis://{}", links.redis.address()))
                .env(
                    "DATABASE_URL",
                    format!("postgres://postgres@{postgres}/postgres"),
                )
                .env("KAFKA_BROKERS", links.kafka.address().to_string());
        }
        process.start(&mut command);
    }

    /// Those that take attempts.
    pub(crate) fn apis(&self) -> Vec<usize> {
        let taking = |index: &usize| self.processes[*index].role != Role::Worker;
        (0..self.processes.len()).filter(taking).collect()
    }

    /// Runs a command of the shop; after 20 s it is ended.
    pub(crate) fn command(&self, arguments: &[&str]) -> io::Result<Ran> {
        const LONGEST: Duration = Duration::from_secs(20);
        let _alone = self.servers.is_none().then(|| self.file.lock().unwrap());
        let mut child = self
            .program()
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let since = Instant::now();
        while child.try_wait()?.is_none() {
            if since.elapsed() > LONGEST {
                child.kill()?;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let output = child.wait_with_output()?;
        Ok(Ran {
            output,
            ended: now(),
        })
    }

    /// [`command`](Self::command), beside other things.
    pub(crate) async fn run(self: &Arc<Self>, arguments: &[&str]) -> Ran {
        let stack = Arc::clone(self);
        let arguments: Vec<_> = arguments.iter().map(|&part| part.to_owned()).collect();
        let run = move || {
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            stack.command(&arguments).unwrap()
        };
        spawn_blocking(run).await.unwrap()
    }

    /// Notes that a fault begins, or that it is over.
    pub(crate) fn harm(&self, begins: bool) {
        if begins {
            self.harmed.fetch_add(1, Ordering::Relaxed);
        } else {
            self.harmed.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether a fault is under way.
    pub(crate) fn is_harmed(&self) -> bool {
        self.harmed.load(Ordering::Relaxed) > 0
    }

    /// All processes by name and id: ours, then the servers.
    pub(crate) fn ids(&self) -> Vec<(&'static str, u32)> {
        let ours = self.processes.iter();
        let ours = ours.filter_map(|process| Some((process.name, process.id()?)));
        ours.chain(self.server_ids()).collect()
    }

    pub(crate) fn server_ids(&self) -> Vec<(&'static str, u32)> {
        let Some(servers) = &self.servers else {
            return Vec::new();
        };
        let ids = [
            ("Redis", servers.redis.lock().unwrap().id()),
            ("Kafka", servers.kafka.lock().unwrap().id()),
            ("PostgreSQL", servers.postgres.lock().unwrap().id()),
        ];
        ids.into_iter()
            .filter_map(|(name, id)| Some((name, id?)))
            .collect()
    }

    /// Looks at all processes, and starts again those that have ended by themselves.
    pub(crate) fn look(self: &Arc<Self>) {
        for (index, process) in self.processes.iter().enumerate() {
            let Some(trouble) = process.trouble() else {
                continue;
            };
            let ended = trouble.ended;
            self.troubles.lock().unwrap().push(trouble.what);
            if ended {
                let stack = Arc::clone(self);
                spawn_blocking(move || stack.start_process(index));
            }
        }
    }

    /// What was seen since the last time.
    pub(crate) fn troubles(&self) -> Vec<String> {
        std::mem::take(&mut *self.troubles.lock().unwrap())
    }

    /// Ends all processes of ours.
    pub(crate) fn end(&self) {
        self.processes.iter().for_each(Process::kill);
    }

    /// The file of the embedded engine.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("shop.db")
    }

    /// What the database says.
    pub(crate) fn psql(&self, sql: &str) -> String {
        let servers = self.servers.as_ref().unwrap();
        let postgres = servers.postgres.lock().unwrap();
        postgres.psql(&self.database_url, sql)
    }
}
