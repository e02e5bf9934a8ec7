//! Everything that crosses any interface of the host, kept for later questions.
//!
//! Responsible for losing nothing at the rates of a lab, and for saying so when something was lost. It must not know what to look for.

mod frame;
mod socket;
mod stream;

use std::{
    collections::BTreeMap,
    io::{self, PipeWriter, Write},
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
};

use thiserror::Error;
use tokio::sync::oneshot;

use self::socket::Tap;
pub use self::{
    frame::{Direction, Frame, Segment},
    stream::{Conflict, Stream, reassemble},
};

/// How much is kept in memory at most. A run of many hundred containers stays far below; what comes after is counted and not kept.
const KEPT_BYTES: usize = 512 * 1024 * 1024;
/// What one frame takes beside its bytes, about.
const FRAME_OVERHEAD: usize = 64;
/// How many frames are read at most to satisfy one [`Capture::settle`]: more than the socket's buffer holds.
const SETTLE_FRAMES: usize = 1_000_000;

/// Why nothing is captured.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// There is no packet socket.
    #[error("packets cannot be captured")]
    Socket(#[source] io::Error),
    /// The capturing thread ended: its socket failed.
    #[error("the capture has ended")]
    Ended,
}

/// What a capture did not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    /// Frames that the kernel had no room for.
    pub kernel: u64,
    /// Frames that came when the memory for frames was full.
    pub memory: u64,
}

/// A running capture. Dropping it ends it.
#[derive(Debug)]
pub struct Capture {
    kept: Arc<Mutex<Kept>>,
    orders: Sender<Order>,
    wake: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Kept {
    interfaces: BTreeMap<u32, Vec<Frame>>,
    frames: u64,
    bytes: usize,
    losses: Losses,
}

#[derive(Debug)]
struct Order(oneshot::Sender<()>);

impl Capture {
    /// Captures from `socket`, a packet socket that [`open`] made in the network namespace of interest.
    pub(crate) fn start(socket: OwnedFd) -> Result<Self, CaptureError> {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let (orders, taken) = channel();
        let (woken, wake) = io::pipe().map_err(CaptureError::Socket)?;
        let thread = {
            let kept = Arc::clone(&kept);
            std::thread::Builder::new()
                .name("capture".to_owned())
                .spawn(move || record(&mut Tap::new(socket, woken), &kept, &taken))
                .map_err(CaptureError::Socket)?
        };
        Ok(Self {
            kept,
            orders,
            wake: Some(wake),
            thread: Some(thread),
        })
    }

    /// Waits until everything that had crossed an interface when this was called is kept.
    ///
    /// # Errors
    /// When the capture has ended.
    pub async fn settle(&self) -> Result<(), CaptureError> {
        let (done, settled) = oneshot::channel();
        self.orders.send(Order(done)).map_err(|_| CaptureError::Ended)?;
        self.wake
            .as_ref()
            .ok_or(CaptureError::Ended)?
            .write_all(b"!")
            .map_err(CaptureError::Socket)?;
        settled.await.map_err(|_| CaptureError::Ended)
    }

    /// All frames of an interface up to now, in order.
    ///
    /// # Errors
    /// When the capture has ended.
    pub async fn frames_of(&self, interface: u32) -> Result<Vec<Frame>, CaptureError> {
        self.settle().await?;
        Ok(self.lock().interfaces.get(&interface).cloned().unwrap_or_default())
    }

    /// What TCP connections on an interface carried up to now, each direction by itself.
    ///
    /// # Errors
    /// When the capture has ended.
    pub async fn streams_of(&self, interface: u32) -> Result<Vec<Stream>, CaptureError> {
        Ok(reassemble(&self.frames_of(interface).await?))
    }

    /// Interfaces on which anything was seen up to now.
    ///
    /// # Errors
    /// When the capture has ended.
    pub async fn interfaces(&self) -> Result<Vec<u32>, CaptureError> {
        self.settle().await?;
        Ok(self.lock().interfaces.keys().copied().collect())
    }

    /// Lets go of what was kept of an interface, to make room. The kernel gives its number to no later interface.
    pub fn forget(&self, interface: u32) {
        let mut kept = self.lock();
        let frames = kept.interfaces.remove(&interface).unwrap_or_default();
        kept.bytes -= frames.iter().map(cost).sum::<usize>();
    }

    /// What was lost so far. Evidence of absence is worth nothing while this is not zero.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.lock().losses
    }

    /// Ends the capture after everything up to now is kept.
    ///
    /// # Errors
    /// When it has ended by itself before.
    pub async fn stop(mut self) -> Result<Losses, CaptureError> {
        self.settle().await?;
        self.end();
        Ok(self.losses())
    }

    fn end(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            // It ends within one read once its pipe is closed.
            thread.join().unwrap_or_default();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.end();
    }
}

/// Makes a packet socket in the network namespace of the calling thread.
pub(crate) fn open() -> io::Result<OwnedFd> {
    socket::open()
}

fn record(tap: &mut Tap, kept: &Mutex<Kept>, orders: &Receiver<Order>) {
    while let Ok(event) = tap.wait() {
        let waiting: Vec<Order> = orders.try_iter().collect();
        for _ in 0..SETTLE_FRAMES {
            match tap.next() {
                Ok(Some(frame)) => keep(kept, frame, tap.dropped()),
                Ok(None) => break,
                Err(_) => return,
            }
        }
        for Order(done) in waiting {
            done.send(()).unwrap_or_default();
        }
        if event.closed {
            return;
        }
    }
}

fn keep(kept: &Mutex<Kept>, mut frame: Frame, dropped: u64) {
    let mut kept = lock(kept);
    kept.losses.kernel = dropped;
    frame.number = kept.frames;
    kept.frames += 1;
    if kept.bytes + cost(&frame) > KEPT_BYTES {
        kept.losses.memory += 1;
        return;
    }
    kept.bytes += cost(&frame);
    kept.interfaces.entry(frame.interface).or_default().push(frame);
}

fn cost(frame: &Frame) -> usize {
    frame.bytes.len() + FRAME_OVERHEAD
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
