use super::{Adaptive, Sign};
use crate::spec::AdaptiveSpec;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

const SPEC: AdaptiveSpec = AdaptiveSpec { min: 4, max: 1_000 };
const SECOND_US: u64 = 1_000_000;

/// A backend that works on so many requests at a time, and has the others wait.
#[derive(Clone, Copy)]
struct Backend {
    slots: usize,
    service_us: u64,
    /// Whether it says that there is too much instead, from so many on.
    refuses_from: usize,
    /// Whether it says so to one in so many whatever else it has to do; zero says to none.
    refuses_each: u64,
}

const BACKEND: Backend =
    Backend { slots: 50, service_us: 20_000, refuses_from: usize::MAX, refuses_each: 0 };

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives,
    /// Something sent at that time is answered.
    Done {
        sent_us: u64,
    },
    /// As is that something sent then is too much.
    Refuses {
        sent_us: u64,
    },
}

/// What happened in one second.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    answered: u64,
    shed: u64,
    slowest_us: u64,
    /// The lowest and the highest limit in force.
    lowest: u32,
    highest: u32,
}

/// Requests that come whatever happens to others, a limit that turns away what is too much, and a backend.
struct World {
    adaptive: Adaptive,
    backend: Backend,
    now_us: u64,
    random: u64,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    waiting: VecDeque<u64>,
    busy: usize,
    in_flight: u32,
    sent: u64,
}

impl World {
    fn new(backend: Backend) -> Self {
        Self {
            adaptive: Adaptive::new(SPEC),
            backend,
            now_us: 0,
            random: 1,
            events: BinaryHeap::new(),
            waiting: VecDeque::new(),
            busy: 0,
            in_flight: 0,
            sent: 0,
        }
    }

    /// Below `bound`, the same in each run.
    fn draw(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % bound
    }

    fn at(&mut self, in_us: u64, event: Event) {
        self.events.push(Reverse((self.now_us + in_us, event)));
    }

    /// So many requests a second for so many seconds.
    fn run(&mut self, per_second: u64, seconds: u64) -> Vec<Second> {
        let end_us = self.now_us + seconds * SECOND_US;
        let began_us = self.now_us;
        let mut past = vec![Second { lowest: u32::MAX, ..Second::default() }; index(seconds)];
        if per_second > 0 {
            self.at(0, Event::Arrives);
        }
        while let Some(Reverse((at_us, event))) = self.events.pop() {
            if at_us >= end_us {
                self.events.push(Reverse((at_us, event)));
                break;
            }
            self.now_us = at_us;
            let second = &mut past[index((at_us - began_us) / SECOND_US)];
            let limit = self.adaptive.limit(SPEC);
            second.lowest = second.lowest.min(limit);
            second.highest = second.highest.max(limit);
            match event {
                Event::Arrives => {
                    if self.in_flight < limit {
                        self.send();
                    } else {
                        second.shed += 1;
                        self.adaptive.found_none();
                    }
                    let gap_us = SECOND_US / per_second;
                    let in_us = gap_us / 2 + self.draw(gap_us + 1);
                    self.at(in_us, Event::Arrives);
                }
                Event::Done { sent_us } => {
                    second.answered += 1;
                    second.slowest_us = second.slowest_us.max(at_us - sent_us);
                    self.busy -= 1;
                    self.in_flight -= 1;
                    self.adaptive.note(SPEC, Sign::Took, (sent_us, at_us));
                    self.work();
                }
                Event::Refuses { sent_us } => {
                    self.in_flight -= 1;
                    self.adaptive.note(SPEC, Sign::Refused, (sent_us, at_us));
                }
            }
        }
        self.events.retain(|Reverse((_, event))| *event != Event::Arrives);
        self.now_us = end_us;
        past
    }

    fn send(&mut self) {
        self.in_flight += 1;
        self.adaptive.entered(self.in_flight);
        self.sent += 1;
        let each = self.backend.refuses_each;
        let is_singled_out = each > 0 && self.sent.is_multiple_of(each);
        if is_singled_out || self.in_flight as usize > self.backend.refuses_from {
            self.at(1_000, Event::Refuses { sent_us: self.now_us });
            return;
        }
        self.waiting.push_back(self.now_us);
        self.work();
    }

    fn work(&mut self) {
        while self.busy < self.backend.slots
            && let Some(sent_us) = self.waiting.pop_front()
        {
            self.busy += 1;
            let service_us = self.backend.service_us;
            let took_us = service_us * 9 / 10 + self.draw(service_us / 5);
            self.at(took_us, Event::Done { sent_us });
        }
    }

    fn limit(&self) -> u32 {
        self.adaptive.limit(SPEC)
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

/// Whether a backend that can answer so many got nearly as many all the time, and none waited there for long.
fn assert_used(past: &[Second], capacity: u64, service_us: u64) {
    for second in past {
        assert!(second.answered * 10 > capacity * 9, "{second:?}");
        assert!(second.slowest_us < service_us * 2, "{second:?}");
    }
}

#[test]
fn the_limit_is_what_the_backend_can_work_on() {
    let mut world = World::new(BACKEND);
    let past = world.run(12_500, 20);
    assert_used(&past[1..], 2_500, 20_000);
    let highest = past[1..].iter().map(|second| second.highest).max();
    assert!(highest < Some(85), "{past:?}");
    assert!(past.iter().all(|second| second.lowest >= 20), "{past:?}");
}

#[test]
fn an_overload_that_lasts_does_not_make_its_long_times_look_normal() {
    let mut world = World::new(Backend { slots: 10, ..BACKEND });
    let past = world.run(1_500, 300);
    assert_used(&past[15..], 500, 22_000);
    assert!(past[15..].iter().all(|second| second.highest < 20), "{past:?}");
}

#[test]
fn a_backend_that_becomes_slower_for_good_is_used_as_it_is() {
    let mut world = World::new(BACKEND);
    world.run(12_500, 5);
    world.backend.service_us = 60_000;
    let past = world.run(4_000, 60);
    assert_used(&past[5..], 833, 60_000);
    assert!(past[5..].iter().all(|second| second.highest < 95), "{past:?}");
    world.backend.service_us = 20_000;
    assert_used(&world.run(12_500, 20)[4..], 2_500, 20_000);
}

#[test]
fn a_backend_that_gets_more_room_is_used_as_it_is() {
    let mut world = World::new(Backend { slots: 10, ..BACKEND });
    world.run(3_000, 10);
    world.backend.slots = 100;
    assert_used(&world.run(8_000, 20)[12..], 5_000, 20_000);
}

#[test]
fn nothing_is_shed_while_there_are_few_even_if_they_become_slow() {
    let mut world = World::new(BACKEND);
    world.run(12_500, 5);
    let limit = world.limit();
    world.backend.service_us = 50_000;
    let past = world.run(200, 30);
    // Those of the rush had to be answered first.
    assert!(past[1..].iter().all(|second| second.shed == 0), "{past:?}");
    world.run(0, 3_600);
    assert!(world.limit() >= limit.min(20), "{}", world.limit());
    let past = world.run(200, 5);
    assert!(past.iter().all(|second| second.shed == 0), "{past:?}");
}

#[test]
fn after_an_hour_in_which_nobody_came_the_limit_is_as_it_was() {
    let mut world = World::new(BACKEND);
    world.run(12_500, 5);
    let limit = world.limit();
    world.run(0, 3_600);
    assert_eq!(world.limit(), limit);
    assert_used(&world.run(12_500, 3), 2_450, 20_000);
}

#[test]
fn a_pause_of_the_backend_takes_no_longer_to_get_over_than_it_lasted() {
    let mut world = World::new(BACKEND);
    world.run(12_500, 5);
    world.backend.service_us = 1_000_000;
    world.run(12_500, 2);
    world.backend.service_us = 20_000;
    assert_used(&world.run(12_500, 20)[4..], 2_500, 20_000);
}

#[test]
fn the_limit_keeps_to_its_bounds() {
    let mut world = World::new(Backend { slots: 1, ..BACKEND });
    let past = world.run(1_000, 60);
    assert!(past.iter().all(|second| second.lowest >= 4), "{past:?}");
    let mut world = World::new(Backend { slots: 5_000, ..BACKEND });
    let past = world.run(100_000, 10);
    assert!(past.iter().all(|second| second.highest <= 1_000), "{past:?}");
    assert_eq!(past[9].highest, 1_000, "all that is allowed is used");
}

#[test]
fn a_backend_that_says_there_is_too_much_is_believed() {
    let mut world = World::new(Backend { refuses_from: 30, ..BACKEND });
    let past = world.run(12_500, 20);
    assert!(past[3..].iter().all(|second| second.highest < 45), "{past:?}");
    assert!(past[3..].iter().all(|second| second.answered > 1_100), "{past:?}");
}

#[test]
fn refusals_that_one_caller_brings_about_leave_others_what_they_use() {
    let mut world = World::new(Backend { service_us: 300_000, ..BACKEND });
    world.run(50, 5);
    world.backend.refuses_each = 5;
    let past = world.run(50, 60);
    let answered: u64 = past[5..].iter().map(|second| second.answered).sum();
    assert!(answered * 100 > 55 * 40 * 70, "{answered} of {}: {past:?}", 55 * 40);
}
