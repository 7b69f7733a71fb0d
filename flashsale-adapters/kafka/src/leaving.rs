use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;

use crate::reading::Native;

/// The longest time that a member takes to leave. If the brokers are away or the group is finding a
/// new order it may not do: then others wait for its session.
const WITHIN: Duration = Duration::from_millis(300);
/// From the moment at which it has no partitions any more to the one at which it has told the
/// brokers, at most.
const TELLING: Duration = Duration::from_millis(100);
/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Gives the partitions of a member up, so that others get them at once.
///
/// A member with a name that is only closed does not leave its group (KIP-345: it may come back), and
/// its partitions would wait for its session. One that unsubscribes leaves as soon as nothing is
/// assigned to it any more, if it is polled meanwhile.
pub(crate) fn leave(consumer: &Native) {
    consumer.unsubscribe();
    let mut until = Instant::now() + WITHIN;
    let mut has_partitions = true;
    while Instant::now() < until {
        // What comes is for the heirs to read.
        let _ = consumer.poll(LOOK);
        if has_partitions && consumer.assignment().is_ok_and(|left| left.count() == 0) {
            has_partitions = false;
            until = until.min(Instant::now() + TELLING);
        }
    }
}
