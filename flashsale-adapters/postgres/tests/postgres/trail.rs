//! What the audit trail keeps.

use flashsale_core::domain::{SaleId, Timestamp};
use flashsale_core::ports::{AttemptRecord, AttemptRepo, OrderRepo, RecordedOutcome};
use flashsale_postgres::{PostgresConfig, PostgresDatabase};

use crate::shop;

fn refusal(sale: SaleId, user: u64, at_ms: i64) -> AttemptRecord {
    AttemptRecord {
        sale,
        user: shop::user(user),
        at: Timestamp::from_millis(at_ms),
        outcome: RecordedOutcome::SoldOut,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_decided_attempt_is_in_it_once() {
    let (url, database) = shop::fresh().await;
    let sale = shop::sale(&database, 60).await.key();
    let orders = database.orders();
    let mut batch = shop::attempts(&sale, 50);
    orders.commit(&sale, &batch).await.unwrap();
    // Known ones, second attempts of their users, repeated ones, too many, and released ones.
    let seconds: Vec<_> = batch
        .iter()
        .map(|a| shop::attempt(&sale, a.user.clone()))
        .collect();
    batch.extend(seconds);
    batch.extend(shop::attempts(&sale, 20));
    batch.extend_from_within(90..);
    let reason = flashsale_core::domain::FailReason::Expired;
    orders.commit(&sale, &batch).await.unwrap();
    orders.commit(&sale, &batch).await.unwrap();
    batch.extend(shop::attempts(&sale, 5));
    orders.release(&sale, &batch, reason).await.unwrap();
    let sql = "SELECT count(*), count(DISTINCT attempt_id), bool_and(outcome = 'ACCEPTED')
        FROM purchase_attempts";
    assert_eq!(shop::psql(&url, sql), "125|125|t");
    let sql =
        "SELECT count(*) FROM orders JOIN purchase_attempts USING (attempt_id, sale_id, user_id)
        WHERE reserved_ms = at_ms";
    assert_eq!(shop::psql(&url, sql), "125");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_refusals_of_each_sale_are_kept() {
    let (url, database) = shop::fresh().await;
    let (sale, other) = (
        shop::sale(&database, 1).await.id,
        shop::sale(&database, 1).await.id,
    );
    let config = PostgresConfig {
        refusals_max: 10,
        ..shop::config(url.as_str())
    };
    let attempts = PostgresDatabase::new(config).unwrap().attempts();
    attempts.record(&[refusal(other, 1, 0)]).await.unwrap();
    let kept = |sale: SaleId| {
        let sql = format!(
            "SELECT string_agg(at_ms::text, ',' ORDER BY at_ms) FROM purchase_attempts
            WHERE sale_id = {sale}"
        );
        shop::psql(&url, &sql)
    };
    let batch = |times: std::ops::Range<i64>| -> Vec<_> {
        times.map(|at_ms| refusal(sale, 1, at_ms)).collect()
    };
    attempts.record(&batch(0..10)).await.unwrap();
    assert_eq!(kept(sale), "0,1,2,3,4,5,6,7,8,9", "at the limit");
    attempts.record(&batch(10..11)).await.unwrap();
    assert_eq!(kept(sale), "1,2,3,4,5,6,7,8,9,10", "one past it");
    attempts.record(&batch(11..40)).await.unwrap();
    assert_eq!(
        kept(sale),
        "30,31,32,33,34,35,36,37,38,39",
        "a batch larger than it"
    );
    // Another process may keep more.
    database.attempts().record(&batch(40..41)).await.unwrap();
    assert_eq!(kept(sale), "30,31,32,33,34,35,36,37,38,39,40");
    attempts.record(&batch(41..42)).await.unwrap();
    assert_eq!(kept(sale), "32,33,34,35,36,37,38,39,40,41");
    assert_eq!(kept(other), "0", "the other sale");
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_record_at_once_do_not_get_stuck() {
    let (url, database) = shop::fresh().await;
    let sales = [
        shop::sale(&database, 1).await.id,
        shop::sale(&database, 1).await.id,
    ];
    let config = PostgresConfig {
        refusals_max: 50,
        ..shop::config(url.as_str())
    };
    let attempts = PostgresDatabase::new(config).unwrap().attempts();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8_usize {
        let attempts = attempts.clone();
        tasks.spawn(async move {
            for at_ms in 0..20 {
                let mut batch: Vec<_> = sales.iter().map(|sale| refusal(*sale, 1, at_ms)).collect();
                if task % 2 == 0 {
                    batch.reverse();
                }
                attempts.record(&batch).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let sql = "SELECT sale_id, count(*), min(number), max(number) FROM refusals
        GROUP BY 1 ORDER BY 1";
    let expected = sales.map(|sale| format!("{sale}|50|111|160")).join("\n");
    assert_eq!(shop::psql(&url, sql), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_attempts_are_not_recorded_twice() {
    let (url, database) = shop::fresh().await;
    let sale = shop::sale(&database, 1).await.key();
    let attempt = shop::attempt(&sale, shop::user(1));
    let record = AttemptRecord {
        outcome: RecordedOutcome::Accepted(attempt.id),
        ..refusal(sale.id, 1, 5)
    };
    database.attempts().record(&[record]).await.unwrap();
    assert_eq!(
        shop::psql(&url, "SELECT count(*) FROM purchase_attempts"),
        "0"
    );
}
