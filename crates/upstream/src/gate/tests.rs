use super::{Gate, Place, Turn, Waiting};
use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};
use proptest::{prop_assert, prop_assert_eq};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

fn gate() -> Arc<Gate> {
    Arc::new(Gate::new())
}

fn place(turn: Turn) -> Place {
    match turn {
        Turn::Place(place) => place,
        _ => panic!("there was no place"),
    }
}

fn wait(turn: Turn) -> Pin<Box<dyn Future<Output = Place>>> {
    match turn {
        Turn::Wait(waiting) => Box::pin(waiting.place()),
        _ => panic!("there was no line"),
    }
}

fn look(waiting: &mut Pin<Box<dyn Future<Output = Place>>>) -> Option<Place> {
    match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(place) => Some(place),
        Poll::Pending => None,
    }
}

#[test]
fn a_place_that_is_given_back_goes_to_whoever_waited_longest() {
    let gate = gate();
    let first = place(gate.enter(1, 2));
    let (mut second, mut third) = (wait(gate.enter(1, 2)), wait(gate.enter(1, 2)));
    assert!(matches!(gate.enter(1, 2), Turn::Full));
    assert!(look(&mut second).is_none());
    drop(first);
    assert!(look(&mut third).is_none());
    let second = look(&mut second).unwrap();
    assert!(matches!(gate.enter(1, 2), Turn::Wait(_)), "nobody passes those who wait");
    drop(second);
    assert!(look(&mut third).is_some());
    assert_eq!((gate.taken(), gate.waiting()), (0, 0));
}

#[test]
fn whoever_leaves_the_line_gives_its_turn_to_the_next() {
    let gate = gate();
    let first = place(gate.enter(1, 3));
    let (called, mut next) = (wait(gate.enter(1, 3)), wait(gate.enter(1, 3)));
    let gone = wait(gate.enter(1, 3));
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
    let held = [place(gate.enter(2, 9)), place(gate.enter(2, 9))];
    let mut waiting = [wait(gate.enter(2, 9)), wait(gate.enter(2, 9))];
    gate.limit(4);
    let more: Vec<Place> = waiting.iter_mut().filter_map(look).collect();
    assert_eq!((more.len(), gate.taken()), (2, 4));
    let mut last = wait(gate.enter(1, 9));
    drop((held, more));
    let _one = look(&mut last).unwrap();
    assert_eq!(gate.taken(), 1);
    assert!(matches!(gate.enter(1, 0), Turn::Full));
}

#[derive(Clone, Debug)]
enum Step {
    Enter,
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
        3 => proptest::strategy::Just(Step::Enter),
        2 => any::<usize>().prop_map(Step::Leave),
        2 => any::<usize>().prop_map(Step::Look),
        1 => any::<usize>().prop_map(Step::GiveUp),
        1 => (1..5_u32).prop_map(Step::Limit),
    ]
}

proptest! {
    #[test]
    fn no_place_is_ever_lost_or_given_twice(steps in prop::collection::vec(step(), 1..200)) {
        let gate = gate();
        let (mut cap, mut most) = (2, 2);
        let mut held: Vec<Place> = Vec::new();
        let mut line: Vec<Pin<Box<dyn Future<Output = Place>>>> = Vec::new();
        for step in steps {
            match step {
                Step::Enter => match gate.enter(cap, 4) {
                    Turn::Place(place) => held.push(place),
                    Turn::Wait(waiting) => line.push(Box::pin(waiting.place())),
                    Turn::Full => prop_assert_eq!(gate.waiting(), 4),
                },
                Step::Leave(who) if !held.is_empty() => drop(held.swap_remove(who % held.len())),
                Step::Look(who) if !line.is_empty() => {
                    let who = who % line.len();
                    if let Some(place) = look(&mut line[who]) {
                        drop(line.remove(who));
                        held.push(place);
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
            line.retain_mut(|waiting| look(waiting).is_none_or(|place| { drop(place); false }));
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
                        match gate.enter(PLACES, 2) {
                            Turn::Full => continue,
                            Turn::Place(place) => use_it(inside, place).await,
                            Turn::Wait(waiting) if (round + number) % 3 == 0 => {
                                give_up(waiting).await
                            }
                            Turn::Wait(waiting) => use_it(inside, waiting.place().await).await,
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
