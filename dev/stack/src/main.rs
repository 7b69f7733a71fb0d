//! The servers for a developer: see `dev/services`. Their data go when they are stopped.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use flashsale_stack::{Kafka, Postgres, Redis};

const PAUSE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.services");
    let done = fs::create_dir_all(&home).and_then(|()| match command.as_str() {
        "start" => start(&home),
        "keep" => keep(&home),
        "env" => running(&home).map(|env| print!("{env}")),
        "status" => status(&home),
        "stop" => stop(&home),
        other => Err(io::Error::other(format!("what is {other:?}?"))),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dev/services: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a shell has to know. The servers live as long as it is there.
fn env_file(home: &Path) -> PathBuf {
    home.join("env")
}

/// Starts a keeper in the background unless there is one, and waits until the servers serve.
fn start(home: &Path) -> io::Result<()> {
    if running(home).is_err() {
        let _ = fs::remove_file(env_file(home));
        let log = home.join("log");
        let mut keeper = Command::new(std::env::current_exe()?)
            .arg("keep")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .spawn()?;
        let since = Instant::now();
        while !env_file(home).exists() {
            if keeper.try_wait()?.is_some() || since.elapsed() > PATIENCE {
                let _ = keeper.kill();
                let log = fs::read_to_string(log)?;
                return Err(io::Error::other(format!("they do not start: {log}")));
            }
            sleep(PAUSE);
        }
    }
    print!("{}", running(home)?);
    Ok(())
}

/// Keeps the servers until the file is removed.
fn keep(home: &Path) -> io::Result<()> {
    let (redis, postgres, kafka) = (Redis::start(), Postgres::start(), Kafka::start());
    let env = format!(
        "# keeper {}\nexport DATABASE_URL={}\nexport REDIS_URL={}\nexport KAFKA_BROKERS={}\n",
        std::process::id(),
        postgres.fresh_database(),
        redis.url(),
        kafka.brokers()
    );
    let fresh = home.join("env.new");
    fs::write(&fresh, &env)?;
    fs::rename(fresh, env_file(home))?;
    while fs::read_to_string(env_file(home)).is_ok_and(|now| now == env) {
        sleep(PAUSE);
    }
    Ok(())
}

/// The settings, if a keeper runs.
fn running(home: &Path) -> io::Result<String> {
    let env = fs::read_to_string(env_file(home)).unwrap_or_default();
    let keeper = env
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("# keeper "));
    let alive = keeper.is_some_and(is_keeper);
    if alive {
        Ok(env)
    } else {
        Err(io::Error::other(
            "not running; `dev/services start` starts them",
        ))
    }
}

fn status(home: &Path) -> io::Result<()> {
    running(home).map(|env| println!("Redis, PostgreSQL and Kafka run:\n{env}"))
}

fn stop(home: &Path) -> io::Result<()> {
    let env = running(home)?;
    let keeper = env
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("# keeper "));
    let keeper = keeper.unwrap_or_default();
    fs::remove_file(env_file(home))?;
    let since = Instant::now();
    while is_keeper(keeper) {
        if since.elapsed() > PATIENCE {
            return Err(io::Error::other("they do not end"));
        }
        sleep(PAUSE);
    }
    Ok(())
}

/// Whether the process with this id is a keeper, and not one that got its id later.
fn is_keeper(id: &str) -> bool {
    let command = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
    command.contains("flashsale-stack") && command.trim_end_matches('\0').ends_with("keep")
}
