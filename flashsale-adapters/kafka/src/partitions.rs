use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Chooses the partitions of batches: one after the other, and none that does not answer while
/// another one does.
///
/// The client sends each partition's messages in a request of their own, so messages that are
/// spread over all partitions travel in tiny requests.
#[derive(Debug, Default)]
pub(crate) struct Partitions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// None as long as nobody knows how many there are.
    partitions: Vec<Partition>,
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Partition {
    /// Batches that are neither delivered nor given up.
    open: usize,
    /// When it last took a batch while none was open, or was done with one.
    heard: Instant,
}

/// A partition that leaves its batches open for so long is silent.
const SILENT_AFTER: Duration = Duration::from_millis(100);

impl Partitions {
    /// Learns how many there are.
    pub(crate) fn learn(&self, count: usize) {
        let fresh = Partition {
            open: 0,
            heard: Instant::now(),
        };
        self.lock().partitions.resize(count, fresh);
    }

    /// The partition of the next batch, which is open from now on. Nothing if the client has to
    /// choose, for each message by itself.
    pub(crate) fn choose(&self) -> Option<i32> {
        let now = Instant::now();
        let mut state = self.lock();
        let State { partitions, next } = &mut *state;
        let count = partitions.len();
        let in_turn = (0..count).map(|step| (*next + step) % count);
        // The first of the least.
        let index = in_turn.min_by_key(|index| partitions[*index].reluctance(now))?;
        *next = index + 1;
        let partition = &mut partitions[index];
        if partition.open == 0 {
            partition.heard = now;
        }
        partition.open += 1;
        i32::try_from(index).ok()
    }

    /// A batch for this partition is delivered or given up.
    pub(crate) fn close(&self, partition: i32) {
        let mut state = self.lock();
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        // There may be fewer than there were.
        if let Some(partition) = state.partitions.get_mut(index) {
            partition.open = partition.open.saturating_sub(1);
            partition.heard = Instant::now();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Partition {
    /// The less, the rather it is chosen. What waits at a silent partition is what tries it.
    fn reluctance(&self, now: Instant) -> (bool, usize) {
        let silent = self.open > 0 && now.duration_since(self.heard) >= SILENT_AFTER;
        (silent, self.open)
    }
}

#[cfg(test)]
mod tests {
    use super::Partitions;

    fn of(count: usize) -> Partitions {
        let partitions = Partitions::default();
        partitions.learn(count);
        partitions
    }

    #[test]
    fn batches_go_to_one_partition_after_the_other() {
        let partitions = of(3);
        let chosen = [(); 7].map(|()| {
            let chosen = partitions.choose();
            chosen
                .into_iter()
                .for_each(|chosen| partitions.close(chosen));
            chosen
        });
        assert_eq!(chosen, [0, 1, 2, 0, 1, 2, 0].map(Some));
    }

    #[test]
    fn a_partition_that_keeps_its_batch_is_left_until_it_is_done() {
        let partitions = of(3);
        assert_eq!(partitions.choose(), Some(0));
        for other in [1, 2, 1, 2] {
            assert_eq!(partitions.choose(), Some(other));
            partitions.close(other);
        }
        partitions.close(0);
        assert_eq!(partitions.choose(), Some(0));
    }

    #[test]
    fn the_client_chooses_while_nobody_knows_the_partitions() {
        let partitions = Partitions::default();
        assert_eq!(partitions.choose(), None);
        partitions.learn(2);
        assert_eq!(partitions.choose(), Some(0));
        partitions.learn(0);
        partitions.close(0);
        assert_eq!(partitions.choose(), None);
    }
}
