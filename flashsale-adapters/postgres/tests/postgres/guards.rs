//! What the tables refuse, whoever writes to them.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

use flashsale_core::domain::{Decision, FailReason, OrderId, SaleChange, SaleRef, Totals};
use flashsale_core::ports::{AttemptRepo, OrderRepo, OrderRepoExt, SaleRepo};
use flashsale_postgres::PostgresDatabase;

use crate::shop;

struct Bench {
    url: String,
    database: PostgresDatabase,
    connection: PgConnection,
    sale: SaleRef,
}

impl Bench {
    async fn open(stock: u64) -> Self {
        let (url, database) = shop::fresh().await;
        let sale = shop::sale(&database, stock).await.key();
        let connection = PgConnection::connect(&url).await.unwrap();
        Self {
            url,
            database,
            connection,
            sale,
        }
    }

    async fn execute(&mut self, sql: impl Into<String>) -> Result<u64, String> {
        let done = self.connection.execute(AssertSqlSafe(sql.into())).await;
        done.map(|done| done.rows_affected())
            .map_err(|error| error.to_string())
    }

    /// The values of a row of orders, by a caller who knows nothing of rules.
    fn row(&self, user: &str, quantity: u32) -> String {
        let SaleRef { id, product, .. } = self.sale;
        let attempt = Uuid::now_v7();
        format!("({id}, {product}, {quantity}, 1, 1, 5, 6, '{attempt}', '{user}', 'SUCCESS')")
    }

    async fn insert(&mut self, rows: &[String]) -> Result<u64, String> {
        self.execute(Self::inserting(rows)).await
    }

    fn inserting(rows: &[String]) -> String {
        let rows = rows.join(", ");
        format!(
            "INSERT INTO orders (sale_id, product_id, quantity, epoch, seq, reserved_ms,
                decided_ms, attempt_id, user_id, status) VALUES {rows}"
        )
    }

    /// Waits until somebody waits for a lock in this database.
    async fn wait_for_a_waiter(&mut self) {
        let sql = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        loop {
            let waiting = sqlx::query_scalar::<_, i64>(sql);
            if waiting.fetch_one(&mut self.connection).await.unwrap() > 0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    async fn totals(&self) -> Totals {
        let totals = self.database.orders().totals(self.sale.id).await;
        totals.unwrap().unwrap()
    }

    async fn ensure_units(&self, remaining: u64, sold: u64, orders: u64) {
        let totals = self.totals().await;
        let units = (totals.remaining, totals.sold, totals.orders);
        assert_eq!(units, (remaining, sold, orders));
    }

    async fn ensure_refused(&mut self, sql: &str, why: &str) {
        let error = self.execute(sql).await.unwrap_err();
        assert!(error.contains(why), "{sql}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_inserted_by_hand_takes_its_units() {
    let mut bench = Bench::open(10).await;
    let rows = [bench.row("ann", 3), bench.row("bob", 2)];
    assert_eq!(bench.insert(&rows).await, Ok(2));
    bench.ensure_units(5, 5, 2).await;
    let attempts = bench.database.attempts();
    let history = attempts
        .history(
            bench.sale.id,
            &flashsale_core::domain::UserId::new("ann").unwrap(),
            10,
        )
        .await;
    assert_eq!(history.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversell_by_hand_is_refused_as_a_whole() {
    let mut bench = Bench::open(3).await;
    let first = [bench.row("ann", 2)];
    bench.insert(&first).await.unwrap();
    for rows in [
        vec![bench.row("bob", 2)],
        vec![bench.row("bob", 1), bench.row("cyd", 1)],
    ] {
        let error = bench.insert(&rows).await.unwrap_err();
        assert!(error.contains("flash_sales_units"), "{error}");
        bench.ensure_units(1, 2, 1).await;
    }
    // What the arbiter decides afterwards fits what is left.
    let attempt = shop::attempt(&bench.sale, shop::user(1));
    let orders = bench.database.orders();
    let decision = orders.commit_one(&bench.sale, &attempt).await.unwrap();
    assert!(matches!(decision, Decision::Success(_)));
    bench.ensure_units(0, 3, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_order_of_a_user_by_hand_is_refused() {
    let mut bench = Bench::open(10).await;
    let attempt = shop::attempt(&bench.sale, shop::user(1));
    let orders = bench.database.orders();
    orders.commit_one(&bench.sale, &attempt).await.unwrap();
    let second = [bench.row(attempt.user.as_str(), 1)];
    let error = bench.insert(&second).await.unwrap_err();
    assert!(error.contains("orders_buyer"), "{error}");
    let twice = [bench.row("bob", 1), bench.row("bob", 1)];
    bench.insert(&twice).await.unwrap_err();
    bench.ensure_units(9, 1, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_made_by_hand_counts_for_the_arbiter() {
    let mut bench = Bench::open(10).await;
    let by_hand = [bench.row("user-1", 4)];
    bench.insert(&by_hand).await.unwrap();
    let attempt = shop::attempt(&bench.sale, shop::user(1));
    let orders = bench.database.orders();
    let decision = orders.commit_one(&bench.sale, &attempt).await.unwrap();
    let Decision::Failed(FailReason::Duplicate(kept)) = decision else {
        panic!("{decision:?}");
    };
    assert_eq!(kept.quantity.units(), 4);
    bench.ensure_units(6, 4, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_neither_changed_nor_deleted() {
    let mut bench = Bench::open(10).await;
    let rows = [bench.row("ann", 1)];
    bench.insert(&rows).await.unwrap();
    let why = "a decision never changes";
    for sql in [
        "UPDATE orders SET user_id = 'eve'",
        "UPDATE orders SET status = 'FAILED', reason = 'CANCELLED'",
        "UPDATE orders SET quantity = 1 WHERE false",
        "DELETE FROM orders",
        "TRUNCATE orders",
        "INSERT INTO orders SELECT * FROM orders ON CONFLICT (attempt_id)
            DO UPDATE SET user_id = 'eve'",
    ] {
        bench.ensure_refused(sql, why).await;
    }
    for (sql, why) in [
        ("DELETE FROM flash_sales", "has orders"),
        ("TRUNCATE flash_sales CASCADE", "sales with orders stay"),
        (
            "TRUNCATE stock_events, flash_sales",
            "sales with orders stay",
        ),
        ("DELETE FROM products", "flash_sales"),
    ] {
        bench.ensure_refused(sql, why).await;
    }
    bench.ensure_units(9, 1, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_not_deleted_while_an_order_is_on_its_way() {
    let mut bench = Bench::open(10).await;
    let mut other = PgConnection::connect(&bench.url).await.unwrap();
    let row = [bench.row("ann", 1)];
    bench.execute("BEGIN").await.unwrap();
    bench.insert(&row).await.unwrap();
    let deleting = tokio::spawn(async move { other.execute("DELETE FROM flash_sales").await });
    bench.wait_for_a_waiter().await;
    bench.execute("COMMIT").await.unwrap();
    let error = deleting.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("has orders"), "{error}");
    bench.ensure_units(9, 1, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_a_sale_that_is_being_deleted_is_refused() {
    let mut bench = Bench::open(10).await;
    let mut other = PgConnection::connect(&bench.url).await.unwrap();
    bench.execute("BEGIN").await.unwrap();
    bench.execute("DELETE FROM flash_sales").await.unwrap();
    let sql = Bench::inserting(&[bench.row("ann", 1)]);
    let inserting = tokio::spawn(async move { other.execute(AssertSqlSafe(sql)).await });
    bench.wait_for_a_waiter().await;
    bench.execute("COMMIT").await.unwrap();
    let error = inserting.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("there is no sale"), "{error}");
    let orders: i64 = sqlx::query_scalar("SELECT count(*) FROM orders")
        .fetch_one(&mut bench.connection)
        .await
        .unwrap();
    assert_eq!(orders, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn units_do_not_come_from_nowhere() {
    let mut bench = Bench::open(10).await;
    let rows = [bench.row("ann", 4)];
    bench.insert(&rows).await.unwrap();
    let why = "units come from added_stock";
    for sql in [
        "UPDATE flash_sales SET remaining_stock = remaining_stock + 1",
        "UPDATE flash_sales SET initial_stock = 100, remaining_stock = 96",
        "UPDATE flash_sales SET added_stock = 1, remaining_stock = remaining_stock + 2",
        "UPDATE flash_sales SET epoch = 0",
        "UPDATE flash_sales SET version = 0",
    ] {
        bench.ensure_refused(sql, why).await;
    }
    let sql = "INSERT INTO flash_sales
        (product_id, start_ms, end_ms, initial_stock, remaining_stock)
        SELECT id, 5000, 6000, 10, 9 FROM products";
    bench
        .ensure_refused(sql, "a new sale has all its units")
        .await;
    let sales = bench.database.sales();
    let restocked = sales.change(bench.sale.id, SaleChange::Restock(5), None);
    restocked.await.unwrap();
    bench.ensure_units(11, 4, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_another_product_is_refused() {
    let mut bench = Bench::open(10).await;
    let other = shop::sale(&bench.database, 10).await.key();
    let sale = bench.sale;
    bench.sale = SaleRef {
        product: other.product,
        ..sale
    };
    let rows = [bench.row("ann", 1)];
    let error = bench.insert(&rows).await.unwrap_err();
    assert!(error.contains("there is no sale"), "{error}");
    bench.sale = sale;
    bench.ensure_units(10, 0, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_with_another_product_is_decided_about_the_sales_product() {
    let bench = Bench::open(10).await;
    let other = shop::sale(&bench.database, 10).await.key();
    let attempt = flashsale_core::domain::Attempt {
        product: other.product,
        ..shop::attempt(&bench.sale, shop::user(1))
    };
    let orders = bench.database.orders();
    orders.commit_one(&bench.sale, &attempt).await.unwrap();
    let order = orders.find_one(attempt.id).await.unwrap().unwrap();
    assert_eq!(order.product, bench.sale.product);
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_sales_inserted_by_hand_are_refused() {
    let mut bench = Bench::open(10).await;
    let insert = |from: i64, to: i64| {
        format!(
            "INSERT INTO flash_sales (product_id, start_ms, end_ms, initial_stock, remaining_stock)
            SELECT id, {from}, {to}, 1, 1 FROM products"
        )
    };
    bench
        .ensure_refused(&insert(999, 2_000), "flash_sales_overlap")
        .await;
    bench
        .ensure_refused(&insert(i64::MIN, i64::MAX), "flash_sales_overlap")
        .await;
    bench.execute(insert(1_000, i64::MAX)).await.unwrap();
    let sql = "UPDATE flash_sales SET start_ms = 0 WHERE start_ms = 1000";
    bench.ensure_refused(sql, "flash_sales_overlap").await;
    bench
        .execute("UPDATE flash_sales SET phase = 'CLOSED'")
        .await
        .unwrap();
    bench.execute(insert(0, 2_000)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_mean_nothing_are_refused() {
    let mut bench = Bench::open(10).await;
    let good = bench.row("ann", 1);
    for (from, to, why) in [
        ("'ann'", "'an n'", "orders_user_id_check"),
        ("'ann'", "''", "orders_user_id_check"),
        ("'ann'", "'änn'", "orders_user_id_check"),
        ("'ann'", "E'an\\n'", "orders_user_id_check"),
        ("'ann'", "repeat('a', 65)", "orders_user_id_check"),
        ("'SUCCESS'", "'FAILED'", "orders_reason"),
        ("'SUCCESS'", "'PERHAPS'", "orders_status_check"),
        (", 1, 1, 1, 5", ", 0, 1, 1, 5", "orders_quantity_check"),
        (
            ", 1, 1, 1, 5",
            ", 4294967296, 1, 1, 5",
            "orders_quantity_check",
        ),
    ] {
        let bad = [good.replace(from, to)];
        assert_ne!(bad[0], good);
        let error = bench.insert(&bad).await.unwrap_err();
        assert!(error.contains(why), "{to}: {error}");
    }
    bench.insert(&[good]).await.unwrap();
    let listed = bench.database.orders().list(bench.sale.id, None, 10).await;
    assert_eq!(listed.unwrap().len(), 1);
    let first = OrderId::new(1).unwrap();
    let listed = bench
        .database
        .orders()
        .list(bench.sale.id, Some(first), 10)
        .await;
    assert!(listed.unwrap().len() <= 1);
}
