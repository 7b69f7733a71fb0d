use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;

use crate::books::Books;
use crate::crowd::Crowds;
use crate::dice::Dice;
use crate::faults::{Fault, Storm};
use crate::history::{Moment, now};
use crate::load::Load;
use crate::shop::{Restock, Shop};
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
    pub(crate) restocks: Vec<Restock>,
    pub(crate) users: Vec<User>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) began: Moment,
    /// What was not as it should be when it should have been.
    pub(crate) late: Vec<String>,
    pub(crate) books: Books,
    /// From the last fault until everything was decided and added up.
    pub(crate) settled_in: Duration,
}

/// How a sale is played.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) number: u64,
    /// How long users come.
    pub(crate) time: Duration,
    /// Requests a second at most.
    pub(crate) rate: u32,
    pub(crate) seed: u64,
}

impl Plan {
    pub(crate) async fn play(self, stack: &Arc<Stack>, crowds: &mut Crowds) -> Played {
        let dice = |purpose| Dice::new(self.seed, self.number * 16 + purpose);
        let users = crowds.come(self.time, self.rate, &mut dice(1));
        // Two thirds of the users could buy if nobody put anything in later.
        let initial = (users.len() as u64 * dice(2).below(40) / 100).max(20);
        let shop = Shop::open(stack, self.number, initial, dice(3)).await;
        let began = now();
        let apis = stack.apis().into_iter();
        let apis = apis.map(|index| (index, stack.processes[index].address()));
        let ids = (shop.sale, shop.product);
        let users = users.into_iter().map(|user| user.coming_after(began));
        let load = Load::new(apis.collect(), ids, self.rate, users.collect(), dice(4));
        let running = tokio::spawn(Arc::clone(&load).run());

        let calm = watch::Sender::new(false);
        let storm = Storm {
            stack: Arc::clone(stack),
            dice: dice(5),
        };
        let storm = tokio::spawn(storm.rage(calm.subscribe()));
        let keeper = tokio::spawn(shop.keep(calm.subscribe()));
        sleep(self.time).await;
        calm.send_replace(true);
        let faults = storm.await.unwrap();
        let mut shop = keeper.await.unwrap();

        let calm = now();
        let mut late = Vec::new();
        late.extend(shop.reopen().await.err());
        load.settle();
        late.extend(self.rest(stack, &load, &shop, calm).await.err());
        let settled_in = now() - calm;
        let called = load.refused(CALLED_AGAIN);
        if late.is_empty() && !called.is_empty() {
            let restocked = shop.restock(called.len() as u64).await;
            if restocked {
                load.last_call(&called);
                late.extend(self.rest(stack, &load, &shop, now()).await.err());
            } else {
                late.push("a restock at rest does not succeed".to_owned());
            }
        }
        self.end(
            stack,
            load,
            running,
            shop,
            (faults, began, late, settled_in),
        )
        .await
    }

    /// Waits until everybody has a final answer and all units are accounted for.
    async fn rest(
        &self,
        stack: &Arc<Stack>,
        load: &Arc<Load>,
        shop: &Shop,
        since: Moment,
    ) -> Result<(), String> {
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

    async fn end(
        &self,
        stack: &Arc<Stack>,
        load: Arc<Load>,
        running: JoinHandle<()>,
        shop: Shop,
        (faults, began, late, settled_in): (Vec<Fault>, Moment, Vec<String>, Duration),
    ) -> Played {
        load.finish();
        running.await.unwrap();
        let (sale, product) = (shop.sale, shop.product);
        let reader = Arc::clone(stack);
        let books = spawn_blocking(move || Books::read(&reader, sale, product));
        let books = books.await.unwrap();
        let _ = stack.run(&["sale", "close", &sale.to_string()]).await;
        Played {
            sale,
            initial: shop.initial,
            restocks: shop.restocks,
            users: load.users(),
            faults,
            began,
            late,
            books,
            settled_in,
        }
    }
}
