use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::Shop;

/// How long anything may take before a test gives up.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A server in a process of its own; killed when dropped.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
    logs: Receiver<String>,
    pub(crate) address: SocketAddr,
}

impl ServerProcess {
    /// Starts it and waits until it serves.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_until(command, "serving")
    }

    /// Starts it and waits until it listens, whether or not the servers that it needs are there.
    pub(crate) fn listen(command: &mut Command) -> Self {
        Self::start_until(command, "listening")
    }

    fn start_until(command: &mut Command, message: &str) -> Self {
        let mut server = Self::spawn(command);
        let line: Value = serde_json::from_str(&server.wait_for_log(message)).unwrap();
        let url = line["url"].as_str().unwrap();
        server.address = url.strip_prefix("http://").unwrap().parse().unwrap();
        server
    }

    /// Starts it.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .env("PORT", "0")
            .env("JWT_SECRET", Shop::SECRET)
            .env("LOG_FORMAT", "json")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, logs) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        Self {
            child,
            logs,
            address: ([127, 0, 0, 1], 0).into(),
        }
    }

    /// Waits for a line of the log with this text, and returns it.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        let mut before = Vec::new();
        let started = Instant::now();
        loop {
            let left = DEADLINE.saturating_sub(started.elapsed());
            match self.logs.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => before.push(line),
                Err(_) => panic!("no {text:?} in the log, but {before:#?}"),
            }
        }
    }

    /// Lines of the log that nobody has waited for yet.
    pub(crate) fn rest_of_log(&self) -> Vec<String> {
        self.logs.try_iter().collect()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it without any warning (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < DEADLINE, "the server does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
