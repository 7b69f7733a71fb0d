use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal};

/// The folder of a server, with a keeper that outlives this process for as long as it takes to end
/// the server and to remove the folder.
#[derive(Debug)]
pub(crate) struct Home {
    folder: PathBuf,
    ending: Signal,
    keeper: Child,
    /// `None` once it is time to end.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Home {
    /// A new folder, for a server that `ending` asks to end.
    pub(crate) fn fresh(name: &str, ending: Signal) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(&format!("flashsale-{name}-"))
            // PostgreSQL may run as another user.
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .expect("a temporary folder");
        Self::kept(folder.keep(), ending, "")
    }

    /// A folder that stays when the server ends.
    pub(crate) fn lasting(folder: &Path, ending: Signal) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        Self::kept(folder.to_owned(), ending, "stays")
    }

    fn kept(folder: PathBuf, ending: Signal, stays: &str) -> Self {
        let signal = if ending == Signal::INT { "INT" } else { "TERM" };
        let mut keeper = Command::new("sh")
            .args(["-c", include_str!("keeper.sh"), "keeper"])
            .arg(&folder)
            .args([signal, stays])
            // Ctrl-C ends the tests, whose end then ends the servers.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh is there");
        let orders = keeper.stdin.take();
        let answers = BufReader::new(keeper.stdout.take().expect("it is piped"));
        Self {
            folder,
            ending,
            keeper,
            orders,
            answers,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The signal that asks the server to end in good order.
    pub(crate) fn ending(&self) -> Signal {
        self.ending
    }

    /// Starts a command; what it prints goes into the file `log`.
    pub(crate) fn start(&mut self, command: &[String]) -> Pid {
        let quoted = command
            .iter()
            .map(|part| format!("'{}'", part.replace('\'', r"'\''")));
        let line = quoted.collect::<Vec<_>>().join(" ");
        assert!(!line.contains('\n'), "the keeper reads lines: {line:?}");
        let answer = self.order(&line);
        let id = answer.trim().parse().ok().and_then(Pid::from_raw);
        id.unwrap_or_else(|| panic!("{line} has no process: {answer:?}"))
    }

    /// Waits for the end of what was started, which is on its way: the system may show a process as
    /// dead some time before its last thread lets go of its ports and files.
    pub(crate) fn end(&mut self) {
        self.order("");
    }

    fn order(&mut self, line: &str) -> String {
        let orders = self.orders.as_mut().expect("it is there until the end");
        writeln!(orders, "{line}").expect("the keeper reads");
        let mut answer = String::new();
        let answered = self.answers.read_line(&mut answer);
        answered.expect("the keeper answers");
        answer
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.keeper.wait();
    }
}
