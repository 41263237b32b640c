//! The right edge of the tree: what the next event is added to.

use crate::merkle::{Hash, empty_root, node, perfect_root};
use crate::tile::{LEVEL_COUNT, WIDTH};

/// The unfinished tile of every level. Together they determine the root.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    size: u64,
    levels: [Vec<Hash>; LEVEL_COUNT],
}

/// A tile that has just become whole.
pub(crate) struct FullTile {
    pub(crate) level: usize,
    pub(crate) index: u64,
    pub(crate) hashes: Vec<Hash>,
}

impl Edge {
    /// The edge of a tree of `size` leaves, given the hashes of its unfinished tiles.
    pub(crate) fn new(size: u64, levels: [Vec<Hash>; LEVEL_COUNT]) -> Edge {
        for (level, hashes) in levels.iter().enumerate() {
            assert_eq!(
                hashes.len() as u64,
                width(size, level),
                "an edge has the widths of its size"
            );
        }
        Edge { size, levels }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Hashes of the unfinished tile of a level; none when its tiles are all whole.
    pub(crate) fn level(&self, level: usize) -> &[Hash] {
        self.levels.get(level).map_or(&[], Vec::as_slice)
    }

    /// Adds a leaf and reports the tiles that it made whole, lowest first.
    pub(crate) fn push(&mut self, leaf: Hash, whole: &mut Vec<FullTile>) {
        self.size += 1;
        let mut hash = leaf;
        for (level, hashes) in self.levels.iter_mut().enumerate() {
            hashes.push(hash);
            if (hashes.len() as u64) < WIDTH {
                return;
            }
            let hashes = std::mem::take(hashes);
            hash = perfect_root(&hashes);
            let index = tile_index(self.size, level) - 1;
            whole.push(FullTile {
                level,
                index,
                hashes,
            });
        }
        unreachable!("a log has less than 2^53 events");
    }

    pub(crate) fn root(&self) -> Hash {
        let mut root: Option<Hash> = None;
        // Perfect subtrees from right to left: small ones first, within a tile by the bits of its width.
        for hashes in &self.levels {
            let mut end = hashes.len();
            while end > 0 {
                let start = end - (1 << end.trailing_zeros());
                let left = perfect_root(&hashes[start..end]);
                root = Some(root.map_or(left, |right| node(&left, &right)));
                end = start;
            }
        }
        root.unwrap_or_else(empty_root)
    }
}

/// Number of the unfinished tile of a level, which is the number of whole ones.
pub(crate) fn tile_index(size: u64, level: usize) -> u64 {
    size >> (8 * (level + 1))
}

/// Number of hashes in the unfinished tile of a level.
pub(crate) fn width(size: u64, level: usize) -> u64 {
    (size >> (8 * level)) % WIDTH
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{Nodes, leaf, range_root};

    struct All(Vec<Hash>);

    impl Nodes for All {
        type Error = std::convert::Infallible;

        fn node(&mut self, height: u32, index: u64) -> Result<Hash, Self::Error> {
            let start = (index << height) as usize;
            Ok(perfect_root(&self.0[start..start + (1 << height)]))
        }
    }

    /// The edge gives the root of the definition at every size, across the seams of two levels of tiles.
    #[test]
    fn the_root_is_the_root_of_the_definition() {
        let mut all = All(Vec::new());
        let (mut edge, mut whole) = (Edge::new(0, Default::default()), Vec::new());
        for size in 1..=66_000_u64 {
            let hash = leaf(&size.to_be_bytes());
            all.0.push(hash);
            edge.push(hash, &mut whole);
            if size < 600 || size % 997 == 0 || size % 256 < 2 && size > 65_000 {
                let Ok(root) = range_root(&mut all, 0, size);
                assert_eq!(edge.root(), root, "{size}");
            }
        }
        assert_eq!(whole.iter().filter(|tile| tile.level == 0).count(), 257);
        assert_eq!(whole.iter().filter(|tile| tile.level == 1).count(), 1);
        assert_eq!(edge.level(2).len(), 1);
        assert_eq!(edge.size(), 66_000);
    }
}
