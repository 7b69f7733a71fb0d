use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::dice::Dice;
use crate::history::{Moment, now};
use crate::load::Load;
use crate::sighting::{Change, Sighting};
use crate::stack::{Ran, Stack};
use crate::user::User;
use crate::watcher::{Sign, Watcher};

/// The shop's side of a sale: puts units in and takes some out, pauses, goes on, extends.
#[derive(Debug)]
pub(crate) struct Shop {
    stack: Arc<Stack>,
    pub(crate) sale: i64,
    pub(crate) product: i64,
    pub(crate) initial: u64,
    /// What it did, and when that was seen.
    pub(crate) deeds: Deeds,
    /// Whether users are coming.
    pub(crate) rush: bool,
    /// One for each process that takes attempts.
    watchers: Vec<Watcher>,
    /// Whether the last word was a pause.
    paused: bool,
    /// In minutes after the first end.
    extended: u64,
    dice: Dice,
}

/// What a shop did to a sale.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deeds {
    pub(crate) restocks: Vec<Moved>,
    pub(crate) withdrawals: Vec<Moved>,
    /// When the sale was first told to end.
    pub(crate) closing: Option<Moment>,
    /// How long commands took, and whether they were confirmed.
    pub(crate) commands: Vec<(Duration, bool)>,
    pub(crate) sightings: Vec<Sighting>,
}

/// Units that were put into a running sale or taken out of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    pub(crate) units: u64,
    pub(crate) began: Moment,
    pub(crate) ended: Moment,
    /// Whether the command said that they were; if not, nobody knows.
    pub(crate) confirmed: bool,
}

impl Shop {
    pub(crate) async fn open(stack: &Arc<Stack>, number: u64, initial: u64, dice: Dice) -> Self {
        // Some sales follow another one of the same product.
        let product = format!("Lamp {}", number - u64::from(number % 3 == 2));
        let stock = initial.to_string();
        let create = ["sale", "create", "--product", &product, "--stock", &stock];
        let create = [&create[..], &["--end", "+1h", "--json"]].concat();
        let ran = stack.run(&create).await;
        let complaint = ran.complaint();
        let made = ran.json().filter(|_| ran.succeeded());
        let made = made.unwrap_or_else(|| panic!("no sale: {complaint}"));
        let id = |field: &str| made[field].as_i64().unwrap();
        Self {
            stack: Arc::clone(stack),
            sale: id("id"),
            product: id("productId"),
            initial,
            deeds: Deeds::default(),
            rush: true,
            watchers: Vec::new(),
            paused: false,
            extended: 0,
            dice,
        }
    }

    /// From now on, what it changes is watched at each process that the load goes to.
    pub(crate) fn be_watched(&mut self, load: &Arc<Load>, dice: impl Fn(usize) -> Dice) {
        let places = 0..load.apis.len();
        let watchers = places.map(|place| Watcher::new(&self.stack, load, place, dice(place)));
        self.watchers = watchers.collect();
    }

    /// Changes the sale at random until it is calm.
    pub(crate) async fn keep(mut self, mut calm: watch::Receiver<bool>) -> Self {
        loop {
            let pause = self.dice.ms(1_000, 3_000);
            tokio::select! {
                _ = calm.wait_for(|calm| *calm) => return self,
                () = sleep(pause) => {}
            }
            let kinds = [
                (Change::Restock, 50),
                (Change::Pause, 25),
                (Change::Withdraw, 15),
                (Change::Extend, 10),
            ];
            match self.dice.pick(&kinds) {
                Some(Change::Withdraw) => {
                    let units = 1 + self.dice.below(self.initial / 10 + 1);
                    self.withdraw(units).await;
                }
                Some(Change::Extend) => {
                    self.extend().await;
                }
                Some(Change::Pause) => {
                    self.pause().await;
                    sleep(self.dice.ms(200, 1_000)).await;
                    // What does not succeed now does at the end.
                    let _ = self.reopen().await;
                }
                _ => {
                    let units = 1 + self.dice.below(self.initial / 5 + 1);
                    self.restock(units).await;
                }
            }
        }
    }

    /// Makes each change once more, now that nothing is in the way, and ends the sale.
    ///
    /// # Errors
    /// If one of them does not succeed.
    pub(crate) async fn finish(&mut self) -> Result<(), String> {
        self.pause().await.confirmed()?;
        self.reopen().await?;
        self.extend().await.confirmed()?;
        let left = self.available().await;
        if let Some(left) = left.filter(|left| *left > 0) {
            self.withdraw(left).await.confirmed()?;
        }
        self.close().await.confirmed()
    }

    /// The units to be had, if the shop can be told.
    pub(crate) async fn available(&self) -> Option<u64> {
        let sale = self.sale.to_string();
        let shown = self.stack.run(&["sale", "show", &sale, "--json"]).await;
        shown.json()?["available"].as_u64()
    }

    /// Puts units in.
    pub(crate) async fn restock(&mut self, units: u64) -> Ran {
        let began = now();
        let ran = self
            .change(Change::Restock, &["--units", &units.to_string()])
            .await;
        let (ended, confirmed) = (ran.ended, ran.succeeded());
        self.deeds.restocks.push(Moved {
            units,
            began,
            ended,
            confirmed,
        });
        ran
    }

    async fn withdraw(&mut self, units: u64) -> Ran {
        let began = now();
        let ran = self
            .change(Change::Withdraw, &["--units", &units.to_string()])
            .await;
        // A sale that has too few says so, and is as it was.
        if !has_too_few(&ran) {
            let (ended, confirmed) = (ran.ended, ran.succeeded());
            self.deeds.withdrawals.push(Moved {
                units,
                began,
                ended,
                confirmed,
            });
        }
        ran
    }

    async fn pause(&mut self) -> Ran {
        self.paused = true;
        self.change(Change::Pause, &[]).await
    }

    async fn extend(&mut self) -> Ran {
        self.extended += 1;
        let end = format!("+{}m", 60 + self.extended);
        self.change(Change::Extend, &["--end", &end]).await
    }

    async fn close(&mut self) -> Ran {
        self.deeds.closing.get_or_insert_with(now);
        self.change(Change::Close, &[]).await
    }

    /// Ends a pause.
    ///
    /// # Errors
    /// If the shop's command does not succeed for as long as a shop waits.
    pub(crate) async fn reopen(&mut self) -> Result<(), String> {
        const PATIENCE: Duration = Duration::from_secs(25);
        let since = now();
        while self.paused {
            let ran = self.change(Change::Resume, &[]).await;
            let complaint = ran.complaint();
            if ran.succeeded() || complaint.contains("is not paused") {
                self.paused = false;
            } else if now() > since + PATIENCE {
                return Err(format!("the sale is not resumed: {complaint}"));
            } else {
                sleep(Duration::from_millis(300)).await;
            }
        }
        Ok(())
    }

    /// Makes a change and, if it is confirmed, watches each process until it shows it.
    async fn change(&mut self, change: Change, options: &[&str]) -> Ran {
        // While units are left, nobody can see that more came.
        let early = change == Change::Restock && self.is_sold_out().await;
        let certain = change != Change::Restock || !self.rush;
        let (tell, news) = watch::channel(None);
        let mut looks = Vec::new();
        let mut look = |watchers: &mut Vec<Watcher>, sign: Sign| {
            for watcher in watchers.drain(..) {
                let look = watcher.look(sign.clone(), certain, news.clone());
                looks.push(tokio::spawn(look));
            }
        };
        if early {
            look(&mut self.watchers, Sign::InStock);
        }
        let began = now();
        let ran = self.command(change, options).await;
        if ran.succeeded() {
            tell.send_replace(Some(ran.ended));
            if let Some(sign) = sign(change, &ran) {
                look(&mut self.watchers, sign);
            }
        }
        drop(tell);
        let mut seen = Vec::new();
        for look in looks {
            let (watcher, moment) = look.await.unwrap();
            self.watchers.push(watcher);
            seen.push(moment);
        }
        if ran.succeeded() && !seen.is_empty() {
            self.deeds.sightings.push(Sighting {
                change,
                rush: self.rush,
                certain,
                began,
                confirmed: ran.ended,
                seen,
                ended: now(),
            });
        }
        ran
    }

    /// Whether every process says so.
    async fn is_sold_out(&mut self) -> bool {
        for watcher in &mut self.watchers {
            if !watcher.sees(&Sign::SoldOut).await {
                return false;
            }
        }
        true
    }

    async fn command(&mut self, change: Change, options: &[&str]) -> Ran {
        let sale = self.sale.to_string();
        let command = ["sale", change.name(), &sale, "--json"];
        let began = now();
        let ran = self.stack.run(&[&command[..], options].concat()).await;
        let confirmed = ran.succeeded() || has_too_few(&ran);
        self.deeds.commands.push((ran.ended - began, confirmed));
        ran
    }

    /// What it did, and the users who watched it.
    pub(crate) fn end(self) -> (Deeds, Vec<User>) {
        let watchers = self.watchers.into_iter();
        (self.deeds, watchers.flat_map(Watcher::users).collect())
    }
}

/// By what a change is recognised that was just made. A change of the units that leaves some, or
/// that left some before, cannot be seen.
fn sign(change: Change, ran: &Ran) -> Option<Sign> {
    let sale = ran.json()?;
    match change {
        Change::Pause => Some(Sign::Paused),
        Change::Resume => Some(Sign::Selling),
        Change::Restock => None,
        Change::Withdraw => (sale["available"] == 0).then_some(Sign::SoldOut),
        Change::Extend => Some(Sign::EndsAt(sale["endTime"].as_str()?.to_owned())),
        Change::Close => Some(Sign::Ended),
    }
}

fn has_too_few(ran: &Ran) -> bool {
    let complaint = ran.complaint();
    !ran.succeeded()
        && (complaint.contains("can be withdrawn") || complaint.contains("has no unit"))
}
