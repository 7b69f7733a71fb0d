use std::collections::HashMap;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::history::{Moment, moment_of};
use crate::stack::Stack;

/// What the stores say about a sale at rest.
#[derive(Debug)]
pub(crate) struct Books {
    /// The decisions of each user.
    pub(crate) orders: HashMap<String, Vec<Row>>,
    /// All units that were put into the sale and not taken out again.
    pub(crate) stock: u64,
    /// Units that are not sold, by the orders.
    pub(crate) remaining: u64,
    /// Units to be had, as the key of the stock store says; only of Redis.
    pub(crate) key: Option<u64>,
    /// What `audit` says, and its exit code.
    pub(crate) audit: Value,
    pub(crate) audit_code: Option<i32>,
}

/// One decision.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) attempt: String,
    /// The reason of a failure.
    pub(crate) failed: Option<String>,
    pub(crate) decided: Moment,
    /// When the stock store took the unit.
    pub(crate) reserved: Moment,
}

impl Books {
    pub(crate) fn read(stack: &Stack, sale: i64, product: i64) -> Self {
        let audit = stack.command(&["audit", &sale.to_string(), "--json"]);
        let audit = audit.unwrap();
        let (rows, stock, remaining) = match stack.servers {
            Some(_) => of_postgres(stack, sale),
            None => of_sqlite(stack, sale),
        };
        let mut orders: HashMap<_, Vec<_>> = HashMap::new();
        for (user, row) in rows {
            orders.entry(user).or_default().push(row);
        }
        let key = stack.servers.as_ref().map(|servers| {
            let redis = servers.redis.lock().unwrap();
            let key = redis.cli(&["get", &format!("flashsale:stock:{{{product}}}")]);
            key.trim().parse().unwrap_or(u64::MAX)
        });
        Self {
            orders,
            stock,
            remaining,
            key,
            audit_code: audit.output.status.code(),
            audit: audit
                .json()
                .unwrap_or_else(|| Value::from(audit.complaint())),
        }
    }

    /// All orders that are successful.
    pub(crate) fn sold(&self) -> u64 {
        let rows = self.orders.values().flatten();
        rows.filter(|row| row.failed.is_none()).count() as u64
    }
}

type Figures = (Vec<(String, Row)>, u64, u64);

fn of_postgres(stack: &Stack, sale: i64) -> Figures {
    let rows = stack.psql(&format!(
        "SELECT user_id, attempt_id, coalesce(reason, ''), decided_ms, reserved_ms, quantity
         FROM orders WHERE sale_id = {sale}"
    ));
    let rows = rows.lines().map(|line| {
        let parts: Vec<_> = line.split('|').collect();
        let [user, attempt, reason, decided, reserved, quantity] = parts[..] else {
            panic!("{line}");
        };
        assert_eq!(quantity, "1");
        let ms = [decided, reserved].map(|ms| ms.parse().unwrap());
        row(user, attempt, reason, ms)
    });
    let stock = stack.psql(&format!(
        "SELECT initial_stock + added_stock - withdrawn_stock, remaining_stock
         FROM flash_sales WHERE id = {sale}"
    ));
    let (stock, remaining) = stock.trim().split_once('|').unwrap();
    (
        rows.collect(),
        stock.parse().unwrap(),
        remaining.parse().unwrap(),
    )
}

fn of_sqlite(stack: &Stack, sale: i64) -> Figures {
    let file = Connection::open_with_flags(stack.file(), OpenFlags::SQLITE_OPEN_READ_ONLY);
    let file = file.unwrap();
    let mut rows = file
        .prepare(
            "SELECT user_id, attempt_id, coalesce(decision, 'UNDECIDED'), coalesce(decided_ms, 0),
                reserved_ms
             FROM attempts WHERE sale_id = ?1",
        )
        .unwrap();
    let rows = rows.query_map([sale], |found| {
        let attempt: uuid::Uuid = found.get(1)?;
        let decision: String = found.get(2)?;
        let reason = if decision == "SUCCESS" { "" } else { &decision };
        let (user, ms): (String, _) = (found.get(0)?, [found.get(3)?, found.get(4)?]);
        Ok(row(&user, &attempt.to_string(), reason, ms))
    });
    let rows = rows.unwrap().map(Result::unwrap).collect();
    let stock = "SELECT initial_stock + added_stock - withdrawn_stock, remaining_stock
        FROM sales WHERE id = ?1";
    let (stock, remaining) = file
        .query_row(stock, [sale], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    (rows, stock, remaining)
}

fn row(user: &str, attempt: &str, reason: &str, [decided, reserved]: [u64; 2]) -> (String, Row) {
    let row = Row {
        attempt: attempt.to_owned(),
        failed: (!reason.is_empty()).then(|| reason.to_owned()),
        decided: moment_of(decided),
        reserved: moment_of(reserved),
    };
    (user.to_owned(), row)
}
