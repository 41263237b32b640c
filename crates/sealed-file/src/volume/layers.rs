//! A file as its users see it: what is at home, and over it what has not gone home yet.

use std::io::Result;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::extents::Piece;
use super::homes::Homes;
use super::layer::Layer;
use crate::disk::Disk;

/// How far a layer has come on its way home.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Being written home.
    Homing = 0,
    /// Durable in the journal.
    Committed = 1,
    /// Being written to the journal.
    Committing = 2,
    /// To go to the journal with the next commit.
    Dirty = 3,
    /// Part of an operation that is not complete: it becomes dirty as a whole, or is discarded.
    Staged = 4,
}

/// One file of a volume. All bytes here are sealed (V7).
pub(crate) struct Layers {
    number: u64,
    homes: Arc<Homes>,
    state: RwLock<State>,
}

struct State {
    layers: [Option<Layer>; 5],
    /// The length of the file at home.
    home_len: u64,
}

impl Layers {
    /// The file as it is at home.
    pub(crate) fn open(homes: &Arc<Homes>, number: u64) -> Result<Layers> {
        let home = homes.get(number)?;
        let home_len = home.map_or(Ok(0), |home| home.len())?;
        Ok(Layers {
            number,
            homes: homes.clone(),
            state: RwLock::new(State {
                layers: Default::default(),
                home_len,
            }),
        })
    }

    /// A file that is being made. What somebody may have put in its place at home is never looked at, and is cut off when the
    /// file comes home.
    pub(crate) fn make(homes: &Arc<Homes>, number: u64) -> Layers {
        let mut nothing = Layer::on(0);
        nothing.cut = 0;
        let mut layers: [Option<Layer>; 5] = Default::default();
        layers[Stage::Staged as usize] = Some(nothing);
        Layers {
            number,
            homes: homes.clone(),
            state: RwLock::new(State {
                layers,
                home_len: 0,
            }),
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn len(&self) -> u64 {
        self.read().len()
    }

    /// Reads through all layers; answers how many bytes there were. Nobody may write to the file meanwhile, who reads it has that
    /// under a lock; that layers go home meanwhile changes nothing.
    pub(crate) fn read_at(&self, out: &mut [u8], offset: u64) -> Result<usize> {
        let (len, below, windows) = {
            let state = self.read();
            let there = state.len().saturating_sub(offset);
            let len = out.len().min(usize::try_from(there).unwrap_or(usize::MAX));
            let out = &mut out[..len];
            if state.newest_has_all(out, offset) {
                return Ok(len);
            }
            let below = state.home_len.saturating_sub(offset);
            let below = usize::try_from(below).unwrap_or(usize::MAX).min(len);
            (len, below, state.windows(offset, len as u64))
        };
        // Without the lock: a disk that is slow to read must not stop who commits. What goes home from here on is in the windows, and
        // covers what is read of it.
        let out = &mut out[..len];
        let mut done = 0;
        if below > 0
            && let Some(home) = self.homes.get(self.number)?
        {
            done = home.read_at(&mut out[..below], offset)?;
        }
        out[done..].fill(0);
        for window in &windows {
            window.cover(out, offset);
        }
        Ok(len)
    }

    pub(crate) fn write(&self, stage: Stage, bytes: &[u8], offset: u64) {
        let piece = Piece::new(bytes);
        self.write_lock().layer(stage).write(offset, piece);
    }

    pub(crate) fn set_len(&self, stage: Stage, len: u64) {
        self.write_lock().layer(stage).set_len(len);
    }

    /// Moves a layer on to the next stage, onto what is there. Answers whether there was one.
    pub(crate) fn advance(&self, from: Stage, to: Stage) -> bool {
        let mut state = self.write_lock();
        let Some(layer) = state.layers[from as usize].take() else {
            return false;
        };
        match &mut state.layers[to as usize] {
            Some(older) => older.append(&layer),
            empty => *empty = Some(layer),
        }
        true
    }

    /// Forgets a layer whose bytes nobody is to see.
    pub(crate) fn discard(&self, stage: Stage) {
        self.write_lock().layers[stage as usize] = None;
    }

    /// Looks at a layer.
    pub(crate) fn with<R>(&self, stage: Stage, look: impl FnOnce(&Layer) -> R) -> Option<R> {
        self.read().layers[stage as usize].as_ref().map(look)
    }

    /// Writes the homing layer home, where it is to be synced. It stays readable as a layer until [`Layers::homed`]. Answers how
    /// many pieces and bytes that were.
    pub(crate) fn write_home(&self, home: &dyn Disk) -> Result<(u64, u64)> {
        // Its pieces are shared, so that nobody waits for the disk.
        let Some(layer) = self.with(Stage::Homing, Layer::clone) else {
            return Ok((0, 0));
        };
        layer.apply(home)?;
        Ok((layer.extents.count() as u64, layer.bytes()))
    }

    /// What was homing is durable at home.
    pub(crate) fn homed(&self) {
        let mut state = self.write_lock();
        if let Some(layer) = state.layers[Stage::Homing as usize].take() {
            state.home_len = layer.len;
        }
    }

    /// Whether everything is at home.
    pub(crate) fn is_home(&self) -> bool {
        self.read().layers.iter().all(Option::is_none)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_lock(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn len(&self) -> u64 {
        let newest = self.layers.iter().rev().flatten().next();
        newest.map_or(self.home_len, |layer| layer.len)
    }

    fn layer(&mut self, stage: Stage) -> &mut Layer {
        let len = self.len();
        self.layers[stage as usize].get_or_insert_with(|| Layer::on(len))
    }

    /// What all layers say about these bytes, the oldest first.
    fn windows(&self, offset: u64, len: u64) -> Vec<Layer> {
        let layers = self.layers.iter().flatten();
        layers.map(|layer| layer.window(offset, len)).collect()
    }

    /// Reads from the newest layer that has anything to say about these bytes, if it has all of them.
    fn newest_has_all(&self, out: &mut [u8], offset: u64) -> bool {
        let end = offset + out.len() as u64;
        for layer in self.layers.iter().rev().flatten() {
            match layer.extents.copy_to(out, offset) {
                0 if layer.cut >= end => {}
                copied => return copied == out.len(),
            }
        }
        false
    }
}
