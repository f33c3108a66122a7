//! Work beside the request path, on the background runtime and its threads.

use crate::world::World;
use base::caps::COMPUTE_QUEUE_MAX;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::available_parallelism;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use traffic::BoxFuture;
use traffic::background::{Background, Busy, Job, Task};

/// What runs work beside the request path. Without a world nothing is run.
#[must_use]
pub fn background(world: Option<&World>) -> Arc<dyn Background> {
    match world {
        None => Arc::new(Nowhere),
        Some(world) => Arc::new(Beside {
            handle: world.background.clone(),
            seats: world.state.cell("compute", Seats::new),
        }),
    }
}

struct Nowhere;

struct Beside {
    handle: Handle,
    seats: Arc<Seats>,
}

/// Who computes, and who waits to.
struct Seats {
    free: Semaphore,
    waiting: AtomicUsize,
}

impl Seats {
    /// As many as there are processors, less one for traffic.
    fn new() -> Self {
        // The system reads files to tell.
        static PROCESSORS: OnceLock<usize> = OnceLock::new();
        let processors = || available_parallelism().map_or(1, std::num::NonZero::get);
        let processors = *PROCESSORS.get_or_init(processors);
        Self { free: Semaphore::new((processors - 1).max(1)), waiting: AtomicUsize::new(0) }
    }
}

/// One of those who wait.
struct Waiting(Arc<Seats>);

impl Waiting {
    fn begin(seats: &Arc<Seats>) -> Result<Self, Busy> {
        let waiting = Self(Arc::clone(seats));
        let before = seats.waiting.fetch_add(1, Ordering::Relaxed);
        if before < COMPUTE_QUEUE_MAX { Ok(waiting) } else { Err(Busy) }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Nowhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nowhere")
    }
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Beside")
    }
}

impl Background for Nowhere {
    fn spawn(&self, _: BoxFuture<'static, ()>) -> Task {
        Task::nothing()
    }

    fn compute(&self, _: Job) -> BoxFuture<'static, Result<(), Busy>> {
        Box::pin(async { Err(Busy) })
    }
}

impl Background for Beside {
    fn spawn(&self, task: BoxFuture<'static, ()>) -> Task {
        let task = self.handle.spawn(task);
        Task::new(move || task.abort())
    }

    fn compute(&self, job: Job) -> BoxFuture<'static, Result<(), Busy>> {
        let (handle, seats) = (self.handle.clone(), Arc::clone(&self.seats));
        Box::pin(async move {
            let waiting = Waiting::begin(&seats)?;
            // Nobody closes it.
            let seat = seats.free.acquire().await.map_err(|_| Busy)?;
            drop(waiting);
            // A panic is told by what the job leaves undone. Who has begun computes to the end, and so has
            // its seat: the permit goes along.
            seat.forget();
            let back = SeatBack(Arc::clone(&seats));
            drop(
                handle
                    .spawn_blocking(move || {
                        let _back = back;
                        job();
                    })
                    .await,
            );
            Ok(())
        })
    }
}

/// Gives a seat back.
struct SeatBack(Arc<Seats>);

impl Drop for SeatBack {
    fn drop(&mut self) {
        self.0.free.add_permits(1);
    }
}

#[cfg(test)]
mod tests {
    use super::{Beside, Seats};
    use base::caps::COMPUTE_QUEUE_MAX;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};
    use tokio::runtime::Handle;
    use traffic::background::{Background, compute};

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn so_many_compute_so_many_wait_and_the_rest_is_told_to_come_back() {
        let seats = Arc::new(Seats::new());
        let places = seats.free.available_permits();
        let beside = Arc::new(Beside { handle: Handle::current(), seats: Arc::clone(&seats) });
        let (hold, held) = mpsc::sync_channel::<()>(COMPUTE_QUEUE_MAX * 2 + 64);
        let held = Arc::new(std::sync::Mutex::new(held));
        let done = Arc::new(AtomicUsize::new(0));
        let mut running = Vec::new();
        for _ in 0..places + COMPUTE_QUEUE_MAX {
            let (held, done) = (Arc::clone(&held), Arc::clone(&done));
            let mut job = beside.compute(Box::new(move || {
                held.lock().unwrap().recv().unwrap();
                done.fetch_add(1, Ordering::SeqCst);
            }));
            // Polled once, so that it stands in line.
            assert!(futures_now(&mut job).await.is_none());
            running.push(job);
        }
        let fault = compute(&*beside, || 1).await.unwrap_err();
        assert_eq!(fault.code.name(), "compute_busy");
        for _ in &running {
            hold.send(()).unwrap();
        }
        for job in running {
            job.await.unwrap();
        }
        assert_eq!(done.load(Ordering::SeqCst), places + COMPUTE_QUEUE_MAX);
        assert_eq!(compute(&*beside, || 7).await.unwrap(), 7);
        assert_eq!(seats.free.available_permits(), places);
    }

    async fn futures_now<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        let mut future = std::pin::Pin::new(future);
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(match future.as_mut().poll(cx) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }

    #[tokio::test]
    async fn a_job_that_panics_gives_its_seat_back_and_fails_alone() {
        let seats = Arc::new(Seats::new());
        let places = seats.free.available_permits();
        let beside = Beside { handle: Handle::current(), seats: Arc::clone(&seats) };
        let fault = compute(&beside, || -> u8 { panic!("on purpose") }).await.unwrap_err();
        assert_eq!(fault.code.name(), "internal");
        assert_eq!(seats.free.available_permits(), places);
    }
}
