use std::time::Duration;

/// How long delays must be over the target before anything is done about them: the interval of `CoDel` (RFC 8289, 4.3),
/// which bursts may fill and empty a queue in,
const BURST: Duration = Duration::from_secs(1);
/// and after which it is looked again.
const INTERVAL: Duration = Duration::from_millis(100);
/// Delays that are looked at together, at least: one alone may be a pause of the whole machine.
const DELAYS_MIN: u32 = 2;
/// The level at which all of a priority are refused: each priority has as much of the scale.
pub(crate) const WHOLE: u32 = 1_000;
/// What always passes of the highest priority that comes, so that it is seen when it is over.
const PASSES: u32 = 50;
/// By how much the level rises for each time that the target goes into the delay,
const RISE: u32 = 50;
/// and at most.
const RISE_MAX: u32 = 500;
/// By how much it falls where the delay is below half of the target,
const FALL: u32 = 50;
/// and where there is hardly any.
const FALL_FAST: u32 = 100;

/// From how late a worker comes to what is ready for it: how much it refuses. As with `CoDel`, what counts is the
/// least delay within an interval: a queue that empties now and then does what it is there for. Between half of the
/// target and the target nothing changes, nor while the delay goes the right way by itself.
#[derive(Debug, Default)]
pub(crate) struct Sojourn {
    /// The least delay since the interval began.
    least: Option<Duration>,
    count: u32,
    spent: Duration,
    /// What counted in the interval before.
    before: Duration,
    level: u32,
}

impl Sojourn {
    /// Notes a delay, and how long it was since the one before; the level from now on, if an interval is over. `seen`
    /// tells how many requests of each priority came in it, the lowest first.
    pub(crate) fn note(
        &mut self,
        delay: Duration,
        since: Duration,
        target: Duration,
        seen: impl FnOnce() -> [u32; 3],
    ) -> Option<(u32, Duration)> {
        self.least = Some(self.least.map_or(delay, |least| least.min(delay)));
        self.count += 1;
        self.spent += since;
        let interval = if self.level == 0 { BURST } else { INTERVAL };
        if self.spent < interval || self.count < DELAYS_MIN {
            return None;
        }
        let least = self.least.take().unwrap_or_default();
        (self.count, self.spent) = (0, Duration::ZERO);
        self.level = next(self.level, [self.before, least], target, seen());
        self.before = least;
        Some((self.level, least))
    }
}

/// The level after a delay of `now`, which was `before` the interval ago.
fn next(level: u32, [before, now]: [Duration; 2], target: Duration, seen: [u32; 3]) -> u32 {
    // Nobody is counted before anything is refused.
    let is_counted = seen != [0; 3];
    if now > target {
        let times = u32::try_from(now.as_micros() / target.as_micros().max(1)).unwrap_or(u32::MAX);
        let rise = if now < before { 0 } else { RISE.saturating_mul(times).min(RISE_MAX) };
        if !is_counted {
            return level.saturating_add(rise).min(WHOLE);
        }
        return (past_absent(level, seen) + rise).min(most(seen));
    }
    if now < target / 10 {
        // Who refuses nobody any more is done with it.
        return if is_counted { level.saturating_sub(FALL_FAST) } else { 0 };
    }
    let falls = now < target / 2 && now <= before;
    if falls { level.saturating_sub(FALL) } else { level }
}

/// Refusing those of a priority of which nobody comes brings nothing: the level goes on behind it.
fn past_absent(level: u32, seen: [u32; 3]) -> u32 {
    let mut level = level;
    // Of the highest there is nothing behind.
    for (seen, whole) in seen.into_iter().take(2).zip([WHOLE, 2 * WHOLE]) {
        if seen == 0 && (whole - WHOLE..whole).contains(&level) {
            level = whole;
        }
    }
    level
}

/// The highest level that refuses more than those below it.
fn most(seen: [u32; 3]) -> u32 {
    let comes = seen.into_iter().zip([WHOLE, 2 * WHOLE, 3 * WHOLE]).rfind(|(seen, _)| *seen > 0);
    comes.map_or(0, |(_, whole)| whole - PASSES)
}

/// The share of a priority that is refused at a level, of [`WHOLE`].
pub(crate) fn refused(level: u32, priority: usize) -> u32 {
    let below = [0, WHOLE, 2 * WHOLE].get(priority).copied().unwrap_or(2 * WHOLE);
    level.saturating_sub(below).min(WHOLE)
}

#[cfg(test)]
mod tests {
    use super::{Sojourn, WHOLE, next, refused};
    use std::collections::VecDeque;
    use std::time::Duration;

    const TARGET: Duration = Duration::from_millis(100);
    const ALL: [u32; 3] = [9, 9, 9];

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn one_pause_changes_nothing_and_delays_that_last_do() {
        let mut sojourn = Sojourn::default();
        let mut note = |delay: u64| sojourn.note(ms(delay), ms(10 + delay), TARGET, || ALL);
        assert_eq!(note(5_000), None, "a pause of the machine");
        assert_eq!(note(0), Some((0, ms(0))));
        assert_eq!((0..5).find_map(|_| note(150)), None, "it may be a burst");
        assert_eq!(note(250), Some((50, ms(150))), "the least of them counts");
        assert_eq!(note(400), None);
        assert_eq!(note(800), Some((250, ms(400))), "the later, the more");
        assert_eq!(note(300), None);
        assert_eq!(note(300), Some((250, ms(300))), "it gets better by itself");
    }

    #[test]
    fn between_half_of_the_target_and_the_target_nothing_changes() {
        for (before, now, expected) in [
            (0, 101, 1_050),
            (102, 101, 1_000),
            (0, 100, 1_000),
            (0, 50, 1_000),
            (50, 49, 950),
            (48, 49, 1_000),
            (0, 9, 900),
        ] {
            assert_eq!(next(1_000, [ms(before), ms(now)], TARGET, ALL), expected, "{now}");
        }
        assert_eq!(next(2_940, [ms(0), ms(9_000)], TARGET, ALL), 2_950, "some always pass");
        assert_eq!(next(1_940, [ms(0), ms(9_000)], TARGET, [9, 9, 0]), 1_950);
        assert_eq!(next(1_950, [ms(0), ms(0)], TARGET, [0; 3]), 0, "nobody comes");
    }

    #[test]
    fn the_lower_goes_wholly_before_the_higher_begins_to() {
        let shares = |level| [0, 1, 2].map(|priority| refused(level, priority));
        assert_eq!(shares(0), [0, 0, 0]);
        assert_eq!(shares(300), [300, 0, 0]);
        assert_eq!(shares(1_300), [WHOLE, 300, 0]);
        assert_eq!(shares(2_950), [WHOLE, WHOLE, 950]);
    }

    #[test]
    fn priorities_of_which_nobody_comes_are_passed_over() {
        let next = |level, seen| next(level, [ms(0), ms(101)], TARGET, seen);
        assert_eq!(next(0, [0, 9, 9]), 1_050);
        assert_eq!(next(0, [0, 0, 9]), 2_050);
        assert_eq!(next(500, [9, 0, 9]), 550);
        assert_eq!(next(1_000, [9, 0, 9]), 2_050);
        assert_eq!(next(0, [0, 0, 0]), 50, "nobody was counted");
    }

    /// A worker that serves one request in a millisecond, and to which `each_ms` of each priority come. Returns how many
    /// of each were served in the last second, and the longest delay in it.
    fn simulated(sojourn: &mut Sojourn, each_ms: [u32; 3], seconds: u64) -> ([u32; 3], u64) {
        let mut queue: VecDeque<(u64, usize)> = VecDeque::new();
        let (mut level, mut credit, mut seen) = (0, [0; 3], [0; 3]);
        let (mut served, mut longest) = ([0; 3], 0);
        let end_ms = seconds * 1_000;
        for now_ms in 0..end_ms {
            for priority in 0..3 {
                for _ in 0..each_ms[priority] {
                    seen[priority] += u32::from(level > 0);
                    credit[priority] += refused(level, priority);
                    if credit[priority] >= WHOLE {
                        credit[priority] -= WHOLE;
                    } else {
                        queue.push_back((now_ms, priority));
                    }
                }
            }
            let delay_ms = queue.front().map_or(0, |(arrived_ms, _)| now_ms - arrived_ms);
            if let Some((_, priority)) = queue.pop_front()
                && now_ms + 1_000 >= end_ms
            {
                served[priority] += 1;
                longest = longest.max(delay_ms);
            }
            if now_ms % 10 == 0 {
                let counted = seen;
                if let Some((next, _)) = sojourn.note(ms(delay_ms), ms(10), TARGET, || counted) {
                    (level, seen) = (next, [0; 3]);
                }
            }
        }
        (served, longest)
    }

    #[test]
    fn under_five_times_the_load_the_worker_stays_busy_and_what_it_serves_is_fresh() {
        let mut sojourn = Sojourn::default();
        let (served, longest) = simulated(&mut sojourn, [3, 1, 1], 20);
        assert!(served.iter().sum::<u32>() > 900, "{served:?}");
        assert!(served[2] > served[1] && served[1] >= served[0], "{served:?}");
        assert!(longest < 500, "{longest} ms");
        let mut tenths = 0;
        while sojourn.level > 0 {
            (0..10).for_each(|_| {
                sojourn.note(ms(0), ms(10), TARGET, || ALL);
            });
            tenths += 1;
        }
        assert!(tenths <= 30, "{tenths}");
    }

    #[test]
    fn without_priorities_there_is_no_collapse_either() {
        let (served, longest) = simulated(&mut Sojourn::default(), [0, 5, 0], 20);
        assert!(served[1] > 900 && longest < 500, "{served:?} {longest} ms");
    }

    #[test]
    fn a_worker_that_can_bear_its_load_refuses_nobody() {
        let mut sojourn = Sojourn::default();
        let (served, _) = simulated(&mut sojourn, [0, 1, 0], 5);
        assert_eq!((served, sojourn.level), ([0, 1_000, 0], 0));
    }
}
