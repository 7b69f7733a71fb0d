use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{interval, timeout};

use crate::crowd::Crowds;
use crate::dice::Dice;
use crate::faults::Limits;
use crate::history::now;
use crate::judge::judge;
use crate::options::{Engine, Options};
use crate::report::Report;
use crate::sale::{Plan, Played, Weather};
use crate::soak::Soak;
use crate::stack::Stack;

/// How long a sale may take beyond the time in which users come, whatever happens.
const SALE_GRACE: Duration = Duration::from_secs(150);

/// Does what the options say; whether nothing was wrong.
pub(crate) async fn run(options: &Options) -> bool {
    let seed = options.seed();
    println!("--seed {seed}");
    let mut good = true;
    let engines = options.engines().iter();
    // The embedded engine has no store that can lose anything by itself.
    let engines = engines.filter(|engine| !options.flush || **engine == Engine::Distributed);
    for &engine in engines {
        let mut run = Run::start(options, engine, seed).await;
        let stack = Arc::clone(&run.stack);
        tokio::select! {
            done = run.go() => if done.is_none() {
                run.report.trouble("a sale does not end");
            },
            () = asked_to_end() => {
                // What is dropped with this process would outlive it.
                stack.end();
                return false;
            }
        }
        good &= run.end();
    }
    good
}

/// Waits for Ctrl-C or SIGTERM.
async fn asked_to_end() {
    let mut term = signal(SignalKind::terminate()).unwrap();
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
}

/// A run over one engine.
#[derive(Debug)]
struct Run<'a> {
    options: &'a Options,
    stack: Arc<Stack>,
    crowds: Crowds,
    report: Report,
    watch: tokio::task::JoinHandle<()>,
    seed: u64,
    /// Sales so far.
    number: u64,
}

impl<'a> Run<'a> {
    async fn start(options: &'a Options, engine: Engine, seed: u64) -> Self {
        let began = now();
        let stack = Stack::start(engine).await;
        println!("{engine} engine: started in {:.1?}", now() - began);
        Self {
            options,
            watch: tokio::spawn(watch(Arc::clone(&stack))),
            stack,
            crowds: Crowds::default(),
            report: Report::new(engine, seed),
            seed,
            number: 0,
        }
    }

    async fn go(&mut self) -> Option<()> {
        if self.options.flush {
            self.flush().await
        } else if let Some(minutes) = self.options.soak {
            self.soak(minutes).await
        } else {
            self.storms().await
        }
    }

    /// Sale after sale with faults.
    async fn storms(&mut self) -> Option<()> {
        let until = now() + Duration::from_secs(self.options.minutes * 60);
        let weather = Weather::Storm(Limits {
            losses: self.options.losses,
            only: self.options.target,
            kind: self.options.kind,
        });
        while now() < until
            && (self.report.sales < self.options.sales || self.report.kills < self.options.kills)
        {
            self.sale(self.options.sale_seconds, weather).await?;
        }
        Some(())
    }

    /// Steady load and changes by the shop without faults.
    async fn soak(&mut self, minutes: u64) -> Option<()> {
        const SALE_SECONDS: u64 = 30;
        let soak = Soak::start(&self.stack);
        let until = now() + Duration::from_secs(minutes * 60);
        while now() < until {
            self.sale(SALE_SECONDS, Weather::Calm).await?;
        }
        for growth in soak.end() {
            self.report.trouble(&growth);
        }
        Some(())
    }

    /// Redis loses everything in a rush.
    async fn flush(&mut self) -> Option<()> {
        const USERS: usize = 20_000;
        const UNITS: u64 = 1_000;
        /// More than everybody needs to come.
        const TIME: Duration = Duration::from_secs(90);
        const RATE: u32 = 2_500;
        let mut dice = Dice::new(self.seed, 1);
        let users = self
            .crowds
            .of(USERS, |_, dice| dice.ms(0, 8_000), &mut dice);
        let played = self
            .play(users, UNITS, (TIME, RATE), Weather::Flush)
            .await?;
        let sold = played.books.sold();
        if sold != UNITS {
            let wrong = format!("{sold} of {UNITS} units are sold to {USERS} users");
            self.report.trouble(&wrong);
        }
        Some(())
    }

    async fn sale(&mut self, seconds: u64, weather: Weather) -> Option<Played> {
        let rate = self.options.rate;
        let time = Duration::from_secs(seconds);
        let mut dice = Dice::new(self.seed, (self.number + 1) * 16 + 1);
        let users = self.crowds.come(time, rate, &mut dice);
        // A quarter to two thirds of the users can buy if nobody puts anything in later.
        let initial = users.len() as u64 * (25 + dice.below(40)) / 100;
        self.play(users, initial, (time, rate), weather).await
    }

    async fn play(
        &mut self,
        users: Vec<crate::user::User>,
        initial: u64,
        (time, rate): (Duration, u32),
        weather: Weather,
    ) -> Option<Played> {
        self.number += 1;
        let plan = Plan {
            number: self.number,
            time,
            users,
            initial,
            rate,
            weather,
            seed: self.seed,
        };
        let played = timeout(time + SALE_GRACE, plan.play(&self.stack)).await;
        let played = played.ok()?;
        self.report.add(&self.stack, &played);
        let violations = judge(self.stack.engine, &played);
        self.report.complain(&played, &violations);
        for trouble in self.stack.troubles() {
            self.report.trouble(&trouble);
        }
        Some(played)
    }

    /// Ends everything and prints the figures; whether nothing was wrong.
    fn end(mut self) -> bool {
        self.watch.abort();
        self.stack.end();
        self.report.print();
        self.report.violations() == 0
    }
}

/// Looks whether processes end or panic, and starts again what has ended.
async fn watch(stack: Arc<Stack>) {
    let mut looks = interval(Duration::from_millis(250));
    loop {
        looks.tick().await;
        stack.look();
    }
}
