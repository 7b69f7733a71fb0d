use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// A port of 127.0.0.1 that nobody listens on, and that this process has not given out before.
pub(crate) fn free_port() -> u16 {
    free_port_with(&[])
}

/// A free port that has free neighbours at these distances.
pub(crate) fn free_port_with(distances: &[u16]) -> u16 {
    /// Below the range that systems hand out to clients, so that no connection takes it meanwhile.
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 9_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes of one test run start at different places.
    let start = (std::process::id() as u16).wrapping_mul(97);
    for _ in 0..COUNT {
        let step = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + step % COUNT;
        let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free(port) && distances.iter().all(|distance| is_free(port + distance)) {
            return port;
        }
    }
    panic!("no port is free");
}
