//! `audit` and `dlq` on real servers.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::shop::Shop;
use crate::starting::until;
use crate::support::{self, Answer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_tells_exact_from_drift_and_mends_what_can_be() {
    let shop = Shop::new();
    let unknown = shop.run(&["audit", "1"]);
    assert_eq!(unknown.status.code(), Some(3), "{unknown:?}");
    let (sale, product) = shop.sale("Lamp", 10, "now", "+1h");
    let id = sale.to_string();
    let processes = ["api", "worker"].map(|role| shop.serve(role));
    let path = format!("/api/flash-sale/attempt/{sale}");
    let token = support::Shop::token("ann");
    let bought = |answer: &Answer| answer.status == 200 && answer.data("status") == "SUCCESS";
    until("an order", &processes[0], ("POST", &path, &token), bought).await;
    // The worker commits after the buyer has his result, and an audit mends nothing while attempts
    // are queued.
    let since = Instant::now();
    while shop.json(&["audit", &id, "--json"])["queued"] != 0 {
        let waited = since.elapsed();
        assert!(
            waited < Duration::from_secs(30),
            "the worker does not commit"
        );
    }
    // Nobody else may notice and mend what follows.
    drop(processes);

    assert_eq!(shop.run(&["audit", &id]).status.code(), Some(0));
    let story = shop.json(&["audit", &id, "--user", "ann", "--json"]);
    assert_eq!(story["status"], "SUCCESS", "{story}");
    let stranger = shop.json(&["audit", &id, "--user", "bob", "--json"]);
    assert_eq!(stranger["status"], "NONE", "{stranger}");

    let stock = format!("flashsale:stock:{{{product}}}");
    shop.redis.cli(&["decr", &stock]);
    let drift = shop.run(&["audit", &id, "--json"]);
    assert_eq!(drift.status.code(), Some(1), "{drift:?}");
    let report: serde_json::Value = serde_json::from_slice(&drift.stdout).unwrap();
    assert_eq!(report["verdict"], "DRIFT", "{report}");
    let mended = shop.json(&["audit", &id, "--repair", "--json"]);
    assert_eq!(mended["verdict"], "EXACT", "{mended}");
    assert_eq!(shop.redis.cli(&["get", &stock]).trim(), "9");
}

/// Writes lines to the topic of a shop, as some other program would.
fn write(shop: &Shop, lines: &str) {
    let folder = match std::env::var_os("FLASHSALE_KAFKA_LIB") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../dev/.services/kafka/lib"),
    };
    let mut child = Command::new("java")
        .args(["-Xmx128m", "-cp", &format!("{}/*", folder.display())])
        .arg("org.apache.kafka.tools.ConsoleProducer")
        .args([
            "--bootstrap-server",
            shop.brokers(),
            "--topic",
            shop.topic(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(lines.as_bytes()).unwrap();
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_in_kafka_becomes_a_dead_letter_and_holds_nobody_up() {
    let shop = Shop::new();
    let (sale, _) = shop.sale("Lamp", 10, "now", "+1h");
    let server = shop.serve("all");
    let path = format!("/api/flash-sale/attempt/{sale}");
    let bought = |answer: &Answer| answer.status == 200 && answer.data("status") == "SUCCESS";
    let buy = async |user: &str| {
        let token = support::Shop::token(user);
        until("an order", &server, ("POST", &path, &token), bought).await
    };
    buy("ann").await;
    write(&shop, "rubbish\n{\"v\":99}\n");
    let since = Instant::now();
    let letters = loop {
        let letters = shop.json(&["dlq", "list", "--json"]);
        if letters.as_array().unwrap().len() == 2 {
            break letters;
        }
        assert!(since.elapsed() < support::DEADLINE, "{letters}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    for user in ["bob", "cem", "eve"] {
        buy(user).await;
    }
    let payloads = letters.as_array().unwrap().iter();
    let payloads: Vec<_> = payloads.map(|letter| letter["payload"].clone()).collect();
    assert!(payloads.contains(&"rubbish".into()), "{letters}");
    let id = letters[0]["id"].to_string();
    let again = shop.run(&["dlq", "replay", &id]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    let exact = shop.run(&["audit", &sale.to_string()]);
    assert_eq!(exact.status.code(), Some(0), "{exact:?}");
}

#[test]
fn a_dead_letter_of_an_attempt_that_was_not_decided_becomes_an_order() {
    let shop = Shop::new();
    let (sale, _) = shop.sale("Lamp", 10, "now", "+1h");
    shop.psql(&format!(
        "INSERT INTO dead_letters (position, problem, payload, is_attempt, kept_ms)
         SELECT 'attempt', 'no such sale', convert_to(format(
             'attempt=0190f3a1-7c11-7a3e-9f00-0c6f5e1d2a3b sale=%s product=%s user=ann quantity=1 '
             'epoch=%s seq=1 reserved_ms=1', id, product_id, epoch), 'UTF8'), true, 1
         FROM flash_sales WHERE id = {sale}"
    ));
    let replayed = shop.run(&["dlq", "replay", "1"]);
    let told = String::from_utf8(replayed.stdout).unwrap();
    assert!(told.contains("Dead letter 1 is order"), "{told}");
    assert_eq!(shop.audit(sale)["verdict"], "EXACT");
}

#[test]
fn a_dead_letter_that_can_be_read_by_now_becomes_an_order() {
    let shop = Shop::new();
    let (sale, product) = shop.sale("Lamp", 10, "now", "+1h");
    let attempt = "0190f3a1-7c11-7a3e-9f00-0c6f5e1d2a3b";
    shop.psql(&format!(
        "INSERT INTO dead_letters (position, problem, payload, kept_ms)
         SELECT '0:7', 'of a newer build', convert_to(format('{{\"v\":1,\"type\":\"attempt\",
             \"attemptId\":\"{attempt}\",\"saleId\":\"%s\",\"productId\":\"%s\",\"userId\":\"ann\",
             \"qty\":1,\"epoch\":%s,\"seq\":1,\"reservedAtMs\":1}}', id, product_id, epoch), 'UTF8'), 1
         FROM flash_sales WHERE id = {sale}"
    ));
    for _ in 0..2 {
        let replayed = shop.run(&["dlq", "replay", "1"]);
        assert!(replayed.status.success(), "{replayed:?}");
        let told = String::from_utf8(replayed.stdout).unwrap();
        assert!(told.contains("Dead letter 1 is order"), "{told}");
    }
    let order = format!("SELECT count(*) FROM orders WHERE attempt_id = '{attempt}'");
    assert_eq!(shop.count(&order), 1);
    let report = shop.audit(sale);
    assert_eq!(report["verdict"], "EXACT", "{report}");
    let stock = format!("flashsale:stock:{{{product}}}");
    assert_eq!(shop.redis.cli(&["get", &stock]).trim(), "9");
}
