use super::{Direction, Lane, Lanes, Pace, Speed, now, paced};
use crate::Body;
use crate::body::{BodyError, Duplex};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use proptest::prelude::*;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

/// A thousand nanoseconds for each byte.
const MEGA: u64 = 1_000_000;

/// When each of the pieces passes a bucket that has as many tokens at first as it can hold: those who come first go first,
/// as soon as there is a token for each byte.
fn by_tokens(burst: u64, pieces: &[(u64, u64)]) -> Vec<u64> {
    let (mut now_ns, mut last_ns, mut tokens_ns) = (0, 0, burst * 1_000);
    let mut passed = Vec::new();
    for (gap_ns, bytes) in pieces {
        now_ns += gap_ns;
        let begins_ns = last_ns.max(now_ns);
        tokens_ns = (tokens_ns + begins_ns - last_ns).min(burst * 1_000);
        let missing_ns = (bytes * 1_000).saturating_sub(tokens_ns);
        last_ns = begins_ns + missing_ns;
        tokens_ns = tokens_ns + missing_ns - bytes * 1_000;
        passed.push(last_ns);
    }
    passed
}

proptest! {
    /// Whatever comes whenever: it passes when it would pass a bucket of tokens.
    #[test]
    fn what_comes_passes_when_a_bucket_of_tokens_would_let_it(
        pieces in proptest::collection::vec((0_u64..50_000_000, 1_u64..60_000), 1..100),
        burst in 62_500_u64..500_000,
    ) {
        let (lane, speed) = (Lane::default(), Speed::new(MEGA, burst));
        let mut now_ns = 0;
        let passed: Vec<u64> = pieces
            .iter()
            .map(|(gap_ns, bytes)| {
                now_ns += gap_ns;
                now_ns + lane.pass(speed, *bytes, now_ns)
            })
            .collect();
        prop_assert_eq!(passed, by_tokens(burst, &pieces));
    }
}

fn lanes() -> Arc<Lanes> {
    Arc::new(Lanes::new(now()))
}

fn at(lanes: &Arc<Lanes>, bytes_per_s: u64) -> [Pace; 1] {
    let speed = Speed::new(bytes_per_s, bytes_per_s);
    [Pace { lanes: Arc::clone(lanes), up: Some(speed), down: Some(speed) }]
}

/// Reads a body to its end; how many bytes there were, and how long that took.
async fn read(mut body: Body) -> (usize, Duration) {
    let began = now();
    let mut length = 0;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        length += frame.unwrap().data_ref().map_or(0, Bytes::len);
        assert_eq!(body.is_empty(), body.size_hint().exact() == Some(0));
    }
    (length, began.elapsed())
}

const KB: usize = 1 << 10;

fn of(kilobytes: usize) -> Body {
    Body::full(vec![b'x'; kilobytes * KB])
}

/// Whether it took so long, up to what timers cannot tell.
fn took(took: Duration, expected_ms: u64) {
    let (least, most) = (expected_ms.saturating_sub(2), expected_ms + 2);
    assert!((u128::from(least)..=u128::from(most)).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_more_than_the_burst_takes_its_time_and_what_is_less_takes_none() {
    for direction in [Direction::Up, Direction::Down] {
        let lanes = lanes();
        let (length, time) = read(paced(of(64), &at(&lanes, 16 << 10), direction)).await;
        assert_eq!(length, 64 * KB);
        took(time, 3_000);
        assert!(!lanes.is_rested());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(lanes.is_rested());
        took(read(paced(of(16), &at(&lanes, 16 << 10), direction)).await.1, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn directions_do_not_slow_each_other_down_and_the_slowest_of_several_counts() {
    let both = lanes();
    let paces = at(&both, 16 << 10);
    took(read(paced(of(32), &paces, Direction::Up)).await.1, 1_000);
    let [one] = at(&lanes(), 16 << 10);
    let [slow] = at(&lanes(), 8 << 10);
    took(read(paced(of(16), &[one, slow], Direction::Down)).await.1, 1_000);
    let unbounded = Pace { up: None, ..paces[0].clone() };
    took(read(paced(of(999), &[unbounded], Direction::Up)).await.1, 0);
}

#[tokio::test(start_paused = true)]
async fn who_shares_a_speed_gets_an_even_part_of_it() {
    let lanes = lanes();
    let bodies =
        [64, 64].map(|kilobytes| paced(of(kilobytes), &at(&lanes, 16 << 10), Direction::Down));
    let [first, second] = bodies.map(|body| tokio::spawn(read(body)));
    let (first, second) = (first.await.unwrap().1, second.await.unwrap().1);
    took(first.max(second), 7_000);
    // Who came first had the burst.
    assert!(first.abs_diff(second) < Duration::from_millis(1_200), "{first:?} {second:?}");
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_gives_back_what_it_had_not_used() {
    let lanes = lanes();
    let began = now();
    let mut body = paced(of(64), &at(&lanes, 16 << 10), Direction::Down);
    let mut poll = || Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
    while poll().is_ready() {}
    let waited_for = lanes.down.0.load(Ordering::Relaxed);
    drop(body);
    let left = lanes.down.0.load(Ordering::Relaxed);
    assert_eq!(waited_for - left, 1_000_000_000 / 16, "a piece");
    assert_eq!(began, now(), "no time has passed");
}

/// What comes down while something goes up, in the end with trailers.
struct Both {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
    driven: Arc<AtomicU32>,
}

impl HttpBody for Both {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = self.data.take().map(Frame::data);
        Poll::Ready(frame.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }
}

impl Duplex for Both {
    fn poll_drive(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        match self.driven.fetch_add(1, Ordering::Relaxed) {
            2 => Poll::Ready(Err(BodyError::Idle)),
            _ => Poll::Pending,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_other_direction_moves_while_this_one_waits_and_its_end_is_told() {
    let driven = Arc::new(AtomicU32::new(0));
    let body = Both {
        data: Some(Bytes::from(vec![0; 2_000])),
        trailers: None,
        driven: Arc::clone(&driven),
    };
    let mut body = paced(Body::tunnel(body), &at(&lanes(), 1_000), Direction::Down);
    assert!(body.is_tunnel());
    let mut poll = || Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
    while matches!(poll(), Poll::Ready(Some(Ok(_)))) {}
    assert!(poll().is_pending());
    assert_eq!(driven.load(Ordering::Relaxed), 2);
    assert!(matches!(poll(), Poll::Ready(Some(Err(BodyError::Idle)))));
}

#[tokio::test(start_paused = true)]
async fn trailers_come_after_the_last_piece() {
    let body = Both {
        data: Some(Bytes::from(vec![0; 3_000])),
        trailers: Some(HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())])),
        driven: Arc::new(AtomicU32::new(100)),
    };
    let mut body = paced(Body::duplex(body), &at(&lanes(), 1_000), Direction::Down);
    let began: Instant = now();
    let mut kinds = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        kinds.push(frame.unwrap().is_trailers());
    }
    assert_eq!(kinds.iter().position(|is_trailers| *is_trailers), Some(kinds.len() - 1));
    took(began.elapsed(), 2_000);
}
