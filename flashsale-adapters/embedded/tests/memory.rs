//! Users who are refused leave nothing in memory. A file of its own: nothing else may run beside it.
#![allow(clippy::unwrap_used)]

mod shop;

use flashsale_core::services::{AttemptOutcome, FlashSaleService};
use flashsale_embedded::Decides;
use shop::{open, sell, services, user};

fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[tokio::test]
async fn refused_users_leave_nothing_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder.path().join("shop.db"), Decides::AtOnce);
    let sale = sell(&engine, "lamp", 100).await;
    let service = services(&engine).await.flash_sale;
    let refuse = async |service: &FlashSaleService, from: u64, to: u64| {
        let mut accepted = 0;
        for number in from..to {
            let user = user(&format!("user-{number}"));
            match service.attempt(&user, sale.id).await.unwrap() {
                AttemptOutcome::SoldOut => {}
                AttemptOutcome::Accepted(_) => accepted += 1,
                other => panic!("{other:?}"),
            }
        }
        accepted
    };
    assert_eq!(refuse(&service, 0, 20_000).await, 100);
    let Some(before) = resident_kib() else {
        flashsale_stack::skip("this system does not tell how much memory a process has");
        return;
    };
    assert_eq!(refuse(&service, 20_000, 220_000).await, 0);
    let after = resident_kib().unwrap();
    println!("before {before} KiB, after 200,000 refused users {after} KiB");
    assert!(
        after <= before + before / 20,
        "{before} KiB became {after} KiB"
    );
}
