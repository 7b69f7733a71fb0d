//! When the background tasks of an engine act, and what they decide.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use flashsale_core::domain::{AllocationState, NewSale, Phase, Sale, SaleChange, SaleId, Window};
use flashsale_core::ports::{
    AttemptQueue, AttemptReader, DeadLetterContent, Delivery, Leadership, Published, QueuePosition,
    StockStoreExt,
};
use flashsale_core::services::{
    AcceptAfter, AcknowledgeTask, AttemptOutcome, BackgroundLimits, BackgroundLoop, BackgroundTask,
    DriftMonitor, EngineServices, RefusalTask, RelayTask, RepairTask, Role, SaleSupervisor,
    TaskEvent, TaskReport, Wait, WorkerTask,
};
use flashsale_core::{ErrorKind, PortError};

use crate::shop::{FAIL_BEFORE, Shop, lamps, user};

const LIMITS: BackgroundLimits = BackgroundLimits::DEFAULT;

fn fault() -> PortError {
    PortError::new(ErrorKind::Unavailable, "test", "call")
}

fn names(engine: &EngineServices, role: Role) -> Vec<&'static str> {
    let tasks = engine.background(role, "workers");
    tasks.iter().map(|task| task.name()).collect()
}

/// A step in which nothing may go wrong.
async fn step(task: &mut dyn BackgroundTask, now_ms: u64) -> Vec<TaskEvent> {
    let TaskReport { events, fault } = task.step(now_ms).await;
    assert!(fault.is_none(), "{fault:?}");
    events
}

#[test]
fn each_role_has_its_tasks_and_the_first_keeps_the_sales() {
    let engine = Shop::empty().engine();
    let api = [
        "keep sales",
        "repair attempts",
        "watch stocks",
        "forward attempts",
        "forward attempts",
        "acknowledge attempts",
    ];
    assert_eq!(names(&engine, Role::Api), api);
    let worker = [
        "keep sales",
        "decide attempts",
        "repair attempts",
        "watch stocks",
    ];
    assert_eq!(names(&engine, Role::Worker), worker);
    let mut all = api.to_vec();
    all.insert(1, "decide attempts");
    assert_eq!(names(&engine, Role::All), all);
    all.push("record refusals");
    assert_eq!(names(&engine.recording_refusals(), Role::All), all);
}

/// Gives its reports in order.
#[derive(Debug)]
struct Scripted(Vec<Result<(), PortError>>);

#[async_trait]
impl BackgroundTask for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn next(&self) -> Wait {
        Wait::Pause(7)
    }

    async fn ready(&mut self) {}

    async fn step(&mut self, _now_ms: u64) -> TaskReport {
        tokio::task::yield_now().await;
        self.0.remove(0).into()
    }

    async fn finish(&mut self) {}
}

/// Waits, and gives the sleeps that it took.
async fn slept(task: &mut BackgroundLoop) -> Vec<u64> {
    let slept = Mutex::new(Vec::new());
    task.wait(|ms| {
        slept.lock().unwrap().push(ms);
        std::future::ready(())
    })
    .await;
    slept.into_inner().unwrap()
}

#[tokio::test]
async fn after_faults_a_task_waits_longer_and_longer_until_it_works_again() {
    let mut script = vec![Ok(())];
    script.extend((0..6).map(|_| Err(fault())));
    script.extend([Ok(()), Ok(()), Err(fault())]);
    let mut task = BackgroundLoop::new(Box::new(Scripted(script)));
    let mut waits = Vec::new();
    for _ in 0..10 {
        waits.push(slept(&mut task).await);
        task.step(0).await;
    }
    waits.push(slept(&mut task).await);
    let after = |ms| vec![ms, 7];
    let (no, first) = (vec![7], after(100));
    let expected = [
        no.clone(),
        no.clone(),
        first.clone(),
        after(200),
        after(400),
        after(800),
        after(1_000),
        after(1_000),
        no.clone(),
        no,
        first,
    ];
    assert_eq!(waits, expected);
}

#[tokio::test]
async fn a_step_that_was_left_counts_as_a_fault() {
    let mut task = BackgroundLoop::new(Box::new(Scripted(vec![Ok(())])));
    slept(&mut task).await;
    {
        let mut step = std::pin::pin!(task.step(0));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(step.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(slept(&mut task).await, [100, 7]);
}

/// Is never, or always, ready.
#[derive(Debug)]
struct Waits(Wait, bool);

#[async_trait]
impl BackgroundTask for Waits {
    fn name(&self) -> &'static str {
        "waits"
    }

    fn next(&self) -> Wait {
        self.0
    }

    async fn ready(&mut self) {
        if !self.1 {
            std::future::pending::<()>().await;
        }
    }

    async fn step(&mut self, _now_ms: u64) -> TaskReport {
        TaskReport::default()
    }

    async fn finish(&mut self) {}
}

#[tokio::test]
async fn a_task_is_waited_for_as_it_says() {
    for (wait, ready, sleeps) in [
        (Wait::Nothing, false, vec![]),
        (Wait::Pause(5), false, vec![5]),
        (Wait::ReadyOr(5), false, vec![5]),
        (Wait::ReadyThen(5), true, vec![5]),
    ] {
        let mut task = BackgroundLoop::new(Box::new(Waits(wait, ready)));
        assert_eq!(slept(&mut task).await, sleeps, "{wait:?}");
    }
    let mut task = BackgroundLoop::new(Box::new(Waits(Wait::ReadyOr(5), true)));
    task.wait(|_| std::future::pending()).await;
}

/// Says always the same.
#[derive(Debug)]
struct Says(Option<bool>);

#[async_trait]
impl Leadership for Says {
    async fn leads(&self, _sale: SaleId) -> Result<bool, PortError> {
        self.0.ok_or_else(fault)
    }
}

fn led_by(mut engine: EngineServices, says: Option<bool>) -> EngineServices {
    engine.leadership = Arc::new(Says(says));
    engine
}

async fn now(shop: &Shop, sale: &Sale) -> Sale {
    shop.sales.find(sale.id).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_sale_that_somebody_else_made_is_opened_and_shown() {
    let shop = Shop::empty();
    let engine = shop.engine();
    let mut supervisor = SaleSupervisor::new(&engine, "workers");
    assert_eq!(supervisor.next(), Wait::ReadyOr(LIMITS.sales_poll_ms));
    shop.sales.create(&lamps(3)).await.unwrap();
    supervisor.ready().await;
    assert_eq!(step(&mut supervisor, 0).await, []);
    let shown = engine.catalogue.all();
    assert_eq!(shown[0].phase, Phase::Open);
    let levels = shop.stock.levels(&shown[0].key()).await.unwrap().unwrap();
    assert_eq!(levels.available, 3);
}

#[tokio::test]
async fn a_stock_that_is_lost_is_rebuilt_and_looked_at_often_meanwhile() {
    let (shop, sale) = Shop::selling(3).await;
    shop.accepted("ann", sale.id).await;
    let engine = shop.engine();
    let mut supervisor = SaleSupervisor::new(&engine, "workers");
    assert_eq!(step(&mut supervisor, 0).await, []);
    shop.memory_stock.forget();
    let events = step(&mut supervisor, 1_000).await;
    assert_eq!(events, [TaskEvent::StockLost(sale.id)]);
    let soon = Wait::ReadyOr(LIMITS.sales_poll_waiting_ms);
    assert_eq!(supervisor.next(), soon);
    assert_eq!(step(&mut supervisor, 1_050).await, []);
    assert_eq!(supervisor.next(), soon);
    shop.work().await;
    let events = step(&mut supervisor, 1_100).await;
    assert_eq!(events, [TaskEvent::StockRebuilt(sale.id)]);
    assert_eq!(step(&mut supervisor, 1_150).await, []);
    assert_eq!(supervisor.next(), Wait::ReadyOr(LIMITS.sales_poll_ms));
    let levels = shop.stock.levels(&now(&shop, &sale).await.key()).await;
    assert_eq!(levels.unwrap().unwrap().sold, 1);
}

#[tokio::test]
async fn only_the_leader_rebuilds() {
    let (shop, sale) = Shop::selling(3).await;
    shop.memory_stock.forget();
    let other = led_by(shop.engine(), Some(false));
    let mut supervisor = SaleSupervisor::new(&other, "workers");
    assert_eq!(step(&mut supervisor, 0).await, []);
    let cut_off = led_by(shop.engine(), None);
    let mut supervisor = SaleSupervisor::new(&cut_off, "workers");
    assert!(supervisor.step(0).await.fault.is_some());
    assert!(!now(&shop, &sale).await.is_recovering());
}

#[tokio::test]
async fn a_sale_that_does_not_sell_now_is_looked_at_now_and_then() {
    let shop = Shop::empty();
    let mut later = lamps(3);
    later.window = Window {
        start: later.window.start.plus_ms(3_600_000),
        end: later.window.end.plus_ms(3_600_000),
    };
    shop.sales.create(&later).await.unwrap();
    let engine = shop.engine();
    let mut supervisor = SaleSupervisor::new(&engine, "workers");
    step(&mut supervisor, 0).await;
    // It has changed by the opening, so it is looked at once more.
    step(&mut supervisor, 1_000).await;
    shop.memory_stock.forget();
    let rest_ms = LIMITS.sales_rest_ms;
    assert_eq!(step(&mut supervisor, rest_ms + 999).await, []);
    let events = step(&mut supervisor, rest_ms + 1_000).await;
    assert!(
        matches!(events[..], [TaskEvent::StockLost(_)]),
        "{events:?}"
    );
}

/// A withdrawal that only the stock store knows.
async fn withdraw_from_the_store_alone(shop: &Shop, sale: &Sale) {
    let event = sale.clone().change(SaleChange::Withdraw(1)).unwrap();
    shop.stock.apply(&sale.key(), &event).await.unwrap();
}

#[tokio::test]
async fn a_stock_that_is_ahead_is_rebuilt_when_it_has_been_for_three_seconds() {
    let (shop, sale) = Shop::selling(3).await;
    let mut supervisor = SaleSupervisor::new(&shop.engine(), "workers");
    withdraw_from_the_store_alone(&shop, &sale).await;
    let max_ms = LIMITS.ahead_max_ms;
    assert_eq!(max_ms, 3_000);
    assert_eq!(step(&mut supervisor, 10).await, []);
    assert_eq!(step(&mut supervisor, 9 + max_ms).await, []);
    let events = step(&mut supervisor, 10 + max_ms).await;
    assert_eq!(events, [TaskEvent::StockLost(sale.id)]);
}

#[tokio::test]
async fn a_change_that_is_made_in_time_is_no_loss() {
    let (shop, sale) = Shop::selling(3).await;
    let mut supervisor = SaleSupervisor::new(&shop.engine(), "workers");
    for from_ms in [0, 10_000] {
        let sale = now(&shop, &sale).await;
        withdraw_from_the_store_alone(&shop, &sale).await;
        assert_eq!(step(&mut supervisor, from_ms).await, []);
        let change = SaleChange::Withdraw(1);
        shop.sales.change(sale.id, change, None).await.unwrap();
        assert_eq!(step(&mut supervisor, from_ms + 2_999).await, []);
    }
    assert_eq!(step(&mut supervisor, 20_000).await, []);
    assert!(!now(&shop, &sale).await.is_recovering());
}

/// Whether a supervisor that starts now has the stock of the sale rebuilt, which is lost.
async fn is_missed(shop: &Shop, sale: &Sale) -> bool {
    shop.memory_stock.forget();
    let mut supervisor = SaleSupervisor::new(&shop.engine(), "workers");
    step(&mut supervisor, 0)
        .await
        .contains(&TaskEvent::StockLost(sale.id))
}

#[tokio::test]
async fn the_stock_of_a_sale_that_is_over_is_kept_for_seven_days() {
    for (after_ms, missed) in [(7 * 86_400_000 - 1, true), (7 * 86_400_000, false)] {
        let (shop, sale) = Shop::selling(3).await;
        shop.accepted("ann", sale.id).await;
        shop.work().await;
        shop.clock.set(sale.window.end.plus_ms(after_ms));
        assert_eq!(is_missed(&shop, &sale).await, missed, "{after_ms}");
    }
}

#[tokio::test]
async fn a_closed_sale_is_missed_if_somebody_has_a_result_in_it() {
    for (tries, missed) in [(true, true), (false, false)] {
        let (shop, sale) = Shop::selling(3).await;
        if tries {
            shop.accepted("ann", sale.id).await;
            shop.work().await;
        }
        shop.change(sale.id, SaleChange::Close).await;
        assert_eq!(is_missed(&shop, &sale).await, missed);
    }
}

#[tokio::test]
async fn the_stock_of_a_sale_that_another_one_follows_is_not_missed() {
    let (shop, sale) = Shop::selling(3).await;
    shop.accepted("ann", sale.id).await;
    shop.work().await;
    let next = NewSale {
        window: Window {
            start: sale.window.end,
            end: sale.window.end.plus_ms(60_000),
        },
        ..lamps(3)
    };
    shop.sale_service().create(&next).await.unwrap().unwrap();
    shop.clock.set(next.window.start);
    assert!(!is_missed(&shop, &sale).await);
}

#[tokio::test]
async fn a_stock_that_differs_from_the_orders_twice_is_rebuilt() {
    let (shop, sale) = Shop::selling(3).await;
    // An order that the stock store knows nothing of.
    let elsewhere = Shop::selling(3).await.0;
    let request = elsewhere.request("ann");
    let stock = &elsewhere.stock;
    let attempt = match stock.reserve_one(&sale.key(), &request).await.unwrap() {
        flashsale_core::domain::ReserveOutcome::Reserved(attempt) => attempt,
        other => panic!("{other:?}"),
    };
    shop.orders.commit(&sale.key(), &[attempt]).await.unwrap();
    let engine = shop.engine();
    engine.catalogue.refresh().await.unwrap();
    let mut monitor = DriftMonitor::new(&engine, "workers");
    assert_eq!(monitor.next(), Wait::Pause(LIMITS.drift_pause_ms));
    let mut others = DriftMonitor::new(&led_by(engine, Some(false)), "workers");
    for look in 1..=2 {
        assert_eq!(step(&mut monitor, 0).await, [], "{look}");
    }
    let events = step(&mut monitor, 0).await;
    assert_eq!(events, [TaskEvent::StockDiffers(sale.id)]);
    assert!(now(&shop, &sale).await.is_recovering());
    for _ in 0..3 {
        assert_eq!(step(&mut others, 0).await, []);
    }
}

#[tokio::test]
async fn a_change_that_the_stock_store_has_not_been_told_of_is_no_drift() {
    let (shop, sale) = Shop::selling(3).await;
    let restock = SaleChange::Restock(2);
    shop.sales.change(sale.id, restock, None).await.unwrap();
    let engine = shop.engine();
    engine.catalogue.refresh().await.unwrap();
    let mut monitor = DriftMonitor::new(&engine, "workers");
    for _ in 0..5 {
        assert_eq!(step(&mut monitor, 0).await, []);
    }
}

#[tokio::test]
async fn repair_looks_after_recent_sales_always_and_after_all_every_sixty_rounds() {
    let (shop, sale) = Shop::selling(3).await;
    let engine = shop.engine();
    engine.catalogue.refresh().await.unwrap();
    let mut task = RepairTask::new(&engine);
    assert_eq!(task.next(), Wait::Pause(LIMITS.repair_pause_ms));
    assert_eq!(step(&mut task, 0).await, []);
    let request = shop.request("ann");
    shop.stock.reserve_one(&sale.key(), &request).await.unwrap();
    shop.clock.set(sale.window.end.plus_ms(600_000));
    for round in 1..60 {
        assert_eq!(step(&mut task, 0).await, [], "round {round}");
    }
    let events = step(&mut task, 0).await;
    assert!(matches!(events[..], [TaskEvent::Repaired(id, _)] if id == sale.id));

    let request = shop.request("bob");
    shop.clock.set(sale.window.end.plus_ms(-20_000));
    shop.stock.reserve_one(&sale.key(), &request).await.unwrap();
    shop.clock.set(sale.window.end.plus_ms(599_999));
    let events = step(&mut task, 0).await;
    assert!(matches!(events[..], [TaskEvent::Repaired(id, _)] if id == sale.id));
}

#[tokio::test]
async fn who_does_not_lead_repairs_nothing_and_who_cannot_ask_repairs() {
    let (shop, sale) = Shop::selling(3).await;
    let request = shop.request("ann");
    shop.stock.reserve_one(&sale.key(), &request).await.unwrap();
    shop.clock.advance_ms(20_000);
    let engine = shop.engine();
    engine.catalogue.refresh().await.unwrap();
    for (says, repairs) in [(Some(false), 0), (None, 1)] {
        let mut task = RepairTask::new(&led_by(engine.clone(), says));
        assert_eq!(step(&mut task, 0).await.len(), repairs, "{says:?}");
    }
}

/// A queue that counts its readers, whose readers cannot always be rewound.
#[derive(Debug)]
struct Readers {
    queue: Arc<dyn AttemptQueue>,
    subscribed: AtomicUsize,
    rewind: Arc<AtomicBool>,
}

#[async_trait]
impl AttemptQueue for Readers {
    async fn publish(
        &self,
        attempts: &[flashsale_core::domain::Attempt],
    ) -> Result<Vec<Published>, PortError> {
        self.queue.publish(attempts).await
    }

    async fn subscribe(&self, group: &str) -> Result<Box<dyn AttemptReader>, PortError> {
        self.subscribed.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Rewinds {
            reader: self.queue.subscribe(group).await?,
            rewind: Arc::clone(&self.rewind),
        }))
    }

    async fn end(&self) -> Result<QueuePosition, PortError> {
        self.queue.end().await
    }

    async fn lag(&self, group: &str, until: &QueuePosition) -> Result<u64, PortError> {
        self.queue.lag(group, until).await
    }
}

#[derive(Debug)]
struct Rewinds {
    reader: Box<dyn AttemptReader>,
    rewind: Arc<AtomicBool>,
}

#[async_trait]
impl AttemptReader for Rewinds {
    async fn poll(&mut self, max: usize, _wait_ms: u64) -> Result<Vec<Delivery>, PortError> {
        self.reader.poll(max, 0).await
    }

    async fn commit(&mut self) -> Result<(), PortError> {
        self.reader.commit().await
    }

    async fn rewind(&mut self) -> Result<(), PortError> {
        if self.rewind.load(Ordering::Relaxed) {
            self.reader.rewind().await
        } else {
            Err(fault())
        }
    }
}

#[tokio::test]
async fn a_worker_goes_back_after_a_fault_and_drops_a_reader_that_cannot() {
    let (mut shop, sale) = Shop::selling(3).await;
    shop.accepted("ann", sale.id).await;
    let readers = Arc::new(Readers {
        queue: shop.queue.clone(),
        subscribed: AtomicUsize::new(0),
        rewind: Arc::new(AtomicBool::new(true)),
    });
    shop.queue = readers.clone();
    let faults = Arc::new(flashsale_core::testing::Faults::new(1, FAIL_BEFORE));
    let orders: Arc<dyn flashsale_core::ports::OrderRepo> = Arc::new(
        flashsale_core::testing::Faulty::new(shop.orders.clone(), faults.clone()),
    );
    shop.orders = orders;
    let mut task = WorkerTask::new(&shop.engine(), "workers");
    assert_eq!(task.next(), Wait::Nothing);
    for (rewinds, subscribed) in [(true, 1), (false, 1), (true, 2), (true, 2)] {
        readers.rewind.store(rewinds, Ordering::Relaxed);
        assert!(task.step(0).await.fault.is_some());
        assert_eq!(readers.subscribed.load(Ordering::Relaxed), subscribed);
        assert_eq!(shop.memory_queue.committed("workers"), 0);
    }
    faults.heal();
    step(&mut task, 0).await;
    assert_eq!(shop.memory_queue.committed("workers"), 1);
    let totals = shop.orders.totals(sale.id).await.unwrap().unwrap();
    assert_eq!(totals.orders, 1);
}

#[tokio::test]
async fn a_worker_reports_what_is_no_attempt() {
    let (shop, _) = Shop::selling(3).await;
    shop.memory_queue.publish_undecodable(b"?");
    let mut task = WorkerTask::new(&shop.engine(), "workers");
    let events = step(&mut task, 0).await;
    assert!(
        matches!(&events[..], [TaskEvent::DeadLetter(item)]
            if item.content == DeadLetterContent::Undecodable(b"?".to_vec())),
        "{events:?}"
    );
}

#[tokio::test]
async fn before_a_process_stops_the_queue_and_the_store_are_told_all() {
    let (shop, lamp) = Shop::selling(3).await;
    let chair = NewSale {
        product_name: "chair".to_owned(),
        ..lamps(3)
    };
    let chair = shop.sale_service().create(&chair).await.unwrap().unwrap();
    let engine = shop.engine().accepting(AcceptAfter::Reserved);
    engine.catalogue.refresh().await.unwrap();
    for (name, sale) in [("ann", lamp.id), ("bob", chair.sale.id), ("eve", lamp.id)] {
        let outcome = engine.flash_sale.attempt(&user(name), sale).await.unwrap();
        assert!(matches!(outcome, AttemptOutcome::Accepted(_)));
    }
    let mut relay = RelayTask::new(&engine);
    assert_eq!(relay.next(), Wait::ReadyThen(LIMITS.relay_gather_ms));
    relay.ready().await;
    step(&mut relay, 0).await;
    assert_eq!(shop.memory_queue.published(), 1);
    relay.finish().await;
    assert_eq!(shop.memory_queue.published(), 3);
    let mut acknowledge = AcknowledgeTask::new(&engine);
    assert_eq!(acknowledge.next(), Wait::Pause(LIMITS.acknowledge_pause_ms));
    acknowledge.finish().await;
    let allocation = shop.stock.allocation(&lamp.key(), &user("eve")).await;
    let state = allocation.unwrap().unwrap().state;
    assert_eq!(state, AllocationState::Reserved { logged: true });
}

#[tokio::test]
async fn before_a_process_stops_refusals_are_recorded() {
    let (shop, sale) = Shop::selling(1).await;
    let engine = shop.engine().recording_refusals();
    engine.catalogue.refresh().await.unwrap();
    for name in ["ann", "bob"] {
        engine
            .flash_sale
            .attempt(&user(name), sale.id)
            .await
            .unwrap();
    }
    let trail = engine.audit_trail.clone().unwrap();
    let mut task = RefusalTask::new(&engine, &trail);
    assert_eq!(task.next(), Wait::Pause(LIMITS.refusals_pause_ms));
    task.finish().await;
    let history = engine.attempts.history(sale.id, &user("bob"), 10).await;
    assert_eq!(history.unwrap().len(), 1);
}
