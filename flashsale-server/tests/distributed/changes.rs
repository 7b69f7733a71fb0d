//! What the shop does to a sale that is on.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::shop::Shop;
use crate::starting::until;
use crate::support::{self, Answer, ServerProcess};

/// Looks at several processes by turns.
struct Onlooker<'a> {
    apis: &'a [ServerProcess],
    sale: i64,
    users: usize,
}

impl Onlooker<'_> {
    /// At each process, somebody who has nothing yet gets this answer to an attempt.
    async fn all_answer(&mut self, what: &str, wished: impl Fn(&Answer) -> bool) {
        let path = format!("/api/flash-sale/attempt/{}", self.sale);
        for api in self.apis {
            self.users += 1;
            let token = support::Shop::token(&format!("user-{}", self.users));
            until(what, api, ("POST", &path, &token), &wished).await;
        }
    }

    async fn all_refuse(&mut self, code: &str) {
        let refused = |answer: &Answer| (answer.status, answer.code()) == (409, code);
        self.all_answer(code, refused).await;
    }

    async fn all_sell(&mut self) {
        self.all_answer("a unit", |answer| answer.status == 200)
            .await;
    }

    /// Each process shows this in the status of the sale.
    async fn all_show(&self, field: &str, value: &Value) {
        let token = support::Shop::token("onlooker");
        let shown = |answer: &Answer| answer.status == 200 && answer.body["data"][field] == *value;
        for api in self.apis {
            until(
                field,
                api,
                ("GET", "/api/flash-sale/status", &token),
                &shown,
            )
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_reaches_every_process() {
    let shop = Shop::new();
    let (sale, _) = shop.sale("Lamp", 2, "now", "+1h");
    let apis = [shop.serve("api"), shop.serve("api")];
    let id = sale.to_string();
    let change =
        |change: &str, more: &[&str]| shop.json(&[&["sale", change, &id, "--json"], more].concat());
    let users = 0;
    let apis = &apis[..];
    let mut onlooker = Onlooker { apis, sale, users };

    change("pause", &[]);
    onlooker.all_refuse("SALE_PAUSED").await;
    change("resume", &[]);
    onlooker.all_sell().await;
    onlooker.all_refuse("SOLD_OUT").await;
    change("restock", &["--units", "5"]);
    onlooker.all_sell().await;
    assert_eq!(change("withdraw", &["--units", "3"])["available"], 0);
    onlooker.all_refuse("SOLD_OUT").await;
    let end = &change("extend", &["--end", "+2h"])["endTime"];
    onlooker.all_show("endTime", end).await;
    change("close", &[]);
    onlooker.all_refuse("SALE_ENDED").await;
    onlooker.all_show("status", &"ENDED".into()).await;
}

/// Demands that a change is refused, in one line that says why.
fn ensure_refused(shop: &Shop, arguments: &[&str], why: &str) {
    let output = shop.run(&[&["sale"], arguments].concat());
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told.lines().count(), 1, "{arguments:?}: {told}");
    assert!(told.contains(why), "{arguments:?}: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_cannot_be_is_refused_and_changes_nothing() {
    let shop = Shop::new();
    let (sale, _) = shop.sale("Lamp", 5, "now", "+1h");
    let (next, _) = shop.sale("Lamp", 5, "+2h", "+3h");
    let (short, _) = shop.sale("Chair", 5, "now", "+2s");
    let (closed, _) = shop.sale("Desk", 5, "now", "+1h");
    let [sale_id, short_id, closed_id] = [sale, short, closed].map(|id| id.to_string());
    shop.json(&["sale", "close", &closed_id, "--json"]);
    let api = [shop.serve("api")];
    let (apis, users) = (&api[..], 0);
    Onlooker { apis, sale, users }.all_sell().await;

    // One of the five is held.
    let too_many = ["withdraw", &sale_id, "--units", "5"];
    ensure_refused(&shop, &too_many, "1 to 4 units can be withdrawn");
    ensure_refused(&shop, &["withdraw", &sale_id, "--units", "0"], "1 to");
    ensure_refused(&shop, &["restock", &sale_id, "--units", "0"], "1 to");
    let into_the_next = ["extend", &sale_id, "--end", "+150m"];
    ensure_refused(&shop, &into_the_next, &format!("sale {next} sells"));
    let sooner = ["extend", &sale_id, "--end", "+1m"];
    ensure_refused(&shop, &sooner, "can only be extended");
    ensure_refused(&shop, &["resume", &sale_id], "is not paused");

    let since = Instant::now();
    while shop.json(&["sale", "show", &short_id, "--json"])["status"] != "ENDED" {
        assert!(since.elapsed() < support::DEADLINE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (id, why) in [
        (&*short_id, "is over; it can only be closed"),
        (&closed_id, "is closed and stays as it is"),
        ("99", "there is no sale 99"),
    ] {
        ensure_refused(&shop, &["pause", id], why);
        ensure_refused(&shop, &["resume", id], why);
        ensure_refused(&shop, &["restock", id, "--units", "1"], why);
        ensure_refused(&shop, &["withdraw", id, "--units", "1"], why);
        ensure_refused(&shop, &["extend", id, "--end", "+5h"], why);
    }
    let shown = shop.json(&["sale", "show", &sale_id, "--json"]);
    assert_eq!(
        (&shown["status"], &shown["stock"], &shown["available"]),
        (&"ACTIVE".into(), &5.into(), &4.into())
    );
}

/// Runs commands at the same time; says how many succeeded. The others have to say this.
fn at_once(shop: &Shop, count: usize, arguments: &[&str], else_: &[&str]) -> u64 {
    let children: Vec<_> = (0..count)
        .map(|_| {
            let mut command = shop.command(arguments);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    let mut succeeded = 0;
    for child in children {
        let Output { status, stderr, .. } = child.wait_with_output().unwrap();
        let told = String::from_utf8(stderr).unwrap();
        let foreseen = else_.iter().any(|why| told.contains(why));
        assert!(status.success() || foreseen, "{arguments:?}: {told}");
        succeeded += u64::from(status.success());
    }
    succeeded
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_at_the_same_time_lose_no_unit_and_make_none() {
    const OUTDATED: &str = "somebody else has just changed";
    let shop = Shop::new();
    let (sale, _) = shop.sale("Lamp", 10, "now", "+1h");
    let id = sale.to_string();
    let _processes = ["api", "worker"].map(|role| shop.serve(role));

    let paused = at_once(&shop, 3, &["sale", "pause", &id], &["is paused already"]);
    assert_eq!(paused, 1);
    let resumed = at_once(&shop, 3, &["sale", "resume", &id], &["is not paused"]);
    assert_eq!(resumed, 1);
    let restock = ["sale", "restock", &id, "--units", "2"];
    assert_eq!(at_once(&shop, 4, &restock, &[]), 4);
    let withdraw = ["sale", "withdraw", &id, "--units", "5"];
    let refusals = [OUTDATED, "can be withdrawn", "is being made ready"];
    let withdrawn = at_once(&shop, 4, &withdraw, &refusals);
    assert!((1..=3).contains(&withdrawn), "{withdrawn}");

    let since = Instant::now();
    loop {
        let report = shop.audit(sale);
        let shown = shop.json(&["sale", "show", &id, "--json"]);
        let stock = 18 - 5 * withdrawn;
        assert_eq!(shown["stock"], stock, "{shown}");
        if report["verdict"] == "EXACT" && shown["available"] == stock {
            break;
        }
        assert!(since.elapsed() < support::DEADLINE, "{report}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
