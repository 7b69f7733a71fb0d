//! `demo`: what it prints works as printed.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::Shop;

/// A demo and what it has printed.
struct Demo {
    child: Child,
    text: String,
}

impl Demo {
    fn start(port: u16) -> Self {
        let mut child = Shop::program()
            .args(["demo", "--port", &port.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut text = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        while !text.contains("Ctrl-C") {
            let read = stdout.read_line(&mut text).unwrap();
            assert!(read > 0, "the demo has ended after {text}");
        }
        Self { child, text }
    }

    /// The lines to be pasted.
    fn commands(&self) -> Vec<&str> {
        let lines = self.text.lines().filter_map(|line| line.strip_prefix("  "));
        let pasted = |line: &&str| {
            let first = line.split([' ', '=']).next().unwrap_or_default();
            ["TOKEN", "curl", "export"].contains(&first) || first.ends_with("flashsale-server")
        };
        lines.filter(pasted).collect()
    }

    fn folder(&self) -> PathBuf {
        let (_, url) = self.text.split_once("sqlite://").unwrap();
        let (file, _) = url.split_once('\'').unwrap();
        PathBuf::from(file).parent().unwrap().to_owned()
    }

    /// Ends it and returns its exit code and what it has written to standard error.
    fn end(&mut self, signal: Signal) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let status = self.child.wait().unwrap();
        let mut errors = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut errors)
            .unwrap();
        (status.code(), errors)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn its_lines_work_in_order_and_nothing_is_left_of_it() {
    let mut demo = Demo::start(0);
    let commands = demo.commands();
    assert!(commands.len() >= 7, "{}", demo.text);
    let script = commands.iter().map(|line| format!("{line}\necho\n"));
    let script: String = std::iter::once("set -e\n".to_owned())
        .chain(script)
        .collect();
    let output = Command::new("sh").arg("-c").arg(&script).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    for expected in [
        r#""status":"ACTIVE""#,
        r#""attemptId""#,
        r#""status":"SUCCESS","attempted":true"#,
        "Limited Sneaker",
        "EXACT",
    ] {
        assert!(said.contains(expected), "{expected} is not in {said}");
    }

    let folder = demo.folder();
    assert!(folder.exists());
    let (code, errors) = demo.end(Signal::INT);
    assert_eq!(code, Some(0), "{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    assert!(!folder.exists());
}

#[test]
fn it_takes_the_next_port_if_its_own_is_taken_and_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut demo = Demo::start(port);
    assert!(
        demo.text.contains(&format!("Port {port} is taken")),
        "{}",
        demo.text
    );
    let (_, url) = demo.text.split_once("open at http://127.0.0.1:").unwrap();
    let used: u16 = url.split_whitespace().next().unwrap().parse().unwrap();
    assert!(used > port);
    let (code, _) = demo.end(Signal::TERM);
    assert_eq!(code, Some(0));
}
