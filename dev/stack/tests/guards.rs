//! A guard leaves nothing behind, however it ends.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::read_to_string;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flashsale_stack::{Kafka, Postgres, Redis, Server};

/// What a server has in the system: its process, its folder, and shared memory that its process
/// has made.
struct Traces {
    id: u32,
    folder: PathBuf,
}

impl Traces {
    fn of(server: &Server) -> Self {
        Self {
            id: server.id().unwrap(),
            folder: server.folder().to_owned(),
        }
    }

    /// Those that are there.
    fn found(&self) -> Vec<String> {
        let mut found = Vec::new();
        let stat = read_to_string(format!("/proc/{}/stat", self.id)).unwrap_or_default();
        if !stat.is_empty() && !stat.contains(") Z ") {
            found.push(stat);
        }
        if self.folder.exists() {
            found.push(self.folder.display().to_string());
        }
        let memory = read_to_string("/proc/sysvipc/shm").unwrap_or_default();
        let maker = |line: &&str| line.split_whitespace().nth(4) == Some(&self.id.to_string());
        found.extend(memory.lines().filter(maker).map(str::to_owned));
        found
    }

    fn assert_gone_soon(&self) {
        let since = Instant::now();
        while !self.found().is_empty() {
            let elapsed = since.elapsed();
            assert!(elapsed < Duration::from_secs(15), "{:?}", self.found());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_guard_that_is_dropped_leaves_nothing() {
    let (redis, postgres, kafka) = (Redis::start(), Postgres::start(), Kafka::start());
    postgres.freeze();
    let all = [&redis as &Server, &postgres, &kafka].map(Traces::of);
    assert!(all.iter().all(|traces| traces.found().len() > 1));
    drop((redis, postgres, kafka));
    for traces in all {
        assert_eq!(traces.found(), [""; 0]);
    }
}

#[test]
fn a_guard_of_a_server_that_was_killed_leaves_nothing() {
    let (mut redis, mut postgres) = (Redis::start(), Postgres::start());
    let all = [&redis as &Server, &postgres].map(Traces::of);
    redis.kill();
    postgres.kill();
    drop((redis, postgres));
    for traces in all {
        assert_eq!(traces.found(), [""; 0]);
    }
}

/// Not a test by itself: the next one runs it in a process of its own and kills that.
#[test]
fn hold_some_servers() {
    if std::env::var_os("HOLD_SOME_SERVERS").is_none() {
        return;
    }
    let (redis, postgres) = (Redis::start(), Postgres::start());
    let (frozen, mut killed) = (Postgres::start(), Redis::start());
    for server in [&redis as &Server, &postgres, &frozen, &killed] {
        println!(
            "holds|{}|{}",
            server.id().unwrap(),
            server.folder().display()
        );
    }
    killed.kill();
    frozen.freeze();
    println!("ready|");
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn servers_end_with_the_process_that_held_them() {
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hold_some_servers", "--nocapture"])
        .env("HOLD_SOME_SERVERS", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let mut all = Vec::new();
    for line in lines.map(Result::unwrap) {
        if line.contains("ready|") {
            break;
        }
        if let Some((_, line)) = line.split_once("holds|") {
            let (id, folder) = line.split_once('|').unwrap();
            let (id, folder) = (id.parse().unwrap(), Path::new(folder).to_owned());
            all.push(Traces { id, folder });
        }
    }
    assert_eq!(all.len(), 4);
    holder.kill().unwrap();
    holder.wait().unwrap();
    for traces in all {
        traces.assert_gone_soon();
    }
}
