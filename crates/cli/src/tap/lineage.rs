//! Order of shards: a shard is read after its parents are fully read.

use std::collections::HashMap;

use tributary_aws::tail::Shard;

/// Parents and state of every shard seen so far.
#[derive(Debug, Default)]
pub(super) struct Lineage(HashMap<String, (Vec<String>, State)>);

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
            self.0.entry(id).or_insert((parents, State::Waiting));
        }
        self.ready()
    }

    /// Marks a shard as fully read, adds its children, and returns the shards that can be
    /// read now.
    pub(super) fn ended(&mut self, shard: &str, children: Vec<Shard>) -> Vec<String> {
        if let Some((_, state)) = self.0.get_mut(shard) {
            *state = State::Ended;
        }
        self.add(children)
    }

    /// Returns the number of started shards.
    pub(super) fn begun(&self) -> usize {
        self.0.values().filter(|(_, state)| *state != State::Waiting).count()
    }

    fn ready(&mut self) -> Vec<String> {
        let has_ended =
            |parent: &String| self.0.get(parent).is_none_or(|(_, state)| *state == State::Ended);
        let is_ready = |(_, (parents, state)): &(&String, &(Vec<String>, State))| {
            *state == State::Waiting && parents.iter().all(has_ended)
        };
        let mut ready: Vec<_> = self.0.iter().filter(is_ready).map(|(id, _)| id.clone()).collect();
        ready.sort();
        for id in &ready {
            if let Some((_, state)) = self.0.get_mut(id) {
                *state = State::Begun;
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
        assert_eq!(lineage.ended("a", vec![]), ["b", "c"]);
    }

    #[test]
    fn merged_shard_waits_for_both_parents() {
        let mut lineage = Lineage::default();
        assert_eq!(lineage.add([shard("a", &[]), shard("b", &[])]), ["a", "b"]);

        assert!(lineage.ended("a", vec![shard("c", &["a", "b"])]).is_empty());
        assert_eq!(lineage.ended("b", vec![shard("c", &["a", "b"])]), ["c"]);
        assert!(lineage.ended("c", vec![]).is_empty());
        assert_eq!(lineage.begun(), 3);
    }

    #[test]
    fn shard_starts_once() {
        let mut lineage = Lineage::default();
        assert_eq!(lineage.add([shard("a", &[])]), ["a"]);
        assert!(lineage.add([shard("a", &[])]).is_empty());
        assert_eq!(lineage.ended("a", vec![shard("b", &["a"])]), ["b"]);
        assert!(lineage.ended("a", vec![shard("b", &["a"])]).is_empty());
    }
}
