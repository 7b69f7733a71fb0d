//! `migrate`, `sale …` and `user create`, each on a stopped and on a running server.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, DEADLINE, Shop};
use crate::{complaint, stdout};

/// Runs a test with nobody else on the database, then with a server that has it open.
fn stopped_and_running(test: impl Fn(&Shop)) {
    test(&Shop::new());

    let shop = Shop::new();
    let mut server = shop.serve();
    test(&shop);
    server.kill();
}

#[test]
fn a_sale_is_made_shown_and_listed() {
    stopped_and_running(|shop| {
        let made = shop.json(&[
            "sale",
            "create",
            "--product",
            "Espresso machine",
            "--stock",
            "100",
            "--start",
            "2126-12-24T18:00:00+01:00",
            "--end",
            "2126-12-24T19:00:00+01:00",
            "--json",
        ]);
        assert_eq!(
            made,
            json!({
                "id": 1, "productId": 1, "productName": "Espresso machine", "status": "UPCOMING",
                "stock": 100, "available": 100,
                "startTime": "2126-12-24T17:00:00.000Z", "endTime": "2126-12-24T18:00:00.000Z",
            })
        );
        assert_eq!(shop.json(&["sale", "show", "1", "--json"]), made);
        assert_eq!(shop.json(&["sale", "list", "--json"]), json!([made]));
        let table = stdout(&shop.run(&["sale", "list"]));
        let row = table.lines().nth(1).unwrap();
        for cell in [
            "1",
            "UPCOMING",
            "100",
            "2126-12-24T17:00:00.000Z",
            "Espresso machine",
        ] {
            assert!(row.contains(cell), "{table}");
        }
    });
}

#[test]
fn a_sale_is_paused_resumed_restocked_and_closed() {
    stopped_and_running(|shop| {
        let sale = shop.open_sale("Lamp", 10);
        assert_eq!(sale["status"], "ACTIVE");
        let id = sale["id"].to_string();
        let change = |change: &str| shop.json(&["sale", change, &id, "--json"]);

        assert_eq!(change("pause")["status"], "PAUSED");
        assert_eq!(change("resume")["status"], "ACTIVE");
        let restocked = shop.json(&["sale", "restock", &id, "--units", "5", "--json"]);
        assert_eq!(
            (&restocked["stock"], &restocked["available"]),
            (&json!(15), &json!(15))
        );
        assert_eq!(change("close")["status"], "ENDED");

        let said = complaint(&shop.run(&["sale", "resume", &id]), 1);
        assert!(said.contains("is closed"), "{said}");
    });
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    stopped_and_running(|shop| {
        shop.open_sale("Lamp", 10);
        let refuse = |arguments: &[&str]| complaint(&shop.run(arguments), 1);

        assert!(refuse(&["sale", "show", "7"]).contains("no sale 7"));
        assert!(refuse(&["sale", "pause", "7"]).contains("no sale 7"));
        assert!(refuse(&["sale", "resume", "1"]).contains("not paused"));
        assert!(refuse(&["sale", "restock", "1", "--units", "0"]).contains("1 to"));
        let create = |product, stock, start, end| {
            refuse(&[
                "sale",
                "create",
                "--product",
                product,
                "--stock",
                stock,
                "--start",
                start,
                "--end",
                end,
            ])
        };
        assert!(create("Lamp", "5", "now", "+1h").contains("sale 1 already sells"));
        assert!(create(" ", "5", "now", "+1h").contains("product name"));
        assert!(create("Desk", "0", "now", "+1h").contains("stock"));
        assert!(create("Desk", "5", "+2h", "+1h").contains("start before it ends"));
    });
}

#[test]
fn arguments_that_make_no_sense_are_usage_errors() {
    let shop = Shop::new();
    for arguments in [
        &[
            "sale",
            "create",
            "--product",
            "Lamp",
            "--stock",
            "many",
            "--end",
            "+1h",
        ][..],
        &[
            "sale",
            "create",
            "--product",
            "Lamp",
            "--stock",
            "5",
            "--end",
            "tomorrow",
        ],
        &["sale", "create", "--product", "Lamp", "--stock", "5"],
        &["sale", "show", "0"],
        &["sale", "show", "one"],
        &["sale", "sell"],
        &["serve", "--quickly"],
    ] {
        let output = shop.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    }
    assert!(!shop.file.exists());
}

#[test]
fn reading_makes_no_database() {
    let shop = Shop::new();
    for arguments in [
        &["sale", "list"][..],
        &["sale", "show", "1"],
        &["sale", "close", "1"],
    ] {
        assert!(complaint(&shop.run(arguments), 1).contains("there is no database"));
    }
    assert!(!shop.file.exists());
}

#[test]
fn migrating_makes_the_database_and_may_be_repeated() {
    let shop = Shop::new();
    assert!(stdout(&shop.run(&["migrate"])).contains("is up to date"));
    assert!(shop.file.exists());
    let server = shop.serve();
    assert!(stdout(&shop.run(&["migrate"])).contains("running server"));
    drop(server);
    assert!(stdout(&shop.run(&["sale", "list"])).contains("no sales yet"));
}

#[test]
fn a_file_that_is_no_database_is_left_alone() {
    let shop = Shop::new();
    let text = "these are my notes, and not a database\n".repeat(200);
    fs::write(&shop.file, &text).unwrap();
    let said = complaint(&shop.run(&["sale", "list"]), 1);
    assert!(said.contains("not a database"), "{said}");
    assert_eq!(fs::read_to_string(&shop.file).unwrap(), text);
}

const ANN: [&str; 6] = [
    "user",
    "create",
    "--username",
    "ann",
    "--email",
    "ann@example.org",
];

#[test]
fn a_user_is_made_with_a_password_from_standard_input() {
    stopped_and_running(|shop| {
        let output = shop.run_with(
            &[&ANN[..], &["--admin", "--json"]].concat(),
            "a fine password\n",
        );
        let user: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(user["username"], "ann");
        assert_eq!(user["email"], "ann@example.org");
        assert_eq!(user["role"], "admin");
        assert!(user["userId"].is_string());

        let again = shop.run_with(&ANN, "a fine password\n");
        assert!(complaint(&again, 1).contains("another user has this username"));
    });
}

#[test]
fn a_password_that_cannot_be_used_is_refused_unseen() {
    stopped_and_running(|shop| {
        let said = complaint(&shop.run_with(&ANN, "pass\n"), 1);
        assert!(said.contains("the password must have"), "{said}");
        let said = complaint(&shop.run_with(&ANN, ""), 1);
        assert!(said.contains("no password"), "{said}");
        let long = "hunter2".repeat(30);
        let said = complaint(&shop.run_with(&ANN, &long), 1);
        assert!(!said.contains("hunter2"), "{said}");
    });
}

#[tokio::test]
async fn what_commands_make_is_there_for_buyers() {
    let shop = Shop::new();
    shop.run_with(&ANN, "a fine password\n");
    shop.open_sale("Lamp", 10);

    let server = shop.serve();
    let mut client = Client::connect(server.address).await.unwrap();
    let login = r#"{"username":"ann","password":"a fine password"}"#;
    let login = client.post("/api/auth/login", "", login).await.unwrap();
    let token = login.data("token").to_owned();
    assert_eq!(client.attempt(1, &token).await.unwrap().status, 200);

    // A change on the running server holds from the next request on.
    let change = |change: &str, sale: i64, more: &[&str]| {
        let sale = sale.to_string();
        shop.json(&[&["sale", change, &sale, "--json"], more].concat())
    };
    let other = Shop::token("somebody-else");
    change("pause", 1, &[]);
    let paused = client.attempt(1, &other).await.unwrap();
    assert_eq!(paused.code(), "SALE_PAUSED");
    change("resume", 1, &[]);
    assert_eq!(client.attempt(1, &other).await.unwrap().status, 200);
    let desk = shop.open_sale("Desk", 1);
    let desk = desk["id"].as_i64().unwrap();
    assert_eq!(client.attempt(desk, &other).await.unwrap().status, 200);
    let sold_out = client.attempt(desk, &token).await.unwrap();
    assert_eq!(sold_out.code(), "SOLD_OUT");
    change("restock", desk, &["--units", "2"]);
    assert_eq!(client.attempt(desk, &token).await.unwrap().status, 200);
    change("withdraw", desk, &["--units", "1"]);
    let late = Shop::token("somebody-late");
    let sold_out = client.attempt(desk, &late).await.unwrap();
    assert_eq!(sold_out.code(), "SOLD_OUT");
    let end = &change("extend", desk, &["--end", "+2h"])["endTime"];
    let status = client.get("/api/flash-sale/status", &late).await.unwrap();
    assert_eq!(status.body["data"]["id"], desk, "{status:?}");
    assert_eq!(status.body["data"]["endTime"], *end);
    change("close", desk, &[]);
    let ended = client.attempt(desk, &late).await.unwrap();
    assert_eq!(ended.code(), "SALE_ENDED");
    let status = client.get("/api/flash-sale/status", &late).await.unwrap();
    assert_eq!(status.body["data"]["id"], 1, "{status:?}");
}

#[test]
fn a_sale_is_withdrawn_from_and_extended() {
    stopped_and_running(|shop| {
        shop.open_sale("Lamp", 10);
        let sale = shop.json(&["sale", "withdraw", "1", "--units", "4", "--json"]);
        assert_eq!((&sale["stock"], &sale["available"]), (&6.into(), &6.into()));
        let longer = shop.json(&["sale", "extend", "1", "--end", "+30h", "--json"]);
        assert_ne!(longer["endTime"], sale["endTime"]);
        let report = shop.json(&["audit", "1", "--json"]);
        assert_eq!(report["verdict"], "EXACT", "{report}");
    });
}

#[test]
fn a_change_that_cannot_be_is_refused_and_changes_nothing() {
    stopped_and_running(|shop| {
        let before = shop.open_sale("Lamp", 10);
        let next = ["--product", "Lamp", "--stock", "1", "--start", "+2h"];
        let next = [&["sale", "create"], &next[..], &["--end", "+3h", "--json"]].concat();
        shop.json(&next);
        shop.open_sale("Desk", 1);
        shop.json(&["sale", "close", "3", "--json"]);
        let short = ["--product", "Chair", "--stock", "1", "--end", "+1s"];
        shop.json(&[&["sale", "create"], &short[..], &["--json"]].concat());
        let over = || shop.json(&["sale", "show", "4", "--json"])["status"] == "ENDED";
        let since = Instant::now();
        while !over() {
            assert!(since.elapsed() < DEADLINE, "the sale does not end");
            std::thread::sleep(Duration::from_millis(50));
        }

        let refuse = |arguments: &[&str], why: &str| {
            let said = complaint(&shop.run(&[&["sale"], arguments].concat()), 1);
            assert!(said.contains(why), "{arguments:?}: {said}");
        };
        let too_many = ["withdraw", "1", "--units", "11"];
        refuse(&too_many, "1 to 10 units can be withdrawn");
        refuse(&["withdraw", "1", "--units", "0"], "1 to 10 units");
        refuse(&["extend", "1", "--end", "+2s"], "can only be extended");
        refuse(&["extend", "1", "--end", "+150m"], "sale 2 sells");
        for (sale, why) in [
            ("3", "is closed and stays as it is"),
            ("4", "is over; it can only be closed"),
            ("9", "there is no sale 9"),
        ] {
            refuse(&["pause", sale], why);
            refuse(&["resume", sale], why);
            refuse(&["restock", sale, "--units", "1"], why);
            refuse(&["withdraw", sale, "--units", "1"], why);
            refuse(&["extend", sale, "--end", "+5h"], why);
        }
        assert_eq!(shop.json(&["sale", "show", "1", "--json"]), before);
    });
}

#[test]
fn operators_at_the_same_time_lose_no_unit_and_make_none() {
    let shop = Shop::new();
    shop.open_sale("Lamp", 10);
    let server = shop.serve();
    let at_once = |arguments: &[&str]| {
        let children: Vec<_> = (0..4)
            .map(|_| {
                let mut command = shop.command(arguments);
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                command.spawn().unwrap()
            })
            .collect();
        let ended = children.into_iter().map(|child| child.wait_with_output());
        let outputs: Vec<_> = ended.map(Result::unwrap).collect();
        for refused in outputs.iter().filter(|output| !output.status.success()) {
            complaint(refused, 1);
        }
        let succeeded = outputs.iter().filter(|output| output.status.success());
        succeeded.count() as u64
    };
    assert_eq!(at_once(&["sale", "pause", "1"]), 1);
    assert_eq!(at_once(&["sale", "resume", "1"]), 1);
    assert_eq!(at_once(&["sale", "restock", "1", "--units", "2"]), 4);
    let withdrawn = at_once(&["sale", "withdraw", "1", "--units", "5"]);
    assert!((1..=3).contains(&withdrawn), "{withdrawn}");
    let shown = shop.json(&["sale", "show", "1", "--json"]);
    let stock = Value::from(18 - 5 * withdrawn);
    assert_eq!((&shown["stock"], &shown["available"]), (&stock, &stock));
    let report = shop.json(&["audit", "1", "--json"]);
    assert_eq!(report["verdict"], "EXACT", "{report}");
    drop(server);
}
