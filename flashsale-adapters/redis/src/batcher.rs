use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flashsale_core::Effect;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use crate::connection::IfDown;
use crate::error::{Fault, Retry};
use crate::limiter::Limiter;

/// Calls of many callers on their way into one script call.
///
/// While a script call is in flight the next batch gathers, so nothing waits for a timer. A batch
/// belongs to a task of its own: callers wait for their part of the answer, and one that is dropped
/// harms nobody.
///
/// One call is in flight at a time. Two were measured: they make batches half as long and gained
/// little with 256 callers and nothing with 32.
#[derive(Debug)]
pub(crate) struct Batcher<I, O> {
    state: Mutex<State<I, O>>,
}

#[derive(Debug)]
struct State<I, O> {
    /// In the order of their deadlines, because all have the same budget.
    waiting: VecDeque<Call<I, O>>,
    /// Whether a task sends them.
    sending: bool,
}

#[derive(Debug)]
struct Call<I, O> {
    items: Vec<I>,
    reply: oneshot::Sender<Result<Vec<O>, Fault>>,
    deadline: Instant,
}

/// How a batch is sent.
pub(crate) trait BatchSender: Send + Sync + 'static {
    type Item: Send + Sync + 'static;
    type Outcome: Send + 'static;

    /// Where the calls wait.
    fn batcher(&self) -> &Batcher<Self::Item, Self::Outcome>;

    /// How many may wait.
    fn limiter(&self) -> &Limiter;

    /// After this time without an answer the batch is sent again.
    fn response_timeout(&self) -> Duration;

    /// Sends the items and returns one outcome for each.
    fn send(
        &self,
        items: &[Self::Item],
        attempt: SendAttempt,
    ) -> impl Future<Output = Result<Vec<Self::Outcome>, Fault>> + Send;
}

/// One of at most three attempts to send a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendAttempt {
    /// Whether an earlier one may have happened.
    pub(crate) is_retry: bool,
    pub(crate) if_down: IfDown,
    pub(crate) deadline: Instant,
}

/// The most items that are merged; a single call may bring more.
const MERGE_MAX: usize = 256;
/// How often a batch is sent again.
const RETRIES_MAX: u32 = 2;
/// The pause before a batch is sent again to a Redis that has refused it for a moment; doubles.
const PAUSE: Duration = Duration::from_millis(10);
/// How long after its deadline a caller is told so, if what sends its batch does not say it.
const GRACE: Duration = Duration::from_millis(2);

impl<I, O> Default for Batcher<I, O> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                sending: false,
            }),
        }
    }
}

impl<I: Send + Sync + 'static, O: Send + 'static> Batcher<I, O> {
    /// Sends items together with those of others, and waits for their outcomes until about
    /// `deadline`. `sender` makes what sends them, if that is not under way.
    pub(crate) async fn submit<S: BatchSender<Item = I, Outcome = O>>(
        &self,
        items: Vec<I>,
        deadline: Instant,
        limiter: &Limiter,
        sender: impl FnOnce() -> S,
    ) -> Result<Vec<O>, Fault> {
        limiter.acquire(items.len())?;
        let (reply, outcomes) = oneshot::channel();
        let start = {
            let mut state = self.lock();
            state.waiting.push_back(Call {
                items,
                reply,
                deadline,
            });
            !std::mem::replace(&mut state.sending, true)
        };
        if start {
            tokio::spawn(send_all(sender()));
        }
        outcomes.await.unwrap_or_else(|_| Err(Fault::abandoned()))
    }

    fn lock(&self) -> MutexGuard<'_, State<I, O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next calls to send together; nothing if there are none, and the sender ends with that.
    fn take(&self, limiter: &Limiter) -> Option<Vec<Call<I, O>>> {
        let mut state = self.lock();
        let mut batch = Vec::new();
        let mut items = 0;
        while let Some(call) = state.waiting.front() {
            let count = call.items.len();
            if items > 0 && items + count > MERGE_MAX {
                break;
            }
            items += count;
            batch.extend(state.waiting.pop_front());
        }
        if batch.is_empty() {
            state.sending = false;
            return None;
        }
        drop(state);
        limiter.release(items);
        Some(batch)
    }
}

/// Sends until nothing waits any more.
async fn send_all<S: BatchSender>(sender: S) {
    let guard = AbortGuard(&sender);
    loop {
        // Whatever is ready to run may have a call for this batch.
        tokio::task::yield_now().await;
        match sender.batcher().take(sender.limiter()) {
            Some(batch) => send(&sender, batch).await,
            None => break,
        }
    }
    std::mem::forget(guard);
}

/// Sees to it that nobody waits for a sender that was aborted half-way.
struct AbortGuard<'a, S: BatchSender>(&'a S);

impl<S: BatchSender> Drop for AbortGuard<'_, S> {
    fn drop(&mut self) {
        let mut state = self.0.batcher().lock();
        state.sending = false;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        let items = waiting.iter().map(|call| call.items.len()).sum();
        self.0.limiter().release(items);
    }
}

/// Where the outcomes of a caller's items go.
struct Reply<O> {
    count: usize,
    to: Option<oneshot::Sender<Result<Vec<O>, Fault>>>,
    deadline: Instant,
}

/// Sends one batch, again if need be, and answers its callers.
async fn send<S: BatchSender>(sender: &S, batch: Vec<Call<S::Item, S::Outcome>>) {
    let (mut items, mut replies) = live(batch);
    let mut unknown = false;
    for tries in 0..=RETRIES_MAX {
        let Some(last) = replies.last() else { return };
        let now = Instant::now();
        let attempt = SendAttempt {
            is_retry: unknown,
            if_down: if unknown { IfDown::Wait } else { IfDown::Fail },
            deadline: last.deadline.min(now + sender.response_timeout()),
        };
        let answer = answer(sender, &items, attempt, &mut replies).await;
        let fault = match answer {
            None => return,
            Some(Ok(outcomes)) => return deliver(replies, outcomes),
            Some(Err(fault)) => fault,
        };
        unknown |= fault.effect == Effect::Unknown;
        let pause = PAUSE * 2_u32.pow(tries);
        let again = match fault.retry {
            Retry::No => false,
            // Without a connection there is none in the next moment either; what may have
            // happened is worth waiting for.
            Retry::AtOnce => unknown,
            Retry::Later => true,
        };
        if !again || tries == RETRIES_MAX {
            return refuse(replies, &fault, unknown);
        }
        if fault.retry == Retry::Later {
            sleep(pause).await;
        }
        forget_gone(&mut items, &mut replies, unknown);
    }
}

/// The items of the callers that still want an answer in time, and where the outcomes go.
fn live<I, O>(batch: Vec<Call<I, O>>) -> (Vec<I>, Vec<Reply<O>>) {
    let now = Instant::now();
    let mut items = Vec::with_capacity(batch.len());
    let mut replies = Vec::with_capacity(batch.len());
    for call in batch {
        if call.reply.is_closed() {
            continue;
        }
        if call.deadline <= now {
            let _ = call.reply.send(Err(Fault::too_late()));
            continue;
        }
        replies.push(Reply {
            count: call.items.len(),
            to: Some(call.reply),
            deadline: call.deadline,
        });
        items.extend(call.items);
    }
    (items, replies)
}

/// The answer to an attempt; nothing if no caller waits for it any more. Callers whose time is over
/// are told so.
async fn answer<S: BatchSender>(
    sender: &S,
    items: &[S::Item],
    attempt: SendAttempt,
    replies: &mut [Reply<S::Outcome>],
) -> Option<Result<Vec<S::Outcome>, Fault>> {
    let begun = Instant::now();
    let mut sending = pin!(sender.send(items, attempt));
    loop {
        let next = replies.iter().find(|reply| reply.to.is_some())?.deadline;
        match timeout_at(next + GRACE, &mut sending).await {
            Ok(answer) => return Some(answer),
            Err(_) => expire(replies, next, begun),
        }
    }
}

/// Tells the callers whose deadline is `until` or before.
fn expire<O>(replies: &mut [Reply<O>], until: Instant, begun: Instant) {
    for reply in replies
        .iter_mut()
        .take_while(|reply| reply.deadline <= until)
    {
        if let Some(to) = reply.to.take() {
            let _ = to.send(Err(Fault::no_answer(begun.elapsed())));
        }
    }
}

/// Leaves out what nobody waits for any more.
fn forget_gone<I, O>(items: &mut Vec<I>, replies: &mut Vec<Reply<O>>, unknown: bool) {
    let now = Instant::now();
    for reply in replies.iter_mut().filter(|reply| reply.deadline <= now) {
        if let Some(to) = reply.to.take() {
            let fault = Fault::too_late();
            let _ = to.send(Err(if unknown { fault.unknown() } else { fault }));
        }
    }
    let mut old = std::mem::take(items).into_iter();
    replies.retain(|reply| {
        let stays = reply.to.as_ref().is_some_and(|to| !to.is_closed());
        let own = old.by_ref().take(reply.count);
        if stays {
            items.extend(own);
        } else {
            own.for_each(drop);
        }
        stays
    });
}

fn deliver<O>(replies: Vec<Reply<O>>, outcomes: Vec<O>) {
    let expected: usize = replies.iter().map(|reply| reply.count).sum();
    if outcomes.len() != expected {
        let fault = Fault::damaged("a script has answered for another number of items");
        return refuse(replies, &fault, true);
    }
    let mut outcomes = outcomes.into_iter();
    for reply in replies {
        let own = outcomes.by_ref().take(reply.count).collect();
        if let Some(to) = reply.to {
            let _ = to.send(Ok(own));
        }
    }
}

fn refuse<O>(replies: Vec<Reply<O>>, fault: &Fault, unknown: bool) {
    for to in replies.into_iter().filter_map(|reply| reply.to) {
        let fault = fault.clone();
        let _ = to.send(Err(if unknown { fault.unknown() } else { fault }));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use flashsale_core::ErrorKind;

    use super::*;

    /// Answers with the items themselves, as slowly and as badly as it is told.
    struct Echo {
        batcher: Batcher<u32, u32>,
        limiter: Limiter,
        takes: Duration,
        /// What the attempts fail with, the first one first.
        faults: Mutex<VecDeque<Fault>>,
        sent: Mutex<Vec<(Vec<u32>, bool)>>,
    }

    impl Echo {
        fn new(takes_ms: u64, faults: impl IntoIterator<Item = Fault>) -> Arc<Self> {
            Arc::new(Self {
                batcher: Batcher::default(),
                limiter: Limiter::new(4),
                takes: Duration::from_millis(takes_ms),
                faults: Mutex::new(faults.into_iter().collect()),
                sent: Mutex::default(),
            })
        }

        /// Submits items that have to be answered within so many milliseconds.
        fn submit(
            self: &Arc<Self>,
            items: &[u32],
            budget_ms: u64,
        ) -> tokio::task::JoinHandle<Result<Vec<u32>, Fault>> {
            let (own, items) = (Arc::clone(self), items.to_vec());
            let deadline = Instant::now() + Duration::from_millis(budget_ms);
            tokio::spawn(async move {
                let sender = || Sender(Arc::clone(&own));
                own.batcher
                    .submit(items, deadline, &own.limiter, sender)
                    .await
            })
        }

        async fn until_sent(&self, batches: usize) {
            while self.sent.lock().unwrap().len() < batches {
                tokio::task::yield_now().await;
            }
        }

        fn sent(&self) -> Vec<(Vec<u32>, bool)> {
            self.sent.lock().unwrap().clone()
        }
    }

    struct Sender(Arc<Echo>);

    impl BatchSender for Sender {
        type Item = u32;
        type Outcome = u32;

        fn batcher(&self) -> &Batcher<u32, u32> {
            &self.0.batcher
        }

        fn limiter(&self) -> &Limiter {
            &self.0.limiter
        }

        fn response_timeout(&self) -> Duration {
            Duration::from_millis(10_000)
        }

        async fn send(&self, items: &[u32], attempt: SendAttempt) -> Result<Vec<u32>, Fault> {
            let sent = (items.to_vec(), attempt.is_retry);
            self.0.sent.lock().unwrap().push(sent);
            sleep(self.0.takes).await;
            let fault = self.0.faults.lock().unwrap().pop_front();
            fault.map_or_else(|| Ok(items.to_vec()), Err)
        }
    }

    fn lost() -> Fault {
        Fault::no_answer(Duration::ZERO)
    }

    #[tokio::test]
    async fn what_comes_while_a_batch_is_in_flight_is_the_next_batch() {
        let echo = Echo::new(50, []);
        let first = echo.submit(&[1], 10_000);
        echo.until_sent(1).await;
        let (second, third) = (echo.submit(&[2, 3], 10_000), echo.submit(&[4], 10_000));
        assert_eq!(first.await.unwrap().unwrap(), [1]);
        assert_eq!(second.await.unwrap().unwrap(), [2, 3]);
        assert_eq!(third.await.unwrap().unwrap(), [4]);
        let batches = [(vec![1], false), (vec![2, 3, 4], false)];
        assert_eq!(echo.sent(), batches);
    }

    #[tokio::test]
    async fn each_caller_is_answered_at_his_own_deadline() {
        let echo = Echo::new(300, []);
        let begun = Instant::now();
        let (hasty, patient) = (echo.submit(&[1], 50), echo.submit(&[2], 10_000));
        let fault = hasty.await.unwrap().unwrap_err();
        let took = begun.elapsed();
        assert!(took < Duration::from_millis(250), "it took {took:?}");
        assert_eq!(
            (fault.kind, fault.effect),
            (ErrorKind::Unavailable, Effect::Unknown)
        );
        assert_eq!(patient.await.unwrap().unwrap(), [2]);
    }

    #[tokio::test]
    async fn who_has_waited_too_long_is_not_sent() {
        let echo = Echo::new(200, []);
        let first = echo.submit(&[1], 10_000);
        echo.until_sent(1).await;
        let late = echo.submit(&[2], 50).await.unwrap().unwrap_err();
        assert_eq!(
            (late.kind, late.effect),
            (ErrorKind::Unavailable, Effect::None)
        );
        first.await.unwrap().unwrap();
        assert_eq!(echo.sent(), [(vec![1], false)]);
    }

    #[tokio::test]
    async fn what_may_have_happened_is_sent_again_twice_at_most() {
        let echo = Echo::new(0, [lost(), lost()]);
        assert_eq!(echo.submit(&[1], 10_000).await.unwrap().unwrap(), [1]);
        let attempts = [(vec![1], false), (vec![1], true), (vec![1], true)];
        assert_eq!(echo.sent(), attempts);

        // A refusal tells nothing about the attempt before it.
        let echo = Echo::new(0, [lost(), Fault::not_connected(None), lost(), lost()]);
        let fault = echo.submit(&[1], 10_000).await.unwrap().unwrap_err();
        assert_eq!(fault.effect, Effect::Unknown);
        assert_eq!(echo.sent().len(), 3);
    }

    #[tokio::test]
    async fn without_a_connection_nobody_waits() {
        let echo = Echo::new(0, [Fault::not_connected(None)]);
        let fault = echo.submit(&[1], 10_000).await.unwrap().unwrap_err();
        assert_eq!(
            (fault.kind, fault.effect),
            (ErrorKind::Unavailable, Effect::None)
        );
        assert_eq!(echo.sent().len(), 1);
    }

    #[tokio::test]
    async fn callers_that_are_gone_are_left_out() {
        let echo = Echo::new(50, [lost()]);
        let (gone, stays) = (echo.submit(&[1], 10_000), echo.submit(&[2], 10_000));
        echo.until_sent(1).await;
        gone.abort();
        assert_eq!(stays.await.unwrap().unwrap(), [2]);
        assert_eq!(echo.sent(), [(vec![1, 2], false), (vec![2], true)]);
    }

    #[tokio::test]
    async fn so_many_may_wait_and_not_one_more() {
        let echo = Echo::new(100, []);
        let first = echo.submit(&[1], 10_000);
        echo.until_sent(1).await;
        let (second, third) = (echo.submit(&[2, 3, 4], 10_000), echo.submit(&[5], 10_000));
        tokio::task::yield_now().await;
        let busy = echo.submit(&[6], 10_000).await.unwrap().unwrap_err();
        assert_eq!((busy.kind, busy.effect), (ErrorKind::Busy, Effect::None));
        for (call, expected) in [(first, vec![1]), (second, vec![2, 3, 4]), (third, vec![5])] {
            assert_eq!(call.await.unwrap().unwrap(), expected);
        }
        assert_eq!(echo.submit(&[6], 10_000).await.unwrap().unwrap(), [6]);
    }
}
