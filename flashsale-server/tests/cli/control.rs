//! The control socket: who can use it, what it takes, and what a killed server leaves of it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;

use crate::complaint;
use crate::support::Shop;

fn beside(shop: &Shop) -> PathBuf {
    let mut name = shop.file.clone().into_os_string();
    name.push(".ctl");
    name.into()
}

/// What the server answers to some bytes.
fn say(shop: &Shop, bytes: &[u8]) -> Value {
    let mut stream = UnixStream::connect(beside(shop)).unwrap();
    // The server may have heard enough before it has read all.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer.lines().count(), 1, "{answer}");
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn only_the_owner_can_open_it_and_it_goes_with_the_server() {
    let shop = Shop::new();
    let mut server = shop.serve();
    let metadata = fs::metadata(beside(&shop)).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    server.signal(Signal::TERM);
    assert!(server.wait_for_end().success());
    assert!(!beside(&shop).exists());
}

#[test]
fn what_a_killed_server_leaves_is_no_obstacle() {
    let shop = Shop::new();
    shop.serve().kill();
    assert!(beside(&shop).exists());
    shop.open_sale("Lamp", 10);
    let server = shop.serve();
    assert_eq!(shop.json(&["sale", "list", "--json"])[0]["stock"], 10);
    drop(server);
}

#[test]
fn a_deep_folder_has_one_too() {
    let mut shop = Shop::new();
    let deep = shop
        .folder()
        .join("a-folder-with-a-rather-long-name/".repeat(5));
    fs::create_dir_all(&deep).unwrap();
    shop.file = deep.join("shop.db");
    let mut server = shop.serve();
    assert!(fs::metadata(beside(&shop)).unwrap().is_file());
    shop.open_sale("Lamp", 10);
    server.signal(Signal::TERM);
    assert!(server.wait_for_end().success());
    assert!(!beside(&shop).exists());

    // What a killed server leaves is replaced, the folder of its socket too.
    shop.serve().kill();
    let server = shop.serve();
    assert_eq!(shop.json(&["sale", "list", "--json"])[0]["stock"], 10);
    let folders = fs::read_dir(shop.folder()).unwrap();
    let names = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(
        names.filter(|name| name.starts_with("flashsale-")).count(),
        1
    );
    drop(server);
}

#[test]
fn a_file_of_somebody_else_is_not_replaced() {
    let shop = Shop::new();
    fs::write(beside(&shop), "my notes").unwrap();
    let server = shop.serve();
    assert_eq!(fs::read_to_string(beside(&shop)).unwrap(), "my notes");
    let said = complaint(&shop.run(&["sale", "list"]), 1);
    assert!(said.contains("in use by another process"), "{said}");
    assert!(said.contains("is not a control socket"), "{said}");
    drop(server);
}

#[test]
fn requests_that_make_no_sense_are_answered() {
    let shop = Shop::new();
    let server = shop.serve();
    let long = vec![b' '; 64 * 1_024];
    for bytes in [
        &b""[..],
        b"\n",
        b"{}\n",
        b"hello",
        b"\xff\xfe\n",
        br#"{"command":"dance"}"#,
        &long,
    ] {
        assert_eq!(say(&shop, bytes)["answer"], "refused");
    }
    assert_eq!(say(&shop, b"{\"command\":\"ping\"}\n")["answer"], "pong");
    drop(server);
}

#[test]
fn a_password_is_not_repeated_in_a_refusal() {
    let shop = Shop::new();
    let server = shop.serve();
    let request = br#"{"command":"user_create","with":{"username":1,"password":"hunter2"}}"#;
    let answer = say(&shop, &[&request[..], b"\n"].concat());
    assert!(!answer.to_string().contains("hunter2"));
    assert!(
        server
            .rest_of_log()
            .iter()
            .all(|line| !line.contains("hunter2"))
    );
}
