//! Order of shards: a shard is read after its parents are fully read.

use std::collections::HashMap;

use tributary_aws::tail::Shard;

/// Every shard seen so far.
#[derive(Debug, Default)]
pub(super) struct Lineage(HashMap<String, Known>);

#[derive(Debug)]
struct Known {
    parents: Vec<String>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Begun,
    Ended,
}

impl Lineage {
    /// Adds shards and returns those that can be read now, which then count as started. Records of
    /// a key follow those that its parent shards hold. A parent that is not in the stream any more
    /// has expired.
    pub(super) fn add(&mut self, shards: impl IntoIterator<Item = Shard>) -> Vec<String> {
        for Shard { id, parents, .. } in shards {
            self.0.entry(id).or_insert(Known { parents, state: State::Waiting });
        }
        self.ready()
    }

    /// Marks a shard as fully read, adds its children, and returns the shards that can be
    /// read now.
    pub(super) fn ended(
        &mut self,
        shard: &str,
        children: impl IntoIterator<Item = Shard>,
    ) -> Vec<String> {
        if let Some(known) = self.0.get_mut(shard) {
            known.state = State::Ended;
        }
        self.add(children)
    }

    /// Returns the number of started shards.
    pub(super) fn begun(&self) -> usize {
        self.0.values().filter(|known| known.state != State::Waiting).count()
    }

    fn ready(&mut self) -> Vec<String> {
        let has_ended =
            |parent: &String| self.0.get(parent).is_none_or(|it| it.state == State::Ended);
        let waiting = self.0.iter().filter(|(_, known)| known.state == State::Waiting);
        let mut ready: Vec<String> = waiting
            .filter(|(_, known)| known.parents.iter().all(has_ended))
            .map(|(id, _)| id.clone())
            .collect();
        ready.sort();
        for id in &ready {
            if let Some(known) = self.0.get_mut(id) {
                known.state = State::Begun;
            }
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, parents: &[&str]) -> Shard {
        let parents = parents.iter().map(|&parent| parent.to_owned()).collect();
        Shard { id: id.to_owned(), parents, is_open: true }
    }

    #[test]
    fn children_wait_for_their_parents() {
        let mut lineage = Lineage::default();
        let shards = [shard("b", &["a"]), shard("a", &["gone"]), shard("c", &["a"])];

        assert_eq!(lineage.add(shards), ["a"]);
        assert_eq!(lineage.ended("a", []), ["b", "c"]);
    }

    #[test]
    fn merged_shard_waits_for_both_parents() {
        let mut lineage = Lineage::default();
        assert_eq!(lineage.add([shard("a", &[]), shard("b", &[])]), ["a", "b"]);

        assert!(lineage.ended("a", [shard("c", &["a", "b"])]).is_empty());
        assert_eq!(lineage.ended("b", [shard("c", &["a", "b"])]), ["c"]);
        assert!(lineage.ended("c", []).is_empty());
        assert_eq!(lineage.begun(), 3);
    }

    #[test]
    fn shard_starts_once() {
        let mut lineage = Lineage::default();
        assert_eq!(lineage.add([shard("a", &[])]), ["a"]);
        assert!(lineage.add([shard("a", &[])]).is_empty());
        assert_eq!(lineage.ended("a", [shard("b", &["a"])]), ["b"]);
        assert!(lineage.ended("a", [shard("b", &["a"])]).is_empty());
    }
}
