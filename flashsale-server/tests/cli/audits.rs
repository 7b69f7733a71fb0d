//! `audit`: exits 0 exact, 1 drift, 2 violation, 3 not audited.

use crate::stdout;
use crate::support::{Client, Shop};

#[tokio::test]
async fn an_exact_sale_is_accounted_for_on_a_stopped_and_a_running_server() {
    let shop = Shop::new();
    shop.open_sale("Lamp", 10);
    let mut server = shop.serve();
    let mut client = Client::connect(server.address).await.unwrap();
    for user in ["ann", "ben", "cleo"] {
        client.attempt(1, &Shop::token(user)).await.unwrap();
    }
    for running in [true, false] {
        let report = shop.json(&["audit", "1", "--json"]);
        assert_eq!(report["verdict"], "EXACT", "running: {running}");
        assert_eq!(report["sold"], 3);
        assert_eq!(report["store"]["available"], 7);
        let table = stdout(&shop.run(&["audit", "1"]));
        assert!(
            table.contains("EXACT: every unit is accounted for."),
            "{table}"
        );
        if running {
            server.kill();
        }
    }
}

#[test]
fn a_sale_that_cannot_be_audited_is_neither_drift_nor_violation() {
    let shop = Shop::new();
    assert_eq!(shop.run(&["audit", "1"]).status.code(), Some(3));
    shop.open_sale("Lamp", 10);
    assert_eq!(shop.run(&["audit", "7"]).status.code(), Some(3));
}

/// Changes the database behind the engine's back.
fn tamper(shop: &Shop, sql: &str) {
    let database = rusqlite::Connection::open(&shop.file).unwrap();
    assert_eq!(database.execute(sql, []).unwrap(), 1, "{sql}");
}

#[test]
fn units_missing_from_the_stock_store_are_drift() {
    let shop = Shop::new();
    shop.open_sale("Lamp", 10);
    tamper(&shop, "UPDATE stock SET units = units - 1");
    let output = shop.run(&["audit", "1"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("DRIFT"), "{table}");
    assert!(
        table.contains("accounts for 9 units instead of 10"),
        "{table}"
    );
}

#[test]
fn books_that_do_not_balance_are_a_violation() {
    let shop = Shop::new();
    shop.open_sale("Lamp", 10);
    tamper(
        &shop,
        "UPDATE sales SET remaining_stock = remaining_stock - 1",
    );
    let output = shop.run(&["audit", "1", "--json"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"], "VIOLATION");
    assert!(
        report["findings"][0]
            .as_str()
            .unwrap()
            .contains("do not balance")
    );
}

#[tokio::test]
async fn what_one_user_tried_is_told_from_the_request_to_the_order() {
    let shop = Shop::new();
    shop.open_sale("Lamp", 1);
    let server = shop.serve();
    let mut client = Client::connect(server.address).await.unwrap();
    client.attempt(1, &Shop::token("ann")).await.unwrap();
    let story = shop.json(&["audit", "1", "--user", "ann", "--json"]);
    assert_eq!(story["status"], "SUCCESS", "{story}");
    let events = story["events"].as_array().unwrap();
    assert_eq!(events.len(), 2, "{story}");
    assert!(events[1]["orderId"].is_i64(), "{story}");
    let text = stdout(&shop.run(&["audit", "1", "--user", "ann"]));
    assert!(text.contains("bought, order"), "{text}");
    let stranger = shop.json(&["audit", "1", "--user", "bob", "--json"]);
    assert_eq!(stranger["status"], "NONE", "{stranger}");
    let unknown = shop.run(&["audit", "7", "--user", "ann"]);
    assert_eq!(unknown.status.code(), Some(3));
}

#[test]
fn a_stock_that_differs_is_rebuilt_when_asked_for() {
    let shop = Shop::new();
    shop.open_sale("Lamp", 10);
    tamper(&shop, "UPDATE stock SET units = units - 1");
    let report = shop.json(&["audit", "1", "--repair", "--json"]);
    assert_eq!(report["verdict"], "EXACT", "{report}");
    assert_eq!(report["store"]["available"], 10);
    assert_eq!(shop.run(&["audit", "7", "--repair"]).status.code(), Some(3));
}

#[test]
fn an_attempt_that_was_not_decided_becomes_an_order_when_it_is_replayed() {
    let shop = Shop::new();
    shop.open_sale("Lamp", 10);
    tamper(
        &shop,
        "INSERT INTO dead_letters (position, problem, payload, is_attempt, kept_ms)
        SELECT 'attempt', 'no such sale', CAST('attempt=0190f3a1-7c11-7a3e-9f00-0c6f5e1d2a3b sale='
            || id || ' product=' || product_id || ' user=ann quantity=1 epoch=' || epoch
            || ' seq=1 reserved_ms=1' AS BLOB), 1, 1000 FROM sales",
    );
    let shown = stdout(&shop.run(&["dlq", "show", "1"]));
    assert!(shown.contains("user=ann"), "{shown}");
    let replayed = stdout(&shop.run(&["dlq", "replay", "1"]));
    assert!(replayed.contains("Dead letter 1 is order"), "{replayed}");
    let report = shop.json(&["audit", "1", "--json"]);
    assert_eq!(report["verdict"], "EXACT", "{report}");
}

#[test]
fn dead_letters_are_listed_shown_and_tried_again() {
    let shop = Shop::new();
    shop.open_sale("Lamp", 10);
    let none = stdout(&shop.run(&["dlq", "list"]));
    assert!(none.contains("There are no dead letters."), "{none}");
    tamper(
        &shop,
        "INSERT INTO dead_letters (position, problem, payload, kept_ms)
        VALUES ('0:7', 'no attempt', x'00ff', 1000)",
    );
    let letters = shop.json(&["dlq", "list", "--json"]);
    assert_eq!(letters[0]["payload"], "0x00ff", "{letters}");
    let shown = stdout(&shop.run(&["dlq", "show", "1"]));
    assert!(shown.contains("no attempt"), "{shown}");
    for arguments in [
        ["dlq", "replay", "1"],
        ["dlq", "show", "2"],
        ["dlq", "replay", "2"],
    ] {
        let output = shop.run(&arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
}
