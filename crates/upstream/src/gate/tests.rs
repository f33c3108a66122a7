use super::{Arrival, Asker, Gate, Place, Turn, Waiting};
use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};
use proptest::{prop_assert, prop_assert_eq};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use traffic::plan::Priority;

fn gate() -> Arc<Gate> {
    Arc::new(Gate::new())
}

fn place(turn: Turn) -> Place {
    match turn {
        Turn::Place(place) => place,
        _ => panic!("there was no place"),
    }
}

/// Somebody of whom nothing is special.
fn one() -> Arrival<'static> {
    who(Priority::Normal, "one")
}

fn who(priority: Priority, consumer: &str) -> Arrival<'_> {
    Arrival { priority, from: Asker::Consumer(consumer), now_us: 0 }
}

type Looking = Pin<Box<dyn Future<Output = Option<Place>>>>;

fn wait(turn: Turn) -> Looking {
    match turn {
        Turn::Wait(waiting) => Box::pin(waiting.place()),
        _ => panic!("there was no line"),
    }
}

fn look(waiting: &mut Looking) -> Option<Place> {
    match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(place) => Some(place.expect("nobody is displaced here")),
        Poll::Pending => None,
    }
}

fn is_displaced(waiting: &mut Looking) -> bool {
    let looked = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    matches!(looked, Poll::Ready(None))
}

#[test]
fn a_place_that_is_given_back_goes_to_whoever_waited_longest() {
    let gate = gate();
    let first = place(gate.enter(1, 2, one));
    let (mut second, mut third) = (wait(gate.enter(1, 2, one)), wait(gate.enter(1, 2, one)));
    assert!(matches!(gate.enter(1, 2, one), Turn::Full));
    assert!(look(&mut second).is_none());
    drop(first);
    assert!(look(&mut third).is_none());
    let second = look(&mut second).unwrap();
    assert!(matches!(gate.enter(1, 2, one), Turn::Wait(_)), "nobody passes those who wait");
    drop(second);
    assert!(look(&mut third).is_some());
    assert_eq!((gate.taken(), gate.waiting()), (0, 0));
}

#[test]
fn whoever_leaves_the_line_gives_its_turn_to_the_next() {
    let gate = gate();
    let first = place(gate.enter(1, 3, one));
    let (called, mut next) = (wait(gate.enter(1, 3, one)), wait(gate.enter(1, 3, one)));
    let gone = wait(gate.enter(1, 3, one));
    drop(gone);
    assert_eq!(gate.waiting(), 2);
    drop(first);
    drop(called);
    assert!(look(&mut next).is_some(), "the one before was called and never came");
    assert_eq!((gate.taken(), gate.waiting()), (0, 0));
}

#[test]
fn more_places_let_in_who_waits_and_fewer_are_reached_in_time() {
    let gate = gate();
    let held = [place(gate.enter(2, 9, one)), place(gate.enter(2, 9, one))];
    let mut waiting = [wait(gate.enter(2, 9, one)), wait(gate.enter(2, 9, one))];
    gate.limit(4);
    let more: Vec<Place> = waiting.iter_mut().filter_map(look).collect();
    assert_eq!((more.len(), gate.taken()), (2, 4));
    let mut last = wait(gate.enter(1, 9, one));
    drop((held, more));
    let _one = look(&mut last).unwrap();
    assert_eq!(gate.taken(), 1);
    assert!(matches!(gate.enter(1, 0, one), Turn::Full));
}

/// Gives places back one by one, and tells who got them.
fn order(held: Place, line: &mut Vec<(&'static str, Looking)>) -> Vec<&'static str> {
    let (mut held, mut order) = (Some(held), Vec::new());
    while held.take().is_some() {
        let next = line.iter_mut().position(|(name, waiting)| {
            held = look(waiting);
            if held.is_some() {
                order.push(*name);
            }
            held.is_some()
        });
        if let Some(next) = next {
            drop(line.remove(next));
        }
    }
    order
}

#[test]
fn the_highest_priority_goes_first_and_equals_take_turns() {
    let gate = gate();
    let held = place(gate.enter(1, 99, one));
    let mut line = Vec::new();
    let many = [(Priority::Low, "low"), (Priority::Normal, "greedy"), (Priority::Normal, "greedy")];
    let few = [(Priority::Normal, "modest"), (Priority::High, "high")];
    for (priority, name) in many.into_iter().chain(many).chain(few) {
        line.push((name, wait(gate.enter(1, 99, || who(priority, name)))));
    }
    let order = order(held, &mut line);
    // Two consumers share a list once in a while.
    let fair = ["high", "greedy", "modest", "greedy", "greedy", "greedy", "low", "low"];
    let shared = ["high", "greedy", "greedy", "greedy", "greedy", "modest", "low", "low"];
    assert!(order == fair || order == shared, "{order:?}");
    assert_eq!((gate.taken(), gate.waiting()), (0, 0));
}

#[test]
fn a_thousand_requests_of_one_consumer_hardly_delay_the_only_one_of_another() {
    let names: Vec<String> = (0..100).map(|number| format!("modest {number}")).collect();
    let served_soon = names.iter().filter(|modest| {
        let gate = gate();
        let held = place(gate.enter(1, 1_000, one));
        let mut greedy: Vec<Looking> = (0..1_000)
            .map(|_| wait(gate.enter(1, 1_000, || who(Priority::Normal, "greedy"))))
            .collect();
        // The queue is full: one of the greedy consumer makes room.
        let modest = gate.enter(1, 1_000, || who(Priority::Normal, modest));
        let Turn::Wait(modest) = modest else { return false };
        let mut modest: Looking = Box::pin(modest.place());
        assert!(is_displaced(greedy.last_mut().unwrap()));
        greedy.pop();
        drop(held);
        let first = greedy.iter_mut().find_map(look);
        drop(first);
        look(&mut modest).is_some()
    });
    let count = served_soon.count();
    assert!(count > 90, "{count} of 100; one in 256 shares the list of the greedy one");
}

#[test]
fn in_a_full_line_the_lowest_is_displaced_by_whoever_is_above_it() {
    let gate = gate();
    let _held = place(gate.enter(1, 2, one));
    let mut low = wait(gate.enter(1, 2, || who(Priority::Low, "a")));
    let mut normal = wait(gate.enter(1, 2, || who(Priority::Normal, "b")));
    assert!(matches!(gate.enter(1, 2, || who(Priority::Low, "a")), Turn::Full), "no better right");
    let mut high = wait(gate.enter(1, 2, || who(Priority::High, "c")));
    assert!(is_displaced(&mut low) && look(&mut normal).is_none());
    let mut higher = wait(gate.enter(1, 2, || who(Priority::High, "d")));
    assert!(is_displaced(&mut normal) && look(&mut high).is_none() && look(&mut higher).is_none());
    assert!(matches!(gate.enter(1, 2, || who(Priority::Normal, "e")), Turn::Full));
    assert_eq!((gate.taken(), gate.waiting()), (1, 2));
}

#[test]
fn whoever_is_displaced_and_leaves_without_looking_gives_nothing_back() {
    let gate = gate();
    let _held = place(gate.enter(1, 1, one));
    let Turn::Wait(low) = gate.enter(1, 1, || who(Priority::Low, "a")) else { panic!("no line") };
    let _high = wait(gate.enter(1, 1, || who(Priority::High, "b")));
    drop(low);
    assert_eq!((gate.taken(), gate.waiting()), (1, 1));
}

#[derive(Clone, Debug)]
enum Step {
    Enter(usize, u8),
    /// Somebody gives a place back.
    Leave(usize),
    /// Somebody in the line looks whether it was called.
    Look(usize),
    /// Somebody in the line goes away.
    GiveUp(usize),
    Limit(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize, 0..5_u8).prop_map(|(priority, consumer)| Step::Enter(priority, consumer)),
        2 => any::<usize>().prop_map(Step::Leave),
        2 => any::<usize>().prop_map(Step::Look),
        1 => any::<usize>().prop_map(Step::GiveUp),
        1 => (1..5_u32).prop_map(Step::Limit),
    ]
}

/// Whether somebody has a place, which goes to those that are held, or was displaced.
fn is_over(waiting: &mut Looking, held: &mut Vec<Place>) -> bool {
    match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(place) => {
            held.extend(place);
            true
        }
        Poll::Pending => false,
    }
}

proptest! {
    #[test]
    fn no_place_is_ever_lost_or_given_twice(steps in prop::collection::vec(step(), 1..200)) {
        let gate = gate();
        let (mut cap, mut most) = (2, 2);
        let mut held: Vec<Place> = Vec::new();
        let mut line: Vec<Looking> = Vec::new();
        for step in steps {
            match step {
                Step::Enter(priority, consumer) => match gate.enter(cap, 4, || {
                    who(Priority::ALL[priority], ["a", "b", "c", "d", "e"][usize::from(consumer)])
                }) {
                    Turn::Place(place) => held.push(place),
                    Turn::Wait(waiting) => line.push(Box::pin(waiting.place())),
                    Turn::Full => prop_assert_eq!(gate.waiting(), 4),
                },
                Step::Leave(who) if !held.is_empty() => drop(held.swap_remove(who % held.len())),
                Step::Look(who) if !line.is_empty() => {
                    let who = who % line.len();
                    if is_over(&mut line[who], &mut held) {
                        drop(line.remove(who));
                    }
                }
                Step::GiveUp(who) if !line.is_empty() => drop(line.remove(who % line.len())),
                Step::Limit(new) => {
                    cap = new;
                    gate.limit(cap);
                }
                _ => {}
            }
            most = most.max(cap);
            prop_assert!(gate.taken() <= most);
            prop_assert!(gate.waiting() == 0 || gate.taken() >= cap, "a place is free and somebody waits");
        }
        // Everybody who waits gets in, in the end.
        while !line.is_empty() || !held.is_empty() {
            held.clear();
            let before = line.len();
            let mut served = Vec::new();
            line.retain_mut(|waiting| !is_over(waiting, &mut served));
            prop_assert!(before == 0 || line.len() < before, "nobody moves on");
        }
        prop_assert_eq!((gate.taken(), gate.waiting()), (0, 0));
    }
}

#[test]
fn many_threads_share_few_places_and_leave_none_behind() {
    const PLACES: u32 = 3;
    let gate = gate();
    let inside = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for number in 0..4_u32 {
            let (gate, inside) = (&gate, &inside);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    for round in 0..500 {
                        match gate.enter(PLACES, 2, one) {
                            Turn::Full => continue,
                            Turn::Place(place) => use_it(inside, place).await,
                            Turn::Wait(waiting) if (round + number) % 3 == 0 => {
                                give_up(waiting).await
                            }
                            Turn::Wait(waiting) => {
                                use_it(inside, waiting.place().await.unwrap()).await
                            }
                        }
                    }
                });
            });
        }
    });
    assert_eq!((gate.taken(), gate.waiting()), (0, 0));

    async fn use_it(inside: &AtomicU32, place: Place) {
        assert!(inside.fetch_add(1, Ordering::SeqCst) < PLACES);
        tokio::task::yield_now().await;
        inside.fetch_sub(1, Ordering::SeqCst);
        drop(place);
    }

    async fn give_up(waiting: Waiting) {
        let mut place = pin!(waiting.place());
        let polled = std::future::poll_fn(|cx| Poll::Ready(place.as_mut().poll(cx))).await;
        drop(polled);
    }
}
