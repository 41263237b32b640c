//! Which pages of a file were never written (format section 4).

/// A run of pages that were never written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) first: u64,
    pub(crate) count: u64,
}

impl Hole {
    pub(crate) fn end(self) -> u64 {
        self.first + self.count
    }
}

/// The holes of a file: sorted, apart from each other, at most [`Holes::MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Holes(Vec<Hole>);

impl Holes {
    /// How many a file record has room for.
    pub(crate) const MAX: usize = 16;

    /// Holes as a file record lists them; `None` when they break a rule of the format.
    pub(crate) fn from_list(list: Vec<Hole>, page_count: u64) -> Option<Holes> {
        let mut free = 0;
        for (index, hole) in list.iter().enumerate() {
            let end = hole.first.checked_add(hole.count)?;
            let touches = index > 0 && hole.first <= free;
            if hole.count == 0 || touches || end > page_count {
                return None;
            }
            free = end;
        }
        (list.len() <= Holes::MAX).then_some(Holes(list))
    }

    pub(crate) fn list(&self) -> &[Hole] {
        &self.0
    }

    pub(crate) fn contains(&self, page: u64) -> bool {
        self.0.iter().any(|h| h.first <= page && page < h.end())
    }

    /// Adds a run behind all others. `false`, and nothing done, when there is no room.
    #[must_use]
    pub(crate) fn push(&mut self, first: u64, count: u64) -> bool {
        if count == 0 {
            return true;
        }
        let full = self.0.len() == Holes::MAX;
        match self.0.last_mut() {
            Some(last) if last.end() == first => last.count += count,
            _ if full => return false,
            _ => self.0.push(Hole { first, count }),
        }
        true
    }

    /// Forgets everything from `page` on, when the file is cut there.
    pub(crate) fn cut(&mut self, page: u64) {
        self.0.retain(|hole| hole.first < page);
        if let Some(last) = self.0.last_mut() {
            last.count = last.count.min(page - last.first);
        }
    }

    /// Takes the pages `[first, first + count)` out, because they were written. What this would
    /// leave over the limit comes back: pages that the caller must now write as zeros.
    #[must_use]
    pub(crate) fn fill(&mut self, first: u64, count: u64) -> Vec<Hole> {
        let end = first + count;
        let mut kept = Vec::with_capacity(self.0.len() + 1);
        for hole in &self.0 {
            let before = hole.end().min(first).saturating_sub(hole.first);
            let after_first = hole.first.max(end);
            let after = hole.end().saturating_sub(after_first);
            if before > 0 {
                kept.push(Hole {
                    first: hole.first,
                    count: before,
                });
            }
            if after > 0 {
                kept.push(Hole {
                    first: after_first,
                    count: after,
                });
            }
        }
        self.0 = kept;
        let mut surplus = Vec::new();
        while self.0.len() > Holes::MAX {
            let smallest = (0..self.0.len())
                .min_by_key(|&index| self.0[index].count)
                .expect("more than MAX holes is more than none");
            surplus.push(self.0.remove(smallest));
        }
        surplus
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Goal: whatever happens to a file, the holes are the pages nobody wrote.
        #[test]
        fn holes_agree_with_a_set_of_pages(
            steps in prop::collection::vec((0u8..3, 0u64..400, 1u64..30), 1..80)
        ) {
            let mut holes = Holes::default();
            let mut model = BTreeSet::new();
            let mut end = 0;
            for (kind, at, count) in steps {
                match kind {
                    0 => if holes.push(end, count) {
                        model.extend(end..end + count);
                        end += count;
                    } else {
                        prop_assert_eq!(holes.list().len(), Holes::MAX);
                    },
                    1 => if end > 0 {
                        let first = at % end;
                        let count = count.min(end - first);
                        let surplus = holes.fill(first, count);
                        model.retain(|page| *page < first || *page >= first + count);
                        for hole in surplus {
                            model.retain(|page| *page < hole.first || *page >= hole.end());
                        }
                    },
                    _ => {
                        end = at.min(end);
                        holes.cut(end);
                        model.retain(|page| *page < end);
                    }
                }
                for page in 0..450 {
                    prop_assert_eq!(holes.contains(page), model.contains(&page), "page {}", page);
                }
                let again = Holes::from_list(holes.list().to_vec(), end);
                prop_assert_eq!(again.as_ref(), Some(&holes));
            }
        }
    }

    #[test]
    fn lists_that_break_a_rule_are_refused() {
        let hole = |first, count| Hole { first, count };
        let refused: [Vec<Hole>; 6] = [
            vec![hole(3, 0)],
            vec![hole(3, 2), hole(5, 1)],
            vec![hole(3, 2), hole(4, 1)],
            vec![hole(5, 2), hole(1, 1)],
            vec![hole(95, 6)],
            vec![hole(u64::MAX, 2)],
        ];
        for list in refused {
            assert_eq!(Holes::from_list(list.clone(), 100), None, "{list:?}");
        }
        let many = (0..17).map(|n| hole(2 * n, 1)).collect();
        assert_eq!(Holes::from_list(many, 100), None);
    }
}
