use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Signal, getuid};

use crate::ports::free_port;
use crate::service::{Service, fresh_folder, output};

/// A PostgreSQL that syncs what it commits. Its superuser is `postgres`.
#[derive(Debug)]
pub struct Postgres {
    service: Service,
    port: u16,
    password: Option<&'static str>,
}

impl Postgres {
    /// Starts one that trusts everybody who reaches it.
    pub fn start() -> Self {
        let mut postgres = Self::make(None);
        postgres.start_now();
        postgres
    }

    /// Starts one that asks for a password, which its [`url`](Self::url) holds.
    pub fn with_password() -> Self {
        let mut postgres = Self::make(Some("open-sesame"));
        postgres.start_now();
        postgres
    }

    /// One that has its port and is not running yet.
    pub fn reserve() -> Self {
        Self::make(None)
    }

    fn make(password: Option<&'static str>) -> Self {
        let port = free_port();
        let mut service = Service::new("postgres", fresh_folder("postgres"), Signal::INT);
        let (folder, bin) = (service.folder().to_owned(), programs());
        let data = folder.join("data");
        fs::create_dir(&data).expect("a folder");
        let mut initdb = as_server(&bin.join("initdb"));
        initdb
            .extend(["-U", "postgres", "--no-locale", "-E", "UTF8", "-N", "-D"].map(String::from));
        initdb.push(data.display().to_string());
        let secret = folder.join("password");
        match password {
            Some(password) => {
                fs::write(&secret, password).expect("a file");
                initdb.extend(["-A".into(), "scram-sha-256".into()]);
                initdb.push(format!("--pwfile={}", secret.display()));
            }
            None => initdb.extend(["-A".into(), "trust".into()]),
        }
        if getuid().is_root() {
            let mut chown = Command::new("chown");
            let chown = chown.args(["-R", "postgres:"]).args([&data, &folder]);
            output(chown).unwrap_or_else(|error| panic!("{error}"));
        }
        let mut command = Command::new(&initdb[0]);
        output(command.args(&initdb[1..])).unwrap_or_else(|error| panic!("{error}"));
        let mut command = as_server(&bin.join("postgres"));
        command.extend(["-D".into(), data.display().to_string()]);
        command.extend(["-p".into(), port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=100",
            "max_wal_size=2GB",
        ] {
            command.extend(["-c".into(), setting.into()]);
        }
        service.set_command(command);
        Self {
            service,
            port,
            password,
        }
    }

    /// Starts what was [reserved](Self::reserve).
    pub fn start_now(&mut self) {
        let (url, data) = (self.url(), self.service.folder().join("data"));
        let data = data.display().to_string();
        self.service.start(|| {
            psql(&url, "SHOW data_directory").is_ok_and(|directory| directory.trim() == data)
        });
    }

    /// The URL of the database `postgres`.
    pub fn url(&self) -> String {
        self.database_url("postgres")
    }

    /// The URL of the database `postgres` for somebody else.
    pub fn url_for(&self, user: &str, password: &str) -> String {
        format!(
            "postgres://{user}:{password}@127.0.0.1:{}/postgres",
            self.port
        )
    }

    /// The URL of a new and empty database.
    pub fn fresh_database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("fresh_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.psql(&self.url(), &format!("CREATE DATABASE {name}"));
        self.database_url(&name)
    }

    fn database_url(&self, database: &str) -> String {
        let password = self
            .password
            .map_or(String::new(), |password| format!(":{password}"));
        format!(
            "postgres://postgres{password}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// What `psql` prints for a statement: values only, separated by bars.
    ///
    /// # Panics
    /// If the statement fails.
    pub fn psql(&self, url: &str, sql: &str) -> String {
        psql(url, sql).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The id of its first process, if it runs.
    pub fn id(&self) -> Option<u32> {
        self.service.id()
    }

    /// Ends it in good order; sessions are cut.
    pub fn stop(&mut self) {
        self.service.stop();
    }

    /// Ends it and all its children with SIGKILL.
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

    /// Stops it and its children in the middle of whatever they do.
    pub fn freeze(&self) {
        self.service.freeze();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.service.thaw();
    }
}

/// PostgreSQL refuses to run as root; `setpriv` becomes the program, so that there is no process
/// in between.
fn as_server(program: &Path) -> Vec<String> {
    let program = program.display().to_string();
    if getuid().is_root() {
        let become_postgres = [
            "setpriv",
            "--reuid=postgres",
            "--regid=postgres",
            "--init-groups",
        ];
        become_postgres
            .map(String::from)
            .into_iter()
            .chain([program])
            .collect()
    } else {
        vec![program]
    }
}

/// The folder of the newest installed version's programs.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .max();
    let newest = newest.expect("PostgreSQL is not installed; run `dev/services install`");
    PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin"))
}

fn psql(url: &str, sql: &str) -> Result<String, String> {
    let mut command = Command::new(programs().join("psql"));
    output(command.env("PGCONNECT_TIMEOUT", "5").args([
        url,
        "-qAtX",
        "-v",
        "ON_ERROR_STOP=1",
        "-c",
        sql,
    ]))
}
