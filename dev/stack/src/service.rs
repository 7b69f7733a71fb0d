use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Starts the server and waits until it is told how to end: by a word, if its parent has ended the
/// server, or by the end of its input, if its parent is no more.
const KEEPER: &str = r#"
folder=$1 log=$2; shift 2
"$@" >>"$log" 2>&1 </dev/null &
server=$!
echo "$server"
read -r word
[ "$word" = bye ] && exit 0
kill -9 "$server"
rm -rf "$folder"
"#;

/// A server as a process, with its folder.
#[derive(Debug)]
pub(crate) struct Service {
    name: &'static str,
    folder: PathBuf,
    command: Vec<OsString>,
    /// Asks it to end in good order.
    ending: Signal,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    keeper: Child,
    server: Pid,
}

impl Service {
    /// A server that is not running yet.
    pub(crate) fn new(name: &'static str, folder: PathBuf, ending: Signal) -> Self {
        Self {
            name,
            folder,
            command: Vec::new(),
            ending,
            running: None,
        }
    }

    /// What starts it.
    pub(crate) fn set_command(&mut self, command: impl IntoIterator<Item = impl AsRef<OsStr>>) {
        self.command = command
            .into_iter()
            .map(|part| part.as_ref().to_owned())
            .collect();
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts it, and waits until `ready`.
    pub(crate) fn start(&mut self, ready: impl Fn() -> bool) {
        assert!(self.running.is_none(), "{} is running already", self.name);
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&self.folder)
            .arg(self.log())
            .args(&self.command)
            // Ctrl-C ends the tests, whose end then ends the servers.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh is there");
        let mut line = String::new();
        let stdout = keeper.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("a line from sh");
        let server = line.trim().parse().ok().and_then(Pid::from_raw);
        let server = server.unwrap_or_else(|| panic!("{} has no process: {line:?}", self.name));
        self.running = Some(Running { keeper, server });
        self.wait("does not get ready", || {
            assert!(
                self.is_alive(),
                "{} has ended: {}",
                self.name,
                self.end_of_log()
            );
            ready()
        });
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(&mut self) {
        let ending = self.ending;
        self.signal(ending);
        let asked = Instant::now();
        let mut asked_again = 0;
        self.wait("does not end", || {
            // Redis refuses while it writes its first file.
            if asked.elapsed().as_secs() > asked_again {
                asked_again += 1;
                self.signal(ending);
            }
            !self.is_alive()
        });
        self.dismiss();
    }

    /// Ends it without any warning, with all its children.
    pub(crate) fn kill(&mut self) {
        let family = self.family();
        for process in &family {
            let _ = kill_process(*process, Signal::KILL);
        }
        self.wait("does not die", || {
            !family.iter().any(|process| is_alive(*process))
        });
        self.dismiss();
    }

    /// Stops it and its children in the middle of whatever they do.
    pub(crate) fn freeze(&self) {
        self.signal_family(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal_family(Signal::CONT);
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The id of its process, if it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        let running = self.running.as_ref()?;
        u32::try_from(running.server.as_raw_nonzero().get()).ok()
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn end_of_log(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn wait(&self, trouble: &str, mut until: impl FnMut() -> bool) {
        let since = Instant::now();
        while !until() {
            assert!(
                since.elapsed() < PATIENCE,
                "{} {trouble}: {}",
                self.name,
                self.end_of_log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn server(&self) -> Pid {
        let running = self.running.as_ref();
        running
            .unwrap_or_else(|| panic!("{} is not running", self.name))
            .server
    }

    fn is_alive(&self) -> bool {
        is_alive(self.server())
    }

    fn signal(&self, signal: Signal) {
        let _ = kill_process(self.server(), signal);
    }

    fn signal_family(&self, signal: Signal) {
        for process in self.family() {
            let _ = kill_process(process, signal);
        }
    }

    /// The server and its children: those of PostgreSQL have process groups of their own.
    fn family(&self) -> Vec<Pid> {
        let server = self.server();
        let raw = server.as_raw_nonzero().get();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let children = processes.filter_map(|entry| {
            let id: i32 = entry.file_name().to_str()?.parse().ok()?;
            let (_, parent) = stat(id)?;
            (parent == raw).then(|| Pid::from_raw(id)).flatten()
        });
        std::iter::once(server).chain(children).collect()
    }

    /// Lets the keeper go, which has nothing to keep any more.
    fn dismiss(&mut self) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        if let Some(mut stdin) = running.keeper.stdin.take() {
            let _ = stdin.write_all(b"bye\n");
        }
        let _ = running.keeper.wait();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.thaw();
            for process in self.family() {
                let _ = kill_process(process, Signal::KILL);
            }
            let server = self.server();
            let since = Instant::now();
            while is_alive(server) && since.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(5));
            }
            self.dismiss();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn is_alive(process: Pid) -> bool {
    stat(process.as_raw_nonzero().get()).is_some_and(|(state, _)| state != 'Z')
}

/// The state of a process and its parent.
fn stat(id: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name before it may hold anything.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

/// A new folder that other users may pass through.
pub(crate) fn fresh_folder(name: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::Builder::new()
        .prefix(&format!("flashsale-{name}-"))
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()
        .expect("a temporary folder");
    folder.keep()
}

/// Runs a program to its end and returns what it prints.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let shown = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{shown}: {error}; run `dev/services install`"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let error = String::from_utf8_lossy(&output.stderr);
        Err(format!("{shown}: {error}"))
    }
}
