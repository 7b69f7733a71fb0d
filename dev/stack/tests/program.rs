//! The program that holds the servers for a developer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::Command;

/// What it prints, or its error.
fn program(command: &str, home: &Path) -> Result<String, String> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_flashsale-stack"));
    let output = program.arg(command).arg(home).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

/// The value of a setting.
fn setting(env: &str, name: &str) -> String {
    let start = format!("export {name}=");
    let value = env.lines().find_map(|line| line.strip_prefix(&start));
    value.unwrap().to_owned()
}

fn redis(url: &str, arguments: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-u", url])
        .args(arguments)
        .output();
    String::from_utf8(output.unwrap().stdout)
        .unwrap()
        .trim()
        .to_owned()
}

#[test]
fn servers_are_started_once_and_keep_their_data_when_they_are_stopped() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    assert!(program("env", home).unwrap_err().contains("nothing runs"));

    let said = program("start", home).unwrap();
    let env = program("env", home).unwrap();
    assert!(said.contains(&setting(&env, "DATABASE_URL")), "{said}");
    assert!(setting(&env, "KAFKA_BROKERS").starts_with("127.0.0.1:"));
    let url = setting(&env, "REDIS_URL");
    assert_eq!(redis(&url, &["set", "a", "1"]), "OK");

    // They run already.
    assert_eq!(program("start", home).unwrap(), said);
    assert_eq!(program("status", home).unwrap(), said);

    assert!(program("stop", home).unwrap().contains("stopped"));
    assert_eq!(redis(&url, &["ping"]), "");
    assert!(program("stop", home).unwrap().contains("nothing runs"));

    program("start", home).unwrap();
    let url = setting(&program("env", home).unwrap(), "REDIS_URL");
    assert_eq!(redis(&url, &["get", "a"]), "1");
    program("stop", home).unwrap();
}
