use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::books::Books;
use crate::dice::Dice;
use crate::faults::{Fault, Kind, Limits, Storm, Target, inflict};
use crate::history::{Moment, now};
use crate::load::Load;
use crate::shop::{Deeds, Shop};
use crate::sighting::AFTERMATH;
use crate::stack::Stack;
use crate::user::User;

/// How long after the last fault everything has to be decided.
pub(crate) const SETTLE_MAX: Duration = Duration::from_secs(30);
/// How many of those who were refused are called again at the end.
const CALLED_AGAIN: usize = 30;

/// A sale from its start to its end, with everything that was seen.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) sale: i64,
    pub(crate) initial: u64,
    pub(crate) deeds: Deeds,
    pub(crate) users: Vec<User>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) began: Moment,
    /// What was not as it should be when it should have been.
    pub(crate) late: Vec<String>,
    pub(crate) books: Books,
    /// From the last fault until everything was decided and added up.
    pub(crate) settled_in: Duration,
}

impl Played {
    /// Whether a store has lost something.
    pub(crate) fn lost(&self) -> bool {
        self.faults.iter().any(|fault| fault.kind.loses())
    }
}

/// How a sale is played.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) number: u64,
    /// How long users come.
    pub(crate) time: Duration,
    pub(crate) users: Vec<User>,
    /// The units that it begins with.
    pub(crate) initial: u64,
    /// Requests a second at most.
    pub(crate) rate: u32,
    pub(crate) weather: Weather,
    pub(crate) seed: u64,
}

/// What is done to a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Faults, and changes by the shop, at random.
    Storm(Limits),
    /// Changes by the shop, and no faults.
    Calm,
    /// Redis loses everything when a part of the units is sold.
    Flush,
}

impl Plan {
    fn dice(&self, purpose: u64) -> Dice {
        Dice::new(self.seed, self.number * 16 + purpose)
    }

    pub(crate) async fn play(mut self, stack: &Arc<Stack>) -> Played {
        let mut shop = Shop::open(stack, self.number, self.initial, self.dice(3)).await;
        let began = now();
        let apis = stack.apis().into_iter();
        let apis = apis.map(|index| (index, stack.processes[index].address()));
        let ids = (shop.sale, shop.product);
        let users = std::mem::take(&mut self.users).into_iter();
        let users = users.map(|user| user.coming_after(began)).collect();
        let load = Load::new(apis.collect(), ids, self.rate, users, self.dice(4));
        shop.be_watched(&load, |place| self.dice(6 + place as u64));
        let running = tokio::spawn(Arc::clone(&load).run());
        let (mut shop, faults) = self.happen(stack, shop, &load).await;

        let calm = now();
        let mut late = Vec::new();
        late.extend(shop.reopen().await.err());
        load.settle();
        late.extend(rest(stack, &load, &shop, calm).await.err());
        let settled_in = now() - calm;
        load.look_again();
        late.extend(rest(stack, &load, &shop, now()).await.err());
        shop.rush = false;
        if late.is_empty() && self.weather != Weather::Flush {
            let last = faults.iter().map(|fault| fault.over).max();
            let clear = last.map_or(now(), |last| last + AFTERMATH);
            sleep(clear.saturating_sub(now())).await;
            late.extend(finish(stack, &load, &mut shop).await.err());
        }
        load.finish();
        running.await.unwrap();
        let (sale, product, reader) = (shop.sale, shop.product, Arc::clone(stack));
        let books = spawn_blocking(move || Books::read(&reader, sale, product));
        let books = books.await.unwrap();
        if shop.deeds.closing.is_none() {
            let _ = stack.run(&["sale", "close", &sale.to_string()]).await;
        }
        let initial = shop.initial;
        let (deeds, watchers) = shop.end();
        let mut users = load.users();
        users.extend(watchers);
        Played {
            sale,
            initial,
            deeds,
            users,
            faults,
            began,
            late,
            books,
            settled_in,
        }
    }

    /// Lets the sale run, and what happens to it happen.
    async fn happen(&self, stack: &Arc<Stack>, shop: Shop, load: &Load) -> (Shop, Vec<Fault>) {
        match self.weather {
            Weather::Storm(limits) => {
                let calm = watch::Sender::new(false);
                let storm = Storm {
                    stack: Arc::clone(stack),
                    dice: self.dice(5),
                    limits,
                };
                let storm = tokio::spawn(storm.rage(calm.subscribe()));
                let keeper = tokio::spawn(shop.keep(calm.subscribe()));
                sleep(self.time).await;
                calm.send_replace(true);
                let faults = storm.await.unwrap();
                (keeper.await.unwrap(), faults)
            }
            Weather::Calm => {
                let calm = watch::Sender::new(false);
                let keeper = tokio::spawn(shop.keep(calm.subscribe()));
                sleep(self.time).await;
                calm.send_replace(true);
                (keeper.await.unwrap(), Vec::new())
            }
            Weather::Flush => {
                let until = now() + self.time;
                while shop
                    .available()
                    .await
                    .is_none_or(|left| left > self.initial / 2)
                    && now() < until
                {
                    sleep(Duration::from_millis(20)).await;
                }
                let stack = Arc::clone(stack);
                let flush = move || inflict(&stack, Target::Redis, Kind::Flush, Duration::ZERO);
                let fault = spawn_blocking(flush).await.unwrap();
                while load.has_absent() && now() < until {
                    sleep(Duration::from_millis(50)).await;
                }
                (shop, vec![fault])
            }
        }
    }
}

/// What a shop can do, once more while nothing is in the way.
async fn finish(stack: &Arc<Stack>, load: &Load, shop: &mut Shop) -> Result<(), String> {
    last_call(stack, load, shop).await?;
    shop.finish().await?;
    rest(stack, load, shop, now()).await
}

/// Puts in units for some who were refused: each of them has to get one.
async fn last_call(stack: &Arc<Stack>, load: &Load, shop: &mut Shop) -> Result<(), String> {
    /// For those who watch, and to be taken out again.
    const MORE: u64 = 10;
    let called = load.refused(CALLED_AGAIN);
    if called.is_empty() {
        return Ok(());
    }
    let units = called.len() as u64 + MORE;
    shop.restock(units).await.confirmed()?;
    load.last_call(&called);
    rest(stack, load, shop, now()).await
}

/// Waits until everybody has a final answer and all units are accounted for.
async fn rest(stack: &Arc<Stack>, load: &Load, shop: &Shop, since: Moment) -> Result<(), String> {
    let sale = shop.sale.to_string();
    loop {
        let in_time = now() < since + SETTLE_MAX;
        let quiet = load.is_quiet();
        if quiet || !in_time {
            let audit = stack.run(&["audit", &sale, "--json"]).await;
            let report = audit.json().unwrap_or_default();
            let reserved = &report["store"]["reserved"];
            if quiet && audit.succeeded() && *reserved == 0 {
                return Ok(());
            }
            if !in_time {
                let code = audit.output.status.code();
                let waiting = load.waiting();
                let complaint = audit.complaint();
                return Err(format!(
                    "not at rest {SETTLE_MAX:?} after the last fault: \
                     still asking {waiting:?}; audit ends with {code:?}: {report} {complaint}"
                ));
            }
        }
        sleep(Duration::from_millis(if quiet { 400 } else { 50 })).await;
    }
}
