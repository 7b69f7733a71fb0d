//! One simulated world: the services behind the network, the processes, and what went on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flashsale_core::domain::{
    Attempt, AttemptId, Decision, NewSale, Phase, Sale, SaleId, SaleRef, Timestamp, UserId, Window,
};
use flashsale_core::ports::{Clock, OrderRepo, SaleRepo, StockStore};
use flashsale_core::services::EngineServices;
use flashsale_core::testing::{
    MemoryAttemptRepo, MemoryDatabase, MemoryDeadLetterRepo, MemoryOrderRepo, MemorySaleRepo,
    SequentialIds,
};

use super::books::{Books, Broken, Held};
use super::bugs::Bug;
use super::executor::{Handle, Process, WORLD, at_once};
use super::ports::{SimQueue, SkewedClock, number};
use super::process::{self, Stop};
use super::slot::Slot;
use super::stock_side::StockSide;
use super::trace::{About, Counts, Event, Trace};
use super::weather::{Sales, Service, Weather};

/// The stock of a sale at one moment.
#[derive(Debug)]
pub(crate) struct Stock {
    available: u64,
    /// The units that each attempt holds.
    held: BTreeMap<AttemptId, u64>,
}

impl Stock {
    /// The units that are held here, by attempts that hold nothing there.
    fn units_without(&self, other: &Self) -> u64 {
        let held = self.held.iter();
        let gone = held.filter(|(attempt, _)| !other.held.contains_key(attempt));
        gone.map(|(_, units)| units).sum()
    }
}

pub(crate) struct World {
    pub(crate) weather: Weather,
    pub(crate) bug: Option<Bug>,
    pub(crate) handle: Handle,
    pub(crate) stock: StockSide,
    pub(crate) stock_clock: Arc<SkewedClock>,
    pub(crate) queue: SimQueue,
    pub(crate) orders: Arc<dyn OrderRepo>,
    pub(crate) sales: MemorySaleRepo,
    pub(crate) attempts: MemoryAttemptRepo,
    pub(crate) dead_letters: Arc<MemoryDeadLetterRepo>,
    /// Who looks after each sale.
    leaders: Mutex<BTreeMap<SaleId, Life>>,
    pub(crate) ids: Arc<SequentialIds>,
    books: Mutex<Books>,
    trace: Mutex<Trace>,
    processes: Mutex<Vec<Place>>,
    out: Mutex<[bool; 4]>,
    healed: AtomicBool,
    broken: Mutex<Option<Broken>>,
    done: AtomicBool,
}

/// A process from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) process: Process,
    number: u64,
}

/// Where a process runs, whether it does so now or not.
#[derive(Default)]
struct Place {
    services: Option<EngineServices>,
    /// Grows whenever the process ends.
    life: u64,
    starting: bool,
    /// Shared by the requests that it is at.
    serving: Arc<()>,
    stop: Arc<Stop>,
}

impl Place {
    /// The process has ended, and is about to start again.
    fn end(&mut self) {
        *self = Self {
            life: self.life + 1,
            starting: true,
            ..Self::default()
        };
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(crate) fn new(
        weather: Weather,
        bug: Option<Bug>,
        handle: Handle,
        keep_events: usize,
    ) -> Arc<Self> {
        let clock = handle.clock();
        let stock_clock = Arc::new(SkewedClock::new(Arc::clone(&clock), 0));
        let database = MemoryDatabase::new();
        let orders = MemoryOrderRepo::new(database.clone(), clock);
        let books = Books::new(&weather);
        let places = 1 + weather.apis + weather.workers;
        Arc::new(Self {
            stock: Bug::stock_side(bug, stock_clock.clone()),
            stock_clock,
            queue: SimQueue::new(weather.partitions),
            orders: Bug::order_repo(bug, orders),
            attempts: MemoryAttemptRepo::new(database.clone()),
            sales: MemorySaleRepo::new(database),
            dead_letters: Arc::new(MemoryDeadLetterRepo::new(handle.clock())),
            ids: Arc::default(),
            leaders: Mutex::default(),
            books: Mutex::new(books),
            trace: Mutex::new(Trace::new(keep_events)),
            processes: Mutex::new((0..places).map(|_| Place::default()).collect()),
            out: Mutex::default(),
            healed: AtomicBool::new(false),
            broken: Mutex::default(),
            done: AtomicBool::new(false),
            weather,
            bug,
            handle,
        })
    }

    /// Notes an event.
    pub(crate) fn note(
        &self,
        process: Process,
        what: &'static str,
        how: &'static str,
        about: About,
    ) {
        let event = Event {
            at_ms: self.handle.now_ms(),
            process,
            what,
            how,
            about,
        };
        self.handle.mix(event.digest());
        lock(&self.trace).add(event);
    }

    /// How often what happened, and the last events.
    pub(crate) fn trace(&self) -> (Counts, Vec<String>) {
        let trace = lock(&self.trace);
        (trace.counts(), trace.lines())
    }

    /// The first rule that was broken.
    pub(crate) fn broken(&self) -> Option<Broken> {
        lock(&self.broken).clone()
    }

    pub(crate) fn must_hold(&self, held: Held) {
        if let Err(broken) = held {
            lock(&self.broken).get_or_insert(broken);
        }
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }

    /// The order repository has decided.
    pub(crate) fn decided(&self, attempts: &[Attempt], decisions: &[Decision]) {
        for (attempt, decision) in attempts.iter().zip(decisions) {
            let Some(sale) = self.sale(attempt.sale) else {
                continue;
            };
            if !self.books().is_decided(attempt.id) {
                let how = match decision {
                    Decision::Success(_) => "SUCCESS",
                    Decision::Failed(reason) => reason.name(),
                };
                let about = About {
                    sale: sale.id.get() as u64,
                    attempt: number(attempt.id),
                    items: 1,
                };
                self.note(WORLD, "decision", how, about);
            }
            let held = self.books().decided(attempt, *decision, &sale);
            self.must_hold(held);
        }
    }

    /// The stock of every sale as the store has it.
    pub(crate) fn all_stock(&self) -> Vec<Stock> {
        let users: Vec<_> = (1..=self.weather.users).map(Self::user).collect();
        let stock = |sale: &Sale| Stock {
            available: self.stock.levels(&sale.key()).map_or(0, |l| l.available),
            held: self.stock.held(&sale.key(), &users),
        };
        self.all_sales().iter().map(stock).collect()
    }

    /// The stock store, which had been like this, has lost data: allocations, or withdrawals. What it has
    /// again, because it has forgotten that it ended, makes up for neither.
    pub(crate) fn has_lost(&self, before: &[Stock]) {
        for ((sale, before), now) in self.all_sales().iter().zip(before).zip(self.all_stock()) {
            let lost = before.units_without(&now);
            let expected = before.available + lost;
            let shown = now.available + now.units_without(before);
            self.books()
                .lost(sale, lost + shown.saturating_sub(expected));
        }
    }

    /// Whether nothing goes wrong any more.
    pub(crate) fn is_healed(&self) -> bool {
        self.healed.load(Ordering::Relaxed)
    }

    /// From now on nothing goes wrong.
    pub(crate) fn heal(&self) {
        self.healed.store(true, Ordering::Relaxed);
        self.handle.set_danger(Default::default());
        self.stock_clock.jump(0);
        self.note(WORLD, "world", "heals", About::default());
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    pub(crate) fn finish(&self) {
        self.done.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_out(&self, service: Service) -> bool {
        lock(&self.out)[service as usize]
    }

    pub(crate) fn set_out(&self, service: Service, out: bool) {
        lock(&self.out)[service as usize] = out;
        let how = if out { "goes away" } else { "is back" };
        let what = match service {
            Service::Stock => "stock store",
            Service::Queue => "queue",
            Service::Orders => "order repository",
            Service::Sales => "sale repository",
        };
        self.note(WORLD, what, how, About::default());
    }

    /// The sale as it truly is.
    pub(crate) fn sale(&self, sale: SaleId) -> Option<Sale> {
        at_once(self.sales.find(sale)).expect("memory does not fail")
    }

    pub(crate) fn all_sales(&self) -> Vec<Sale> {
        at_once(self.sales.list()).expect("memory does not fail")
    }

    /// Stores the sales that the weather asks for.
    pub(crate) fn create_sales(&self) {
        const LONG_MS: i64 = 3_600_000;
        let now = self.handle.clock().now();
        let Weather {
            stock, trouble_ms, ..
        } = self.weather;
        let middle_ms = trouble_ms as i64 / 2;
        let start_ms = 500 + self.handle.below(1_000) as i64;
        let new = |name: &str, from_ms: i64, to_ms: i64| NewSale {
            product_name: name.to_owned(),
            product_description: String::new(),
            window: Window {
                start: now.plus_ms(from_ms),
                end: now.plus_ms(to_ms),
            },
            stock,
        };
        let sales = match self.weather.sales {
            Sales::One { ends: false } => vec![new("lamp", start_ms, LONG_MS)],
            Sales::One { ends: true } => vec![new("lamp", start_ms, start_ms + middle_ms)],
            Sales::Two => vec![
                new("lamp", start_ms, LONG_MS),
                new("chair", start_ms + 300, LONG_MS),
            ],
            Sales::Again => vec![
                new("lamp", start_ms, start_ms + middle_ms),
                new("lamp", start_ms + middle_ms, LONG_MS),
            ],
        };
        for sale in &sales {
            at_once(self.sales.create(sale)).expect("memory does not fail");
        }
    }

    pub(crate) fn user(number: u64) -> UserId {
        UserId::new(format!("user-{number}")).expect("visible ASCII")
    }

    pub(crate) fn apis(&self) -> std::ops::RangeInclusive<Process> {
        1..=self.weather.apis
    }

    pub(crate) fn processes(&self) -> std::ops::RangeInclusive<Process> {
        1..=self.weather.apis + self.weather.workers
    }

    /// Starts a process, unless it runs.
    pub(crate) fn start(self: &Arc<Self>, process: Process) {
        if lock(&self.processes)[process].services.is_some() {
            return;
        }
        self.note(process, "process", "starts", About::default());
        let life = self.life(process);
        let (services, stop) = process::start(self, life);
        let place = &mut lock(&self.processes)[process];
        place.services = Some(services);
        place.stop = stop;
        place.starting = false;
    }

    fn life(&self, process: Process) -> Life {
        let number = lock(&self.processes)[process].life;
        Life { process, number }
    }

    fn lives(&self, life: Life) -> bool {
        self.life(life.process) == life
    }

    /// Whether this process looks after the sale: if no other one does.
    pub(crate) fn elect(&self, sale: SaleId, candidate: Life) -> bool {
        if !self.lives(candidate) {
            return false;
        }
        let mut leaders = lock(&self.leaders);
        let leader = leaders.entry(sale).or_insert(candidate);
        if !self.lives(*leader) {
            *leader = candidate;
        }
        *leader == candidate
    }

    /// The sale that a store keeps the place of its product for, so that this one has to wait.
    pub(crate) fn occupies(&self, store: &dyn StockStore, sale: &SaleRef) -> Option<SaleId> {
        let sales = self.all_sales();
        let start = sales.iter().find(|one| one.id == sale.id)?.window.start;
        let occupies = |other: &&Sale| {
            let levels = at_once(store.levels(&other.key())).expect("memory does not fail");
            let may_sell = self.stock_clock.now() < other.window.end;
            levels.is_some_and(|levels| {
                levels.undecided > 0 || (may_sell && levels.phase != Phase::Closed)
            })
        };
        let mut before = sales.iter().filter(|other| {
            other.product.id == sale.product && other.id != sale.id && other.window.start < start
        });
        before.find(occupies).map(|other| other.id)
    }

    /// Ends a process in order: it takes no new requests, finishes those it is at and then its
    /// background tasks, and starts again.
    pub(crate) async fn restart(self: &Arc<Self>, process: Process) {
        const REQUEST_GRACE_MS: u64 = 5_000;
        const BACKGROUND_GRACE_MS: u64 = 1_000;
        let life = self.life(process);
        if lock(&self.processes)[process].services.take().is_none() {
            return;
        }
        self.note(process, "process", "stops", About::default());
        let (serving, stop) = {
            let places = lock(&self.processes);
            let place = &places[process];
            (Arc::downgrade(&place.serving), Arc::clone(&place.stop))
        };
        for _ in 0..REQUEST_GRACE_MS / 5 {
            if !self.lives(life) || serving.strong_count() <= 1 {
                break;
            }
            self.handle.sleep(5).await;
        }
        stop.ask();
        for _ in 0..BACKGROUND_GRACE_MS / 5 {
            if !self.lives(life) || stop.is_done() {
                break;
            }
            self.handle.sleep(5).await;
        }
        if self.lives(life) {
            // It may stand still meanwhile.
            self.books().cut_off |= !stop.is_done();
            self.handle.end_process(process);
            lock(&self.processes)[process].end();
            self.handle.sleep(self.handle.between(1, 3_000)).await;
            self.start(process);
        }
    }

    /// Ends a process at once, and has it start again later.
    pub(crate) fn crash(self: &Arc<Self>, process: Process) {
        self.note(process, "process", "crashes", About::default());
        self.handle.end_process(process);
        let services = lock(&self.processes)[process].services.take();
        drop(services);
        lock(&self.processes)[process].end();
        let down_ms = self.handle.below(5_000);
        let world = Arc::clone(self);
        self.handle.after(down_ms, move || world.start(process));
    }

    /// Has a process stand still for a while; the others may miss its readers.
    pub(crate) fn freeze(self: &Arc<Self>, process: Process) {
        self.note(process, "process", "freezes", About::default());
        self.handle.freeze(process);
        let frozen_ms = self.handle.between(5, 6_000);
        let session_ms = self.handle.between(500, 3_000);
        if session_ms < frozen_ms {
            let world = Arc::clone(self);
            self.handle.after(session_ms, move || {
                if world.handle.is_frozen(process) {
                    world.queue.evict(process);
                }
            });
        }
        let world = Arc::clone(self);
        self.handle.after(frozen_ms, move || world.thaw(process));
    }

    pub(crate) fn thaw(&self, process: Process) {
        if self.handle.is_frozen(process) {
            self.note(process, "process", "goes on", About::default());
            self.handle.thaw(process);
        }
    }

    /// Whether every process runs.
    pub(crate) fn all_run(&self) -> bool {
        let places = lock(&self.processes);
        let mut places = places.iter().skip(1);
        places.all(|place| place.services.is_some() && !place.starting)
    }

    pub(crate) fn services(&self, process: Process) -> Option<EngineServices> {
        lock(&self.processes)[process].services.clone()
    }

    /// Forgets the processes: they and the world know each other.
    pub(crate) fn dissolve(&self) {
        let places = std::mem::take(&mut *lock(&self.processes));
        drop(places);
    }

    /// Has a process do something on somebody's behalf, who waits for it for a while; nothing if
    /// the process is away, crashes, or takes too long.
    pub(crate) async fn request<T, F>(
        &self,
        process: Process,
        work: impl FnOnce(EngineServices) -> F,
    ) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let services = self.services(process)?;
        let at_work = Arc::clone(&lock(&self.processes)[process].serving);
        let work = work(services);
        let (fill, slot) = Slot::new();
        let serving = async move {
            fill.put(work.await);
            drop(at_work);
        };
        let task = self.handle.spawn(process, Box::pin(serving));
        let patience_ms = if self.is_healed() {
            20_000
        } else {
            self.handle.between(100, 4_000)
        };
        match self.handle.within(patience_ms, slot.wait()).await {
            Some(answer) => answer,
            None => {
                // Some servers drop a request whose client is gone, some do not.
                if self.handle.chance(500) {
                    self.handle.end_task(task);
                }
                None
            }
        }
    }

    /// The time by the true clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.handle.clock().now()
    }
}
