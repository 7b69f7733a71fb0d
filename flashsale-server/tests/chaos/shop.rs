use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::dice::Dice;
use crate::history::{Moment, now};
use crate::stack::{Ran, Stack};

/// The shop's side of a sale: puts units in, pauses, goes on.
#[derive(Debug)]
pub(crate) struct Shop {
    stack: Arc<Stack>,
    pub(crate) sale: i64,
    pub(crate) product: i64,
    pub(crate) initial: u64,
    pub(crate) restocks: Vec<Restock>,
    /// How long commands took, and whether they were confirmed.
    pub(crate) commands: Vec<(Duration, bool)>,
    /// Whether the last word was a pause.
    paused: bool,
    dice: Dice,
}

/// Units that were put into a running sale.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restock {
    pub(crate) units: u64,
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
            restocks: Vec::new(),
            commands: Vec::new(),
            paused: false,
            dice,
        }
    }

    /// Restocks and pauses at random until it is calm.
    pub(crate) async fn keep(mut self, mut calm: watch::Receiver<bool>) -> Self {
        loop {
            let pause = self.dice.ms(1_000, 3_000);
            tokio::select! {
                _ = calm.wait_for(|calm| *calm) => return self,
                () = sleep(pause) => {}
            }
            if self.dice.percent(70) {
                let units = 1 + self.dice.below(self.initial / 5 + 1);
                self.restock(units).await;
            } else {
                self.pause().await;
                sleep(self.dice.ms(200, 1_000)).await;
                // What does not succeed now does at the end.
                let _ = self.reopen().await;
            }
        }
    }

    /// The units to be had, if the shop can be told.
    pub(crate) async fn available(&self) -> Option<u64> {
        let sale = self.sale.to_string();
        let shown = self.stack.run(&["sale", "show", &sale, "--json"]).await;
        shown.json()?["available"].as_u64()
    }

    /// Puts units in; says whether that is certain.
    pub(crate) async fn restock(&mut self, units: u64) -> bool {
        let (sale, number) = (self.sale.to_string(), units.to_string());
        let restock = ["sale", "restock", &sale, "--units", &number];
        let ran = self.command(&restock).await;
        self.restocks.push(Restock {
            units,
            ended: ran.ended,
            confirmed: ran.succeeded(),
        });
        ran.succeeded()
    }

    async fn pause(&mut self) {
        self.paused = true;
        let sale = self.sale.to_string();
        self.command(&["sale", "pause", &sale]).await;
    }

    async fn command(&mut self, arguments: &[&str]) -> Ran {
        let began = now();
        let ran = self.stack.run(arguments).await;
        self.commands.push((ran.ended - began, ran.succeeded()));
        ran
    }

    /// Ends a pause.
    ///
    /// # Errors
    /// If the shop's command does not succeed for as long as a shop waits.
    pub(crate) async fn reopen(&mut self) -> Result<(), String> {
        const PATIENCE: Duration = Duration::from_secs(25);
        let sale = self.sale.to_string();
        let since = now();
        while self.paused {
            let ran = self.command(&["sale", "resume", &sale]).await;
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
}
