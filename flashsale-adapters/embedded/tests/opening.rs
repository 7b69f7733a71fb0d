//! What a shop relies on when it opens a file: one engine per file, and a clear word about every
//! file that is not ours, without touching it.
#![allow(clippy::unwrap_used)]

mod shop;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flashsale_core::ports::StockStoreExt;
use flashsale_embedded::{Decides, EmbeddedConfig, EmbeddedEngine, OpenError, SystemClock};
use rusqlite::Connection;
use shop::{assert_exact, child_path, open, request, sell, start_child};

fn try_open(path: &Path) -> Result<EmbeddedEngine, OpenError> {
    EmbeddedEngine::open(EmbeddedConfig::new(path), Arc::new(SystemClock))
}

/// What opening says about a file that is not to be opened: one line that names it.
fn refused(path: &Path) -> OpenError {
    let error = try_open(path).expect_err("must not open");
    let text = error.to_string();
    println!("{text}");
    let real = fs::canonicalize(path).unwrap_or(path.to_owned());
    assert!(text.contains(real.to_str().unwrap()), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    error
}

/// Like [`refused`], and the file is as before.
fn refused_untouched(path: &Path) -> OpenError {
    let before = fs::read(path).unwrap();
    let error = refused(path);
    assert!(
        fs::read(path).unwrap() == before,
        "the file must not change: {error}"
    );
    error
}

fn other_spellings(folder: &Path) -> Vec<PathBuf> {
    let path = folder.join("shop.db");
    let (by_file, by_folder) = (folder.join("link.db"), folder.join("link"));
    symlink(&path, &by_file).unwrap();
    symlink(folder, &by_folder).unwrap();
    vec![
        path,
        by_file,
        by_folder.join("shop.db"),
        folder
            .join("./link/../")
            .join(folder.file_name().unwrap())
            .join("shop.db"),
    ]
}

#[test]
fn a_file_serves_one_engine_however_its_path_is_spelled() {
    let folder = tempfile::tempdir().unwrap();
    let spellings = other_spellings(folder.path());
    for first in &spellings {
        let engine = open(first, Decides::AtOnce);
        for second in &spellings {
            let Err(OpenError::InUse { path, owner }) = try_open(second) else {
                panic!("{} opened beside {}", second.display(), first.display())
            };
            assert_eq!(path, fs::canonicalize(&spellings[0]).unwrap());
            assert_eq!(owner, Some(std::process::id()));
        }
        drop(engine);
    }
}

#[test]
fn a_link_to_a_file_that_is_not_there_yet_locks_that_file() {
    let folder = tempfile::tempdir().unwrap();
    let (link, target) = (folder.path().join("link.db"), folder.path().join("real.db"));
    symlink("real.db", &link).unwrap();
    let _engine = open(&link, Decides::AtOnce);
    assert!(target.exists());
    assert!(matches!(refused(&target), OpenError::InUse { .. }));
}

#[test]
fn names_that_sqlite_gives_a_meaning_are_plain_files() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        ":memory:",
        "file:shop.db?mode=memory",
        "a b%20c?.db",
        "ünïcode🛒.db",
    ] {
        let path = folder.path().join(name);
        drop(open(&path, Decides::AtOnce));
        assert!(fs::metadata(&path).unwrap().len() > 0, "{name}");
    }
    let error = try_open(Path::new("")).expect_err("no name");
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
}

/// Played by a second process: holds the file until its input ends.
#[test]
#[ignore = "started by other tests"]
fn child_holds_the_file() {
    let Some(path) = child_path() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let engine = open(&path, Decides::AtOnce);
    runtime.block_on(async {
        let sale = sell(&engine, "lamp", 5).await;
        engine
            .stock()
            .reserve_one(&sale.key(), &request("ann"))
            .await
            .unwrap();
    });
    println!("\nready");
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read_line(&mut String::new());
}

fn wait_until_ready(child: &mut std::process::Child) {
    let output = BufReader::new(child.stdout.take().unwrap());
    assert!(output.lines().any(|line| line.unwrap() == "ready"));
}

#[tokio::test]
async fn a_second_process_is_refused_and_a_killed_one_leaves_everything_it_promised() {
    let folder = tempfile::tempdir().unwrap();
    let spellings = other_spellings(folder.path());
    let mut child = start_child("child_holds_the_file", &spellings[0]);
    wait_until_ready(&mut child);
    for path in &spellings {
        let error = refused(path);
        assert!(
            matches!(error, OpenError::InUse { owner: Some(pid), .. } if pid == child.id()),
            "{error}"
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let beside = |end: &str| folder.path().join(format!("shop.db{end}"));
    assert!(
        beside("-wal").metadata().unwrap().len() > 0,
        "a kill leaves the log"
    );
    assert!(beside(".lock").exists(), "a kill leaves the lock file");

    let engine = open(&spellings[0], Decides::AtOnce);
    let sale = shop::services(&engine).await.sales.list().await.unwrap();
    let account = assert_exact(&engine, &sale[0].sale).await;
    assert_eq!(account.totals.sold, 1);
}

#[tokio::test]
async fn a_clean_end_leaves_the_database_in_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let engine = open(&path, Decides::AtOnce);
    let sale = sell(&engine, "lamp", 5).await;
    engine
        .stock()
        .reserve_one(&sale.key(), &request("ann"))
        .await
        .unwrap();
    drop(engine);
    let names = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["shop.db", "shop.db.lock"]);
    let alone = tempfile::tempdir().unwrap();
    let copy = alone.path().join("copy.db");
    fs::copy(&path, &copy).unwrap();
    assert_eq!(
        assert_exact(&open(&copy, Decides::AtOnce), &sale)
            .await
            .totals
            .sold,
        1
    );
}

#[test]
fn a_stale_lock_file_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    for content in ["4194305\n", "", "no number", "\u{fffd}"] {
        fs::write(folder.path().join("shop.db.lock"), content).unwrap();
        drop(open(&path, Decides::AtOnce));
    }
}

#[test]
fn what_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let mut seeded = flashsale_core::testing::Seeded::new(7);
    let noise = (0..100_000).map(|_| seeded.below(256) as u8).collect();
    let texts = [
        b"hello".to_vec(),
        "a shopping list\n".repeat(1_000).into_bytes(),
        noise,
    ];
    for content in texts {
        fs::write(&path, &content).unwrap();
        let error = refused_untouched(&path);
        assert!(matches!(error, OpenError::NotADatabase { .. }), "{error}");
    }
}

#[test]
fn a_truncated_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    drop(open(&path, Decides::AtOnce));
    let whole = fs::read(&path).unwrap();
    // SQLite takes a file of one byte for an empty one. The end of its last page is empty yet.
    for len in [whole.len() - 4097, whole.len() / 2, 4096, 4095, 600, 99, 2] {
        fs::write(&path, &whole[..len]).unwrap();
        println!("{len} of {} bytes", whole.len());
        let error = refused_untouched(&path);
        assert!(matches!(error, OpenError::NotADatabase { .. }), "{error}");
    }
}

#[test]
fn an_empty_file_becomes_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    fs::write(&path, "").unwrap();
    drop(open(&path, Decides::AtOnce));
    drop(open(&path, Decides::AtOnce));
}

#[test]
fn the_database_of_another_program_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    for (name, setup) in [
        ("tables.db", "CREATE TABLE notes (text TEXT)"),
        ("marked.db", "PRAGMA application_id = 1"),
        (
            "both.db",
            "PRAGMA application_id = 1; CREATE TABLE attempts (id INTEGER)",
        ),
        (
            "wal.db",
            "PRAGMA journal_mode = WAL; CREATE TABLE notes (text TEXT)",
        ),
    ] {
        let path = folder.path().join(name);
        Connection::open(&path)
            .unwrap()
            .execute_batch(setup)
            .unwrap();
        let error = refused_untouched(&path);
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    }
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    drop(open(&path, Decides::AtOnce));
    let newer = "PRAGMA user_version = 99";
    Connection::open(&path)
        .unwrap()
        .execute_batch(newer)
        .unwrap();
    let error = refused_untouched(&path);
    assert!(matches!(error, OpenError::NewerSchema { .. }), "{error}");
}

/// As after a kill in the middle of the first start.
#[test]
fn a_database_that_was_only_begun_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    drop(open(&path, Decides::AtOnce));
    let marked: i32 = Connection::open(&path)
        .unwrap()
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .unwrap();
    fs::remove_file(&path).unwrap();
    let begun = Connection::open(&path).unwrap();
    begun.pragma_update(None, "journal_mode", "WAL").unwrap();
    begun.pragma_update(None, "application_id", marked).unwrap();
    drop(begun);
    drop(open(&path, Decides::AtOnce));
}

#[test]
fn folders_that_are_missing_or_named_instead_of_a_file_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let error = refused(&folder.path().join("none/shop.db"));
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("make it"), "{error}");
    let error = refused(folder.path());
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("folder"), "{error}");
    assert!(!folder.path().with_extension("lock").exists());
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = refused(&file.join("shop.db"));
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
}

/// A folder where nobody may write, whoever runs the test.
#[test]
fn a_read_only_folder_is_told() {
    let path = Path::new("/sys/kernel/shop.db");
    if !path.parent().is_some_and(Path::is_dir) {
        flashsale_stack::skip("there is no /sys/kernel, and permissions do not stop root");
        return;
    }
    let error = refused(path);
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error}");
}
