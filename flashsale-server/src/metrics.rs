use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use flashsale_core::ports::{Metric, Recorder};
use poem::http::{Method, StatusCode};

/// Counts what the services report and what requests get for an answer, and shows it in the
/// Prometheus text format.
///
/// Clones share the counts; two applications in one process have one each. All labels are from
/// closed sets and every series is an atomic of its own, so counting never allocates or waits, and
/// nothing has to be tidied up when nobody scrapes.
///
/// ```
/// use flashsale_core::ports::{Metric, Recorder};
/// use flashsale_server::Metrics;
///
/// let metrics = Metrics::new();
/// metrics.count(Metric::Accepted, 2);
/// assert!(metrics.render().contains("flashsale_events_total{event=\"accepted\"} 2"));
/// ```
#[derive(Clone, Debug)]
pub struct Metrics {
    counts: Arc<Counts>,
}

#[derive(Debug)]
struct Counts {
    reported: [AtomicU64; Metric::ALL.len()],
    /// Those of each route, and of requests to none of them; there once the routes are known.
    requests: OnceLock<Vec<RouteCounts>>,
}

#[derive(Debug)]
struct RouteCounts {
    path: &'static str,
    answers: [[AtomicU64; STATUSES.len() + 1]; METHODS.len() + 1],
    durations: Durations,
}

#[derive(Debug)]
struct Durations {
    /// Requests that took at most the bound of the same index, and one for all others.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// A request and its answer.
pub(crate) struct RequestRecord<'a> {
    /// The number of the route among those that were named; nothing if it was to none.
    pub(crate) route: Option<usize>,
    pub(crate) method: &'a Method,
    pub(crate) status: StatusCode,
    pub(crate) took: Duration,
}

const METHODS: [Method; 4] = [Method::GET, Method::POST, Method::HEAD, Method::OPTIONS];
const STATUSES: [u16; 16] = [
    200, 201, 204, 400, 401, 403, 404, 405, 408, 409, 413, 415, 429, 500, 503, 504,
];
/// Upper bounds in microseconds, from 100 µs to 10 s.
const BOUNDS_US: [u64; 13] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    10_000_000,
];

impl Metrics {
    /// Counts that are all 0.
    pub fn new() -> Self {
        let counts = Counts {
            reported: std::array::from_fn(|_| AtomicU64::new(0)),
            requests: OnceLock::new(),
        };
        Self {
            counts: Arc::new(counts),
        }
    }

    /// Says what the routes are whose requests are recorded. The first who says it is heard.
    pub(crate) fn name_routes(&self, paths: impl FnOnce() -> Vec<&'static str>) {
        self.counts.requests.get_or_init(|| {
            let paths = paths().into_iter().chain(["unmatched"]);
            paths.map(RouteCounts::new).collect()
        });
    }

    /// All counts in the Prometheus text format, version 0.0.4.
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(8 * 1024);
        self.write(&mut text)
            .expect("writing to a string never fails");
        text
    }

    /// Counts a request and its answer.
    pub(crate) fn record(&self, record: &RequestRecord<'_>) {
        let Some((unmatched, routes)) = self.counts.requests.get().and_then(|all| all.split_last())
        else {
            return;
        };
        let route = record.route.and_then(|number| routes.get(number));
        let counts = route.unwrap_or(unmatched);
        let method = METHODS.iter().position(|method| method == record.method);
        let status = record.status.as_u16();
        let status = STATUSES.iter().position(|known| *known == status);
        counts.answers[method.unwrap_or(METHODS.len())][status.unwrap_or(STATUSES.len())]
            .fetch_add(1, Ordering::Relaxed);

        let took_us = u64::try_from(record.took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < took_us);
        counts.durations.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        counts
            .durations
            .sum_us
            .fetch_add(took_us, Ordering::Relaxed);
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);

        writeln!(
            text,
            "# HELP flashsale_events_total What the services report."
        )?;
        writeln!(text, "# TYPE flashsale_events_total counter")?;
        for (metric, count) in Metric::ALL.iter().zip(&self.counts.reported) {
            let (name, count) = (metric.name(), load(count));
            writeln!(text, "flashsale_events_total{{event=\"{name}\"}} {count}")?;
        }

        writeln!(text, "# HELP http_requests_total Answered requests.")?;
        writeln!(text, "# TYPE http_requests_total counter")?;
        let routes = self.counts.requests.get().map_or(&[][..], Vec::as_slice);
        for counts in routes {
            let route = counts.path;
            for (at, statuses) in counts.answers.iter().enumerate() {
                let method = METHODS.get(at).map_or("other", Method::as_str);
                for (at, count) in statuses.iter().enumerate() {
                    let count = load(count);
                    if count == 0 {
                        continue;
                    }
                    write!(
                        text,
                        "http_requests_total{{route=\"{route}\",method=\"{method}\",status=\""
                    )?;
                    match STATUSES.get(at) {
                        Some(status) => write!(text, "{status}")?,
                        None => write!(text, "other")?,
                    }
                    writeln!(text, "\"}} {count}")?;
                }
            }
        }

        writeln!(
            text,
            "# HELP http_request_duration_seconds From the request's head to the answer's."
        )?;
        writeln!(text, "# TYPE http_request_duration_seconds histogram")?;
        for RouteCounts {
            path: route,
            durations,
            ..
        } in routes
        {
            let counts: Vec<u64> = durations.buckets.iter().map(load).collect();
            let all: u64 = counts.iter().sum();
            if all == 0 {
                continue;
            }
            let name = "http_request_duration_seconds";
            let mut so_far = 0;
            for (bound_us, count) in BOUNDS_US.iter().zip(&counts) {
                so_far += count;
                let bound = *bound_us as f64 / 1e6;
                writeln!(
                    text,
                    "{name}_bucket{{route=\"{route}\",le=\"{bound}\"}} {so_far}"
                )?;
            }
            writeln!(text, "{name}_bucket{{route=\"{route}\",le=\"+Inf\"}} {all}")?;
            let sum = load(&durations.sum_us) as f64 / 1e6;
            writeln!(text, "{name}_sum{{route=\"{route}\"}} {sum}")?;
            writeln!(text, "{name}_count{{route=\"{route}\"}} {all}")?;
        }
        Ok(())
    }
}

impl RouteCounts {
    fn new(path: &'static str) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            path,
            answers: std::array::from_fn(|_| std::array::from_fn(|_| zero())),
            durations: Durations {
                buckets: std::array::from_fn(|_| zero()),
                sum_us: zero(),
            },
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder for Metrics {
    fn count(&self, metric: Metric, count: u64) {
        let reported = &self.counts.reported[metric as usize];
        reported.fetch_add(count, Ordering::Relaxed);
    }
}
