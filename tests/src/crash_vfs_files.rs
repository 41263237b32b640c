//! The files of a simulated world: what programs see, and what would be left after a power cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::power_cut::{self, Change, Loss, survivors};
use crate::random::Random;

/// Names one file for as long as somebody can reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(u64);

/// One directory with files. A clone shares all bytes with the original until one of them changes.
#[derive(Clone, Default)]
pub(crate) struct FileSystem {
    names: BTreeMap<String, NodeId>,
    durable_names: BTreeMap<String, NodeId>,
    /// Creations and removals since the directory was synced, in order.
    pending_names: Vec<(String, Option<NodeId>)>,
    /// How many creations and removals there were before that.
    durable_name_changes: u64,
    nodes: BTreeMap<NodeId, Node>,
    node_next: u64,
}

#[derive(Clone, Default)]
struct Node {
    current: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    pending: Vec<Pending>,
    open_count: u64,
}

#[derive(Clone)]
struct Pending {
    change: Change,
    /// How many creations and removals had been asked for in the directory before.
    name_changes: u64,
}

impl FileSystem {
    pub(crate) fn find(&self, name: &str) -> Option<NodeId> {
        self.names.get(name).copied()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// Creates an empty file. Its name is lost by a power cut until the directory is synced.
    pub(crate) fn create(&mut self, name: &str) -> NodeId {
        let node = self.create_unnamed();
        self.names.insert(name.to_owned(), node);
        self.pending_names.push((name.to_owned(), Some(node)));
        node
    }

    /// Creates a file that disappears when it is closed.
    pub(crate) fn create_unnamed(&mut self) -> NodeId {
        let node = NodeId(self.node_next);
        self.node_next += 1;
        self.nodes.insert(node, Node::default());
        node
    }

    /// Removes a name; whoever has the file open keeps it. False when there is no such name.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let found = self.names.remove(name).is_some();
        if found {
            self.pending_names.push((name.to_owned(), None));
        }
        found
    }

    pub(crate) fn opened(&mut self, node: NodeId) {
        self.node_mut(node).open_count += 1;
    }

    pub(crate) fn closed(&mut self, node: NodeId) {
        self.node_mut(node).open_count -= 1;
        self.forget_unreachable();
    }

    pub(crate) fn bytes(&self, node: NodeId) -> &[u8] {
        &self.node(node).current
    }

    pub(crate) fn change(&mut self, node: NodeId, change: Change) {
        let name_changes = self.name_changes();
        let node = self.node_mut(node);
        power_cut::apply(Arc::make_mut(&mut node.current), &change);
        node.pending.push(Pending {
            change,
            name_changes,
        });
    }

    /// A write that the disk gave up in the middle: some of its sectors changed.
    pub(crate) fn change_torn(&mut self, node: NodeId, change: &Change, random: &mut Random) {
        let name_changes = self.name_changes();
        let node = self.node_mut(node);
        let mut torn = (*node.current).clone();
        power_cut::apply_torn(&mut torn, change, random);
        if let Change::Write { offset, bytes } = change {
            let end = (*offset as usize + bytes.len()).min(torn.len());
            if let Some(now) = torn.get(*offset as usize..end) {
                let change = Change::Write {
                    offset: *offset,
                    bytes: now.into(),
                };
                node.pending.push(Pending {
                    change,
                    name_changes,
                });
            }
        }
        node.current = Arc::new(torn);
    }

    /// Makes a file durable, and the directory too if it does not durably know that file.
    pub(crate) fn sync(&mut self, node: NodeId) {
        let created = self
            .pending_names
            .iter()
            .any(|(_, created)| *created == Some(node));
        let file = self.node_mut(node);
        file.durable = Arc::clone(&file.current);
        file.pending.clear();
        if created {
            self.sync_directory();
        }
    }

    pub(crate) fn sync_directory(&mut self) {
        self.durable_name_changes = self.name_changes();
        self.durable_names = self.names.clone();
        self.pending_names.clear();
        self.forget_unreachable();
    }

    /// What a restarted machine finds. A disk that keeps `names_in_order` loses the end of the list
    /// of creations, removals and changes of length, as a file system with a journal does; another
    /// one loses any of them.
    pub(crate) fn after_power_cut(
        &self,
        loss: Loss,
        names_in_order: bool,
        random: &mut Random,
    ) -> FileSystem {
        let mut names = self.durable_names.clone();
        let percent_kept = match loss {
            Loss::Everything => 0,
            Loss::Nothing => 100,
            _ => *random.pick(&[0, 30, 80, 100]),
        };
        let mut first_lost = u64::MAX;
        for (number, (name, node)) in (self.durable_name_changes..).zip(&self.pending_names) {
            let order_broken = names_in_order && first_lost != u64::MAX;
            if order_broken || !random.chance(percent_kept) {
                first_lost = first_lost.min(number);
                continue;
            }
            match node {
                Some(node) => names.insert(name.clone(), *node),
                None => names.remove(name),
            };
        }
        let len_change_max = if names_in_order { first_lost } else { u64::MAX };
        let mut nodes = BTreeMap::new();
        for node in names.values() {
            let left = self
                .node(*node)
                .after_power_cut(loss, len_change_max, random);
            nodes.insert(*node, left);
        }
        FileSystem {
            durable_names: names.clone(),
            names,
            pending_names: Vec::new(),
            durable_name_changes: 0,
            nodes,
            node_next: self.node_next,
        }
    }

    fn name_changes(&self) -> u64 {
        self.durable_name_changes + self.pending_names.len() as u64
    }

    fn node(&self, node: NodeId) -> &Node {
        self.nodes
            .get(&node)
            .expect("a file that is named or open is not forgotten")
    }

    fn node_mut(&mut self, node: NodeId) -> &mut Node {
        self.nodes
            .get_mut(&node)
            .expect("a file that is named or open is not forgotten")
    }

    fn forget_unreachable(&mut self) {
        let FileSystem {
            names,
            durable_names,
            pending_names,
            nodes,
            ..
        } = self;
        nodes.retain(|id, node| {
            node.open_count > 0
                || names.values().any(|named| named == id)
                || durable_names.values().any(|named| named == id)
                || pending_names.iter().any(|(_, named)| *named == Some(*id))
        });
    }
}

impl Node {
    /// Changes of length that were asked for after more than `len_change_max` changes of names are
    /// lost in any case.
    fn after_power_cut(&self, loss: Loss, len_change_max: u64, random: &mut Random) -> Node {
        let may_survive = |pending: &&Pending| match pending.change {
            Change::Write { .. } => true,
            Change::SetLen(_) => pending.name_changes <= len_change_max,
        };
        let pending: Vec<_> = self
            .pending
            .iter()
            .filter(may_survive)
            .map(|pending| pending.change.clone())
            .collect();
        let left = Arc::new(survivors(&self.durable, &pending, loss, random));
        Node {
            current: Arc::clone(&left),
            durable: left,
            ..Node::default()
        }
    }
}
