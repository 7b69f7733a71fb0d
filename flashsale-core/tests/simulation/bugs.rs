//! Bugs on purpose: each is a wrong port or a wrong wiring, and each has to be found.

mod queue;
mod stock;
mod tasks;

use std::sync::Arc;

use flashsale_core::ports::{Clock, OrderRepo, StockStore};
use flashsale_core::services::{AcceptAfter, EnginePorts};
use flashsale_core::testing::{
    MemoryOrderRepo, MemoryStockStore, MutantOrderRepo, MutantStockStore, OrderMutation,
    StockMutation,
};

use self::queue::BuggyQueue;
use self::stock::{BuggyStockStore, ReopeningStockStore};
use self::tasks::NobodyLeads;
use super::executor::Process;
use super::stock_side::StockSide;
use super::weather::{Calls, Losses, Sales, Service, Weather};
use super::world::World;

/// What is wrong in a world. S1 to S21 are the bugs of the original that the protocol lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// S1: a publish that fails returns the unit, and the user stays barred.
    BarsAfterAFailedPublish,
    /// S2: a publish that is not confirmed is taken back.
    RollsBackAnUnconfirmedPublish,
    /// S3: what was reserved and never published is recorded nowhere.
    HasNoOutbox,
    /// S4: a retry while the attempt is pending is told that there is nothing.
    RefusesRetries,
    /// S5: a reservation that is sent again takes again.
    TakesAgain,
    /// S6: whoever finds the sale new sets the stock, also if it sells already.
    SetsTheStockAgain,
    /// S7 and S8: the same, and the order repository does not look at the stock.
    SetsTheStockAgainUnchecked,
    /// S9: stock and users are kept by product.
    KeepsByProduct,
    /// S10: a user who was refused as sold out stays refused.
    BarsRefusedUsers,
    /// S11: an attempt is done before it is decided.
    CommitsTheOffsetFirst,
    /// S12: if the result cannot be written, the buyer is told of a failure.
    WritesAFailureOverASuccess,
    /// S13: a failed attempt keeps its units.
    NeverReturnsStock,
    /// S14: a new group starts at the end of the queue.
    StartsAtTheLatest,
    /// S20: the order repository does not know attempts.
    ForgetsAttempts,
    /// S21: what cannot be read is passed over, and its unit stays reserved.
    SwallowsTheUnreadable,
    /// An attempt expires in the stock store, and the order repository never hears of it.
    ExpiresInTheStockStoreOnly,
    /// An attempt is settled before its result is kept.
    SettlesBeforeTheResult,
    /// A lost stock is rebuilt before what the queue has is decided.
    RebuildsWithoutDraining,
    /// Attempts of a stock that was lost are still accepted after the rebuild.
    AcceptsStaleEpochs,
    /// What the orders have no unit for comes back as stock.
    MakesGhostStock,
    /// The order repository does not look at the stock, nothing else.
    IgnoresTheStock,
    /// A store that has gone back is sold from as if nothing were amiss.
    HasNoSeqFence,
    /// A sale whose stock is ahead is rebuilt at once: the change is just being made.
    RebuildsWhatIsBeingChanged,
    /// A stock that is ahead of its sale is left as it is.
    NeverRebuildsWhatIsAhead,
    /// A sale that waits for the one before it is not looked at again.
    ForgetsSalesThatWait,
    /// Sales are looked at when they change, and the stock store may lose them in between.
    LooksOnlyWhenSalesChange,
    /// A sale that is over is none of the sales whose stock has to be there.
    DropsResultsAtTheEnd,
    /// No process takes it for its turn to rebuild or repair.
    NobodyLeads,
    /// Stock and orders are never compared.
    NeverComparesStocks,
    /// A stock that differs from the orders is rebuilt at first sight.
    RebuildsAtFirstSight,
    /// Repair stops after a round.
    RepairsOnce,
    /// Repair looks after sales that have just ended, and not after older ones.
    ForgetsSalesThatEnded,
    /// A worker goes on with a reader that could not be rewound.
    KeepsAReaderThatDidNotRewind,
    /// A worker marks as done what it could not decide.
    CommitsAfterAFault,
    /// Nobody takes attempts to the queue that were accepted before.
    NeverForwards,
    /// A process that stops leaves attempts behind that were accepted and not taken to the queue.
    ForgetsToForwardTheRest,
    /// A process that stops leaves refusals behind that are not in the audit trail.
    ForgetsTheLastRefusals,
    /// No bug: nobody but the relay takes attempts to the queue, and nobody but workers decides
    /// them. What bugs of the relay are compared with.
    LeavesAllToTheRelay,
    /// No bug: no process remembers what it has seen of the store, as if all were new. What bugs are
    /// compared with that show only after too much was promised.
    RemembersNothing,
    /// No bug: the completer settles what is decided and decides nothing. What S3, S11, S14 and S21
    /// are compared with, because a completer makes up for them.
    CompletesNothing,
}

impl Bug {
    /// The weather in which the bug matters: what it needs must happen, and nothing may happen that
    /// breaks the same rules without it.
    pub(crate) fn weather(bug: Option<Self>, weather: Weather) -> Weather {
        let Some(bug) = bug else { return weather };
        let mut weather = weather;
        let lasting = Sales::One { ends: false };
        match bug {
            Self::BarsAfterAFailedPublish | Self::RollsBackAnUnconfirmedPublish => {
                weather.accept_after = AcceptAfter::Logged;
            }
            Self::TakesAgain | Self::SetsTheStockAgain | Self::SetsTheStockAgainUnchecked => {
                weather.sales = lasting;
            }
            Self::KeepsByProduct => weather.sales = Sales::Again,
            Self::BarsRefusedUsers | Self::NeverReturnsStock => {
                weather.sales = lasting;
                weather.calls_off = true;
            }
            Self::ExpiresInTheStockStoreOnly => weather.calls_off = true,
            Self::SettlesBeforeTheResult => {
                weather.calls_off = true;
                weather.calls[Service::Orders as usize].reply_lost = 200;
                weather.calls[Service::Stock as usize].refused = 150;
            }
            Self::WritesAFailureOverASuccess => {
                weather.tries = 16;
                weather.calls[Service::Stock as usize].refused = 150;
            }
            Self::SwallowsTheUnreadable => {
                weather.queue.acked_lost = 0;
                weather.queue.corrupt = weather.queue.corrupt.max(20);
            }
            Self::HasNoOutbox
            | Self::CommitsTheOffsetFirst
            | Self::StartsAtTheLatest
            | Self::CompletesNothing => {
                weather.queue.acked_lost = 0;
                weather.queue.corrupt = 0;
            }
            Self::IgnoresTheStock | Self::MakesGhostStock => {
                // A crowd, and a store that goes back.
                weather.queue.acked_lost = 0;
                weather.queue.corrupt = 0;
                weather.sales = lasting;
                weather.stock = weather.stock.min(3);
                weather.users = weather.users.max(15);
                weather.tries = 16;
                weather.trouble_ms = 30_000;
                weather.losses = Losses {
                    rolls_back: true,
                    pause_ms: 1_000,
                    ..Losses::default()
                };
            }
            Self::AcceptsStaleEpochs => {
                weather.calls[Service::Queue as usize].slow = 400;
                weather.danger.freeze = 2_000;
            }
            Self::RebuildsWhatIsBeingChanged => {
                weather.calm();
                weather.withdraws = true;
                weather.stock = weather.stock.max(10);
                weather.trouble_ms = 30_000;
            }
            Self::NeverRebuildsWhatIsAhead => {
                weather.calm();
                weather.withdraws = true;
                weather.stock = weather.stock.max(10);
                weather.trouble_ms = 30_000;
                weather.calls[Service::Sales as usize].request_lost = 200;
                // It may, so that a stock may be rebuilt, and hardly ever does.
                weather.losses = Losses {
                    wipes: true,
                    pause_ms: 1_000_000,
                    ..Losses::default()
                };
            }
            Self::ForgetsSalesThatWait => {
                weather.calm();
                weather.sales = Sales::Again;
            }
            Self::LooksOnlyWhenSalesChange | Self::NobodyLeads => {
                weather.lose(Losses {
                    wipes: true,
                    pause_ms: 6_000,
                    ..Losses::default()
                });
            }
            Self::DropsResultsAtTheEnd => {
                weather.sales = Sales::One { ends: true };
                weather.lose(Losses {
                    wipes: true,
                    pause_ms: 1_000,
                    ..Losses::default()
                });
            }
            Self::NeverComparesStocks => {
                weather.danger.crash = 1_500;
                weather.lose(Losses {
                    rolls_back: true,
                    pause_ms: 1_000,
                    ..Losses::default()
                });
            }
            Self::RebuildsAtFirstSight => {
                weather.sales = lasting;
                weather.restocks = true;
                weather.trouble_ms = 30_000;
                weather.calls[Service::Stock as usize].slow = 150;
            }
            Self::ForgetsSalesThatEnded => {
                weather.sales = Sales::One { ends: true };
                weather.queue.acked_lost = 100;
            }
            Self::KeepsAReaderThatDidNotRewind | Self::CommitsAfterAFault => {
                weather.queue.acked_lost = 0;
                weather.queue.corrupt = 0;
                weather.calls[Service::Orders as usize].refused = 200;
                weather.calls[Service::Queue as usize].refused = 200;
            }
            Self::NeverForwards | Self::ForgetsToForwardTheRest | Self::LeavesAllToTheRelay => {
                weather.calm();
                weather.accept_after = AcceptAfter::Reserved;
                weather.restarts = true;
                weather.trouble_ms = 30_000;
                weather.tries = 16;
            }
            Self::ForgetsTheLastRefusals => {
                weather.danger.crash = 0;
                weather.records_refusals = true;
                weather.restarts = true;
                weather.tries = 16;
            }
            Self::RepairsOnce
            | Self::RefusesRetries
            | Self::ForgetsAttempts
            | Self::RebuildsWithoutDraining
            | Self::RemembersNothing
            | Self::HasNoSeqFence => {}
        }
        if bug == Self::BarsAfterAFailedPublish {
            // S1 is about a publish that surely has not happened.
            weather.queue.unconfirmed = 0;
            weather.calls[Service::Queue as usize] = Calls {
                refused: 100,
                ..Calls::default()
            };
        }
        weather
    }

    /// What the bug is compared with: in its weather, this breaks nothing.
    pub(crate) fn without(self) -> Option<Self> {
        match self {
            Self::HasNoOutbox
            | Self::CommitsTheOffsetFirst
            | Self::StartsAtTheLatest
            | Self::KeepsAReaderThatDidNotRewind
            | Self::CommitsAfterAFault => Some(Self::CompletesNothing),
            Self::NeverForwards | Self::ForgetsToForwardTheRest => Some(Self::LeavesAllToTheRelay),
            Self::IgnoresTheStock | Self::MakesGhostStock => Some(Self::RemembersNothing),
            _ => None,
        }
    }

    /// Whether processes notice that a store has gone back behind what they have seen of it.
    pub(crate) fn fences(self) -> bool {
        self != Self::HasNoSeqFence && !self.forgives()
    }

    /// Whether it is no matter that they do not.
    pub(crate) fn forgives(self) -> bool {
        matches!(
            self,
            Self::IgnoresTheStock | Self::MakesGhostStock | Self::RemembersNothing
        )
    }

    /// The stock store behind the network.
    pub(crate) fn stock_side(bug: Option<Self>, clock: Arc<dyn Clock>) -> StockSide {
        let memory = MemoryStockStore::new(Arc::clone(&clock));
        let mutation = match bug {
            Some(Self::TakesAgain) => StockMutation::ForgetsOnePerUser,
            Some(Self::BarsRefusedUsers) => StockMutation::MarksRefusedUsers,
            Some(Self::NeverReturnsStock) => StockMutation::NeverReturnsStock,
            Some(Self::SetsTheStockAgain | Self::SetsTheStockAgainUnchecked) => {
                let store = ReopeningStockStore::new(memory, clock);
                return StockSide::of(Arc::new(store));
            }
            _ => return StockSide::new(memory),
        };
        StockSide::of(Arc::new(MutantStockStore::new(memory, mutation)))
    }

    /// The order repository behind the network.
    pub(crate) fn order_repo(bug: Option<Self>, orders: MemoryOrderRepo) -> Arc<dyn OrderRepo> {
        let mutation = match bug {
            Some(Self::ForgetsAttempts) => OrderMutation::ForgetsAttempts,
            Some(Self::SetsTheStockAgainUnchecked | Self::IgnoresTheStock) => {
                OrderMutation::IgnoresTheStock
            }
            Some(Self::AcceptsStaleEpochs) => OrderMutation::IgnoresTheEpoch,
            _ => return Arc::new(orders),
        };
        Arc::new(MutantOrderRepo::new(orders, mutation))
    }

    /// The ports of a process, wired wrongly.
    pub(crate) fn wire(world: &Arc<World>, process: Process, ports: EnginePorts) -> EnginePorts {
        let Some(bug) = world.bug else { return ports };
        let mut ports = ports;
        let inner = Arc::clone(&ports.stock);
        let stock: Arc<dyn StockStore> = Arc::new(BuggyStockStore::new(bug, world, inner));
        ports.stock = Arc::clone(&stock);
        let api = world.apis().contains(&process);
        let queue = Arc::clone(&ports.queue);
        ports.queue = Arc::new(BuggyQueue::new(bug, world, queue, stock, api));
        if bug == Self::NobodyLeads {
            ports.leadership = Arc::new(NobodyLeads);
        }
        ports
    }

    /// Whether undecided attempts are decided by repair.
    fn has_completer(self) -> bool {
        !matches!(
            self,
            Self::HasNoOutbox
                | Self::CommitsTheOffsetFirst
                | Self::StartsAtTheLatest
                | Self::SwallowsTheUnreadable
                | Self::KeepsAReaderThatDidNotRewind
                | Self::CommitsAfterAFault
                | Self::CompletesNothing
        ) && self.has_outbox()
    }

    /// Whether what the queue does not have is known.
    fn has_outbox(self) -> bool {
        !matches!(
            self,
            Self::HasNoOutbox
                | Self::NeverForwards
                | Self::ForgetsToForwardTheRest
                | Self::LeavesAllToTheRelay
        )
    }
}
