//! The program from outside: its commands, settings, signals and exit codes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod audits;
mod commands;
mod control;
mod demo;
mod door;
mod serving;
mod settings;
#[path = "../support/mod.rs"]
mod support;

use std::process::Output;

/// What a command says when it fails: one line, without the word `error`.
fn complaint(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let complaint = text.trim_end().strip_prefix("error: ");
    complaint.unwrap_or_else(|| panic!("{text}")).to_owned()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}
