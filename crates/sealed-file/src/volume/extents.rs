//! Pieces of a file that are in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes at places; none overlap.
#[derive(Clone, Default)]
pub(crate) struct Extents(BTreeMap<u64, Piece>);

/// A part of bytes that were written together.
#[derive(Clone)]
pub(crate) struct Piece {
    bytes: Arc<[u8]>,
    from: usize,
    to: usize,
}

impl Piece {
    pub(crate) fn new(bytes: &[u8]) -> Piece {
        Piece {
            bytes: bytes.into(),
            from: 0,
            to: bytes.len(),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.from..self.to]
    }

    fn len(&self) -> u64 {
        (self.to - self.from) as u64
    }

    /// The bytes from `from` up to `to`, counted from its own beginning.
    fn part(&self, from: u64, to: u64) -> Piece {
        Piece {
            bytes: self.bytes.clone(),
            from: self.from + from as usize,
            to: self.from + to as usize,
        }
    }
}

impl Extents {
    /// Puts bytes at a place, over what is there.
    pub(crate) fn insert(&mut self, offset: u64, piece: Piece) {
        if piece.len() == 0 {
            return;
        }
        self.clear(offset, offset + piece.len());
        self.0.insert(offset, piece);
    }

    /// Forgets everything from `len` on.
    pub(crate) fn cut(&mut self, len: u64) {
        self.clear(len, u64::MAX);
    }

    fn clear(&mut self, start: u64, end: u64) {
        let first = self.before(start).map_or(start, |(offset, _)| offset);
        let touched: Vec<u64> = self
            .0
            .range(first..end)
            .map(|(offset, _)| *offset)
            .collect();
        for offset in touched {
            let piece = self.0.remove(&offset).expect("the key was just seen");
            let stop = offset + piece.len();
            if offset < start {
                self.0.insert(offset, piece.part(0, start - offset));
            }
            if stop > end {
                self.0.insert(end, piece.part(end - offset, piece.len()));
            }
        }
    }

    /// The piece that begins before `start` and reaches beyond it.
    fn before(&self, start: u64) -> Option<(u64, &Piece)> {
        let (offset, piece) = self.0.range(..start).next_back()?;
        (offset + piece.len() > start).then_some((*offset, piece))
    }

    /// Copies what there is of `[offset, offset + out.len())`, and answers how many bytes that were.
    pub(crate) fn copy_to(&self, out: &mut [u8], offset: u64) -> usize {
        let end = offset + out.len() as u64;
        let first = self.before(offset).map_or(offset, |(offset, _)| offset);
        let mut copied = 0;
        for (start, piece) in self.0.range(first..end) {
            let from = offset.max(*start);
            let to = end.min(start + piece.len());
            let part = &piece.bytes()[(from - start) as usize..(to - start) as usize];
            out[(from - offset) as usize..(to - offset) as usize].copy_from_slice(part);
            copied += part.len();
        }
        copied
    }

    /// The pieces that reach into `[start, end)`, whole.
    pub(crate) fn window(&self, start: u64, end: u64) -> Extents {
        let first = self.before(start).map_or(start, |(offset, _)| offset);
        let pieces = self.0.range(first..end);
        Extents(pieces.map(|(at, it)| (*at, it.clone())).collect())
    }

    /// The pieces in the order of their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Piece)> {
        self.0.iter().map(|(offset, piece)| (*offset, piece))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u64, u8, usize),
        Cut(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let insert =
            (0u64..90, any::<u8>(), 0usize..30).prop_map(|(at, b, n)| Step::Insert(at, b, n));
        let cut = (0u64..120).prop_map(Step::Cut);
        prop::collection::vec(prop_oneof![4 => insert, 1 => cut], 0..30)
    }

    proptest! {
        #[test]
        fn they_behave_like_places_that_are_filled_or_not(steps in steps(), from in 0usize..120, len in 0usize..120) {
            let mut extents = Extents::default();
            let mut model = vec![None; 240];
            for step in steps {
                match step {
                    Step::Insert(at, byte, len) => {
                        extents.insert(at, Piece::new(&vec![byte; len]));
                        model[at as usize..at as usize + len].fill(Some(byte));
                    }
                    Step::Cut(len) => {
                        extents.cut(len);
                        model[len as usize..].fill(None);
                    }
                }
            }
            let mut out = vec![0; len];
            let copied = extents.copy_to(&mut out, from as u64);
            let part = &model[from..from + len];
            prop_assert_eq!(copied, part.iter().flatten().count());
            for (byte, expected) in out.iter().zip(part) {
                prop_assert_eq!(*byte, expected.unwrap_or(0));
            }
        }
    }
}
