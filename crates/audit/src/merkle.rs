//! The tree of RFC 6962 section 2: hashes, roots, proofs.

use aws_lc_rs::digest::{Context, SHA256, digest};

/// A SHA-256 hash of the tree.
pub(crate) type Hash = [u8; 32];

/// Leaf or node hash; the prefix keeps one from passing for the other.
pub(crate) fn leaf(entry: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(entry);
    hash(context.finish().as_ref())
}

pub(crate) fn node(left: &Hash, right: &Hash) -> Hash {
    let mut input = [1; 65];
    input[1..33].copy_from_slice(left);
    input[33..].copy_from_slice(right);
    hash(digest(&SHA256, &input).as_ref())
}

/// Root of a tree without leaves.
pub(crate) fn empty_root() -> Hash {
    hash(digest(&SHA256, b"").as_ref())
}

/// Root over hashes whose number is a power of two.
pub(crate) fn perfect_root(hashes: &[Hash]) -> Hash {
    assert!(
        hashes.len().is_power_of_two(),
        "callers cut perfect subtrees"
    );
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row
            .chunks_exact(2)
            .map(|pair| node(&pair[0], &pair[1]))
            .collect();
    }
    row[0]
}

/// Where the roots of perfect subtrees come from.
pub(crate) trait Nodes {
    type Error;

    /// Root over the leaves `[index · 2^height, (index + 1) · 2^height)`.
    fn node(&mut self, height: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// Root over the leaves `[start, end)`, `start` being where a subtree of that size may begin.
pub(crate) fn range_root<N: Nodes>(nodes: &mut N, start: u64, end: u64) -> Result<Hash, N::Error> {
    let len = end - start;
    if len == 0 {
        return Ok(empty_root());
    }
    if len.is_power_of_two() {
        let height = len.trailing_zeros();
        return nodes.node(height, start >> height);
    }
    let split = start + largest_power_below(len);
    let left = range_root(nodes, start, split)?;
    let right = range_root(nodes, split, end)?;
    Ok(node(&left, &right))
}

/// PATH(index, D[size]) of RFC 6962 section 2.1.1: siblings from the leaf upwards.
pub(crate) fn inclusion<N: Nodes>(
    nodes: &mut N,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, N::Error> {
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    while end - start > 1 {
        let split = start + largest_power_below(end - start);
        if index < split {
            path.push(range_root(nodes, split, end)?);
            end = split;
        } else {
            path.push(range_root(nodes, start, split)?);
            start = split;
        }
    }
    path.reverse();
    Ok(path)
}

/// PROOF(old, D[size]) of RFC 6962 section 2.1.2, for `old` from 0 to `size`.
pub(crate) fn consistency<N: Nodes>(
    nodes: &mut N,
    old: u64,
    size: u64,
) -> Result<Vec<Hash>, N::Error> {
    let mut path = Vec::new();
    if old == 0 || old == size {
        return Ok(path);
    }
    let (mut start, mut end) = (0, size);
    while old != end {
        let split = start + largest_power_below(end - start);
        if old <= split {
            path.push(range_root(nodes, split, end)?);
            end = split;
        } else {
            path.push(range_root(nodes, start, split)?);
            start = split;
        }
    }
    if start > 0 {
        path.push(range_root(nodes, start, end)?);
    }
    path.reverse();
    Ok(path)
}

/// The root that an inclusion proof leads to (RFC 9162 section 2.1.3.2); `None` when its length is wrong.
pub(crate) fn inclusion_root(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut first, mut last, mut root) = (index, size - 1, leaf);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if first & 1 == 1 || first == last {
            root = node(sibling, &root);
            while first & 1 == 0 && first != 0 {
                first >>= 1;
                last >>= 1;
            }
        } else {
            root = node(&root, sibling);
        }
        first >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(root)
}

/// Whether a consistency proof connects two roots (RFC 9162 section 2.1.4.2).
pub(crate) fn consistent(old: u64, old_root: &Hash, size: u64, root: &Hash, path: &[Hash]) -> bool {
    if old > size {
        return false;
    }
    if old == size {
        return path.is_empty() && old_root == root;
    }
    if old == 0 {
        return path.is_empty() && *old_root == empty_root();
    }
    // A tree that is a perfect subtree of the new one is its own first step.
    let (seed, path) = match (old.is_power_of_two(), path) {
        (true, path) => (old_root, path),
        (false, [seed, path @ ..]) => (seed, path),
        (false, []) => return false,
    };
    let (mut first, mut last) = (old - 1, size - 1);
    let shift = first.trailing_ones();
    first >>= shift;
    last >>= shift;
    let (mut old_found, mut found) = (*seed, *seed);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if first & 1 == 1 || first == last {
            old_found = node(sibling, &old_found);
            found = node(sibling, &found);
            while first & 1 == 0 && first != 0 {
                first >>= 1;
                last >>= 1;
            }
        } else {
            found = node(&found, sibling);
        }
        first >>= 1;
        last >>= 1;
    }
    last == 0 && old_found == *old_root && found == *root
}

fn largest_power_below(len: u64) -> u64 {
    1 << (63 - (len - 1).leading_zeros())
}

fn hash(bytes: &[u8]) -> Hash {
    bytes.try_into().expect("SHA-256 gives 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps all leaves; the tests' own way to a node.
    struct All(Vec<Hash>);

    impl Nodes for All {
        type Error = std::convert::Infallible;

        fn node(&mut self, height: u32, index: u64) -> Result<Hash, Self::Error> {
            let start = (index << height) as usize;
            Ok(perfect_root(&self.0[start..start + (1 << height)]))
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
            .collect()
    }

    /// The eight leaves and the roots of Certificate Transparency's own test (RFC 6962 trees).
    #[test]
    fn roots_of_the_known_tree() {
        let leaves = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut all = All(leaves.iter().map(|entry| leaf(&hex(entry))).collect());
        for (size, root) in (1..).zip(roots) {
            let Ok(found) = range_root(&mut all, 0, size);
            assert_eq!(found.as_slice(), hex(root));
        }
        assert_eq!(
            empty_root().as_slice(),
            hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        );
    }

    /// Every proof of every small tree is accepted for what it proves and for nothing else.
    #[test]
    fn proofs_hold_for_their_own_case_only() {
        let mut all = All((0_u8..40).map(|number| leaf(&[number])).collect());
        let roots: Vec<Hash> = (0..=40)
            .map(|size| range_root(&mut all, 0, size).unwrap_or_else(|e| match e {}))
            .collect();
        for size in 1..=40_u64 {
            for index in 0..size {
                let Ok(path) = inclusion(&mut all, index, size);
                let found = |at, leaf_index: u64, path: &[Hash]| {
                    inclusion_root(all.0[leaf_index as usize], at, size, path)
                };
                assert_eq!(found(index, index, &path), Some(roots[size as usize]));
                assert_ne!(
                    found(index, (index + 1) % 40, &path),
                    Some(roots[size as usize])
                );
                if size > 1 {
                    assert_ne!(
                        found((index + 1) % size, index, &path),
                        Some(roots[size as usize])
                    );
                    assert_ne!(found(index, index, &path[1..]), Some(roots[size as usize]));
                }
                let longer = [path.as_slice(), &[[7; 32]]].concat();
                assert_eq!(found(index, index, &longer), None);
            }
            for old in 0..=size {
                let Ok(path) = consistency(&mut all, old, size);
                let (old_root, root) = (&roots[old as usize], &roots[size as usize]);
                assert!(consistent(old, old_root, size, root, &path), "{old} {size}");
                assert!(!consistent(old, &[0; 32], size, root, &path));
                assert!(!consistent(old, old_root, size, &[0; 32], &path) || old == 0);
                assert!(!consistent(
                    old,
                    old_root,
                    size,
                    root,
                    &[path.as_slice(), &[[7; 32]]].concat()
                ));
                if let [_, rest @ ..] = path.as_slice() {
                    assert!(!consistent(old, old_root, size, root, rest));
                }
            }
            assert!(!consistent(
                size + 1,
                &roots[0],
                size,
                &roots[size as usize],
                &[]
            ));
        }
    }
}
