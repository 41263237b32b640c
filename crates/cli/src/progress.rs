//! How far a long task is, for a person at a terminal; and their wish to stop.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that appears when a task takes longer than a second, and a flag that Ctrl-C raises.
pub(crate) struct Progress {
    started: Instant,
    bar: Option<ProgressBar>,
    what: &'static str,
    interrupted: Arc<AtomicBool>,
}

impl Progress {
    /// `what` stands before the bar.
    pub(crate) fn new(what: &'static str) -> Progress {
        Progress {
            started: Instant::now(),
            bar: None,
            what,
            interrupted: Arc::default(),
        }
    }

    /// The same, for a task that stops tidily when it is interrupted.
    pub(crate) fn interruptible(what: &'static str) -> Progress {
        let progress = Progress::new(what);
        for signal in [
            signal_hook::consts::SIGINT,
            signal_hook::consts::SIGTERM,
            signal_hook::consts::SIGHUP,
        ] {
            // Without the handler the signal ends the process, and the nameless copy with it.
            let _ = signal_hook::flag::register(signal, progress.interrupted.clone());
        }
        progress
    }

    /// Tells how far the task is.
    pub(crate) fn at(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        if self.bar.is_none() && self.started.elapsed() > PATIENCE {
            self.bar = Some(bar(self.what, total));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
        if self.interrupted.load(Ordering::Relaxed) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: &'static str, total: u64) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style = ProgressStyle::with_template("{prefix} [{bar:30}] {percent:>3} % {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(total), target)
        .with_style(style)
        .with_prefix(what)
}

/// How long a person waits without being told.
const PATIENCE: Duration = Duration::from_secs(1);
