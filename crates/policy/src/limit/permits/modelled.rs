mod atomic {
    pub(super) use loom::sync::atomic::{AtomicU32, Ordering};
}
mod count {
    include!("count.rs");
}

use count::Count;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};

fn visit(count: &Count, inside: &AtomicU32) {
    if count.enter(1) {
        assert_eq!(inside.fetch_add(1, Ordering::AcqRel), 0, "one at a time");
        inside.fetch_sub(1, Ordering::AcqRel);
        count.leave();
    }
}

#[test]
fn in_no_order_of_events_are_more_in_than_may_be_and_all_places_come_back() {
    loom::model(|| {
        let count = Arc::new(Count::new());
        let inside = Arc::new(AtomicU32::new(0));
        let other = || {
            let (count, inside) = (Arc::clone(&count), Arc::clone(&inside));
            loom::thread::spawn(move || visit(&count, &inside))
        };
        let others = [other(), other()];
        for other in others {
            other.join().unwrap();
        }
        assert!(count.enter(1), "every place came back");
        assert!(!count.enter(1), "and none besides");
        assert_eq!(count.inside(), 1);
    });
}
