//! The servers for a developer; `dev/services` builds and calls this.
//!
//! `start` leaves a process behind that holds the servers until the file with the settings is
//! removed, which is what `stop` does.

use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use flashsale_stack::{Kafka, Postgres, Redis, Server};
use rustix::process::getuid;

const PAUSE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["start", home] => start(Path::new(home)),
        ["hold", home] => hold(Path::new(home)),
        ["stop", home] => stop(Path::new(home)),
        ["status", home] => status(Path::new(home)),
        ["env", home] => env(Path::new(home)),
        _ => Err("usage: flashsale-stack start|stop|status|env FOLDER".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dev/services: {error}");
            ExitCode::FAILURE
        }
    }
}

type Done = Result<(), Box<dyn Error>>;

/// Starts the servers unless they run, and waits until they serve.
fn start(home: &Path) -> Done {
    fs::create_dir_all(home)?;
    let home = &home.canonicalize()?;
    if running(home).is_none() {
        let log = home.join("log");
        let _ = fs::remove_file(settings(home));
        // In a session of its own, so that it outlives this terminal.
        let mut holder = Command::new("setsid")
            .arg(std::env::current_exe()?)
            .arg("hold")
            .arg(home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .spawn()?;
        let since = Instant::now();
        while running(home).is_none() {
            if holder.try_wait()?.is_some() || since.elapsed() > PATIENCE {
                let _ = holder.kill();
                let log = fs::read_to_string(log)?;
                return Err(format!("they do not start: {}", log.trim()).into());
            }
            sleep(PAUSE);
        }
    }
    status(home)
}

/// Holds the servers until they are to be stopped or one of them is gone.
fn hold(home: &Path) -> Done {
    let run = run_folder(home)?;
    let mut redis = Redis::at(&run.join("redis"), 6379);
    let mut postgres = Postgres::at(&run.join("postgres"), 5432);
    let mut kafka = Kafka::at(&run.join("kafka"), 9092);
    let servers: [&mut Server; 3] = [&mut redis, &mut postgres, &mut kafka];
    scope(|scope| {
        for server in servers {
            scope.spawn(|| server.start_now());
        }
    });
    let text = format!(
        "# held by {}\nexport DATABASE_URL={}\nexport REDIS_URL={}\nexport KAFKA_BROKERS={}\n",
        std::process::id(),
        postgres.database("flashsale"),
        redis.url(),
        kafka.brokers()
    );
    let fresh = home.join("env.new");
    fs::write(&fresh, &text)?;
    fs::rename(fresh, settings(home))?;
    while fs::read_to_string(settings(home)).is_ok_and(|now| now == text) {
        let servers: [&Server; 3] = [&redis, &postgres, &kafka];
        if let Some(gone) = servers.into_iter().find(|server| !server.is_running()) {
            fs::remove_file(settings(home))?;
            return Err(format!("{gone:?} is gone, so the others end, too").into());
        }
        sleep(PAUSE);
    }
    Ok(())
}

fn stop(home: &Path) -> Done {
    let Some((holder, _)) = running(home) else {
        println!("nothing runs");
        return Ok(());
    };
    fs::remove_file(settings(home))?;
    let since = Instant::now();
    while is_holder(&holder, home) {
        if since.elapsed() > PATIENCE {
            return Err(format!("they do not end; they are held by process {holder}").into());
        }
        sleep(PAUSE);
    }
    println!("Redis, PostgreSQL and Kafka are stopped");
    Ok(())
}

fn status(home: &Path) -> Done {
    let settings = env_lines(home)?;
    println!(
        "Redis, PostgreSQL and Kafka run:\n{}",
        settings.replace("export ", "  ")
    );
    Ok(())
}

fn env(home: &Path) -> Done {
    print!("{}", env_lines(home)?);
    Ok(())
}

fn env_lines(home: &Path) -> Result<String, Box<dyn Error>> {
    let (_, settings) = running(home).ok_or("nothing runs; `dev/services start` starts it")?;
    Ok(settings)
}

/// Who holds the servers, and the settings by which they are reached.
fn running(home: &Path) -> Option<(String, String)> {
    let text = fs::read_to_string(settings(home)).ok()?;
    let (holder, lines) = text.strip_prefix("# held by ")?.split_once('\n')?;
    is_holder(holder, home).then(|| (holder.to_owned(), lines.to_owned()))
}

/// The file with the settings. The servers run for as long as it is there.
fn settings(home: &Path) -> PathBuf {
    home.join("env")
}

/// Whether the process with this id holds these servers, and is not one that got its id later.
fn is_holder(id: &str, home: &Path) -> bool {
    let command = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let parts: Vec<_> = command.split(|byte| *byte == 0).collect();
    let home = home.canonicalize().unwrap_or_default();
    matches!(parts[..], [_, b"hold", folder, b""] if folder == home.as_os_str().as_encoded_bytes())
}

/// Where the data are. PostgreSQL does not run as root, and who else it runs as may not be let into
/// root's folders: then the data are elsewhere, with a link to them.
fn run_folder(home: &Path) -> io::Result<PathBuf> {
    let run = home.join("run");
    if !run.exists() {
        let is_open = |folder: &Path| {
            fs::metadata(folder).is_ok_and(|data| data.permissions().mode() & 0o001 != 0)
        };
        if !getuid().is_root() || home.ancestors().all(is_open) {
            fs::create_dir(&run)?;
        } else {
            // A link to what is gone.
            let _ = fs::remove_file(&run);
            let elsewhere = tempfile::Builder::new()
                .prefix("flashsale-services-")
                .permissions(fs::Permissions::from_mode(0o755))
                .tempdir_in("/var/tmp")?;
            symlink(elsewhere.keep(), &run)?;
        }
    }
    run.canonicalize()
}
