use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Signal, getuid};

use crate::home::Home;
use crate::port::Port;
use crate::program::{find, output, path, run};
use crate::{Authority, Server};

/// A PostgreSQL that syncs what it commits. Its superuser is `postgres`.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    programs: PathBuf,
    password: Option<&'static str>,
}

/// Asks it to end without waiting for its sessions.
const ENDING: Signal = Signal::INT;

impl Postgres {
    /// Starts one that trusts everybody who reaches it.
    pub fn start() -> Self {
        let mut postgres = Self::reserve();
        postgres.start_now();
        postgres
    }

    /// Starts one that asks for a password, which its [`url`](Self::url) holds.
    pub fn with_password() -> Self {
        let home = Home::fresh("postgres", ENDING);
        let mut postgres = Self::new(home, Port::free(), Some("open-sesame"));
        postgres.start_now();
        postgres
    }

    /// Starts one that trusts everybody and encrypts for those who ask; its certificate is for
    /// `localhost` only. The user `certified` has to show a certificate in that name.
    pub fn with_tls(authority: &Authority) -> Self {
        let mut postgres = Self::reserve();
        let data = postgres.folder().join("data");
        let files = authority.certify(&["DNS:localhost"]).files();
        for (file, name) in files.iter().zip(["root.crt", "server.crt", "server.key"]) {
            let copy = data.join(name).display().to_string();
            run(&find("install"), ["-m", "600", file, &copy]);
            let folder = data.display().to_string();
            run(&find("chown"), ["--reference", &folder, &copy]);
        }
        let access = data.join("pg_hba.conf");
        let rules = fs::read_to_string(&access).expect("initdb has written it");
        let first = "hostssl all certified all cert\n";
        fs::write(&access, format!("{first}{rules}")).expect("a file");
        let config = data.join("postgresql.conf");
        let settings = fs::read_to_string(&config).expect("initdb has written it");
        let encrypt = "\nssl = on\nssl_ca_file = 'root.crt'\n";
        fs::write(&config, settings + encrypt).expect("a file");
        postgres.start_now();
        postgres
    }

    /// One that has its port and is not running yet; [`start_now`](Server::start_now) starts it.
    pub fn reserve() -> Self {
        Self::new(Home::fresh("postgres", ENDING), Port::free(), None)
    }

    /// One for a developer, not running yet: on the first free port from `port` on, with data that
    /// stay in the folder.
    pub fn at(folder: &Path, port: u16) -> Self {
        Self::new(Home::lasting(folder, ENDING), Port::free_from(port), None)
    }

    fn new(home: Home, port: Port, password: Option<&'static str>) -> Self {
        let programs = programs();
        let data = home.folder().join("data");
        if !data.join("PG_VERSION").exists() {
            match password {
                None => run(
                    &find("cp"),
                    [Path::new("-a"), &EMPTY.folder().join("data"), &data],
                ),
                Some(_) => initialise(&programs, home.folder(), password),
            }
        }
        let mut command = as_server(&programs.join("postgres"));
        command.extend(["-D".to_owned(), data.display().to_string()]);
        command.extend(["-p".to_owned(), port.number().to_string()]);
        command.extend(SETTINGS.map(str::to_owned));
        let url = url(port.number(), "postgres", password, "postgres");
        let psql = programs.join("psql");
        let data = data.display().to_string();
        let ready = move || {
            let folder = self::psql(&psql, &url, "SHOW data_directory");
            folder.is_ok_and(|folder| folder.trim() == data)
        };
        Self {
            server: Server::new("PostgreSQL", (home, port), command, ready),
            programs,
            password,
        }
    }

    /// The URL of the database `postgres`.
    pub fn url(&self) -> String {
        url(self.port(), "postgres", self.password, "postgres")
    }

    /// The URL of the database `postgres` for somebody else, or with another password.
    pub fn url_for(&self, user: &str, password: &str) -> String {
        url(self.port(), user, Some(password), "postgres")
    }

    /// The URL of a new and empty database.
    pub fn fresh_database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        self.database(&format!("fresh_{}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// The URL of the database with this name, which is made if it is not there.
    pub fn database(&self, name: &str) -> String {
        let there = format!("SELECT 1 FROM pg_database WHERE datname = '{name}'");
        if self.psql(&self.url(), &there).is_empty() {
            self.psql(&self.url(), &format!("CREATE DATABASE {name}"));
        }
        url(self.port(), "postgres", self.password, name)
    }

    /// What `psql` prints for a statement: values only, separated by bars.
    ///
    /// # Panics
    /// If the statement fails or takes longer than 30 s.
    pub fn psql(&self, url: &str, sql: &str) -> String {
        psql(&self.programs.join("psql"), url, sql).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Ends it and its children with SIGKILL; its data are kept as far as it has written them.
    pub fn kill(&mut self) {
        self.server.kill();
        // The system keeps the shared memory of the dead, and has room for 4,096 of them.
        let lock = self.folder().join("data/postmaster.pid");
        let lock = fs::read_to_string(lock).unwrap_or_default();
        let memory = lock
            .lines()
            .nth(6)
            .and_then(|line| line.split_whitespace().nth(1));
        if let Some(memory) = memory {
            let _ = output(Path::new("ipcrm"), ["-m", memory]);
        }
    }
}

impl Deref for Postgres {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Postgres {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

const SETTINGS: [&str; 10] = [
    "-c",
    "listen_addresses=127.0.0.1,::1",
    "-c",
    "unix_socket_directories=",
    "-c",
    "max_connections=100",
    "-c",
    "max_wal_size=2GB",
    // In its folder, which goes; /dev/shm would keep it when the server is killed.
    "-c",
    "dynamic_shared_memory_type=mmap",
];

/// The data of one that has never run. Copies of it are made in a tenth of the time.
static EMPTY: LazyLock<Home> = LazyLock::new(|| {
    let home = Home::fresh("postgres", ENDING);
    initialise(&programs(), home.folder(), None);
    home
});

/// Makes the data folder.
fn initialise(programs: &Path, folder: &Path, password: Option<&str>) {
    let data = folder.join("data");
    fs::create_dir_all(&data).expect("a folder");
    let mut command = as_server(&programs.join("initdb"));
    command.extend(["-U", "postgres", "--no-locale", "-E", "UTF8", "-N"].map(str::to_owned));
    command.extend(["-D".to_owned(), data.display().to_string()]);
    let method = password.map_or("trust", |_| "scram-sha-256");
    command.push(format!("--auth={method}"));
    if let Some(password) = password {
        let secret = folder.join("password");
        fs::write(&secret, password).expect("a file");
        command.push(format!("--pwfile={}", secret.display()));
    }
    if getuid().is_root() {
        let folder = folder.display().to_string();
        run(&find("chown"), ["-R", "postgres:", &folder]);
    }
    run(Path::new(&command[0]), &command[1..]);
}

/// PostgreSQL refuses to run as root; `setpriv` becomes the program, so that there is no process
/// in between.
fn as_server(program: &Path) -> Vec<String> {
    let mut command = Vec::new();
    if getuid().is_root() {
        command.push(find("setpriv").display().to_string());
        command
            .extend(["--reuid=postgres", "--regid=postgres", "--init-groups"].map(str::to_owned));
    }
    command.push(program.display().to_string());
    command
}

/// The folder of the programs: of the newest version where Debian has them, or else in the path.
/// Not in `/usr/local/bin`, where people put scripts of the same names.
fn programs() -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut versions: Vec<u32> = installed
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable();
    let debian = |version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"));
    let complete = |folder: &PathBuf| {
        let there = |name| folder.join(name).is_file();
        ["postgres", "initdb", "psql"].into_iter().all(there)
    };
    let elsewhere = path().filter(|folder| folder != Path::new("/usr/local/bin"));
    let candidates = versions.into_iter().rev().map(debian).chain(elsewhere);
    let programs = candidates.into_iter().find(complete);
    let programs = programs.expect("PostgreSQL is missing; run `dev/services install`");
    let version = output(&programs.join("postgres"), ["--version"]).unwrap_or_default();
    let major = version
        .split(' ')
        .nth(2)
        .and_then(|number| number.split('.').next()?.parse().ok());
    assert!(
        major >= Some(14),
        "PostgreSQL has to be 14 or newer, and is {version}"
    );
    programs
}

fn url(port: u16, user: &str, password: Option<&str>, database: &str) -> String {
    let password = password.map_or_else(String::new, |password| format!(":{password}"));
    format!("postgres://{user}{password}@127.0.0.1:{port}/{database}")
}

fn psql(program: &Path, url: &str, sql: &str) -> Result<String, String> {
    output(program, [url, "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", sql])
}
