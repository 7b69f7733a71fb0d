//! A server that is killed more than fifty times while a crowd buys, and asked to leave now and
//! then: nothing that was promised is lost, and nothing is sold that was not there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use support::{Answer, Client, DEADLINE, ServerProcess, Shop};
use tokio::task::JoinSet;

const ROUNDS: usize = 60;
const BUYERS: usize = 16;
const UNITS: u64 = 1_500;
const UNITS_ADDED: u64 = 100;

/// xorshift64* (Vigna 2016): enough to choose moments.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit
    }
}

/// The seed of this run: that of the environment, else the time. Printed, so that a failure can be
/// run again.
fn seed() -> u64 {
    let given = std::env::var("CRASH_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::from(since.subsec_nanos()) << 20 | 1
    });
    println!("CRASH_SEED={seed}");
    seed
}

/// What the crowd has been told.
#[derive(Debug, Default)]
struct Memory {
    /// The next user to try.
    next: AtomicUsize,
    /// The attempt of each user who was told yes.
    accepted: Mutex<HashMap<usize, String>>,
    /// Users whose answer was cut off: they may have bought.
    unanswered: Mutex<Vec<usize>>,
}

fn name(user: usize) -> String {
    format!("user-{user}")
}

impl Memory {
    fn note(&self, user: usize, answer: &Answer) {
        match (answer.status, answer.code()) {
            (200, _) => {
                assert_eq!(
                    answer.data("status"),
                    "SUCCESS",
                    "the engine decides at once"
                );
                let attempt = answer.data("attemptId").to_owned();
                let mut accepted = self.accepted.lock().unwrap();
                let first = accepted.entry(user).or_insert_with(|| attempt.clone());
                assert_eq!(*first, attempt, "{user} was given two attempts");
            }
            (409, "SOLD_OUT") => {
                let accepted = self.accepted.lock().unwrap();
                assert!(
                    !accepted.contains_key(&user),
                    "{user} had bought: {answer:?}"
                );
            }
            _ => panic!("{user}: {answer:?}"),
        }
    }

    /// Buys for one new user after the other, until the connection breaks.
    async fn shop_until_cut(&self, address: SocketAddr) {
        let Ok(mut client) = Client::connect(address).await else {
            return;
        };
        loop {
            let user = self.next.fetch_add(1, Ordering::Relaxed);
            match client.attempt(1, &Shop::token(&name(user))).await {
                Ok(answer) => self.note(user, &answer),
                Err(_) => {
                    self.unanswered.lock().unwrap().push(user);
                    return;
                }
            }
        }
    }

    /// Lets users try once more, over as many connections as there are buyers. Those whose answer
    /// is cut off again remain unanswered.
    async fn again(self: &Arc<Self>, address: SocketAddr, users: Vec<usize>) {
        let mut buyers = JoinSet::new();
        for some in users.chunks(users.len().div_ceil(BUYERS).max(1)) {
            let (memory, some) = (Arc::clone(self), some.to_vec());
            buyers.spawn(async move {
                let mut client = Client::connect(address).await?;
                for user in some {
                    let answer = client.attempt(1, &Shop::token(&name(user))).await?;
                    memory.note(user, &answer);
                }
                io::Result::Ok(())
            });
        }
        while let Some(ended) = buyers.join_next().await {
            ended.unwrap().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_fifty_times_it_keeps_every_promise() {
    let mut dice = Dice(seed());
    let shop = Shop::new();
    shop.open_sale("Lamp", UNITS);
    let memory = Arc::new(Memory::default());

    for round in 0..ROUNDS {
        if round % 5 == 4 {
            // Killed while it restores what the one before has left.
            let mut server = ServerProcess::spawn(&mut shop.serve_command());
            tokio::time::sleep(Duration::from_micros(dice.below(30_000))).await;
            server.kill();
        }
        let mut server = shop.serve();
        // Whoever got no answer asks again, as a buyer would; half of them only, so that some
        // attempts are asked for again much later.
        let unanswered = {
            let mut all = memory.unanswered.lock().unwrap();
            let half = all.len() / 2;
            all.split_off(half)
        };
        memory.again(server.address, unanswered).await;

        let mut crowd = JoinSet::new();
        for _ in 0..BUYERS {
            let (memory, address) = (Arc::clone(&memory), server.address);
            crowd.spawn(async move { memory.shop_until_cut(address).await });
        }
        // Some changes of the sale meet the kill too; either they are made or they are not.
        let units = UNITS_ADDED.to_string();
        let mut restock = shop.command(&["sale", "restock", "1", "--units", &units]);
        restock.stdout(Stdio::null()).stderr(Stdio::null());
        let restock = (round % 5 == 0).then(|| restock.spawn().unwrap());

        let moment = Duration::from_micros(dice.below(120_000));
        tokio::time::sleep(moment).await;
        if round % 6 == 5 {
            server.signal(Signal::TERM);
            assert_eq!(
                server.wait_for_end().code(),
                Some(0),
                "asked to leave under load"
            );
        } else {
            server.kill();
        }
        let cut = async {
            while let Some(ended) = crowd.join_next().await {
                ended.unwrap()
            }
        };
        tokio::time::timeout(DEADLINE, cut).await.unwrap();
        if let Some(mut restock) = restock {
            restock.wait().unwrap();
        }
    }

    let mut server = shop.serve();
    let unanswered = std::mem::take(&mut *memory.unanswered.lock().unwrap());
    memory.again(server.address, unanswered).await;
    let accepted = memory.accepted.lock().unwrap().clone();
    memory
        .again(server.address, accepted.keys().copied().collect())
        .await;
    let mut client = Client::connect(server.address).await.unwrap();
    for user in accepted.keys() {
        let token = Shop::token(&name(*user));
        let status = client.get("/api/orders/status/1", &token).await.unwrap();
        assert_eq!(status.data("status"), "SUCCESS", "{user}");
    }

    let tried = memory.next.load(Ordering::Relaxed);
    println!("{tried} users tried, {} of them bought", accepted.len());
    for running in [true, false] {
        let report = shop.json(&["audit", "1", "--json"]);
        assert_eq!(report["verdict"], "EXACT", "{report}");
        assert_eq!(report["orders"], accepted.len(), "running: {running}");
        assert!(
            report["sold"].as_u64() <= report["stock"].as_u64(),
            "{report}"
        );
        if running {
            server.kill();
        }
    }
}
