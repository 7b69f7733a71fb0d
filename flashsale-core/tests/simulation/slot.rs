//! A value on its way from one task to another.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

/// A place for one value that somebody waits for. Closed without a value if all senders are gone.
pub(crate) struct Slot<T>(Arc<Mutex<Place<T>>>);

struct Place<T> {
    value: Option<T>,
    waiter: Option<Waker>,
    closed: bool,
}

/// Fills a [`Slot`]; dropping it closes the slot.
pub(crate) struct Fill<T>(Arc<Mutex<Place<T>>>);

impl<T> Slot<T> {
    pub(crate) fn new() -> (Fill<T>, Self) {
        let place = Arc::new(Mutex::new(Place {
            value: None,
            waiter: None,
            closed: false,
        }));
        (Fill(Arc::clone(&place)), Self(place))
    }

    /// The value, or nothing if there will be none.
    pub(crate) async fn wait(self) -> Option<T> {
        std::future::poll_fn(|context| {
            let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(value) = place.value.take() {
                return Poll::Ready(Some(value));
            }
            if place.closed {
                return Poll::Ready(None);
            }
            place.waiter = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl<T> Fill<T> {
    pub(crate) fn put(self, value: T) {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        place.value = Some(value);
    }
}

impl<T> Drop for Fill<T> {
    fn drop(&mut self) {
        let waiter = {
            let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            place.closed = true;
            place.waiter.take()
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}
