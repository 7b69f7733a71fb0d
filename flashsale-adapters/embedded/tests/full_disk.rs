//! What a shop relies on when the disk is full, the file is busy, damaged or gone.
#![allow(clippy::unwrap_used)]

mod shop;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use flashsale_core::domain::{
    Decision, FailReason, ReserveOutcome, Sale, SaleChange, SettleOutcome, Settlement, UserId,
};
use flashsale_core::ports::{NoRecorder, StockStore, StockStoreExt};
use flashsale_core::{Effect, ErrorKind, PortError};
use flashsale_embedded::{Decides, EmbeddedEngine};
use rusqlite::Connection;
use shop::{assert_exact, open, request, sell, services, user};

/// A file system of two megabytes.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Nothing where mounting is not allowed. Then `test` has been run in a namespace where it is,
    /// if there may be one, or is skipped.
    fn new(test: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "none"])
            .arg(folder.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        let in_namespace = |command: &str, arguments: &[&str]| {
            Command::new("unshare")
                .args(["--map-root-user", "--mount", command])
                .args(arguments)
                .env("IN_NAMESPACE", "1")
                .status()
                .is_ok_and(|status| status.success())
        };
        if std::env::var_os("IN_NAMESPACE").is_none() && in_namespace("true", &[]) {
            let tests = std::env::current_exe().unwrap();
            let passed = in_namespace(tests.to_str().unwrap(), &[test, "--exact", "--nocapture"]);
            assert!(passed, "{test} has failed in a namespace of its own");
        } else {
            flashsale_stack::skip("mounting a small file system is not allowed");
        }
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let ballast = fs::File::options()
            .append(true)
            .create(true)
            .open(self.path("ballast"))
            .unwrap();
        let mut at = ballast.metadata().unwrap().len();
        for size in [65_536, 4_096, 1] {
            while let Ok(written @ 1..) = ballast.write_at(&vec![7; size], at) {
                at += written as u64;
            }
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.path("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

async fn reserve(
    engine: &EmbeddedEngine,
    sale: &Sale,
    name: &str,
) -> Result<ReserveOutcome, PortError> {
    engine
        .stock()
        .reserve_one(&sale.key(), &request(name))
        .await
}

async fn has_units(engine: &EmbeddedEngine, sale: &Sale, name: &str) -> bool {
    let allocation = engine.stock().allocation(&sale.key(), &user(name)).await;
    allocation.unwrap().is_some()
}

/// Buys as new users until an attempt fails; returns the buyers and the fault.
async fn buy_until_it_fails(
    engine: &EmbeddedEngine,
    sale: &Sale,
    prefix: &str,
) -> (Vec<UserId>, PortError) {
    let mut buyers = Vec::new();
    for number in 0..100_000 {
        let name = format!("{prefix}-{number}");
        match reserve(engine, sale, &name).await {
            Ok(ReserveOutcome::Sold(attempt, _) | ReserveOutcome::Reserved(attempt)) => {
                buyers.push(attempt.user);
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert!(!has_units(engine, sale, &name).await, "{name} failed");
                return (buyers, error);
            }
        }
    }
    panic!("the disk never fills")
}

async fn assert_all_hold(engine: &EmbeddedEngine, sale: &Sale, buyers: &[UserId]) {
    for batch in buyers.chunks(1_000) {
        let allocations = engine
            .stock()
            .allocations(&sale.key(), batch)
            .await
            .unwrap();
        assert!(allocations.iter().all(Option::is_some));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_cleanly_and_selling_goes_on_when_there_is_room() {
    for decides in [Decides::AtOnce, Decides::Later] {
        let test = "a_full_disk_refuses_cleanly_and_selling_goes_on_when_there_is_room";
        let Some(disk) = SmallDisk::new(test) else {
            return;
        };
        let path = disk.path("shop.db");
        let engine = open(&path, decides);
        let sale = sell(&engine, "lamp", 1 << 30).await;
        let mut buyers = Vec::new();
        for round in 0..3 {
            disk.fill();
            let (bought, error) = buy_until_it_fails(&engine, &sale, &round.to_string()).await;
            println!(
                "{decides:?}, round {round}: {} bought, then {error}",
                bought.len()
            );
            assert_eq!(
                (error.kind(), error.effect()),
                (ErrorKind::Full, Effect::None)
            );
            buyers.extend(bought);

            // A crowd that fails together holds nothing either.
            let mut crowd = tokio::task::JoinSet::new();
            for number in 0..50 {
                let (engine, sale) = (engine.clone(), sale.clone());
                crowd.spawn(async move {
                    let name = format!("crowd-{round}-{number}");
                    let result = reserve(&engine, &sale, &name).await;
                    (name, result)
                });
            }
            for (name, result) in crowd.join_all().await {
                match result {
                    Ok(_) => buyers.push(user(&name)),
                    Err(error) => {
                        assert_eq!(error.effect(), Effect::None, "{error}");
                        assert!(!has_units(&engine, &sale, &name).await);
                    }
                }
            }
            assert_all_hold(&engine, &sale, &buyers).await;
            assert_exact(&engine, &sale).await;

            disk.make_room();
            let name = format!("after-{round}");
            let outcome = reserve(&engine, &sale, &name).await.unwrap();
            println!("{outcome:?}");
            buyers.push(user(&name));
            assert_exact(&engine, &sale).await;
        }
        drop(engine);
        let engine = open(&path, decides);
        let account = assert_exact(&engine, &sale).await;
        let levels = account.levels.unwrap();
        assert_eq!(levels.sold + levels.reserved, buyers.len() as u64);
        assert_all_hold(&engine, &sale, &buyers).await;
    }
}

#[tokio::test]
async fn a_change_that_finds_the_disk_full_is_whole_or_not_at_all() {
    let test = "a_change_that_finds_the_disk_full_is_whole_or_not_at_all";
    let Some(disk) = SmallDisk::new(test) else {
        return;
    };
    let path = disk.path("shop.db");
    let engine = open(&path, Decides::AtOnce);
    let sale = sell(&engine, "lamp", 1 << 30).await;
    disk.fill();
    buy_until_it_fails(&engine, &sale, "user").await;
    let sales = services(&engine).await.sales;
    for _ in 0..3 {
        let error = sales.change(sale.id, SaleChange::Restock(7)).await;
        println!("{error:?}");
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Full);
    }
    disk.make_room();
    sales.change(sale.id, SaleChange::Restock(7)).await.unwrap();
    let account = assert_exact(&engine, &sale).await;
    assert_eq!(account.sale.added_stock, 7);
    drop((engine, sales));
    assert_exact(&open(&path, Decides::AtOnce), &sale).await;
}

/// The repository has the restock, the stock store fails to keep it, the next one succeeds.
#[tokio::test]
async fn a_restock_that_the_stock_store_could_not_keep_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let engine = open(&path, Decides::AtOnce);
    let sale = sell(&engine, "lamp", 10).await;
    let other = Connection::open(&path).unwrap();
    let fault = "CREATE TRIGGER fault BEFORE UPDATE ON stock BEGIN SELECT RAISE(ABORT, 'no'); END";
    other.execute_batch(fault).unwrap();
    let sales = services(&engine).await.sales;
    let result = sales.change(sale.id, SaleChange::Restock(5)).await;
    assert!(result.is_err(), "{result:?}");
    other.execute_batch("DROP TRIGGER fault").unwrap();
    drop(other);
    sales.change(sale.id, SaleChange::Restock(2)).await.unwrap();
    let account = assert_exact(&engine, &sale).await;
    assert_eq!(account.levels.unwrap().available, 17);
    drop((engine, sales));
    let account = assert_exact(&open(&path, Decides::AtOnce), &sale).await;
    assert_eq!(account.levels.unwrap().available, 17);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_locks_the_file_too_long_makes_attempts_fail_without_effect() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let engine = open(&path, Decides::AtOnce);
    let sale = sell(&engine, "lamp", 5).await;
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for name in ["ann", "bob"] {
        let error = reserve(&engine, &sale, name).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.effect()),
            (ErrorKind::Busy, Effect::None)
        );
        assert!(!has_units(&engine, &sale, name).await);
    }
    // Whoever only asks is not kept waiting by it.
    assert_exact(&engine, &sale).await;
    other.execute_batch("ROLLBACK").unwrap();
    for name in ["ann", "bob"] {
        let outcome = reserve(&engine, &sale, name).await.unwrap();
        assert!(matches!(outcome, ReserveOutcome::Sold(..)), "{outcome:?}");
    }
    assert_eq!(assert_exact(&engine, &sale).await.totals.orders, 2);
}

fn spoil(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    for page in 1..file.metadata().unwrap().len() / 4_096 {
        file.write_at(&[0xA5; 4_096], page * 4_096).unwrap();
    }
}

/// Nothing can be promised about a damaged file but this: nobody buys what is not there, and
/// nothing panics.
#[tokio::test]
async fn a_damaged_file_makes_attempts_fail_and_never_oversells() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let engine = open(&path, Decides::AtOnce);
    let sale = sell(&engine, "lamp", 50).await;
    let other = Connection::open(&path).unwrap();
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    other.query_row(checkpoint, [], |_| Ok(())).unwrap();
    drop(other);
    spoil(&path);
    let mut sold = 0;
    for number in 0..200 {
        match reserve(&engine, &sale, &format!("user-{number}")).await {
            Ok(ReserveOutcome::Sold(..)) => sold += 1,
            Ok(ReserveOutcome::SoldOut) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert!(!error.kind().is_transient(), "{error}"),
        }
    }
    println!("{sold} sold");
    assert!(sold <= 50);
    let damaged = engine.services(Arc::new(NoRecorder)).await.unwrap_err();
    assert_eq!(damaged.kind(), ErrorKind::Corrupt);
    drop(engine);
    let reopened = EmbeddedEngine::open(
        flashsale_embedded::EmbeddedConfig::new(&path),
        Arc::new(flashsale_embedded::SystemClock),
    );
    println!(
        "{:?}",
        reopened.map(|_| "opens").map_err(|error| error.to_string())
    );
}

/// A file system keeps a deleted file for those who have it open. Selling goes on in it, and what
/// is sold then is gone with the process, so nobody should do this; but units are not sold twice.
#[tokio::test]
async fn a_file_that_is_moved_away_is_still_the_one_sold_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let engine = open(&path, Decides::AtOnce);
    let sale = sell(&engine, "lamp", 3).await;
    reserve(&engine, &sale, "ann").await.unwrap();
    let moved = folder.path().join("moved.db");
    fs::rename(&path, &moved).unwrap();
    let mut sold = 1;
    for number in 0..10 {
        match reserve(&engine, &sale, &format!("user-{number}")).await {
            Ok(ReserveOutcome::Sold(..)) => sold += 1,
            Ok(ReserveOutcome::SoldOut) | Err(_) => {}
            Ok(other) => panic!("{other:?}"),
        }
    }
    println!("{sold} sold");
    assert!(sold <= 3);
    // Nobody else gets to open a fresh file in its place meanwhile.
    let second = EmbeddedEngine::open(
        flashsale_embedded::EmbeddedConfig::new(&path),
        Arc::new(flashsale_embedded::SystemClock),
    );
    assert!(second.is_err());
}

/// A settlement that is not stored has not happened, and works when it is repeated.
#[tokio::test]
async fn a_settlement_that_finds_the_file_locked_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let engine = open(&path, Decides::Later);
    let sale = sell(&engine, "lamp", 1).await;
    let ReserveOutcome::Reserved(attempt) = reserve(&engine, &sale, "ann").await.unwrap() else {
        panic!("there is one lamp")
    };
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let settlement = Settlement {
        user: attempt.user,
        attempt: attempt.id,
        quantity: attempt.quantity,
        reserved_at: attempt.reserved_at,
        decision: Decision::Failed(FailReason::Cancelled),
    };
    let stock = engine.stock();
    let error = stock
        .settle_one(&sale.key(), &settlement)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.effect()),
        (ErrorKind::Busy, Effect::None)
    );
    let bob = reserve(&engine, &sale, "bob").await;
    assert!(matches!(bob, Ok(ReserveOutcome::SoldOut)), "{bob:?}");
    other.execute_batch("ROLLBACK").unwrap();

    let outcome = stock.settle_one(&sale.key(), &settlement).await.unwrap();
    assert_eq!(outcome, SettleOutcome::Released);
    reserve(&engine, &sale, "bob").await.unwrap();
    drop((engine, stock));
    let engine = open(&path, Decides::Later);
    assert!(!has_units(&engine, &sale, "ann").await);
    assert!(has_units(&engine, &sale, "bob").await);
}
