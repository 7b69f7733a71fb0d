//! The stock store itself, behind the network, and how it loses data.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flashsale_core::domain::{
    Allocation, AttemptId, Decision, Levels, OrderId, Phase, Quantity, SaleRef, Settlement,
    Timestamp, UserId,
};
use flashsale_core::ports::StockStore;
use flashsale_core::testing::MemoryStockStore;

use super::executor::{Process, WORLD, at_once};
use super::trace::About;
use super::world::World;

/// What answers calls to the stock store.
pub(crate) struct StockSide {
    front: Arc<dyn StockStore>,
    /// The same store, if it can lose data.
    memory: Option<Arc<MemoryStockStore>>,
    copies: Mutex<Copies>,
}

#[derive(Default)]
struct Copies {
    /// How the store was before, the latest last.
    older: VecDeque<MemoryStockStore>,
    /// Another store that takes itself for this one, and the processes that reach it instead.
    other: Option<(Arc<MemoryStockStore>, BTreeSet<Process>)>,
}

impl StockSide {
    pub(crate) fn new(memory: MemoryStockStore) -> Self {
        let memory = Arc::new(memory);
        Self {
            front: memory.clone(),
            memory: Some(memory),
            copies: Mutex::default(),
        }
    }

    /// A store that never loses anything.
    pub(crate) fn of(front: Arc<dyn StockStore>) -> Self {
        Self {
            front,
            memory: None,
            copies: Mutex::default(),
        }
    }

    fn copies(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store that a call of this process reaches now.
    pub(crate) fn answering(&self, process: Process) -> Arc<dyn StockStore> {
        match &self.copies().other {
            Some((other, reached_by)) if reached_by.contains(&process) => other.clone(),
            _ => Arc::clone(&self.front),
        }
    }

    /// The stock as it truly is.
    pub(crate) fn levels(&self, sale: &SaleRef) -> Option<Levels> {
        at_once(self.front.levels(sale)).expect("memory does not fail")
    }

    /// The units that the attempts of these users hold.
    pub(crate) fn held(&self, sale: &SaleRef, users: &[UserId]) -> BTreeMap<AttemptId, u64> {
        let allocations =
            at_once(self.front.allocations(sale, users)).expect("memory does not fail");
        let units = |allocation: Allocation| (allocation.attempt, allocation.quantity.units());
        allocations.into_iter().flatten().map(units).collect()
    }

    /// Keeps a copy of how the store is now.
    fn keep_copy(&self) {
        const COPIES_MAX: usize = 6;
        let Some(memory) = &self.memory else { return };
        let older = &mut self.copies().older;
        if older.len() == COPIES_MAX {
            older.pop_front();
        }
        older.push_back(memory.copy());
    }

    /// Goes back to one of the copies, or to nothing.
    fn go_back(&self, choice: u64) {
        let (Some(memory), copies) = (&self.memory, self.copies()) else {
            return;
        };
        if let Some(older) = copies
            .older
            .get(choice as usize % copies.older.len().max(1))
        {
            memory.go_on_with(older);
        }
    }

    /// Has other processes than before reach a copy; `stale_stays` says which of the two is old.
    fn split(&self, choice: u64, reached_by: BTreeSet<Process>, old_is_main: bool) {
        let Some(memory) = &self.memory else { return };
        let other = Arc::new(memory.copy());
        if old_is_main {
            self.go_back(choice);
        } else {
            let now = memory.copy();
            self.go_back(choice);
            other.go_on_with(memory);
            memory.go_on_with(&now);
        }
        self.copies().other = Some((other, reached_by));
    }

    fn unite(&self) {
        self.copies().other = None;
    }

    fn wipe(&self, world: &World) {
        if let Some(memory) = &self.memory {
            memory.go_on_with(&MemoryStockStore::new(world.stock_clock.clone()));
        }
    }
}

/// Has the store lose data, now and then.
pub(crate) async fn lose(world: Arc<World>) {
    let handle = world.handle.clone();
    let losses = world.weather.losses;
    let note = |how| world.note(WORLD, "stock store", how, About::default());
    loop {
        handle.sleep(handle.between(200, losses.pause_ms)).await;
        if world.is_healed() {
            return;
        }
        let before = world.all_stock();
        match handle.below(3) {
            0 if losses.rolls_back => {
                note("goes back");
                world.stock.go_back(handle.below(6));
                world.has_lost(&before);
            }
            1 if losses.wipes => {
                note("forgets everything");
                world.stock.wipe(&world);
                world.has_lost(&before);
            }
            2 if losses.splits => {
                note("splits");
                let processes = world.processes();
                let reached_by = processes.filter(|_| handle.chance(500)).collect();
                let (choice, old_is_main) = (handle.below(6), handle.chance(500));
                world.stock.split(choice, reached_by, old_is_main);
                world.books().split = true;
                handle.sleep(handle.between(100, 5_000)).await;
                note("is one again");
                world.stock.unite();
                world.books().split = false;
                world.has_lost(&before);
            }
            _ => {}
        }
    }
}

/// Keeps copies to go back to: replicas that lag behind by more or less.
pub(crate) async fn copy(world: Arc<World>) {
    while !world.is_healed() {
        world.stock.keep_copy();
        world.handle.sleep(world.handle.between(20, 1_500)).await;
    }
}

/// A generation of a sale's stock, and how far its numbers have come.
pub(crate) type Seen = (u32, u64);

/// How far a store's numbers for a sale have come, if it sells: one that is fenced still counts on
/// under the epoch that begins anew at 0 when it is opened.
pub(crate) fn seen(store: &dyn StockStore, sale: &SaleRef) -> Option<Seen> {
    let levels = at_once(store.levels(sale)).expect("memory does not fail");
    let levels = levels.filter(|levels| levels.phase != Phase::Recovering);
    levels.map(|levels| (levels.epoch.get(), levels.seq))
}

/// Stops the selling of a store that has gone back behind what a caller has seen of it, as an
/// adapter's script does in the same step. An order that no stock is there for does just that.
pub(crate) fn stop_if_behind(store: &dyn StockStore, sale: &SaleRef, caller: Option<Seen>) {
    let (Some((epoch, seq)), Some(now)) = (caller, seen(store, sale)) else {
        return;
    };
    if now >= (epoch, seq) {
        return;
    }
    let impossible = Settlement {
        user: UserId::new("nobody").expect("visible ASCII"),
        attempt: AttemptId::from_uuid(uuid::Uuid::nil()),
        quantity: Quantity::new(u32::MAX).expect("positive"),
        reserved_at: Timestamp::default(),
        decision: Decision::Success(OrderId::new(i64::MAX).expect("positive")),
    };
    at_once(store.settle(sale, &[impossible])).expect("memory does not fail");
}
